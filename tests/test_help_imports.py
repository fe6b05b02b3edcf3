"""No help waits for what only the command itself needs: every path of the command line imports light modules."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from fedaffect.edge.cli.queue import _KINDS
from fedaffect.edge.store import Kind

# Each command of the tree in a process of its own, forked before anything is imported.
PROGRAM = """
import json, os, sys
import click
from fedaffect.edge.cli.main import fedaffect

HEAVY = ("torch", "flwr", "ray", "transformers", "opacus", "pydantic", "scipy", "onnx", "onnxruntime", "sqlalchemy")
HEAVY += ("alembic", "fastapi", "uvicorn", "grpc", "httpx", "av", "cryptography", "tokenizers", "importlib.metadata")

def help_of(path):
    ctx, command = click.Context(fedaffect), fedaffect
    for name in path:
        command = command.get_command(ctx, name)
        ctx = click.Context(command, parent=ctx, info_name=name)
    command.get_help(ctx)
    inner = command.list_commands(ctx) if isinstance(command, click.Group) else []
    return inner, [name for name in HEAVY if name in sys.modules]

def forked(path):
    reader, writer = os.pipe()
    if not os.fork():
        os.write(writer, json.dumps(help_of(path)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        inner, heavy = json.loads(answer.read())
    os.wait()
    found[" ".join(["fedaffect", *path])] = heavy
    for name in inner:
        forked([*path, name])

found = {}
forked([])
print(json.dumps(found))
"""


def test_no_help_imports_what_is_slow() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert {"fedaffect", "fedaffect simulate", "fedaffect server keys create", "fedaffect edge predict"} <= set(found)
    assert {name: heavy for name, heavy in found.items() if heavy} == {}


def test_kinds_that_the_command_line_names_are_all_there_are() -> None:
    assert sorted(_KINDS) == sorted(Kind)


def test_a_run_over_features_imports_nothing_that_only_others_need() -> None:
    """Networks that learn, signal processing and Flower's own engine: five seconds of a processor before a run."""
    program = """
import json, sys
import fedaffect.simulation.cli.simulating
print(json.dumps([n for n in ("transformers", "scipy.signal", "scipy.stats", "flwr.simulation") if n in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
