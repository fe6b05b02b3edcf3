"""A browser's page, as far as the console can tell: its cookie, its origin, its header on writes."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from fedaffect.server.console.doors import COOKIE
from fedaffect.server.console.origin import WRITES

PASSWORD = "several quiet words"


class ConsolePage:
    """Asks a server's console as the page does.

    Parameters
    ----------
    url : str
        Of the server's REST.
    tls : ssl.SSLContext, optional
        That knows the server's certificate.
    """

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        headers = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=60, verify=tls or True)

    def __enter__(self) -> ConsolePage:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def get(self, path: str, **query: Any) -> httpx.Response:
        """A look."""
        return self.http.get(f"/v1/console{path}", params=query)

    def post(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> httpx.Response:
        """An act."""
        return self.http.post(f"/v1/console{path}", json=body or {}, headers=headers or {WRITES: "1"})

    def log_in(self, name: str, password: str = PASSWORD) -> httpx.Response:
        """Log in; the cookie is kept."""
        return self.post("/login", {"name": name, "password": password})

    @property
    def cookie(self) -> str | None:
        """The cookie that is kept."""
        return self.http.cookies.get(COOKIE)

    @contextmanager
    def events(self, path: str, last: int | None = None) -> Iterator[Iterator[Told]]:
        """A stream of server-sent events."""
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        with self.http.stream("GET", f"/v1/console{path}", headers=headers) as reply:
            assert reply.status_code == 200, reply.read()
            assert reply.headers["content-type"].startswith("text/event-stream")
            yield _events(reply.iter_lines())


@dataclass(frozen=True, slots=True)
class Told:
    """One event."""

    kind: str
    data: dict[str, Any]
    id: int | None


def _events(lines: Iterator[str]) -> Iterator[Told]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        elif "event" in fields:
            yield Told(fields["event"], json.loads(fields["data"]), int(fields["id"]) if "id" in fields else None)
            fields = {}


def refusal(reply: httpx.Response) -> tuple[int, str]:
    """Status and kind of a refusal."""
    return reply.status_code, str(reply.json()["error"]["type"])
