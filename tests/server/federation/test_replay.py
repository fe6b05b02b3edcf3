"""Public data that the server replays keeps what was known; the guard measures it, and decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.in_process_grid import InProcessGrid
from tests.support.small_cohorts import constructed_cohort

from fedaffect.client.cohort import Cohort
from fedaffect.server.federation.guard import LostTooMuch, require_kept
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.starting_point import start_of
from fedaffect.server.trained_fusion import fusion_at, fusion_to_offer

CLIENTS = 3
OPTIONS = {"width": 16, "heads": 2, "feedforward": 32, "dropout": 0.0, "token_dropout": 0.0}
Run = Callable[..., RunFolder]


@pytest.fixture
def known(tmp_path: Path) -> Cohort:
    """What the first weights were learned from, all of it the server's."""
    known = Cohort.load(constructed_cohort(tmp_path / "known", clients=5, examples=40, classes=4, seed=1))
    guard = np.concatenate([known.splits["dev"], known.splits["test"]])
    offsets = np.array([0, len(known.client_rows)])
    return replace(known, splits={"known": guard}, client_offsets=offsets, client_names=("the server",))


@pytest.fixture
def run(tmp_path: Path, known: Cohort) -> Run:
    def carried(
        name: str, cohort: str = "new", grid: InProcessGrid | None = None, steps_back: bool = False, **more: Any
    ) -> RunFolder:
        own = {"dataset": "synthetic", "labels": "synthetic4", "model_options": OPTIONS, "name": name}
        config = RunSettings.of(
            {"rounds": 8, "lr": 0.01, "local_epochs": 2, "out": tmp_path / "runs", **own, **more},
            clients_per_round=5 if cohort == "known" else CLIENTS,
        )
        resumed = (config.output.out / name).is_dir()
        folder = RunFolder.open(config.output.out / name) if resumed else RunFolder.create(config)
        run_federation(
            grid or InProcessGrid(CLIENTS if cohort == "new" else 5),
            config,
            tmp_path / cohort,
            folder,
            resume=resumed,
            start=start_of(config),
            public=lambda like: choosing if steps_back else known,
        )
        return folder

    choosing = replace(known, splits={**known.splits, "choosing.known": known.splits["known"][::2]})
    # Without a development split, so that the last round is taken, as in a fleet.
    new = Cohort.load(constructed_cohort(tmp_path / "with-dev", clients=CLIENTS, classes=4, seed=2))
    replace(new, splits={"test": new.splits["test"]}).save(tmp_path / "new")
    carried("first", "known")
    return carried


def best(folder: RunFolder) -> dict[str, Any]:
    return dict(folder.checkpoints.load(int(folder.summary()["best_round"])).arrays)


def lost(folder: RunFolder) -> float:
    """Points of UAR on people of the known corpus whom nobody learned from."""
    return float(folder.summary()["guard"]["corpora"]["known"]["lost_points"])


def test_replay_keeps_what_a_new_group_would_make_forgotten(run: Run) -> None:
    alone = run("alone", start_from="first", guard="known")
    replayed = run("replayed", start_from="first", replay="known", replay_lr=0.003)
    assert lost(alone) > 15
    assert lost(replayed) < lost(alone) / 3
    # And the new group is learned all the same.
    assert replayed.summary()["test"]["uar"] > alone.summary()["test"]["uar"] - 0.1


def test_a_run_that_loses_more_than_it_may_becomes_no_bundle(run: Run) -> None:
    alone = run("alone", start_from="first", guard="known")
    with pytest.raises(LostTooMuch, match=r"run alone loses \d+\.\d points on \w+ \(.* and --guard-loss allows 1;"):
        fusion_to_offer(alone.path)
    allowed = run("allowed", start_from="first", guard="known", guard_loss=100.0)
    figures = fusion_to_offer(allowed.path).lineage[-1]["guard"]
    assert set(figures) == {"known"}
    assert 100 * (figures["known"][0] - figures["known"][1]) == pytest.approx(lost(allowed), abs=0.02)
    # A run that starts from it knows: its lineage goes on.
    assert [one["run"] for one in fusion_at(allowed.path).lineage] == ["first", "allowed"]
    require_kept("not measured", {})


def test_a_resumed_run_replays_the_same(run: Run, tmp_path: Path) -> None:
    whole = run("whole", start_from="first", replay="known")

    def stop_in_round_4(client: int, message: Any) -> None:
        if dict(message.content.config_records["config"])["server-round"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("cut", grid=InProcessGrid(CLIENTS, fault=stop_in_round_4), start_from="first", replay="known")
    cut = run("cut", start_from="first", replay="known")
    one, other = (folder.checkpoints.load(8).arrays for folder in (whole, cut))
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_replay_spends_no_privacy(run: Run) -> None:
    private = {"start_from": "first", "dp": "local", "epsilon": 8.0, "delta": 1e-3, "rounds": 2}
    alone, replayed = run("alone", **private), run("replayed", replay="known", **private)
    one, other = (folder.summary()["privacy"] for folder in (alone, replayed))
    assert one["epsilon"] == other["epsilon"]
    assert lost(replayed) != lost(alone)


def test_a_run_steps_back_as_far_as_the_guard_needs(run: Run) -> None:
    far = run("far", start_from="first", guard="known")
    back = run("back", steps_back=True, start_from="first", guard="known", guard_loss=5.0)
    assert lost(back) < lost(far)
    start, last, settled = (
        np.concatenate([arrays[name].ravel() for name in sorted(arrays)])
        for arrays in (best(run("first", "known")), best(far), best(back))
    )
    share = float(np.dot(settled - start, last - start) / np.dot(last - start, last - start))
    assert 10 * share == pytest.approx(round(10 * share), abs=1e-3)
    assert 0.49 < share < 0.99
    np.testing.assert_allclose(settled, start + share * (last - start), atol=1e-5)
    assert back.summary()["guard"]["kept_share"] == pytest.approx(share, abs=1e-3)
    assert far.summary()["guard"]["kept_share"] == 1.0


def test_the_trunk_stays_where_adapters_alone_are_learned(run: Run) -> None:
    folder = run("adapters", start_from="first", replay="known", learned="adapters")
    before, after = best(run("first", "known")), best(folder)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {name for name in before if name.startswith("adapters.")}
    assert lost(folder) < lost(run("all", start_from="first", guard="known"))
