import orjson
from starlette.requests import Request

from inferqueue_proxy.problems import TITLES, Problem, invalid, respond


def _request(path: str) -> Request:
    return Request({"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []})


def test_a_problem_document_has_the_members_of_rfc_9457() -> None:
    answer = respond(_request("/predict"), invalid("data", "it is missing"))
    assert answer.headers["content-type"] == "application/problem+json"
    assert orjson.loads(answer.body) == {
        "type": "urn:inferqueue:problem:invalid-input",
        "title": TITLES["invalid-input"][1],
        "status": 422,
        "detail": "data: it is missing",
        "instance": "/predict",
        "errors": [{"field": "data", "message": "it is missing"}],
    }


def test_the_inference_protocol_has_its_own_form_and_no_422() -> None:
    answer = respond(_request("/v2/models/m/infer"), invalid("id", "it must be a string"))
    assert answer.status_code == 400
    assert orjson.loads(answer.body) == {"error": "id: it must be a string"}


def test_a_problem_can_name_its_job() -> None:
    answer = respond(_request("/v2/models/m/infer"), Problem("not-finished", "later", job_id="j"))
    assert orjson.loads(answer.body)["job_id"] == "j"
