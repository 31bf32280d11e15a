"""SIGTERM and SIGINT as an event that threads can wait for."""

import os
import signal
import threading

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


def stop_event() -> threading.Event:
    """Give an event that SIGTERM or SIGINT sets; to be called once, in the main thread.

    A thread of its own sets it. A handler would run in the main thread, wherever that is: inside `Event.wait`, which
    holds the lock that `Event.set` wants, it would wait for itself for ever, and the worker would never end.
    """
    stop = threading.Event()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in _NUMBERS:
        signal.signal(number, lambda *_: None)

    def await_signal() -> None:
        # Signals that others handle are told here as well.
        while os.read(reader, 1)[0] not in _NUMBERS:
            pass
        stop.set()

    threading.Thread(target=await_signal, name="signals", daemon=True).start()
    return stop
