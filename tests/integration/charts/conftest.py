"""A real API server for the whole run."""

from collections.abc import Iterator

import pytest

from support.api_servers import ApiServer, api_server


@pytest.fixture(scope="session")
def server() -> Iterator[ApiServer]:
    with api_server() as running:
        if not running.real:
            pytest.skip("what only a real API server can tell: KUBEBUILDER_ASSETS names none")
        yield running
