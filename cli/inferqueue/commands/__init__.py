"""The commands of `inferqueue`, one a module: each adds its options and runs."""
