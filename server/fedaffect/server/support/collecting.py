"""One archive of what a maintainer needs: versions, settings, findings, counts and ends of logs; nothing personal.

Of the fleet's folder only files with known names are read, and never keys, tokens, databases, runs or bundles. Every
text passes `Redaction`. Names of devices and people come from the registries, the fleet's own too where another one is
named: unless all of them answer, logs stay out, since nobody could say which of their words are names.
"""

from __future__ import annotations

import io
import json
import os
import platform
import socket
import sys
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from fedaffect.edge.errors import ConfigError, FedAffectError
from fedaffect.edge.system.files import write_private
from fedaffect.edge.system.findings import Finding
from fedaffect.server.fleet.setup.folder import SETTINGS, FleetFolder
from fedaffect.server.registry import Registry, api_keys, portable
from fedaffect.server.registry.fleet_tables import DeviceRow, EnrolmentTokenRow
from fedaffect.server.registry.run_tables import RunRow
from fedaffect.server.registry.user_tables import UserRow
from fedaffect.server.support.redaction import Redaction

_TAIL_BYTES: Final = 200_000
# Of the environment; what others set is theirs.
_OURS: Final = ("FEDAFFECT_", "OTEL_", "RAY_SERVE_", "OMP_", "CUDA_")


def collect(out: Path, fleet: FleetFolder | None, registry_url: str | None, findings: Iterable[Finding]) -> list[str]:
    """Write the archive, readable by this user alone.

    Parameters
    ----------
    out : Path
        Must not exist yet.
    fleet : FleetFolder, optional
    registry_url : str, optional
        Of the registry whose rows are counted; the server's if not given.
    findings : iterable of Finding
        Of the doctor.

    Returns
    -------
    list of str
        The names of the files in it.

    Raises
    ------
    ConfigError
        If the file exists.
    """
    if out.exists():
        raise ConfigError(f"{out} exists; choose another name with --out")
    names, counts = _known(registry_url)
    # What --registry or the environment names may be the cloud's, and the logs are the fleet's.
    if fleet is not None and fleet.settings.registry != registry_url:
        names = _both(names, _known(fleet.settings.registry)[0])
    hosts = () if fleet is None else (*fleet.settings.hosts, fleet.settings.name)
    mine = (socket.gethostname(), os.environ.get("USER", ""), *hosts)
    common = {"localhost", "127.0.0.1", "fleet", "root"}
    clean = Redaction({*(names or ()), *mine} - common, _home())
    parts: dict[str, str] = {
        "versions.json": _json(_versions()),
        "environment.json": _json(_environment()),
        "doctor.json": _json([asdict(finding) for finding in findings]),
        "registry.json": _json(counts if counts is not None else "the registry does not answer"),
    }
    if fleet is not None:
        parts[SETTINGS] = (fleet.path / SETTINGS).read_text(encoding="utf-8")
        if names is None:
            parts["logs/LEFT-OUT"] = "unless every registry answers, nobody knows which words of a log are names"
        else:
            parts |= {f"logs/{path.name}": _tail(path) for path in sorted(fleet.logs.glob("*.log"))}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in parts.items():
            data = clean(text).encode()
            about = tarfile.TarInfo(clean(name))
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    write_private(out, buffer.getvalue())
    return [clean(name) for name in parts]


def _versions() -> dict[str, Any]:
    installed = {d.metadata["Name"]: d.version for d in distributions() if d.metadata["Name"]}
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        # Not the machine's name, which `platform.platform` leaves out too.
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "packages": dict(sorted(installed.items())),
    }


def _environment() -> dict[str, str]:
    ours = {name: value for name, value in sorted(os.environ.items()) if name.startswith(_OURS)}
    # OTEL_EXPORTER_OTLP_HEADERS and its like hold a key, under a name that each service chooses.
    return {name: "[set]" if name.endswith("HEADERS") else value for name, value in ours.items()}


def _known(url: str | None) -> tuple[set[str] | None, Mapping[str, int] | None]:
    """Names that people chose, and rows by table; None where the registry does not answer."""
    try:
        with Registry.connect(url) as registry, registry.reading() as session:
            columns = (DeviceRow.name, DeviceRow.id, DeviceRow.group, EnrolmentTokenRow.note, UserRow.name, RunRow.id)
            names = {str(name) for column in columns for name in session.scalars(select(column))}
            labels = {label for some in session.scalars(select(DeviceRow.labels)) for label in some}
            counts = portable.count(session)
            keys = {key.name for key in api_keys.every(registry)}
            return names | labels | keys, counts
    except FedAffectError:
        return None, None


def _both(names: set[str] | None, others: set[str] | None) -> set[str] | None:
    return None if names is None or others is None else names | others


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        # The first line may have begun before.
        whole = file.read().decode(errors="replace")
        return whole if path.stat().st_size <= _TAIL_BYTES else whole.partition("\n")[2]


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n"
