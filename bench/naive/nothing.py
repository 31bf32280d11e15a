"""A FastAPI route that takes the same body and does nothing: what the framework alone costs."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class PredictRequest(BaseModel):
    data: Any


@app.post("/predict", status_code=202)
async def predict(request: PredictRequest) -> dict[str, str]:
    return {"job_id": "01980000000070008000000000000000"}
