"""The requests that a message consists of, answered by Flower's own functions without its web framework around them.

A message and its reply are some twenty requests to the SuperLink, and each goes through eight layers of middleware,
FastAPI's dependencies and some changes of thread: about a third of what it costs. Here Flower's functions that check
who asks and those that answer are called one after the other in one thread. Whatever they refuse or raise goes through
Flower's own layers again, which say it in their words. Where this Flower has other functions, nothing is replaced.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedaffect.client.flower_compat.fitting import fits, has_function, module_or_none
from fedaffect.client.protocol.long_poll import replayed, request_body

logger = logging.getLogger(__name__)

# Writers of SQLite wait for one another.
_AT_ONCE: Final = 8
_FLEET: Final = (
    "pull-messages",
    "push-messages",
    "pull-object",
    "push-object",
    "confirm-message-received",
    "send-node-heartbeat",
)
_RUNTIME: Final = ("pull-messages", "push-messages", "pull-object", "push-object", "confirm-message-received")
_TAKES: Final = ("request", "state")
_FLEET_TAKES: Final = dict.fromkeys(("pull-messages", "confirm-message-received"), (*_TAKES, "store"))
# All layers that Flower 1.42 has, outermost first; one that it does not have may refuse what no function here looks at.
_LAYERS: Final = (
    "ControlSensitiveResponseMiddleware",
    "BaseHTTPMiddleware",
    "ControlAuthenticationMiddleware",
    "ControlLicenseMiddleware",
    "ProtobufTranslationMiddleware",
    "ControlEventLogMiddleware",
    "NodeAuthMiddleware",
    "FleetEventLogMiddleware",
)
_DEPENDENCIES: Final = {"VersionDependency"}
_OK: Final = 200

_Answer = Callable[[Request, bytes], bytes]


class DirectRequests:
    """An ASGI app that answers some paths itself, and hands on what it cannot.

    Parameters
    ----------
    app : ASGI app
    answers : mapping of str to callable
        By path; told the request and its body. What one raises is left to the app.
    media_type : str
        Of requests and answers; others are the app's.
    """

    def __init__(self, app: ASGIApp, answers: Mapping[str, _Answer], media_type: str) -> None:
        self._app = app
        self._answers = answers
        self._media_type = media_type.encode()
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="direct")
        self._warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        answer = self._answers.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if answer is None or dict(scope["headers"]).get(b"content-type") != self._media_type:
            await self._app(scope, receive, send)
            return
        body = await request_body(receive)
        if body is None:
            return
        # A state of its own: what Flower's functions leave there must not meet its layers.
        request = Request({**scope, "state": {}})
        try:
            data = await asyncio.get_running_loop().run_in_executor(self._pool, answer, request, body)
        except Exception as error:  # noqa: BLE001 - Flower's layers come to the same, and have the words
            await self._app(scope, replayed(body, receive), self._watched(send, scope["path"], error))
            return
        headers = [(b"content-type", self._media_type), (b"content-length", str(len(data)).encode())]
        await send({"type": "http.response.start", "status": _OK, "headers": headers})
        await send({"type": "http.response.body", "body": data})

    def _watched(self, send: Send, path: str, error: Exception) -> Send:
        """Say once where Flower's layers answer what its functions did not."""

        async def watched(message: Message) -> None:
            if message.get("status") == _OK and not self._warned:
                self._warned = True
                logger.warning("Flower answers %s, its functions alone do not (%r); requests cost more", path, error)
            await send(message)

        return watched


def answering_directly(app: Any) -> ASGIApp:
    """A SuperLink's app with :class:`DirectRequests` before it; the app itself where this Flower does not fit."""
    answers = _answers(app)
    if not fits(answers is not None, "each request to the SuperLink goes through its web framework") or not answers:
        return app  # type: ignore[no-any-return]
    constants: Any = module_or_none("flwr.supercore.protobuf.constants")
    return DirectRequests(app, answers, constants.PROTOBUF_MEDIA_TYPE)


def _answers(app: Any) -> Mapping[str, _Answer] | None:
    """Flower's functions by path; None where one of them is missing or takes something else."""
    fleet: Any = module_or_none("flwr.superlink.servicer.fleet.fleet_handlers")
    runtime: Any = module_or_none("flwr.superlink.servicer.runtime.runtime_handlers")
    nodes: Any = module_or_none("flwr.superlink.routers.fleet.node_auth")
    tasks: Any = module_or_none("flwr.supercore.dependencies.task")
    versions: Any = module_or_none("flwr.supercore.dependencies.version")
    types = getattr(module_or_none("flwr.supercore.protobuf.translation"), "PROTOBUF_REQUEST_TYPES", {})
    paths = [f"/v1/fleet/{name}" for name in _FLEET] + [f"/v1/runtime/{name}" for name in _RUNTIME]
    met = (
        all(("POST", path) in types for path in paths)
        and all(has_function(fleet, _function(name), _FLEET_TAKES.get(name, _TAKES)) for name in _FLEET)
        and all(has_function(runtime, _function(name), (*_TAKES, "task")) for name in _RUNTIME)
        and has_function(nodes, "authenticate_node", ("request",))
        and has_function(tasks, "authenticate_task", ("request", "token", "state"))
        and has_function(versions, "VersionDependency", ("component_name", "connection_name"))
        and hasattr(tasks, "TASK_TOKEN_HEADER")
        and hasattr(module_or_none("flwr.supercore.protobuf.constants"), "PROTOBUF_MEDIA_TYPE")
        and _has_known_layers(app)
        and hasattr(getattr(app, "state", None), "linkstate_factory")
        # They would be told of every request.
        and getattr(app.state, "fleet_event_log_plugin", None) is None
    )
    if not met:
        return None
    check_version = versions.VersionDependency(component_name="SuperLink", connection_name="Runtime API")

    def of_node(name: str, kind: Any, request: Request, body: bytes) -> bytes:
        request.scope["app"] = app
        said = request.state.protobuf_request = kind.FromString(body)
        nodes.authenticate_node(request)
        state = app.state.linkstate_factory.state()
        more = {"store": state.object_store} if "store" in _FLEET_TAKES.get(name, ()) else {}
        answer: bytes = getattr(fleet, _function(name))(request=said, state=state, **more).SerializeToString()
        return answer

    def of_task(name: str, kind: Any, request: Request, body: bytes) -> bytes:
        check_version(request)
        state = app.state.linkstate_factory.state()
        task = tasks.authenticate_task(request, request.headers.get(tasks.TASK_TOKEN_HEADER), state)
        answer: bytes = getattr(runtime, _function(name))(kind.FromString(body), state, task).SerializeToString()
        return answer

    found: dict[str, _Answer] = {}
    for name in _FLEET:
        path = f"/v1/fleet/{name}"
        found[path] = partial(of_node, name, types["POST", path])
    for name in _RUNTIME:
        path = f"/v1/runtime/{name}"
        found[path] = partial(of_task, name, types["POST", path])
    return found


def _has_known_layers(app: Any) -> bool:
    """Whether nothing stands before the functions that this module does not call itself or know to be about others."""
    layers = tuple(layer.cls.__name__ for layer in getattr(app, "user_middleware", ()))
    routers = (
        getattr(module_or_none("flwr.superlink.routers.fleet.router"), "router", None),
        getattr(module_or_none("flwr.supercore.routers.runtime.router"), "router", None),
    )
    asked = [each.dependency for router in routers for each in getattr(router, "dependencies", ())]
    return layers == _LAYERS and {type(each).__name__ for each in asked} <= _DEPENDENCIES


def _function(name: str) -> str:
    return name.replace("-", "_")
