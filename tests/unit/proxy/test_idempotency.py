import pytest

from inferqueue_proxy.idempotency import bind, read_key
from inferqueue_proxy.problems import Problem


def test_quoted_and_bare_keys_are_one() -> None:
    assert read_key('"8e03-a\\"b"') == '8e03-a"b'
    assert read_key("8e03") == read_key('"8e03"')


@pytest.mark.parametrize("value", ["", '""', '"open', "two words", "k" * 256, "a,b", "schlüssel"])
def test_what_is_no_key_is_refused(value: str) -> None:
    with pytest.raises(Problem) as refused:
        read_key(value)
    assert refused.value.status == 400


def test_the_fingerprint_is_that_of_the_meaning_not_of_the_text() -> None:
    assert bind("k", "", "/predict", {"a": 1, "b": 2}) == bind("k", "", "/predict", {"b": 2, "a": 1})


def test_a_key_belongs_to_one_client_and_route() -> None:
    digests = {
        binding.digest
        for client, route in (("", "/predict"), ("", "/predict/batch"), ("ada", "/predict"))
        if (binding := bind("k", client, route, {})) is not None
    }
    assert len(digests) == 3


def test_no_key_binds_nothing() -> None:
    assert bind(None, "", "/predict", {}) is None


def test_a_request_nested_too_deeply_to_be_written_is_refused() -> None:
    nested: list[object] = []
    for _ in range(254):
        nested = [nested]
    with pytest.raises(Problem) as refused:
        bind("k", "", "/predict", {"data": nested})
    assert (refused.value.kind, refused.value.status) == ("malformed-body", 400)
