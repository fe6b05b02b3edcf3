"""Where a run starts from: the weights of a bundle, of an earlier run, of a file, or those that this project ships."""

from __future__ import annotations

import hashlib
import logging
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
from fedaffect.edge.labels import label_set
from fedaffect.server.federation.run_folder import CONFIG, SUMMARY, RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.federation.start import FreshStart, Start
from fedaffect.server.models.bundling.fusion import FusionWeights, read_fusion
from fedaffect.server.models.bundling.recipe import DEFAULT_FUSION, describe
from fedaffect.server.pretrained_streams import PretrainedStreams, digest_of, is_pretrained, keys_in, read_streams
from fedaffect.server.trained_fusion import fusion_at

logger = logging.getLogger("flwr")

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

    def settings(self) -> dict[str, Any]:
        """Settings of a run that starts from them, where its user gave none."""
        fusion = self.fusion
        return {"labels": fusion.labels.name, "model": fusion.model, "model_options": dict(fusion.options)}

    def weights(self, task: ClientTask, seed: int) -> Tensor:
        """Their parameters, shape (P,), where the task's model has a place for them.

        A label or a stream that the task has and they lack gets fresh parameters. Those of streams that the task lacks
        are left out, and so are those of ratings, with a warning.

        Raises
        ------
        ConfigError
            If they are of other encoders, of another model, or of labels that the task lacks.
        """
        cohort = task.cohort
        self.require_encoders(cohort.about.get("encoder_keys", {}))
        if lost := [label for label in self.fusion.labels.labels if label not in cohort.label_names]:
            raise self.misfit(f"knows {', '.join(lost)}, which the run's labels lack", "choose other --labels")
        if left := [rating for rating in self.fusion.ratings if rating not in cohort.rating_names]:
            logger.warning("the run does not go on with what %s rates: %s", self.name, ", ".join(left))
        fresh = task.layout.unflatten(task.initial_weights(seed))
        streams = list(cohort.widths)
        arrays = {name: self._array(name, values, streams, cohort.output_names) for name, values in fresh.items()}
        if extra := [n for n in self.fusion.state if n not in fresh and not _is_of_another_stream(n, streams)]:
            raise self.misfit(f"has {extra[0]!r}, which the run's model lacks", "leave --model and its options out")
        return task.layout.flatten(arrays)

    def _array(
        self, name: str, fresh: NDArray[np.float32], streams: Sequence[str], labels: Sequence[str]
    ) -> NDArray[np.float32]:
        """One parameter: theirs, with fresh rows where the run has a label or a stream more."""
        mine = list(self.fusion.widths)
        if _is_of_another_stream(name, mine):
            return fresh
        if name not in self.fusion.state:
            raise self.misfit(f"has no {name!r}, which the run's model has", "leave --model and its options out")
        known = np.asarray(self.fusion.state[name].float().numpy())
        answers = (*self.fusion.labels.labels, *self.fusion.ratings)
        rows = {_MARKS: (streams, mine), **dict.fromkeys(_HEAD, (labels, answers))}.get(name)
        if rows is None or known.shape[1:] != fresh.shape[1:]:
            if known.shape != fresh.shape:
                raise self.misfit(
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

    def require_encoders(self, keys: Mapping[str, Any]) -> None:
        """Refuse a run over other encoders, by the keys of the run's, as its cohort names them."""
        for modality, known in self.encoder_keys.items():
            here = keys_in(keys, modality)
            if here and not here <= known:
                raise self.misfit(
                    f"learned on other {modality} encoders than those of the run", "give its bundle as --bundle"
                )

    def misfit(self, why: str, remedy: str) -> ConfigError:
        """That it cannot be started from, in one line."""
        return ConfigError(f"--start-from {self.name} {why}; {remedy}")

    def about(self) -> Mapping[str, Any]:
        """Where they come from, with the runs and bundles before."""
        source = self.fusion.source
        return {
            "from": self.name,
            "name": f"{source.package} {source.version}".strip(),
            "bundle": self.bundle,
            "licence": source.licence,
            "sha256": digest_of(self.fusion.state),
            "lineage": [dict(one) for one in self.fusion.lineage],
        }


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Several starting points of one model, each of streams of its own; a `fedaffect.server.federation.start.Start`.

    What belongs to a stream is taken from the point that has it. Of the rest, matrices stand side by side, as the
    streams do in what they multiply, and vectors are averaged: so MFER's last stage begins (its section III).

    Parameters
    ----------
    points : tuple of StartingPoint
    """

    points: tuple[StartingPoint, ...]

    def weights(self, task: ClientTask, seed: int) -> Tensor:
        """Their parameters, shape (P,).

        Raises
        ------
        ConfigError
            If a stream is known to none of them or to several, labels are others than the run's, or a parameter of
            all streams together cannot be put together.
        """
        owners: dict[str, StartingPoint] = {}
        for stream in task.cohort.widths:
            having = [point for point in self.points if stream in point.fusion.widths]
            if len(having) != 1:
                known = " and ".join(point.name for point in having) or "none of those of --start-from"
                raise ConfigError(f"{stream} is known to {known}; start from one run for each stream")
            owners[stream] = having[0]
        for point in self.points:
            point.require_encoders(task.cohort.about.get("encoder_keys", {}))
            if point.fusion.labels.labels != task.cohort.label_names:
                raise point.misfit(f"answers {point.fusion.labels.name}", "start from runs of the same labels")
        # In the order of the streams, each once.
        parts = list(dict.fromkeys(point.name for point in owners.values()))
        ordered = [next(point for point in self.points if point.name == name) for name in parts]
        shapes = dict(zip(task.layout.names, task.layout.shapes, strict=True))
        return task.layout.flatten({name: _joined(name, shape, owners, ordered) for name, shape in shapes.items()})

    def about(self) -> Mapping[str, Any]:
        """Where they come from, with the runs and bundles before."""
        each = [point.about() for point in self.points]
        return {
            "from": ",".join(one["from"] for one in each),
            "name": " and ".join(one["name"] for one in each),
            "bundle": "",
            "sha256": hashlib.sha256("".join(one["sha256"] for one in each).encode()).hexdigest(),
            "lineage": [before for one in each for before in one["lineage"]],
        }


def _joined(
    name: str, shape: tuple[int, ...], owners: Mapping[str, StartingPoint], ordered: Sequence[StartingPoint]
) -> NDArray[np.float32]:
    """One parameter of a model that begins from several."""
    part = name.split(".")[1] if "." in name else ""
    those = [owners[part]] if part in owners else ordered
    arrays = [np.asarray(p.fusion.state[name].float().numpy()) for p in those if name in p.fusion.state]
    if len(arrays) == len(those):
        if len(shape) == 2 and len(arrays) > 1:
            arrays = [np.concatenate(arrays, axis=1)] if len({len(array) for array in arrays}) == 1 else []
        if arrays and all(array.shape == shape for array in arrays):
            mean: NDArray[np.float32] = np.mean(arrays, axis=0, dtype=np.float32)
            return mean
    raise ConfigError(
        f"--start-from several cannot put {name!r} of shape {shape} together from "
        f"{' and '.join(p.name for p in those)}; models whose streams meet in their last layer can, such as mfer"
    )


def _is_of_another_stream(name: str, streams: Sequence[str]) -> bool:
    return name.startswith(ADAPTER_PREFIX) and name.split(".")[1] not in streams


def start_of(config: RunSettings) -> Start:
    """What a run's first round begins from, by its settings.

    Raises
    ------
    ConfigError, BundleError, RunError
        If it cannot be found or read.
    """
    name, out = config.model.start_from, config.output.out
    if name is None:
        return FreshStart()
    names = _names(name, out)
    if len(names) == 1:
        return _any_start(name, out, config)
    return SideBySide(tuple(starting_point(one, out, config) for one in names))


def with_start(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run by flat name, in whatever case, with those of its starting point where the user gave none.

    Model, its options and any label set are those of the weights; the starting point is named by its absolute path.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    said = {str(name).replace("-", "_"): value for name, value in given.items()}
    name = said.get("start_from")
    if not name:
        return given
    out = Path(str(said.get("out", "runs")))
    names = _names(str(name), out)
    of_start = _any_start(names[0], out).settings()
    if said.get("model", of_start["model"]) != of_start["model"]:
        del of_start["model_options"]
    elif "experts" in of_start["model_options"] and not _same_answers(said, of_start["labels"]):
        # How it multiplies what it says of each modality follows from the classes that it favours.
        logger.warning("modalities meet in the model: how %s multiplies them is for %s alone", name, of_start["labels"])
        of_start["model_options"] = {k: v for k, v in of_start["model_options"].items() if k != "experts"}
    place = {"start_from": ",".join(one if one == DEFAULT else str(_path(one, out).absolute()) for one in names)}
    kept = {key: value for key, value in given.items() if str(key).replace("-", "_") != "start_from"}
    return {**kept, **place, **{key: value for key, value in of_start.items() if key not in said}}


def _same_answers(said: Mapping[str, Any], labels: str) -> bool:
    wanted = str(said.get("labels", labels))
    return not said.get("targets") and (wanted == labels or label_set(wanted).labels == label_set(labels).labels)


def _names(name: str, out: Path) -> list[str]:
    """One starting point, or several between commas."""
    if name == DEFAULT or any(path.exists() for path in (Path(name).expanduser(), out / name)):
        return [name]
    return [one.strip() for one in name.split(",")]


def _any_start(name: str, out: Path, config: RunSettings | None = None) -> StartingPoint | PretrainedStreams:
    """A starting point by name, or streams that `fedaffect pretrain` left."""
    path = None if name == DEFAULT else _path(name, out)
    if path is not None and path.is_file() and not tarfile.is_tarfile(path) and is_pretrained(path):
        return read_streams(path, name)
    return starting_point(name, out, config)


def starting_point(name: str, out: Path = Path("runs"), config: RunSettings | None = None) -> StartingPoint:
    """A starting point by name.

    Parameters
    ----------
    name : str
        ``default``, a bundle's folder or tar, a run's folder or its name, or a safetensors file of ours.
    out : Path
        Where run folders lie.
    config : RunSettings, optional
        Of the run that begins: of a run of folds it takes the model of its own fold; without it, that of the first.

    Raises
    ------
    ConfigError
        If nothing of that name is there, or its folds are others.
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
        return _of_run(name, _fold_of(path, config))
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


def _fold_of(path: Path, config: RunSettings | None) -> Path:
    """A run's folder, or of a run of folds the one that learned from the same people as the run that begins."""
    run = RunFolder.open(path).config
    if not run.evaluation.folds or run.evaluation.fold is not None:
        return path
    if config is None:
        return path / "fold-1"
    mine, theirs = (
        (c.data.dataset, c.evaluation.folds, c.evaluation.folds_over, c.federation.seed) for c in (config, run)
    )
    if config.evaluation.fold is None or mine != theirs:
        raise ConfigError(
            f"--start-from {path.name} has folds, and may have learned from people whom this run tests; "
            f"give the same --dataset, --folds, --folds-over and --seed, or one of its folds"
        )
    return path / f"fold-{config.evaluation.fold}"


def _of_run(name: str, path: Path) -> StartingPoint:
    fusion = fusion_at(path)
    folder = RunFolder.open(path)
    about = folder.summary().get("about", {}) if (path / SUMMARY).is_file() else {}
    said: Mapping[str, Any] = about.get("encoder_keys", {})
    return StartingPoint(name, fusion, {m: keys_in(said, m) for m in said if m in fusion.widths})


def _path(name: str, out: Path) -> Path:
    for path in (Path(name).expanduser(), out / name):
        if path.exists():
            return path
    raise ConfigError(
        f"--start-from {name} is nothing that is there; give a bundle, a run, a safetensors file, or {DEFAULT}"
    )
