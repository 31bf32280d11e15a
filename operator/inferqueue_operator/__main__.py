"""Where the program begins: `inferqueue-operator`, `python -m inferqueue_operator`."""

from inferqueue_core.starting import heed_sigterm, importing


def start() -> None:
    """Run the program; SIGTERM ends it already while the rest of it is being imported."""
    heed_sigterm()
    with importing():
        from inferqueue_operator.main import main

    main()


if __name__ == "__main__":
    start()
