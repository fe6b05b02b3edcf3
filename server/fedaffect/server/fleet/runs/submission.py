"""A fleet's run as an app that Flower can run: a folder that names what to import, and the settings.

No code travels: ``fedaffect.server.app`` and ``fedaffect.client.app`` are those installed with the aggregator and on
the device. The whole project as an app (``flwr run .``) works beside it, for nodes that have only Flower.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from fedaffect.client.protocol.strict import StrictModel, read_values
from fedaffect.edge.errors import ConfigError, unknown_name
from fedaffect.edge.system.files import private_folder, write_private
from fedaffect.edge.system.toml_files import toml_text
from fedaffect.server.federation.settings import RunSettings, to_flwr
from fedaffect.server.registry.groups import LONGEST
from fedaffect.server.registry.runs import RUN_ID

# Key of the run config that names the fleet's run which a Flower run resumes.
FLEET_RUN: Final = "fleet-run"
COHORT_FOLDER: Final = "cohort-folder"
GATHER: Final = "gather-s"
TIMEOUT: Final = "timeout-s"
MIN_DEVICES: Final = "min-devices"
ROLLOUT: Final = "rollout"
GROUP: Final = "group"
BY_REGION: Final = "by-region"
_OWN_KEYS: Final = (COHORT_FOLDER, GATHER, TIMEOUT, MIN_DEVICES, ROLLOUT, GROUP, BY_REGION)


class FleetRunSettings(StrictModel):
    """Settings that only a fleet's run has.

    ``cohort-folder`` is a cohort that is prepared already, on the aggregator's machine. ``gather-s`` is how long a
    round waits for devices that are not online. ``timeout-s`` is how long it waits for the least that it needs, which
    is ``min-devices``, before the run ends as failed. ``rollout`` is the share of devices, in percent, that get the
    run's bundle when it has ended; 0 leaves that to the operator. ``group`` is the group of the devices that are asked;
    all are if it is not given. ``by-region`` says that those are regions, each with devices of its own; the service
    sets it.
    """

    cohort_folder: Annotated[str | None, Field(alias=COHORT_FOLDER, min_length=1)] = None
    gather_s: Annotated[float | None, Field(alias=GATHER, ge=0, le=86_400)] = None
    timeout_s: Annotated[float | None, Field(alias=TIMEOUT, gt=0)] = None
    min_devices: Annotated[int | None, Field(alias=MIN_DEVICES, ge=1, le=1_000_000)] = None
    rollout: Annotated[float | None, Field(alias=ROLLOUT, ge=0, le=100)] = None
    group: Annotated[str | None, Field(min_length=1, max_length=LONGEST)] = None
    by_region: Annotated[bool, Field(alias=BY_REGION)] = False


def checked_settings(given: Mapping[str, Any], out: Path) -> tuple[str, dict[str, Any]]:
    """A run's id, and its settings as a flat Flower run config.

    Parameters
    ----------
    given : mapping
        Settings of `RunSettings` and of `FleetRunSettings` in kebab-case.
    out : Path
        The folder of the fleet's run folders.

    Raises
    ------
    ConfigError
        If a setting is unknown or does not fit, or the name cannot be a folder's.
    """
    settings = dict(given)
    own: dict[str, Any] = {key: settings.pop(key) for key in _OWN_KEYS if key in settings}
    fleet = read_values(FleetRunSettings, own, "the run's settings")
    config = RunSettings.of({**settings, "engine": "flower", "out": str(out)})
    if config.federation.mode != "federated":
        raise ConfigError(f"a fleet has no mode {config.federation.mode}; use fedaffect simulate for it")
    if config.engine.regions is not None:
        raise ConfigError("a fleet's regions are those that joined it (fedaffect fleet region); leave regions out")
    _check_names(config)
    if fleet.by_region:
        _check_regions(config, fleet)
    if not RUN_ID.fullmatch(config.run_name):
        raise ConfigError(f"{config.run_name!r} cannot name a run; use at most 64 letters, digits, dots and dashes")
    flat: dict[str, Any] = {**to_flwr(config), "name": config.run_name}
    # Of simulations, and not to be given to a Flower run.
    for key in ("engine", "actors", "gpus-per-actor", "cohort-size", "ray-address", "regions"):
        flat.pop(key, None)
    if fleet.cohort_folder is not None:
        if not Path(fleet.cohort_folder).is_dir():
            raise ConfigError(f"there is no cohort in {fleet.cohort_folder}; give a folder on the aggregator's machine")
        flat[COHORT_FOLDER] = str(Path(fleet.cohort_folder).absolute())
    flat |= fleet.model_dump(by_alias=True, exclude_none=True, exclude={"cohort_folder", "by_region"})
    if fleet.by_region:
        flat[BY_REGION] = True
    return config.run_name, flat


def of_fleet(settings: Mapping[str, Any]) -> tuple[FleetRunSettings, dict[str, Any]]:
    """The settings that only a fleet's run has, and all others, of those that `checked_settings` made."""
    own = {key: value for key, value in settings.items() if key in _OWN_KEYS}
    rest = {key: value for key, value in settings.items() if key not in _OWN_KEYS}
    return read_values(FleetRunSettings, own, "the run's settings"), rest


def _check_names(config: RunSettings) -> None:
    """Refuse an unknown strategy, option or model now: the run would be recorded, and fail when it is executed."""
    from fedaffect.client.algorithms.registry import algorithm
    from fedaffect.client.models.registry import model_names
    from fedaffect.server.federation.strategies.registry import complete_options, require_suited, strategy_entry

    if config.model.model not in model_names():
        raise unknown_name("model", config.model.model, model_names())
    entry = strategy_entry(config.federation.strategy)
    complete_options(entry, config.federation.strategy_options)
    require_suited(config, entry)
    if algorithm(entry.algorithm).unseen_rule:
        raise ConfigError(
            f"{config.federation.strategy} is of simulations: no bundle holds what it leaves on devices; use fedavg, "
            f"beside which devices learn a part of their own (fedaffect edge personal)"
        )


def _check_regions(config: RunSettings, fleet: FleetRunSettings) -> None:
    """Refuse what regions, which pass up sums alone, do not do."""
    from fedaffect.server.federation.strategies.registry import strategy_entry

    strategy = config.federation.strategy
    if not strategy_entry(strategy).needs_mean_only:
        raise ConfigError(f"{strategy} compares single updates, and regions pass up sums; use one such as fedavg")
    if config.time.over_selection > 1:
        raise ConfigError("over-selection takes the first who answer, and regions pass up sums of all; leave it out")
    if config.evaluation.evaluate == "clients":
        raise ConfigError("regions pass up sums of updates, and no figures of devices; leave evaluate=clients out")
    if fleet.rollout:
        raise ConfigError(
            "a bundle goes to devices by their own region: leave rollout out, then fedaffect server bundles add there"
        )


def write_app(folder: Path, run_id: str, settings: Mapping[str, Any]) -> Path:
    """Write the app that executes a run: a folder that ``flwr run`` takes too."""
    private_folder(folder.parent)
    app = private_folder(folder)
    project = {
        "name": "fedaffect-fleet",
        "version": version("fedaffect"),
        "description": "A run of a fedaffect fleet; the code is what is installed",
        "license": "Apache-2.0",
        "dependencies": [],
    }
    flower = {
        "publisher": "fedaffect",
        "components": {"serverapp": "fedaffect.server.app:app", "clientapp": "fedaffect.client.app:app"},
        "config": {**settings, FLEET_RUN: run_id},
    }
    text = toml_text({"project": project, "tool": {"flwr": {"app": flower}}})
    write_private(app / "pyproject.toml", text.encode(), replace=True)
    return app
