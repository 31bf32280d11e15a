"""The servers that queues are on: an address that cannot be used is said so."""

import pytest

from inferqueue_core.queue_settings import RedisSettings
from inferqueue_operator.errors import SpecError
from inferqueue_operator.servers import Address, RedisServers


@pytest.mark.parametrize(
    "url",
    [
        "redis://h:6379/0?socket_timeout=soon",
        "redis://h:6379/0?unheard_of=1",
        "redis://h:6379/0?protocol=9",
        "rediss://h:6379/0?ssl_cert_reqs=perhaps",
    ],
)
def test_an_address_with_options_that_are_none_is_refused(url: str) -> None:
    with pytest.raises(SpecError, match="the address of Redis cannot be used"):
        RedisServers(RedisSettings()).acquire(Address(url))
