"""Where the program begins: `inferqueue-worker`, `python -m inferqueue_worker`."""

import os
import sys

from inferqueue_core.starting import heed_sigterm, importing
from inferqueue_worker.listening import handed_over, listen_early


def start() -> None:
    """Run the program; SIGTERM ends it already while the rest of it is being imported."""
    heed_sigterm()
    # NumPy starts a thread of BLAS for each CPU when it is imported, which takes a tenth of a start. Runners are what
    # keeps CPUs busy here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    listener = handed_over(os.environ)
    if listener is None and len(sys.argv) == 1:
        listener = listen_early(os.environ)
    with importing():
        from inferqueue_worker.main import main

    main(listener=listener)


if __name__ == "__main__":
    start()
