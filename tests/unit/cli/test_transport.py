"""Addresses and keys are looked at before anything is sent."""

import pytest

from inferqueue.transport import Proxy


@pytest.mark.parametrize("url", ["http://h:port", "http://[::1", "http://", "ftp://h", "h:8000", "http://h\n"])
def test_what_is_no_address_is_named(url: str) -> None:
    with pytest.raises(ValueError, match="is no address of a proxy"):
        Proxy.find(url, None)


@pytest.mark.parametrize("key", ["two\nlines", " key", "key\n"])
def test_a_key_that_no_header_can_carry_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="the API key"):
        Proxy.find(None, key)


def test_a_key_is_sent_as_utf_8() -> None:
    headers = Proxy.find(None, "schlüssel").client_options()["headers"]
    assert headers["Authorization"] == "Bearer schlüssel".encode()
