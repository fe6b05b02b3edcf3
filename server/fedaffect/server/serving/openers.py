"""From a model folder to an engine: the two ways in which a server computes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fedaffect.edge.errors import BundleError, ConfigError, unknown_name
from fedaffect.server.serving.decoding.decoders import Decoders
from fedaffect.server.serving.engines.engine import Engine
from fedaffect.server.serving.engines.versions import Opener
from fedaffect.server.serving.gateway.metrics import Metrics

if TYPE_CHECKING:
    from fedaffect.edge.sample import Waveform
    from fedaffect.server.models.full_model.compute import Compute

ENGINES: Final = ("local", "ray")
_DEFAULT: Final = Path(__file__).parents[1] / "models" / "full_model" / "trained" / "cloud-embedded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Computing:
    """How model folders are computed.

    Parameters
    ----------
    engine : {"local", "ray"}
        In this process with its own batcher, or as Ray Serve deployments.
    device, precision, compile
        As in `fedaffect.server.models.full_model.compute.Compute`.
    random_init : bool
        Weights that were never trained, for benchmarks; every reply says so.
    transcribe : bool
        Find words in sounds for callers who ask for it; only with ``local``.
    ray_settings : Path, optional
        File of `fedaffect.server.serving.engines.ray_settings.RaySettings`.
    """

    engine: str = "local"
    device: str = "cpu"
    precision: str = "fp32"
    compile: bool = False
    random_init: bool = False
    transcribe: bool = False
    ray_settings: Path | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise unknown_name("engine", self.engine, ENGINES)
        if self.ray_settings is not None and self.engine != "ray":
            raise ConfigError("--ray-settings is for --engine ray; leave it out")
        if self.transcribe and self.engine != "local":
            raise ConfigError("--transcribe is for --engine local; leave it out")


def default_model() -> Path:
    """Folder of the model that comes with the package.

    Raises
    ------
    BundleError
        If it is not there.
    """
    if not (_DEFAULT / "model.json").is_file():
        raise BundleError("no model comes with this installation; name a folder with --model FOLDER")
    return _DEFAULT


def opener_of(computing: Computing, metrics: Metrics, decoders: Decoders) -> Opener:
    """How a model folder is opened.

    Parameters
    ----------
    computing : Computing
    metrics : Metrics
        Learns of the queues and batches of engines in this process.
    decoders : Decoders
        Open what callers sent, for all engines.

    Raises
    ------
    ConfigError
        On a device that is not there, or settings that contradict each other.
    """
    # Here, not above: torch and transformers take seconds to import, which `--help` need not wait for.
    from fedaffect.server.models.full_model.compute import Compute

    compute = Compute(device=computing.device, precision=computing.precision, compile=computing.compile)
    if computing.engine == "ray":
        return _ray_opener(compute, computing, decoders)
    return _local_opener(compute, metrics, computing, decoders)


def _local_opener(compute: Compute, metrics: Metrics, computing: Computing, decoders: Decoders) -> Opener:
    transcriber = _transcriber(computing.transcribe)

    async def open_local(folder: Path) -> Engine:
        from fedaffect.server.models.full_model import FullModel
        from fedaffect.server.serving.engines.local_engine import LocalEngine

        model = await asyncio.to_thread(FullModel.load, folder, compute, random_init=computing.random_init)
        batches = metrics.batch_size.labels(model.card.version)
        engine = LocalEngine(model, transcriber=transcriber, on_batch=batches.observe, decoders=decoders)
        metrics.watch_queue(engine.batcher)
        return engine

    return open_local


def _transcriber(wanted: bool) -> Callable[[Waveform], str] | None:
    if not wanted:
        return None
    from fedaffect.edge.transcription import Whisper

    return Whisper()


def _ray_opener(compute: Compute, computing: Computing, decoders: Decoders) -> Opener:
    try:
        from fedaffect.server.serving.engines.ray_engine import RayOpener
        from fedaffect.server.serving.engines.ray_settings import RaySettings
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"--engine ray needs {error.name}, which is not installed: pip install 'fedaffect[simulation]'"
        ) from error
    path = computing.ray_settings
    settings = RaySettings.read(path) if path else None
    return RayOpener(settings, compute, random_init=computing.random_init, decoders=decoders)
