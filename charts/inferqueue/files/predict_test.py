"""Posts one request to the proxy and waits for its answer; ends with 0 when there is one."""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

PROXY = os.environ["PROXY"]
BODY = os.environ["BODY"].encode()
DEADLINE = time.monotonic() + float(os.environ["TIMEOUT_SECONDS"])


def headers() -> dict[str, str]:
    if "API_KEYS_FILE" not in os.environ:
        return {"Content-Type": "application/json"}
    key = Path(os.environ["API_KEYS_FILE"]).read_text().split()[0]
    return {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}


def ask(path: str, body: bytes | None = None) -> tuple[int, Any]:
    """Give the status and the answer; 0 and the reason when there is no connection."""
    request = urllib.request.Request(f"{PROXY}{path}", data=body, headers=headers())
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)


def until(path: str, body: bytes | None, wanted: int) -> Any:
    """Ask again until the answer comes with the status that is wanted; a refusal that will not change ends it all."""
    while True:
        status, answer = ask(path, body)
        if status == wanted:
            return answer
        # 4xx: the request itself is wrong, but for a model that no worker has published yet.
        if time.monotonic() > DEADLINE or (400 <= status < 500 and status not in (404, 429)):
            sys.exit(f"{PROXY}{path}: {answer if status == 0 else f'{status} {answer}'}")
        time.sleep(1)


def main() -> None:
    job = until("/predict", BODY, 202)
    print(f"posted {BODY.decode()} to {PROXY}/predict: job {job['job_id']}", flush=True)
    while job["status"] in ("pending", "processing"):
        if time.monotonic() > DEADLINE:
            sys.exit(f"job {job['job_id']} is still {job['status']}: is there a worker for its queue?")
        time.sleep(0.2)
        job = until(f"/job/{job['job_id']}", None, 200)
    if job["status"] != "completed":
        sys.exit(f"job {job['job_id']} is {job['status']}: {job.get('error')}")
    print(f"result: {json.dumps(job['result'])}")


if __name__ == "__main__":
    main()
