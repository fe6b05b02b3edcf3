"""Where a run starts from: the weights of a bundle, of an earlier run, of a file, or those that this project ships."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.layout import ADAPTER_PREFIX
from fedaffect.client.task import ClientTask
from fedaffect.edge.bundle import MANIFEST, Bundle, default_bundle_path, keys_of
from fedaffect.edge.bundle.archive import unpack
from fedaffect.edge.errors import BundleError, ConfigError
from fedaffect.server.federation.run_folder import CONFIG, SUMMARY, RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.federation.start import FreshStart, Start
from fedaffect.server.models.bundling.fusion import FusionWeights, read_fusion
from fedaffect.server.models.bundling.recipe import DEFAULT_FUSION, describe
from fedaffect.server.trained_fusion import fusion_at

DEFAULT: Final = "default"
_HEAD: Final = ("head.weight", "head.bias")
_MARKS: Final = "modality_embedding.weight"


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """Weights to start from, and where they come from; a `fedaffect.server.federation.start.Start`.

    Parameters
    ----------
    name : str
        As the user named it.
    fusion : FusionWeights
    encoder_keys : mapping of str to frozenset of str
        Keys of the encoders that they learned on, by modality; a modality of which nothing is known is not there.
    bundle : str
        Version of the bundle that carries them; empty where none does.
    """

    name: str
    fusion: FusionWeights
    encoder_keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    bundle: str = ""

    def weights(self, task: ClientTask, seed: int) -> Tensor:
        """Their parameters, shape (P,), where the task's model has a place for them.

        A label or a stream that the task has and they lack gets fresh parameters. Those of streams that the task lacks
        are left out.

        Raises
        ------
        ConfigError
            If they are of other encoders, of another model, or of labels that the task lacks.
        """
        cohort = task.cohort
        self._require_encoders(cohort.about.get("encoder_keys", {}))
        if lost := [label for label in self.fusion.labels.labels if label not in cohort.label_names]:
            raise self._misfit(f"knows {', '.join(lost)}, which the run's labels lack", "choose other --labels")
        fresh = task.layout.unflatten(task.initial_weights(seed))
        streams = list(cohort.widths)
        arrays = {name: self._array(name, values, streams, cohort.label_names) for name, values in fresh.items()}
        if extra := [n for n in self.fusion.state if n not in fresh and not _is_of_another_stream(n, streams)]:
            raise self._misfit(f"has {extra[0]!r}, which the run's model lacks", "leave --model and its options out")
        return task.layout.flatten(arrays)

    def _array(
        self, name: str, fresh: NDArray[np.float32], streams: Sequence[str], labels: Sequence[str]
    ) -> NDArray[np.float32]:
        """One parameter: theirs, with fresh rows where the run has a label or a stream more."""
        mine = list(self.fusion.widths)
        if _is_of_another_stream(name, mine):
            return fresh
        if name not in self.fusion.state:
            raise self._misfit(f"has no {name!r}, which the run's model has", "leave --model and its options out")
        known = np.asarray(self.fusion.state[name].float().numpy())
        rows = {_MARKS: (streams, mine), **dict.fromkeys(_HEAD, (labels, self.fusion.labels.labels))}.get(name)
        if rows is None or known.shape[1:] != fresh.shape[1:]:
            if known.shape != fresh.shape:
                raise self._misfit(
                    f"has {name!r} of shape {known.shape}, and the run's model of {fresh.shape}",
                    "leave --model-option and --modalities out",
                )
            return known
        wanted, there = rows
        taken = fresh.copy()
        for row, one in enumerate(wanted):
            if one in there:
                taken[row] = known[list(there).index(one)]
        return taken

    def _require_encoders(self, keys: Mapping[str, Any]) -> None:
        for modality, known in self.encoder_keys.items():
            said = keys.get(modality)
            here = {said} if isinstance(said, str) else set(said or ())
            if here and not here <= known:
                raise self._misfit(
                    f"learned on other {modality} encoders than those of the run", "give its bundle as --bundle"
                )

    def _misfit(self, why: str, remedy: str) -> ConfigError:
        return ConfigError(f"--start-from {self.name} {why}; {remedy}")

    def about(self) -> Mapping[str, Any]:
        """Where they come from, with the runs and bundles before."""
        digest = hashlib.sha256()
        for name in sorted(self.fusion.state):
            digest.update(name.encode() + self.fusion.state[name].contiguous().numpy().tobytes())
        source = self.fusion.source
        return {
            "from": self.name,
            "name": f"{source.package} {source.version}".strip(),
            "bundle": self.bundle,
            "sha256": digest.hexdigest(),
            "lineage": [dict(one) for one in self.fusion.lineage],
        }


def _is_of_another_stream(name: str, streams: Sequence[str]) -> bool:
    return name.startswith(ADAPTER_PREFIX) and name.split(".")[1] not in streams


def start_of(config: RunSettings) -> Start:
    """What a run's first round begins from, by its settings.

    Raises
    ------
    ConfigError, BundleError, RunError
        If it cannot be found or read.
    """
    name = config.model.start_from
    return FreshStart() if name is None else starting_point(name, config.output.out)


def with_start(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run by flat name, in whatever case, with those of its starting point where the user gave none.

    Model, its options and label set are those of the weights; the starting point is named by its absolute path.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    said = {str(name).replace("-", "_"): value for name, value in given.items()}
    name = said.get("start_from")
    if not name:
        return given
    out = Path(str(said.get("out", "runs")))
    fusion = starting_point(str(name), out).fusion
    of_start: dict[str, Any] = {"labels": fusion.labels.name, "model": fusion.model}
    if said.get("model", fusion.model) == fusion.model:
        of_start["model_options"] = dict(fusion.options)
    place = {"start_from": name if name == DEFAULT else str(_path(str(name), out).absolute())}
    kept = {key: value for key, value in given.items() if str(key).replace("-", "_") != "start_from"}
    return {**kept, **place, **{key: value for key, value in of_start.items() if key not in said}}


def starting_point(name: str, out: Path = Path("runs")) -> StartingPoint:
    """A starting point by name.

    Parameters
    ----------
    name : str
        ``default``, a bundle's folder or tar, a run's folder or its name, or a safetensors file of ours.
    out : Path
        Where run folders lie.

    Raises
    ------
    ConfigError
        If nothing of that name is there.
    BundleError, RunError
        If what is there cannot be read, or carries no weights.
    """
    if name == DEFAULT:
        return _default()
    path = _path(name, out)
    if (path / MANIFEST).is_file() or (path.is_file() and tarfile.is_tarfile(path)):
        with bundle_at(path) as bundle:
            return replace(of_bundle(bundle), name=name)
    if (path / CONFIG).is_file():
        return _of_run(name, path)
    if path.is_file():
        return StartingPoint(name, read_fusion(path))
    raise ConfigError(f"--start-from {name} is a folder of neither a bundle nor a run; give one of them")


@contextmanager
def bundle_at(path: Path) -> Iterator[Bundle]:
    """A bundle by its folder or its tar, which is unpacked for as long as the ``with`` lasts.

    Raises
    ------
    BundleError
        If there is none, or it is not sound or not to be trusted.
    """
    if not path.is_file():
        yield Bundle.load(path)
        return
    with TemporaryDirectory(prefix="fedaffect-bundle-") as scratch:
        yield Bundle.load(unpack(path, Path(scratch) / "bundle"), source=path)


def of_bundle(bundle: Bundle) -> StartingPoint:
    """The weights that a bundle carries.

    Raises
    ------
    BundleError
        If it carries none, as bundles of before and those of encoders alone do.
    """
    entry, keys = bundle.manifest.fusion, {m: keys_of(e) for m, e in bundle.manifest.encoders.items()}
    if entry is None:
        raise BundleError(f"{bundle.path} holds encoders alone; start from one that predicts")
    if entry.weights is not None:
        fusion = read_fusion(bundle.path / entry.weights.file)
    elif entry.source.version == str(describe(DEFAULT_FUSION).get("version")):
        fusion = read_fusion(DEFAULT_FUSION)
    else:
        raise BundleError(f"{bundle.path} carries no weights to start from; give the run that it was made of")
    fitted = replace(fusion, calibration=bundle.manifest.calibration)
    return StartingPoint(str(bundle.path), fitted, {m: keys[m] for m in fusion.widths}, bundle.version)


def _default() -> StartingPoint:
    """The weights that this project ships, with the encoders of the bundle that was built here, if any was."""
    fusion = read_fusion(DEFAULT_FUSION)
    built = default_bundle_path()
    if (built / MANIFEST).is_file():
        point = of_bundle(Bundle.load(built))
        if point.fusion.source == fusion.source:
            return replace(point, name=DEFAULT)
    return StartingPoint(DEFAULT, fusion)


def _of_run(name: str, path: Path) -> StartingPoint:
    fusion = fusion_at(path)
    folder = RunFolder.open(path)
    about = folder.summary().get("about", {}) if (path / SUMMARY).is_file() else {}
    said: Mapping[str, Any] = about.get("encoder_keys", {})
    keys = {m: frozenset([key] if isinstance(key, str) else key) for m, key in said.items()}
    return StartingPoint(name, fusion, {m: key for m, key in keys.items() if m in fusion.widths})


def _path(name: str, out: Path) -> Path:
    for path in (Path(name).expanduser(), out / name):
        if path.exists():
            return path
    raise ConfigError(
        f"--start-from {name} is nothing that is there; give a bundle, a run, a safetensors file, or {DEFAULT}"
    )
