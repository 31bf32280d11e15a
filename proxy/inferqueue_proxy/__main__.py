"""Run the proxy: `python -m inferqueue_proxy`."""

from inferqueue_proxy.main import main

if __name__ == "__main__":
    main()
