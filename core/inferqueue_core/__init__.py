"""The job contract that every part of inferqueue shares: keys, scripts, clients, tensors and settings."""
