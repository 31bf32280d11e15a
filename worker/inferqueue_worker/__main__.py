"""Where the program begins: `inferqueue-worker`, `python -m inferqueue_worker`."""

from inferqueue_core.starting import heed_sigterm, importing


def start() -> None:
    """Run the program; SIGTERM ends it already while the rest of it is being imported."""
    heed_sigterm()
    with importing():
        from inferqueue_worker.main import main

    main()


if __name__ == "__main__":
    start()
