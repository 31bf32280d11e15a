"""The naive proxy: three commands to Redis, one after the other, in a synchronous handler."""

import json
import os
import uuid
from typing import Any

import redis
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
client = redis.Redis.from_url(os.environ["REDIS_URL"])


class PredictRequest(BaseModel):
    data: Any


@app.post("/predict", status_code=202)
def predict(request: PredictRequest) -> dict[str, str]:
    job_id = str(uuid.uuid4())
    client.set(f"job:{job_id}:data", json.dumps(request.data))
    client.set(f"job:{job_id}:status", "pending")
    client.lpush("predict_queue", job_id)
    return {"job_id": job_id}
