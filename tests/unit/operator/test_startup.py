"""kopf's settings."""

import itertools
from collections.abc import Iterable

import kopf

from inferqueue_operator.startup import configure


def test_kopf_never_gives_up_the_operator_for_an_api_server_that_is_away() -> None:
    settings = kopf.OperatorSettings()
    configure(settings)
    pauses = settings.networking.error_backoffs
    assert isinstance(pauses, Iterable)
    for _ in range(2):
        assert all(0 < pause <= 10 for pause in itertools.islice(pauses, 1_000))
        assert len(list(itertools.islice(pauses, 1_000))) == 1_000
