"""What can go wrong in the operator.

OperatorError
├── SpecError          an InferenceQueue that cannot be meant, although the API server took it
├── ApiError           the API server refused a request, or did not answer
│   ├── NotFoundError      there is no such object
│   ├── ForbiddenError     the operator's Role lacks a rule
│   └── ConflictError      somebody else changed the object in between
└── UnreadableError    the queue cannot be read; nothing is known of it, least of all that it is empty
"""


class OperatorError(Exception):
    """Any failure of the operator."""


class SpecError(OperatorError):
    """The specification cannot be followed; the message is for its author, `reason` one CamelCase word."""

    def __init__(self, message: str, reason: str = "SpecInvalid") -> None:
        super().__init__(message)
        self.reason = reason


class ApiError(OperatorError):
    """A request to the API server failed."""


class NotFoundError(ApiError):
    """The object is not there."""


class ForbiddenError(ApiError):
    """The operator may not do this."""


class ConflictError(ApiError):
    """The object is no longer what it was when it was read."""


class UnreadableError(OperatorError):
    """The queue cannot be read; the message says why, and holds no password."""
