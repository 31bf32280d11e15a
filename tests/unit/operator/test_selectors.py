"""Label selectors."""

from typing import Any

import pytest

from inferqueue_operator.selectors import Selector

LABELS = {"app": "iris", "tier": "gpu"}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ({"matchLabels": {"app": "iris"}}, True),
        ({"matchLabels": {"app": "iris", "tier": "cpu"}}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["gpu", "tpu"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["gpu"]}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_matches(selector: dict[str, Any], matches: bool) -> None:
    assert Selector.parse(selector).matches(LABELS) is matches


def test_a_label_that_every_match_has() -> None:
    assert Selector.parse({"matchLabels": {"app": "iris"}}).required == ("app", "iris")
    assert Selector.parse({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}).required is None
