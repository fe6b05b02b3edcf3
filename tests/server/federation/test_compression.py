"""Whole runs with compressed updates, over grids that fold and grids that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, Message
from tests.support.in_process_grid import InProcessGrid

from fedaffect.client.wire import ARRAYS, COMPRESSED, METRICS, SECAGG
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings

CLIENTS = 6
ConfigOf = Callable[..., RunSettings]


class Listening(InProcessGrid):
    """Keeps what travels up, and may change it."""

    def __init__(self, change: Callable[[Message], None] = lambda reply: None) -> None:
        super().__init__(CLIENTS)
        self.replies: list[Message] = []
        self.records: list[set[str]] = []
        self.change = change

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        replies = super().pull_messages(message_ids)
        for reply in replies:
            if reply.has_content() and METRICS in reply.content and "train_loss" in reply.content[METRICS]:
                self.records.append(set(reply.content))
                self.change(reply)
        return replies


def run(
    config: RunSettings, cohort: Path, grid: InProcessGrid | None = None, resume: RunFolder | None = None
) -> RunFolder:
    folder = resume or RunFolder.create(config)
    run_federation(grid or Listening(), config, cohort, folder, resume=resume is not None)
    return folder


def distance(one: RunFolder, other: RunFolder, number: int) -> float:
    ours, theirs = (folder.checkpoints.load(number).arrays for folder in (one, other))
    return float(np.sqrt(sum(np.square(ours[name] - theirs[name]).sum() for name in ours)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "less", "off"), [("fp16", 0.55, 0.002), ("int8", 0.35, 0.05), ("top-k:0.1", 0.35, 1.0)]
)
@pytest.mark.parametrize("strategy", ["fedavg", "fedmedian"])
def test_updates_travel_smaller_and_arrive_much_the_same(
    cohort_folder: Path, config_of: ConfigOf, how: str, less: float, off: float, strategy: str
) -> None:
    settings = {"rounds": 2, "clients_per_round": 6, "strategy": strategy}
    plain = run(config_of(name="plain", **settings), cohort_folder)
    grid = Listening()
    smaller = run(config_of(name="smaller", compression=how, **settings), cohort_folder, grid)
    assert len(grid.records) == 12
    assert all(records == {COMPRESSED, METRICS} for records in grid.records)
    # Each array of the plain reply has a header of its own; a parameter is four bytes of it.
    key = "bytes_up_per_client_update"
    assert smaller.summary()[key] < less * 4 * smaller.summary()["trainable_parameters"] + 1_500
    assert smaller.summary()[key] < plain.summary()[key]
    start = RunFolder.open(plain.path).checkpoints.load(1).arrays
    moved = float(np.sqrt(sum(np.square(a - start[n]).sum() for n, a in plain.checkpoints.load(2).arrays.items())))
    assert 0 < distance(plain, smaller, 1) < off * moved + 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("how", ["int8", "top-k:0.1"])
def test_a_resumed_run_reaches_the_very_same_arrays(cohort_folder: Path, config_of: ConfigOf, how: str) -> None:
    config = config_of(rounds=3, clients_per_round=4, compression=how, name="whole")
    whole = run(config, cohort_folder)
    stopped = config_of(rounds=3, clients_per_round=4, compression=how, name="stopped")
    grid = InProcessGrid(CLIENTS)
    folder = RunFolder.create(stopped)

    class Stop(BaseException):
        """In the middle of round 3, when its clients have trained and their feedback has moved on."""

    def stop(partition: int, message: Message) -> None:
        trained.append(partition)
        if message.content.config_records["config"]["server-round"] == 3 and len(trained) == 11:
            raise Stop

    trained: list[int] = []
    grid.fault = stop
    with pytest.raises(Stop):
        run_federation(grid, stopped, cohort_folder, folder)
    again = InProcessGrid(CLIENTS, contexts=grid.contexts)
    run(stopped, cohort_folder, again, resume=RunFolder.open(folder.path))
    for name, array in whole.checkpoints.load(3).arrays.items():
        np.testing.assert_array_equal(folder.checkpoints.load(3).arrays[name], array, err_msg=name)


def test_a_broken_or_uncalled_for_compressed_update_is_rejected_and_the_rest_goes_on(
    cohort_folder: Path, config_of: ConfigOf
) -> None:
    def cut(reply: Message) -> None:
        record = reply.content[COMPRESSED]
        if not cut_already:
            record["/values"] = Array(record["/values"].numpy()[:-1])
            cut_already.append(True)

    cut_already: list[bool] = []
    folder = run(
        config_of(rounds=1, clients_per_round=6, compression="int8", name="cut"), cohort_folder, Listening(cut)
    )
    line = folder.metrics()[0]
    assert (line["clients"], line["failures"]) == (5, 1)
    assert "a compressed update holds" in line["first_failure"]

    def claim(reply: Message) -> None:
        if len(grid.records) == 1:
            reply.content[COMPRESSED] = reply.content.array_records[ARRAYS]
            del reply.content[ARRAYS]

    grid = Listening(claim)
    line = run(config_of(rounds=1, clients_per_round=6, name="claim"), cohort_folder, grid).metrics()[0]
    assert (line["clients"], line["failures"]) == (5, 1)
    assert "nobody asked" in line["first_failure"]


@pytest.mark.slow
def test_under_secure_aggregation_words_are_half_as_wide_once_changes_are_known(
    cohort_folder: Path, config_of: ConfigOf
) -> None:
    settings = {"rounds": 3, "clients_per_round": 6}
    plain = run(config_of(name="plain", **settings), cohort_folder)
    small = run(config_of(name="small", secagg=True, compression="int8", **settings), cohort_folder, Listening())
    first, *later = (line["bytes_up"] // line["clients"] for line in small.metrics())
    parameters = small.summary()["trainable_parameters"]
    assert first > 4 * parameters
    assert all(2 * parameters < up < 2 * parameters + 6_000 for up in later)
    one, two = plain.checkpoints.load(1).arrays, plain.checkpoints.load(2).arrays
    moved = float(np.sqrt(sum(np.square(two[name] - one[name]).sum() for name in one)))
    assert distance(plain, small, 2) < 0.05 * moved
    # A run that goes on uses the same words as one that never stopped: rounding differs, their reach does not.
    journal = (small.path / "secagg.jsonl").read_text()
    assert journal.count('"spread"') == 3


def test_central_privacys_norm_holds_for_every_compressed_update(cohort_folder: Path, config_of: ConfigOf) -> None:
    private = {"dp": "central", "epsilon": 8.0, "clip_norm": 0.01, "dp_noise": "seeded", "dp_sampling": "in-turn",
               "rounds": 1, "clients_per_round": 6}  # fmt: skip
    for how in ("int8", "fp16"):
        # The server measures each: one above the norm would be rejected.
        line = run(config_of(compression=how, name=how, **private), cohort_folder).metrics()[0]
        assert (line["clients"], line["failures"]) == (6, 0)
    masked = run(config_of(compression="int8", secagg=True, name="masked", **private), cohort_folder, Listening())
    assert masked.metrics()[0]["clients"] == 6
    # Nothing of how large changes were is kept: the budget covers the sum of changes alone.
    journal = (masked.path / "secagg.jsonl").read_text()
    assert '"spread"' not in journal


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"secagg": True, "compression": "top-k:0.01"}, "room for all places"),
        ({"secagg": True, "compression": "fp16"}, "whole numbers"),
        ({"compression": "zip"}, "unknown compression"),
        ({"secagg": True, "norm_bound": 1.0}, "--norm-bound"),
    ],
)
def test_what_does_not_go_together_is_refused(
    cohort_folder: Path, config_of: ConfigOf, settings: dict[str, object], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        run(config_of(**settings), cohort_folder)


def test_scaffold_compresses_both_its_vectors_or_none(cohort_folder: Path, config_of: ConfigOf) -> None:
    grid = Listening()
    run(config_of(strategy="scaffold", compression="int8", rounds=1), cohort_folder, grid)
    assert all(records == {COMPRESSED, METRICS} for records in grid.records)
    assert SECAGG not in grid.records[0]
    with pytest.raises(ConfigError, match="control variates"):
        run(config_of(strategy="scaffold", compression="top-k:0.1", name="top-k"), cohort_folder)
