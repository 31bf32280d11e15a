"""The worker's program with shorter pauses, for tests that would wait for them: `python -m support.hasty_worker`.

It looks at its model's files ten times a second, takes them for complete after half a second without a change, and
answers probes half a second after its start even if that goes on.
"""

from inferqueue_worker import main, reloading, watching
from inferqueue_worker.__main__ import start

reloading._LOOK_SECONDS = 0.1
watching.QUIET_SECONDS = 0.5
main._LONG_START_SECONDS = 0.5

if __name__ == "__main__":
    start()
