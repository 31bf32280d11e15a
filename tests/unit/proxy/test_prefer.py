import pytest

from inferqueue_proxy.prefer import read_prefer, read_wait_parameter
from inferqueue_proxy.problems import Problem


@pytest.mark.parametrize(
    ("values", "seconds", "applied"),
    [
        ([], 0, None),
        (["wait=10"], 10, "wait=10"),
        (["respond-async, wait=5"], 5, "wait=5"),
        (["respond-async", "WAIT = 5"], 5, "wait=5"),
        (["wait=5", "wait=9"], 5, "wait=5"),
        (["wait=3600"], 60, "wait=60"),
        (['wait="7"; foo=bar'], 7, "wait=7"),
        (["wait=-1"], 0, None),
        (["wait=soon, handling=lenient"], 0, None),
        (["wait=٣"], 0, None),
        (["respond-async"], 0, "respond-async"),
    ],
)
def test_preferences_are_read_as_rfc_7240_says(values: list[str], seconds: float, applied: str | None) -> None:
    wait = read_prefer(values)
    assert (wait.seconds, wait.applied) == (seconds, applied)
    assert wait.headers["Vary"] == "Prefer"


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("2.5", 2.5), ("1e1", 10), ("600", 60)])
def test_wait_parameter(text: str, seconds: float) -> None:
    assert read_wait_parameter(text).seconds == seconds


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1e999", "ten", "1_0"])
def test_a_wait_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Problem) as refused:
        read_wait_parameter(text)
    assert refused.value.errors[0].field == "wait"
