"""The operator's program with shorter pauses, for tests that would wait for them: `python -m support.hasty_operator`.

It takes a cold start that it knows nothing of for 3 s, keeps the last worker of a quiet queue for 2 to 3 s, takes
workers without heartbeats for idle after 4 s, and writes new figures of a status after a second.
"""

from inferqueue_core.scaling import estimates, law
from inferqueue_operator import looks, statuses
from inferqueue_operator.__main__ import start

estimates.FIRST_COLD_START = 3.0  # type: ignore[attr-defined]  # the estimates read it under their own name
law.LEAST_QUIET = 2.0
looks.NAIVE_QUIET = 4.0
statuses.QUIET_SECONDS = 1.0

if __name__ == "__main__":
    start()
