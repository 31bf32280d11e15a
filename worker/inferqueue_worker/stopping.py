"""SIGTERM and SIGINT: an event that threads can wait for, and the end of the process whatever still runs."""

import logging
import os
import signal
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

_NUMBERS = (signal.SIGTERM, signal.SIGINT)
# Something of the worker did not end although it was told to: a predictor, or what it started.
UNENDED = 3
_LAST_WORDS_SECONDS = 1.0


class Ending:
    """How the process ends after a signal: at once while it starts, as it holds nothing yet; later, in order.

    `stop` is set by the first signal.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.seconds: float | None = None
        self.last_words: Callable[[], None] = lambda: None

    def take_time(self, seconds: float, last_words: Callable[[], None]) -> None:
        """Let an orderly end take so many seconds from now on.

        When they are over, `last_words` are said, for a second at most, and the process ends with UNENDED.
        """
        self.last_words = last_words
        self.seconds = seconds


def end_on_signals() -> Ending:
    """Heed SIGTERM and SIGINT; to be called once, in the main thread.

    A thread of its own does what is to be done. A handler would run in the main thread, wherever that is: inside
    `Event.wait`, which holds the lock that `Event.set` wants, it would wait for itself for ever; and while the main
    thread is in a call that does not return, it would not run at all.
    """
    ending = Ending()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in _NUMBERS:
        signal.signal(number, lambda *_: None)

    def await_signal() -> None:
        # Signals that others handle are told here as well.
        while os.read(reader, 1)[0] not in _NUMBERS:
            pass
        ending.stop.set()
        _end(ending)

    threading.Thread(target=await_signal, name="signals", daemon=True).start()
    return ending


def _end(ending: Ending) -> None:
    seconds = ending.seconds
    if seconds is None:
        os._exit(0)
    # An orderly end takes this thread with it.
    threading.Event().wait(seconds)
    logger.error(
        "the process ends by force: something goes on although it was told to stop",
        extra={"seconds": seconds, "threads": _names()},
    )
    words = threading.Thread(target=ending.last_words, name="last-words", daemon=True)
    words.start()
    words.join(_LAST_WORDS_SECONDS)
    os._exit(UNENDED)


def _names() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread is not threading.current_thread())
