"""When a job whose failure may pass is tried again."""

BASE_SECONDS = 1.0
CAP_SECONDS = 60.0


def retry_delay(attempt: int, random: float) -> float:
    """Give the seconds before the next attempt after the `attempt`-th (1, 2, …); `random` lies in [0, 1).

    Exponential backoff with equal jitter: half of min(60, 2^(attempt-1)) s is kept, half is drawn, so that jobs which
    failed together do not return together.
    """
    ceiling = min(CAP_SECONDS, BASE_SECONDS * 2.0 ** (attempt - 1))
    return ceiling / 2 + random * ceiling / 2
