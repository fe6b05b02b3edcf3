"""What all tests share: where real corpora lie, and folders of their own, so that no test writes into the user's."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings
from tests.support.built_edge import BuiltEdge, built_edge_in

# Test processes are as many as there are cores: threads beside them would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where a server takes more all the same, its threads sleep while they wait: others have work for the core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Each of them, and each of the hundreds that tests start, would compile every module again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# The same examples every time: what passes for one person passes for the next.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

# Folders and files, under tests/, whose tests get a marker; fixtures below mark the others.
_MARKED: Final = {
    "slow": (
        "client/stacked/",
        "edge/runtime/test_commands.py",
        "edge/runtime/test_fetch_command.py",
        "edge/runtime/test_inputs.py",
        "edge/runtime/test_long_media.py",
        "edge/runtime/test_recording.py",
        "edge/test_transcription.py",
        "server/serving/test_decoding.py",
        "server/test_demo.py",
        "simulation/attacks/",
        "simulation/cli/",
        "simulation/privacy_attacks/",
        "simulation/privacy_curve/",
        "simulation/shared_emotions/",
        "simulation/test_live.py",
        "simulation/test_sweep.py",
        "test_help_imports.py",
    ),
    "ray": (
        "server/serving/test_ray_application.py",
        "server/serving/test_ray_engine.py",
        "simulation/test_engines.py",
        "simulation/test_killed.py",
    ),
    "fleet": ("server/fleet/", "server/test_demo.py"),
}
_MARKING_FIXTURES: Final = {
    **{"shared_data": "corpora", "built_edge": "slow"},
    **{"connected": "ray", "one_ray": "ray", "a_fleet": "fleet", "postgresql_url": "fleet"},
}

# Files that take minutes. One that begins among the last keeps all other processes waiting, and several at once keep
# each other waiting, as most start servers and Ray.
_LONG: Final = (
    "test_readme.py",
    "simulation/grid/test_machines.py",
    "server/fleet/test_fleet_at_work.py",
    "server/fleet/test_circle.py",
    "server/test_demo.py",
    "server/fleet/test_bad_links.py",
    "test_examples.py",
    "simulation/cli/test_simulate.py",
    "edge/test_no_telemetry.py",
    "simulation/test_api.py",
    "server/serving/test_ray_engine.py",
    "server/serving/test_ray_application.py",
    "server/serving/test_serve_command.py",
    "simulation/test_engines.py",
    "simulation/test_killed.py",
    "test_wheel.py",
    "simulation/test_fine_tuning_workers.py",
    "client/onnx_engine/test_training.py",
    "client/onnx_engine/test_step.py",
    "simulation/grid/test_private_grid.py",
    "server/models/bundling/test_command.py",
    "server/test_up.py",
)

# Objects that runs of a federation leave frozen before they are looked at again.
_MOST_FROZEN: Final = 200_000

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import nothing of which no test is wanted: half of a quick run would be Ray's and Flower's imports."""
    terms = config.option.markexpr.split(" and ")
    unwanted = {term[4:] for term in terms if term.startswith("not ")}
    return True if unwanted & _marks_of(collection_path) else None


def pytest_collection_finish() -> None:
    """Let collections of garbage pass over all modules, which each run of a federation would walk for half a second."""
    _freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """One thread again: an engine that served in this process leaves torch as many as the machine has cores.

    Convolutions of a later test took forty times as long beside other test processes.
    """
    if (torch := sys.modules.get("torch")) is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Look again at what runs have frozen, once it is much: some of it is garbage by now."""
    if gc.get_freeze_count() > _frozen[0] + _MOST_FROZEN:
        gc.unfreeze()
        _freeze()


_frozen = [0]


def _freeze() -> None:
    gc.collect()
    gc.freeze()
    _frozen[0] = gc.get_freeze_count()


def _marks_of(path: Path) -> set[str]:
    return {mark for mark, places in _MARKED.items() if _place(path).startswith(places)}


def _place(path: Path) -> str:
    return path.relative_to(Path(__file__).parent).as_posix()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by where they stand and by the fixtures that they ask for; have long files begin early."""
    for item in items:
        marks = _marks_of(item.path)
        marks |= {_MARKING_FIXTURES[name] for name in getattr(item, "fixturenames", ()) if name in _MARKING_FIXTURES}
        for mark in sorted(marks):
            item.add_marker(mark)
    files = list(dict.fromkeys(item.path for item in items))
    long = [path for path in files if _place(path) in _LONG]
    # One by one among the first half of the others.
    apart = max(1, (len(files) - len(long)) // (2 * len(long) + 1))
    when = {path: number + 0.0 for number, path in enumerate(path for path in files if path not in long)}
    when |= {path: number * apart - 0.5 for number, path in enumerate(long)}
    items.sort(key=lambda item: when[item.path])


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """The folder of a real corpus; skips, saying why, where the machine does not have it."""

    def folder(name: str) -> Path:
        path = SHARED / "data" / name
        if not path.is_dir():
            pytest.skip(f"the real corpus {name} is not on this machine (looked for ../shared/data/{name})")
        return path

    return folder


@pytest.fixture(scope="session")
def built_edge(tmp_path_factory: pytest.TempPathFactory) -> BuiltEdge:
    """The bundle of the packaged weights, where a user's own build puts it."""
    return built_edge_in(tmp_path_factory)


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For what many tests share: bundles made once are opened, with their maker's key, by all of them."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("CONFIG", "CACHE", "DATA"):
            patch.setenv(f"FEDAFFECT_{kind}", str(tmp_path_factory.mktemp(kind.lower())))
        yield


@pytest.fixture(autouse=True)
def _fresh_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("CACHE", "DATA"):
        monkeypatch.setenv(f"FEDAFFECT_{kind}", str(tmp_path / kind.lower()))
