"""Settings of the proxy that are wrong are named."""

import pytest

from inferqueue_core.settings import SettingsError
from inferqueue_proxy.settings import ProxySettings


@pytest.mark.parametrize("origins", ["app.example", "https://app.example/", "https://app.example/page", "ftp://x"])
def test_what_is_no_origin_is_named(origins: str) -> None:
    with pytest.raises(SettingsError) as refused:
        ProxySettings.checked(cors_origins=origins)
    assert "CORS_ORIGINS" in str(refused.value)
    assert repr(origins) in str(refused.value)
