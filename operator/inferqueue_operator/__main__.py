"""`python -m inferqueue_operator`."""

from inferqueue_operator.main import main

main()
