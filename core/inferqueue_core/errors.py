"""What can go wrong with a queue.

QueueError
├── QueueUnavailableError      Redis does not answer; the same call may work later
│   └── QueueMemoryFullError   Redis has reached its maxmemory and takes no new jobs
├── QueueRefusedError          Redis answers, but refuses one call: it is too large for it
├── QueueUnsuitableError       this Redis must not hold a queue: too old, evicts keys, a Cluster without hash tag
├── QueueOwnedError            the queue belongs to another model, whose workers live
└── InvalidInputError          data that the model cannot take
"""


class QueueError(Exception):
    """Any failure of the queue."""


class QueueUnavailableError(QueueError):
    """Redis does not answer now; whatever was being done may be done again."""


class QueueMemoryFullError(QueueUnavailableError):
    """Redis is full (maxmemory): it refuses new jobs until results expire, while workers go on."""


class QueueRefusedError(QueueError):
    """Redis answers, but refuses this call, and would refuse it again: it is too large for it."""


class QueueUnsuitableError(QueueError):
    """This Redis server cannot keep the promises of the queue; the message says which setting to change."""


class QueueOwnedError(QueueError):
    """The queue belongs to another model than the worker's; the message names both, and the setting to change."""

    def __init__(self, queue: str, owner: str, model: str) -> None:
        super().__init__(
            f"queue {queue!r} belongs to model {owner!r}, whose workers live, so a worker of model {model!r} must not "
            f"take its jobs: set QUEUE_NAME to a queue of its own, or stop the workers of {owner!r} first"
        )


class InvalidInputError(QueueError):
    """The data does not fit the model: `field` names where (`data`, `inputs[0].shape`), the message says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
