"""Why `inferqueue up` gives up.

UpError
├── StartError      something did not start; the message says what, why, and the way out
└── StopRequested   Ctrl-C or SIGTERM came while it was still starting
"""


class UpError(Exception):
    """Any reason to end before serving."""


class StartError(UpError):
    """A part did not start, or may not."""


class StopRequested(UpError):
    """The person at the keyboard, or the system, wants it to stop."""
