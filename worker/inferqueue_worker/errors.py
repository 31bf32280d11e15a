"""What can go wrong in a worker.

WorkerError
├── ModelLoadError        the model cannot be served; the worker says why and exits
└── PredictionError       one run failed
    ├── BadInputError     because of the data: the job fails, no retry
    ├── TransientError    for a reason that may pass (no memory, no time): the job is tried again
    ├── RunStoppedError   it was stopped: the job was canceled, or the worker stops
    ├── BatchingError     the model did not answer row by row: it cannot be batched after all
    ├── TrialTimeoutError the trial at load has no more time for it
    └── ResultTooLargeError  the result is larger than MAX_RESULT_BYTES
"""


class WorkerError(Exception):
    """Any failure of the worker."""


class ModelLoadError(WorkerError):
    """The model cannot be served; the message names the file, the reason and the way out."""


class PredictionError(WorkerError):
    """A run of the model failed; it would fail again."""


class BadInputError(PredictionError):
    """The model refused the data."""


class TransientError(PredictionError):
    """The run failed for a reason that may pass."""


class RunStoppedError(PredictionError):
    """The run was stopped from outside."""


class BatchingError(PredictionError):
    """The outputs do not have one row for each row of input."""


class TrialTimeoutError(PredictionError):
    """The trial at load has no more time for this run."""


class ResultTooLargeError(PredictionError):
    """The result of one job is larger than may be stored; the message gives both numbers."""
