"""A run without a corpus: devices learn from their own examples, from where their bundle stands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from fedaffect.client.cohort import Cohort, TokenTable
from fedaffect.client.corpora.registry import guess
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.wire import ENCODERS, LABELS, LAYOUT, MASKING
from fedaffect.edge.bundle import Bundle, usual_bundle_path
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.server.errors import NotFound
from fedaffect.server.federation.settings import OWN_EXAMPLES, RunSettings
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, bundles, devices, rollouts
from fedaffect.server.starting_point import bundle_at, of_bundle

# Devices of a round, unless the operator asks for more or fewer.
LEAST: Final = 2
# Numbers of a region's devices that left, which none gets again; and of all clients that have a name.
_LEFT: Final = 4_096
_MOST_NAMED: Final = 2**18
# A device that lost its link, or is too slow, keeps the others waiting no longer.
_ROUND_TIMEOUT_S: Final = 600.0
# Of one run; a device's lifetime has 8 unless its user says less.
_EPSILON: Final = 2.0
_DATA: Final = ("dataset", "data-dir", "partition", "cohort-folder")


def is_own(settings: Mapping[str, Any]) -> bool:
    """Whether a run's settings name no data on the server, so that devices learn from what they hold.

    Parameters
    ----------
    settings : mapping
        In kebab-case.
    """
    return not any(settings.get(name) for name in _DATA) or settings.get("dataset") == OWN_EXAMPLES


def bundle_on_offer(registry: Registry) -> Path:
    """The bundle that devices have: the one that all are to run, else the one that this machine uses.

    Returns
    -------
    Path
        Its tar or its folder.
    """
    staged = rollouts.staged(registry)
    if staged is not None and staged.percent == 100:
        return next(b.path for b in bundles.every(registry) if b.version == staged.bundle_version)
    try:
        return bundles.get_offered(registry).path
    except NotFound:
        return usual_bundle_path()


def own_settings(given: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Settings of a run over devices' own examples: what the user left out is as the bundle has it.

    Parameters
    ----------
    given : mapping
        In kebab-case.
    base : Path
        The bundle that devices have.

    Raises
    ------
    ConfigError
        If labels, modalities or model are not the bundle's: no device could take part.
    BundleError
        If it predicts nothing, or carries no weights.
    """
    with bundle_at(base) as bundle:
        fusion = of_bundle(bundle).fusion
    fixed = {
        "labels": fusion.labels.name,
        "modalities": ",".join(fusion.widths),
        "model": fusion.model,
        "dataset": OWN_EXAMPLES,
    }
    for name, value in fixed.items():
        said = given.get(name)
        said = ",".join(map(str, said)) if isinstance(said, list | tuple) else said
        if said is not None and said != value:
            raise ConfigError(
                f"no enrolled device's bundle has {name} {str(said)[:60]!r}, but {value!r}; leave it out, or roll out "
                "a bundle of that kind first"
            )
    usual = {"start-from": str(base), "model-options": dict(fusion.options), "round-timeout-s": _ROUND_TIMEOUT_S}
    return with_usual_noise({**usual, **given, **fixed, "bundle": str(base)})


def with_usual_noise(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run in which devices add noise of their own, unless they say ``dp`` is ``none``, or another."""
    if given.get("dp") == "none":
        return {name: value for name, value in given.items() if name != "dp"}
    return dict(given) if "dp" in given else {"epsilon": _EPSILON, **given, "dp": "local"}


def public_corpora(fleet: FleetFolder) -> dict[str, str]:
    """The setting ``replay`` of the corpora that the operator put into the fleet's folder; nothing where none is there.

    Raises
    ------
    DataError
        If a folder there looks like no corpus.
    """
    folders = sorted(path for path in fleet.public.glob("[!.]*") if path.is_dir())
    return {"replay": ",".join(f"{_corpus_in(path)}={path.absolute()}" for path in folders)} if folders else {}


def _corpus_in(folder: Path) -> str:
    try:
        return guess(folder)
    except DataError:
        raise DataError(
            f"which corpus {folder} holds cannot be told; move it elsewhere, or name it: --replay CORPUS={folder}"
        ) from None


def what_is_learned(settings: Mapping[str, Any]) -> str:
    """From what a run learns, in words, by its checked settings."""
    if settings.get("dataset") == OWN_EXAMPLES:
        path = Path(str(settings["bundle"]))
        # Tars are named by their version.
        version = Bundle.load(path, verify=False, trust=None).version if path.is_dir() else path.stem
        return f"devices learn from their own examples, from bundle {version} on; {_what_is_kept(settings)}"
    return f"a benchmark over partitions of {settings.get('dataset')}, which the server has; no device's own examples"


def _what_is_kept(settings: Mapping[str, Any]) -> str:
    replayed = str(settings.get("replay") or "")
    if not replayed:
        return "nothing protects what it knows already, as --replay names no public corpus"
    names = ", ".join(Path(one.partition("=")[2] or one).name for one in replayed.split(","))
    return f"the server replays {names}, so that it forgets little"


def own_cohort(fleet: FleetFolder, registry: Registry, config: RunSettings) -> Path:
    """A cohort without a row: labels, widths and encoder keys of the run's bundle, clients named as the devices are.

    Returns
    -------
    Path
        A folder for `Cohort.load`; the same while the same devices are enrolled.
    """
    with bundle_at(Path(str(config.data.bundle))) as bundle:
        point = of_bundle(bundle)
    named = _names(registry)
    # Others may join while the run waits for them.
    count = min(max(LEAST, max(named, default=0) + 1), _MOST_NAMED)
    names = tuple(named.get(k, f"device {k}") for k in range(count))
    keys = {modality: sorted(known) for modality, known in point.encoder_keys.items()}
    about = {"dataset": OWN_EXAMPLES, "label_set": point.fusion.labels.name, "encoder_keys": keys, "devices": names}
    digest = hashlib.sha256(json.dumps([about, dict(point.fusion.widths)]).encode()).hexdigest()
    folder = fleet.path / "cohorts" / digest[:24]
    nothing = np.zeros(0, np.int64)
    if not folder.is_dir():
        Cohort(
            tables={
                modality: TokenTable(np.zeros((0, width), np.float16), np.zeros(1, np.int64))
                for modality, width in point.fusion.widths.items()
            },
            present={modality: np.zeros(0, bool) for modality in point.fusion.widths},
            labels=nothing,
            train_labels=nothing,
            client_offsets=np.zeros(len(names) + 1, np.int64),
            client_rows=nothing,
            splits={},
            groups=nothing,
            group_names=(),
            client_names=names,
            label_names=point.fusion.labels.labels,
            about=about,
        ).save(folder)
    return folder


def _names(registry: Registry) -> dict[int, str]:
    """What devices are called, by client; of regions those that the regions said they have."""
    enrolled = [d for d in devices.every(registry) if d.status == "enrolled"]
    regions = [d for d in enrolled if d.region is not None]
    if not regions:
        return {d.partition: d.name for d in enrolled}
    stride = 1 + max(d.partition for d in regions)
    return {
        client_of(d.partition, number, stride): f"{d.name}/{number}"
        for d in regions
        for number in range(_numbers(d.region or {}))
    }


def _numbers(said: Mapping[str, int]) -> int:
    """How many numbers of a region get a name: it says so itself, and no more than its devices make likely."""
    return min(said.get("numbers", 0), said.get("devices", 0) + _LEFT, _MOST_NAMED)


def client_of(region: int, number: int, stride: int) -> int:
    """The number that a root gives a region's device, in a run over devices' own examples.

    Parameters
    ----------
    region, number : int
        Of the region with the root, and of the device with its region.
    stride : int
        More than any region's number.
    """
    return number * stride + region


def terms_of(config: RunSettings, cohort: Cohort, layout: ArrayLayout) -> dict[str, Any]:
    """What a run's messages say of it, for devices to hold against their own examples."""
    terms: dict[str, Any] = {LABELS: config.data.labels}
    if config.data.dataset != OWN_EXAMPLES:
        return terms
    keys = json.dumps(cohort.about["encoder_keys"])
    return {**terms, ENCODERS: keys, LAYOUT: layout.digest(), MASKING: config.secagg.secagg}
