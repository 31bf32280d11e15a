"""`python -m inferqueue_worker`."""

from inferqueue_worker.main import main

main()
