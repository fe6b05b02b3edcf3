"""Updates that are broken, boosted or forged: each rejected by name, and the round goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict
from tests.support.in_process_grid import InProcessGrid

from fedaffect.client.cohort import Cohort
from fedaffect.client.fixed_point import FixedPointSum
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.wire import ARRAYS, DIVERGED, METRICS, SUMS, named_to_record, to_record
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.robustness.reply_validation import UpdateRejectedError, UpdateValidator
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings

CLIENTS, BAD = 6, 2
LAYOUT = ArrayLayout(("adapters.text.weight", "head"), ((4,), (3,)))
ConfigOf = Callable[..., RunSettings]
Forge = Callable[[Message], None]


class ForgingGrid(InProcessGrid):
    """One client's replies are changed on their way."""

    def __init__(self, forge: Forge) -> None:
        super().__init__(CLIENTS)
        self.forge = forge

    def _answer(self, message: Message) -> Message:
        reply = super()._answer(message)
        if self.nodes[message.metadata.dst_node_id] == BAD and message.metadata.message_type == "train":
            self.forge(reply)
        return reply


def arrays(reply: Message, change: Callable[[np.ndarray], np.ndarray]) -> None:
    record = reply.content.array_records[ARRAYS]
    reply.content[ARRAYS] = ArrayRecord({name: Array(change(array.numpy())) for name, array in record.items()})


def nan(reply: Message) -> None:
    arrays(reply, lambda array: np.full_like(array, np.nan))


def boosted(reply: Message) -> None:
    arrays(reply, lambda array: array + np.float32(5.0))


def double(reply: Message) -> None:
    arrays(reply, lambda array: array.astype(np.float64))


def reshaped(reply: Message) -> None:
    arrays(reply, lambda array: array.reshape(-1, 1))


def lacking(reply: Message) -> None:
    reply.content.array_records[ARRAYS].pop("head.bias")


def negative(reply: Message) -> None:
    reply.content.metric_records[METRICS]["num-examples"] = -5


def no_loss(reply: Message) -> None:
    reply.content.metric_records[METRICS]["train_loss"] = float("nan")


def pretends_to_be_a_sum(reply: Message) -> None:
    record = reply.content.array_records[ARRAYS]
    layout = ArrayLayout(tuple(record), tuple(tuple(array.shape) for array in record.values()))
    forged = FixedPointSum(layout)
    forged.add(torch.full((layout.size,), 3.0), {"": 1_000})
    reply.content[SUMS] = named_to_record(forged.to_arrays())


FORGERIES = [
    (nan, "NaN"),
    (boosted, "--norm-bound"),
    (double, "float64"),
    (reshaped, "shape"),
    (lacking, "head.bias"),
    (negative, "-5 examples"),
    (no_loss, "loss is nan"),
    (pretends_to_be_a_sum, "no arrays of its own"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("forge", "why"), FORGERIES, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("strategy", ["fedavg", "fedmedian"])
def test_a_forged_update_is_named_and_the_round_goes_on_without_it(
    cohort_folder: Path, config_of: ConfigOf, forge: Forge, why: str, strategy: str
) -> None:
    settings = {"rounds": 1, "clients_per_round": CLIENTS, "strategy": strategy}
    config = config_of(norm_bound=3.0, **settings)
    folder = RunFolder.create(config)
    run_federation(ForgingGrid(forge), config, cohort_folder, folder)

    (record,) = folder.metrics()
    name = Cohort.load(cohort_folder).client_names[BAD]
    assert (record["clients"], record["failures"]) == (CLIENTS - 1, 1)
    assert list(record["rejected"]) == [name]
    assert why in record["rejected"][name]
    assert folder.summary()["rejected_updates"] == 1

    # The same as if it had never come.
    def silent(partition: int, message: Message) -> None:
        if partition == BAD:
            raise RuntimeError("gone")

    config = config_of(name="without", max_failed_share=1.0, **settings)
    without = RunFolder.create(config)
    run_federation(InProcessGrid(CLIENTS, fault=silent), config, cohort_folder, without)
    for key, array in without.checkpoints.load(1).arrays.items():
        np.testing.assert_array_equal(array, folder.checkpoints.load(1).arrays[key])


def test_a_bound_lets_in_what_is_within() -> None:
    start = torch.ones(7)
    validator = UpdateValidator(LAYOUT, start, norm_bound=1.0)
    inside = start.clone()
    inside[0] += 1.0
    arrays = validator.read(_reply(inside)).arrays
    assert arrays is not None
    assert torch.equal(arrays, inside)
    with pytest.raises(UpdateRejectedError, match=r"1\.5 is above 1 "):
        validator.read(_reply(start + torch.tensor([1.5, 0, 0, 0, 0, 0, 0])))


def _reply(flat: torch.Tensor) -> Message:
    metrics = MetricRecord({"num-examples": 1, "train_loss": 1.0})
    return Message(RecordDict({ARRAYS: to_record(LAYOUT, flat), METRICS: metrics}), 1, "train")


def test_one_client_that_diverges_does_not_end_the_run(cohort_folder: Path, config_of: ConfigOf) -> None:
    config = config_of(rounds=2, clients_per_round=CLIENTS, max_failed_share=0.5)

    class Diverging(InProcessGrid):
        def _answer(self, message: Message) -> Message:
            if message.metadata.message_type == "train" and self.nodes[message.metadata.dst_node_id] == BAD:
                return Message(Error(DIVERGED, "the loss went away"), reply_to=message)
            return super()._answer(message)

    grid = Diverging(CLIENTS)
    folder = RunFolder.create(config)
    run_federation(grid, config, cohort_folder, folder)
    assert [(r["clients"], r["failures"]) for r in folder.metrics()] == [(5, 1), (5, 1)]
    assert folder.metrics()[0]["first_failure"] == "the loss went away"


def test_a_bound_where_updates_are_hidden_is_refused(config_of: ConfigOf) -> None:
    with pytest.raises(ConfigError, match="--secagg hides"):
        config_of(norm_bound=1.0, secagg=True)
    with pytest.raises(ConfigError, match="--norm-bound must be 0 or more"):
        config_of(norm_bound=-1.0)
