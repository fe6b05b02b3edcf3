"""How the console's calls are answered: in a thread, with what was refused as a status that the page understands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.responses import Response

from fedaffect.edge.errors import FedAffectError
from fedaffect.server.errors import Conflict, InvalidRequest, NotFound, ServingError, Unavailable
from fedaffect.server.registry import RegistryUnavailable
from fedaffect.server.registry.errors import RolloutConflict, RunConflict, UnknownRun
from fedaffect.server.serving.http.description import COMPONENTS

T = TypeVar("T")


async def called(call: Callable[[], T]) -> T:
    """What a call gives that reads or writes the registry, off the event loop.

    Raises
    ------
    ServingError
        For whatever it refuses, with the same words.
    """
    return await reached(asyncio.to_thread(call))


async def reached(answer: Awaitable[T]) -> T:
    """An answer for which the registry is needed.

    Raises
    ------
    ServingError
        For whatever is refused, with the same words.
    """
    try:
        return await answer
    except RegistryUnavailable:
        # Its address is the operator's.
        raise Unavailable("the server's registry does not answer; try again in a moment") from None
    except ServingError:
        raise
    except (RolloutConflict, RunConflict) as error:
        raise Conflict(str(error)) from error
    except UnknownRun as error:
        raise NotFound(str(error)) from error
    except FedAffectError as error:
        raise InvalidRequest(str(error)) from error


def not_kept(response: Response) -> None:
    """Say that no cache may keep an answer."""
    response.headers["Cache-Control"] = "no-store"


def body(kind: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI of a body that the handler reads itself."""
    schema = {"$ref": f"{COMPONENTS}{kind.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
