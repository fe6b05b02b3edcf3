"""What the API's description says of keys: which calls take one, and whether they must."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI

_SCHEME: Final = "key"
_KEY: Final = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key of `fedaffect server keys create`. Where it is optional, this server lets in everybody.",
}


def describe_keys(app: FastAPI, required: Callable[[], bool]) -> None:
    """Add a bearer scheme to the description of an application, at every call that may be answered with 401.

    Parameters
    ----------
    app : FastAPI
    required : callable
        Whether keys are asked for; looked at each time, as a running server may begin to.
    """
    plain = app.openapi

    def described() -> dict[str, Any]:
        return _with_keys(plain(), required())

    # FastAPI's own way to extend a description.
    app.openapi = described  # type: ignore[method-assign]


def _with_keys(schema: dict[str, Any], required: bool) -> dict[str, Any]:
    security: list[dict[str, list[str]]] = [{_SCHEME: []}] if required else [{_SCHEME: []}, {}]
    paths = {
        path: {
            method: operation if _is_open(operation) else {**operation, "security": security}
            for method, operation in operations.items()
        }
        for path, operations in schema["paths"].items()
    }
    components = schema.get("components", {})
    schemes = {**components.get("securitySchemes", {}), _SCHEME: _KEY}
    return {**schema, "paths": paths, "components": {**components, "securitySchemes": schemes}}


def _is_open(operation: dict[str, Any]) -> bool:
    """Whether a call takes no key: everybody may ask, or it says by itself what it takes."""
    return "401" not in operation["responses"] or "security" in operation
