"""From a model folder to an engine: the two ways in which a server computes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from edge_runtime.errors import BundleError, unknown_name
from server.serving.engine import Engine
from server.serving.versions import Opener

ENGINES: Final = ("local", "ray")


def default_model() -> Path:
    """Folder of the model that comes with the package.

    Raises
    ------
    BundleError
        If it is not there.
    """
    folder = Path(__file__).parents[1] / "full_model" / "trained"
    if not (folder / "model.json").is_file():
        raise BundleError("no model comes with this installation; name a folder with --model FOLDER")
    return folder


def opener_of(engine: str, *, device: str, precision: str, compile: bool, random_init: bool) -> Opener:
    """How a model folder is opened.

    Parameters
    ----------
    engine : {"local", "ray"}
        In this process with its own batcher, or as Ray Serve deployments.
    device, precision, compile
        As in `server.full_model.compute.Compute`.
    random_init : bool
        Weights that were never trained, for benchmarks; every reply says so.

    Raises
    ------
    ConfigError
        On an unknown engine.
    """
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)

    async def open_local(folder: Path) -> Engine:
        # Here, not above: torch and transformers take seconds to import, which `--help` need not wait for.
        from server.full_model import FullModel
        from server.full_model.compute import Compute
        from server.serving.batcher import BatcherConfig
        from server.serving.local_engine import LocalEngine

        compute = Compute(device=device, precision=precision, compile=compile)
        model = await asyncio.to_thread(FullModel.load, folder, compute, random_init=random_init)
        return LocalEngine(model, BatcherConfig())

    return open_local
