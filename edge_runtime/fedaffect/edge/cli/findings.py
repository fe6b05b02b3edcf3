"""What `fedaffect doctor` looks at that needs no other room than this one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final

from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.system.findings import Finding, room
from fedaffect.edge.system.folders import cache_folder, data_folder

_PYTHONS: Final = ((3, 11), (3, 14))
_MEMINFO: Final = Path("/proc/meminfo")


def python_here() -> Finding:
    """Whether this Python runs the project."""
    here = sys.version_info[:2]
    first, last = _PYTHONS
    if first <= here < last:
        return Finding("python", "good", f"{sys.version.split()[0]}")
    return Finding("python", "missing", f"{here[0]}.{here[1]} is not supported", "install Python 3.11 and make setup")


def packages_of(*extras: str) -> Iterator[Finding]:
    """Whether what the project and some of its extras need is installed, in versions that fit."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield Finding("packages", "warning", "their versions cannot be checked", "pip install packaging")
        return
    wanted, queue = [], [*extras, ""]
    for extra in queue:
        for line in requires("fedaffect") or ():
            need = Requirement(line)
            chosen = not need.marker or need.marker.evaluate({"extra": extra})
            if not chosen or (extra and need.marker and need.marker.evaluate({"extra": ""})):
                continue
            if need.name == "fedaffect":
                queue += sorted(need.extras - set(queue))
            else:
                wanted.append(need)
    found = 0
    install = f"pip install -c constraints.txt 'fedaffect[{','.join(extras)}]'" if extras else "pip install fedaffect"
    for need in wanted:
        try:
            here = version(need.name)
        except PackageNotFoundError:
            yield Finding(f"package {need.name}", "missing", "is not installed", install)
            continue
        if not need.specifier.contains(here, prereleases=True):
            yield Finding(f"package {need.name}", "missing", f"is {here}, and {need.specifier} is wanted", install)
            continue
        found += 1
    yield Finding("packages", "good", f"{found} of {len(wanted)} are installed in versions that fit")


def disks() -> Iterator[Finding]:
    """Of what this user keeps."""
    yield room(data_folder(), "data")
    yield room(cache_folder(), "the cache")


def memory(least_gb: float) -> Finding:
    """Whether there is memory enough now."""
    try:
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text(encoding="ascii").splitlines())
        free = int(lines["MemAvailable"].split()[0]) / 2**20
    except (OSError, KeyError, ValueError):
        return Finding("memory", "warning", "how much is free is not known here")
    said = f"{free:.1f} GB are free"
    if free < least_gb:
        return Finding("memory", "warning", f"{said}, {least_gb:g} are wanted", "end other programs, or add memory")
    return Finding("memory", "good", said)


def media() -> Finding:
    """Whether sound and films can be opened."""
    try:
        import av
        import soundfile  # type: ignore[import-untyped]

        return Finding("media", "good", f"PyAV {av.__version__}, soundfile {soundfile.__version__}")
    except (ImportError, OSError) as error:
        return Finding("media", "missing", f"cannot be opened: {error}", "pip install -c constraints.txt av soundfile")


def bundle() -> Finding:
    """Whether there is a bundle to run, and it is what was signed."""
    # Here, as it imports ONNX Runtime.
    from fedaffect.edge.bundle import Bundle
    from fedaffect.edge.bundle.store import usual_bundle_path

    try:
        opened = Bundle.load(usual_bundle_path())
    except FedAffectError as error:
        return Finding("bundle", "missing", str(error), "fedaffect bundle build --if-missing")
    return Finding("bundle", "good", f"version {opened.manifest.version}")
