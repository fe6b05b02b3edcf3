"""What a room above this one serves beside predictions, which knows nothing of it."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Mounted:
    """Routes, and models of the bodies that their handlers read themselves.

    Parameters
    ----------
    router : APIRouter
    bodies : tuple of models
        That request bodies refer to below `fedaffect.server.serving.http.description.COMPONENTS`.
    """

    router: APIRouter
    bodies: tuple[type[BaseModel], ...] = ()
