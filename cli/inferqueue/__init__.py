"""The command line and Python client of inferqueue."""
