"""Scaling laws against loads, without a cluster: ours, those that users have today, and what hindsight could do."""
