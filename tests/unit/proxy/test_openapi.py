from inferqueue_proxy.app import ROUTES
from inferqueue_proxy.openapi import document


def test_every_route_is_described_and_no_other() -> None:
    described = {
        (path, method) for path, item in document("1", keys_required=False)["paths"].items() for method in item
    }
    assert described == {(path, method.lower()) for path, _, methods in ROUTES for method in methods}


def test_operations_have_distinct_names() -> None:
    paths = document("1", keys_required=False)["paths"].values()
    names = [operation["operationId"] for item in paths for operation in item.values()]
    assert len(names) == len(set(names))


def test_keys_are_described_where_they_are_needed() -> None:
    paths = document("1", keys_required=True)["paths"]
    assert "401" in paths["/predict"]["post"]["responses"]
    assert "security" not in paths["/health"]["get"]
