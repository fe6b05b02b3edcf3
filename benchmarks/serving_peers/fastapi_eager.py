"""A plain FastAPI server over transformers: python -m benchmarks.serving_peers.fastapi_eager PROFILE PORT.

As many are written: load the model, one synchronous route. Requests are computed one after the other on all cores;
without the lock forty of FastAPI's threads would fight for two cores and it would be slower still.
"""

from __future__ import annotations

import sys
from threading import Lock
from typing import Any

import uvicorn
from fastapi import FastAPI

from benchmarks.serving_peers.plain_model import PlainModel
from benchmarks.serving_peers.questions import decode


def build(profile: str) -> FastAPI:
    """The application."""
    model, lock = PlainModel(profile), Lock()
    app = FastAPI()

    @app.post("/predict")
    def predict(body: dict[str, Any]) -> dict[str, object]:
        ready = model.prepare(decode(body))
        with lock:
            return model.answer(model.predict([ready])[0])

    @app.get("/readyz")
    def readyz() -> dict[str, str]:
        return {"state": "ready"}

    return app


if __name__ == "__main__":
    uvicorn.run(build(sys.argv[1]), port=int(sys.argv[2]), log_level="warning", access_log=False)
