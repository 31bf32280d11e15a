"""`inferqueue up`: Redis, the proxy and workers as processes of one machine, looked after until Ctrl-C."""
