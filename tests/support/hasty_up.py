"""`inferqueue` with shorter pauses, for tests that would wait for them: `python -m support.hasty_up up`.

Its law takes a cold start that it knows nothing of for 3 s, and keeps the last worker of a quiet queue for 2 to 3 s.
"""

from inferqueue.main import main
from inferqueue_core.scaling import estimates, law

estimates.FIRST_COLD_START = 3.0  # type: ignore[attr-defined]  # the estimates read it under their own name
law.LEAST_QUIET = 2.0

if __name__ == "__main__":
    main()
