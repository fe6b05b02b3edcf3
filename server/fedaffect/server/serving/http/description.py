"""Bodies that handlers read themselves, in OpenAPI's description."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

COMPONENTS: Final = "#/components/schemas/"


def describe_bodies(app: FastAPI, *bodies: type[BaseModel]) -> None:
    """Add models to the description of an application, by their names, with all that they refer to.

    Parameters
    ----------
    app : FastAPI
    *bodies : models
        That request bodies refer to below `COMPONENTS`.
    """
    plain = app.openapi
    _, made = models_json_schema([(body, "validation") for body in bodies], ref_template=COMPONENTS + "{model}")

    def described() -> dict[str, Any]:
        schema = plain()
        components = schema.get("components", {})
        return {**schema, "components": {**components, "schemas": {**components.get("schemas", {}), **made["$defs"]}}}

    # FastAPI's own way to extend a description.
    app.openapi = described  # type: ignore[method-assign]
