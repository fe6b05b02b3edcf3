"""Secure sums by region: the words of one secure sum over all clients, and nothing of one client above its region."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Error, Message
from flwr.common.constant import ErrorCode
from tests.support.counts import weights_of
from tests.support.in_process_grid import InProcessGrid

from fedaffect.client.layout import ArrayLayout
from fedaffect.client.secagg.packing import unpack
from fedaffect.client.update import Update
from fedaffect.client.wire import ARRAYS, METRICS, SECAGG, from_record
from fedaffect.edge.errors import ConfigError, RunError, TrainingError
from fedaffect.server.federation.regions.local import LocalRegions
from fedaffect.server.federation.regions.order import REGION, Order
from fedaffect.server.federation.regions.region_sum import WORDS
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.selection import choose_clients
from fedaffect.server.federation.settings import RunSettings

CLIENTS = 6
ConfigOf = Callable[..., RunSettings]
Answers = list[tuple[Message, Message]]


class Losing(InProcessGrid):
    """Keeps all replies, and loses those that it is told to, by stage and client."""

    def __init__(self, lose: Callable[[str, int], bool] = lambda stage, client: False) -> None:
        super().__init__(CLIENTS)
        self.replies: list[Message] = []
        self.lose = lose

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        given = []
        for message_id in [one for one in message_ids if one in self.waiting]:
            message = self.waiting[message_id]
            (reply,) = super().pull_messages([message_id])
            record = message.content.config_records.get(SECAGG)
            if record is not None and self.lose(str(record["stage"]), int(record["client"])):
                reply = Message(Error(ErrorCode.CLIENT_APP_CRASHED, "out of battery"), reply_to=message)
            self.replies.append(reply)
            given.append(reply)
        return given


def run(config: RunSettings, cohort: Path, grid: InProcessGrid | None = None, resume: bool = False) -> RunFolder:
    folder = RunFolder.open(config.output.out / config.run_name) if resume else RunFolder.create(config)
    run_federation(grid or Losing(), config, cohort, folder, resume=resume)
    return folder


def arrays_of(folder: RunFolder, number: int) -> dict[str, np.ndarray[Any, Any]]:
    checkpoint = folder.checkpoints.load(number)
    return {**checkpoint.arrays, **{f"state.{name}": array for name, array in checkpoint.state.items()}}


def require_same(one: RunFolder, other: RunFolder, number: int) -> None:
    ours, theirs = arrays_of(one, number), arrays_of(other, number)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


@pytest.fixture
def passed_up(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Orders of the root, and what regions answer, while a test runs."""
    seen: Answers = []
    stream = LocalRegions.stream

    def listening(self: LocalRegions, messages: Iterable[Message], **named: Any) -> Iterator[Message]:
        for message in messages:
            for reply in stream(self, [message], **named):
                seen.append((message, reply))
                yield reply

    monkeypatch.setattr(LocalRegions, "stream", listening)
    return seen


@pytest.mark.parametrize(
    "settings",
    [
        {"strategy": "scaffold"},
        {"strategy": "fedadam", "compression": "int8"},
        {"dp": "central", "epsilon": 8.0, "dp_noise": "seeded", "dp_sampling": "in-turn"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_regions_give_the_arrays_of_one_secure_sum(
    cohort_folder: Path, config_of: ConfigOf, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Narrow words are rounded at random, by secrets of each attempt: here by none, so that two runs can be compared.
    monkeypatch.setattr("fedaffect.client.secagg.encoding.derive", lambda *_: bytes(32))
    settings = {"secagg": True, "rounds": 2, "clients_per_round": 6, **settings}
    flat = run(config_of(name="flat", **settings), cohort_folder)
    regional = run(config_of(name="regional", regions=2, **settings), cohort_folder)
    require_same(flat, regional, 2)
    for line, theirs in zip(flat.metrics(), regional.metrics(), strict=True):
        for key in ("clients", "failures", "train_loss", "dev", "privacy"):
            assert line.get(key) == theirs.get(key), key


def test_regions_words_are_the_sum_of_what_clients_encode(
    cohort_folder: Path, config_of: ConfigOf, passed_up: Answers
) -> None:
    settings = {"rounds": 1, "clients_per_round": 6}
    grid = Losing()
    run(config_of(name="plain", **settings), cohort_folder, grid)
    run(config_of(name="secure", secagg=True, regions=2, **settings), cohort_folder)
    order = Order.from_record(passed_up[0][0].content[REGION])
    assert order.encoding is not None
    arrays = passed_up[0][0].content[ARRAYS]
    layout = ArrayLayout(tuple(arrays), tuple(tuple(array.shape) for array in arrays.values()))
    start = from_record(layout, arrays)
    plain = np.zeros(order.encoding.length(layout), np.uint32)
    trained = [reply for reply in grid.replies if reply.has_content() and ARRAYS in reply.content]
    for reply in trained:
        metrics = reply.content[METRICS]
        update = Update(
            from_record(layout, reply.content[ARRAYS]), weights_of(metrics), {"train_loss": metrics["train_loss"]}
        )
        plain += order.encoding.encode(layout, start, update, bytes(32))
    assert len(trained) == CLIENTS
    words = [reply.content[WORDS][WORDS].numpy() for _, reply in passed_up]
    np.testing.assert_array_equal(words[0] + words[1], plain)
    # Each is a sum of its own.
    assert not np.array_equal(words[0], words[1])


def test_a_region_passes_up_words_of_its_sum_and_nothing_of_one_client(
    cohort_folder: Path, config_of: ConfigOf, passed_up: Answers
) -> None:
    grid = Losing()
    run(config_of(secagg=True, rounds=1, clients_per_round=6, regions=2), cohort_folder, grid)
    assert len(passed_up) == 2
    sent = {reply.content["masked"]["masked"].numpy().tobytes() for reply in grid.replies
            if reply.has_content() and "masked" in reply.content}  # fmt: skip
    assert len(sent) == CLIENTS
    for _, reply in passed_up:
        assert set(reply.content) == {WORDS, REGION}
        about = reply.content[REGION]
        assert (about["clients"], about["examples"], about["loss"]) == (3, "0", "0")
        assert reply.content[WORDS][WORDS].numpy().tobytes() not in sent


def test_neighbours_are_of_one_region(cohort_folder: Path, config_of: ConfigOf) -> None:
    asked: dict[int, set[int]] = {}

    class Watching(Losing):
        def push_messages(self, messages: Iterable[Message]) -> list[str]:
            messages = list(messages)
            for record in [m.content.config_records.get(SECAGG) for m in messages]:
                if record is not None and record["stage"] == "unmask":
                    asked[int(record["client"])] = set(unpack(record["payload"], 1))
            return super().push_messages(messages)

    run(config_of(secagg=True, rounds=1, clients_per_round=6, regions=2), cohort_folder, Watching())
    assert {client: others | {client} for client, others in asked.items()} == {
        client: {0, 1, 2} if client < 3 else {3, 4, 5} for client in range(CLIENTS)
    }


def test_those_lost_in_one_region_are_its_failures_alone(cohort_folder: Path, config_of: ConfigOf) -> None:
    settings = {"secagg": True, "rounds": 1, "clients_per_round": 6, "max_failed_share": 0.5}

    def lose(stage: str, client: int) -> bool:
        return stage == "masked" and client == 1

    flat = run(config_of(name="flat", **settings), cohort_folder, Losing(lose))
    regional = run(config_of(name="regional", regions=2, **settings), cohort_folder, Losing(lose))
    require_same(flat, regional, 1)
    (line,) = regional.metrics()
    assert (line["clients"], line["failures"]) == (5, 1)
    assert line["first_failure"] == "stage 'masked' of secure aggregation: out of battery"


def test_a_region_below_its_threshold_is_missing_and_the_others_sums_count(
    cohort_folder: Path, config_of: ConfigOf
) -> None:
    settings = {"secagg": True, "rounds": 1, "clients_per_round": 6, "regions": 2}

    def lose(stage: str, client: int) -> bool:
        return stage == "masked" and client < 2

    (line,) = run(config_of(name="on", max_failed_share=0.5, **settings), cohort_folder, Losing(lose)).metrics()
    assert (line["clients"], line["failures"]) == (3, 3)
    assert "secure aggregation of round 1" in line["first_failure"]
    with pytest.raises(TrainingError, match=r"3 of 6 clients failed in round 1.*secure aggregation of round 1"):
        run(config_of(name="stopped", **settings), cohort_folder, Losing(lose))


def test_a_region_that_began_to_unmask_gives_no_second_sum(cohort_folder: Path, config_of: ConfigOf) -> None:
    settings = {"secagg": True, "rounds": 1, "clients_per_round": 6, "regions": 2}

    def lose(stage: str, client: int) -> bool:
        return stage == "unmask" and client < 3

    (line,) = run(config_of(**settings), cohort_folder, Losing(lose)).metrics()
    # Given up, which is nobody's failure: no limit stops the run.
    assert (line["clients"], line["failures"]) == (3, 3)
    # Other regions would be other sums over clients that were unmasked already.
    with pytest.raises(RunError, match="--regions: 2, 3"):
        run(config_of(**{**settings, "regions": 3, "rounds": 2}), cohort_folder, resume=True)


def test_a_region_of_one_client_has_no_secure_sum(cohort_folder: Path, config_of: ConfigOf) -> None:
    settings = {"secagg": True, "rounds": 4, "clients_per_round": 4}
    lines = run(config_of(name="lone", regions=2, seed=1, **settings), cohort_folder).metrics()
    chosen = [choose_clients(CLIENTS, 4, 1, number) for number in range(1, 5)]
    sizes = [[sum(client < 3 for client in one), sum(client >= 3 for client in one)] for one in chosen]
    assert any(1 in one for one in sizes)
    # The lone one is left out, and its absence is no failure that could stop the run.
    assert [line["clients"] for line in lines] == [sum(size for size in one if size > 1) for one in sizes]
    with pytest.raises(ConfigError, match="4 clients a round leave --regions 3 with secure sums over fewer than 2"):
        run(config_of(regions=3, **settings), cohort_folder)
