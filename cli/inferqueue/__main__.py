"""`python -m inferqueue`."""

from inferqueue.main import main

main()
