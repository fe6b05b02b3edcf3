"""What server and worker tell each other first: where the worker runs, what it sees there, and of what code it is."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import ray

import fedaffect.client
import fedaffect.edge
import fedaffect.simulation

# What decides the bits of an update beside our own code.
_LIBRARIES = ("torch", "numpy", "flwr")
# Name, size and time of the last change of each file of a folder.
Signature = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a worker is told.

    Parameters
    ----------
    node : str
        Ray's id of the node that the server runs on; empty where it runs on none.
    folder : Path, optional
        Files on the server's machine that workers need: a cohort's.
    signature : Signature
        Of that folder.
    """

    node: str
    folder: Path | None
    signature: Signature


@dataclass(frozen=True, slots=True)
class Hello:
    """What it answers.

    Parameters
    ----------
    node : str
        Ray's id of its node.
    address : str
        That node's address, for people.
    code : mapping of str to str
        As :func:`code_in_use`.
    sees_folder : bool
        Whether the same files lie at the same place there: the server's machine, or a file system that both share.
    """

    node: str
    address: str
    code: Mapping[str, str]
    sees_folder: bool


def answer_greeting(greeting: Greeting) -> Hello:
    """What a worker says of the place that it runs in."""
    return Hello(
        ray.get_runtime_context().get_node_id(),
        ray.util.get_node_ip_address(),  # type: ignore[no-untyped-call]
        code_in_use(),
        signature_of(greeting.folder) == greeting.signature,
    )


def signature_of(folder: Path | None) -> Signature:
    """What tells whether two processes see the same folder, without reading it; empty where there is none."""
    if folder is None:
        return ()
    try:
        stats = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    except OSError:
        return ()
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


@cache
def code_in_use() -> Mapping[str, str]:
    """Versions of what decides a client's update: Python, libraries, and our code with a hash of its files.

    A hash too, because a version says nothing about a checkout.
    """
    digest = hashlib.sha256()
    for package in (fedaffect.edge, fedaffect.client, fedaffect.simulation):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    own = f"{version('fedaffect')} ({digest.hexdigest()[:8]})"
    return {
        "fedaffect": own,
        "Python": platform.python_version(),
        **{name: version(name).partition("+")[0] for name in _LIBRARIES},
    }
