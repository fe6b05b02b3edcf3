"""Whole runs under secure aggregation, with the real client app."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ConfigRecord, Error, Message, MessageType
from flwr.common.constant import ErrorCode
from tests.support.in_process_grid import InProcessGrid

from fedaffect.client.secagg.encoding import Encoding
from fedaffect.client.secagg.packing import pack
from fedaffect.client.secagg.protocol import SEALED_BYTES
from fedaffect.client.wire import ARRAYS, MASKED, METRICS, SECAGG
from fedaffect.edge.errors import ConfigError, RunError, TrainingError
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings

CLIENTS = 6
ConfigOf = Callable[..., RunSettings]


class Listening(InProcessGrid):
    """Keeps what a curious server could read, loses the replies that it is told to, and changes those of liars."""

    def __init__(
        self,
        lose: Callable[[str, int, int], bool] = lambda stage, attempt, client: False,
        lie: Callable[[str, int, bytes], bytes] = lambda stage, client, payload: payload,
    ) -> None:
        super().__init__(CLIENTS)
        self.replies: list[tuple[str, int, Message]] = []
        self.lose = lose
        self.lie = lie

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        kept = []
        for message_id in message_ids:
            if message_id not in self.waiting:
                continue
            message = self.waiting[message_id]
            (reply,) = super().pull_messages([message_id])
            record = message.content.config_records.get(SECAGG)
            if record is not None:
                stage, client = str(record["stage"]), int(record["client"])
                self.replies.append((stage, client, reply))
                if reply.has_content() and SECAGG in reply.content:
                    answer = reply.content[SECAGG]
                    answer["payload"] = self.lie(stage, client, answer["payload"])
                if self.lose(stage, int(record["attempt"]), client):
                    reply = Message(Error(ErrorCode.CLIENT_APP_CRASHED, "out of battery"), reply_to=message)
            kept.append(reply)
        return kept


def run(config: RunSettings, cohort: Path, grid: InProcessGrid, resume: RunFolder | None = None) -> RunFolder:
    folder = resume or RunFolder.create(config)
    run_federation(grid, config, cohort, folder, resume=resume is not None)
    return folder


def close(one: RunFolder, other: RunFolder, number: int, within: float) -> None:
    ours, theirs = one.checkpoints.load(number), other.checkpoints.load(number)
    for name, array in ours.arrays.items():
        np.testing.assert_allclose(array, theirs.arrays[name], rtol=0, atol=within, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "options"), [("fedavg", {}), ("fedadam", {"server-lr": 0.01}), ("scaffold", {}), ("fedprox", {})]
)
def test_the_same_arrays_as_plain_aggregation_within_the_quantisation(
    cohort_folder: Path, config_of: ConfigOf, strategy: str, options: dict[str, float]
) -> None:
    settings = {"strategy": strategy, "strategy_options": options, "rounds": 2, "clients_per_round": 5}
    plain = run(config_of(name="plain", **settings), cohort_folder, InProcessGrid(CLIENTS))
    masked = run(config_of(name="masked", secagg=True, **settings), cohort_folder, Listening())
    # Half a step for each client, over the least total weight; Adam's first steps divide by small numbers.
    step = 0.5 * 5 / (Encoding(clients=5, clip=1.0, max_weight=2048).scale * 5 * 16)
    close(plain, masked, 1, step * (100 if strategy == "fedadam" else 2) + 1e-7)
    close(plain, masked, 2, step * 1000 + 1e-6)
    for ours, theirs in zip(plain.metrics(), masked.metrics(), strict=True):
        assert theirs["clients"] == ours["clients"] == 5
        assert theirs["train_loss"] == pytest.approx(ours["train_loss"], abs=1e-3)
    summary = masked.summary()
    assert summary["on_clients"] is None
    # A word has the width of a parameter; keys and shares grow with the neighbours, not with the model.
    words = 4 * summary["trainable_parameters"] * (2 if strategy == "scaffold" else 1)
    assert words < summary["bytes_up_per_client_update"] < words + 6_000
    key = "bytes_down_per_client_update"
    assert plain.summary()[key] < summary[key] < plain.summary()[key] + 6_000


def test_a_curious_server_reads_nothing_of_a_client_but_masked_words(cohort_folder: Path, config_of: ConfigOf) -> None:
    grid = Listening()
    run(config_of(secagg=True, rounds=1, clients_per_round=6), cohort_folder, grid)
    assert {stage for stage, _, _ in grid.replies} == {"keys", "shares", "masked", "unmask"}
    for stage, _, reply in grid.replies:
        assert set(reply.content) == ({MASKED} if stage == "masked" else {SECAGG})
        if stage == "masked":
            words = reply.content[MASKED][MASKED].numpy()
            assert words.dtype == np.uint32
            # Small changes in fixed point would fill the lowest and the highest sixteenth only.
            assert np.histogram(words, bins=16, range=(0, 2.0**32))[0].min() > 0.7 * len(words) / 16
    others = [m for m in grid.pushed if m.metadata.message_type != MessageType.TRAIN and ARRAYS in m.content]
    assert not others
    assert not any(METRICS in reply.content for _, _, reply in grid.replies)


def test_clients_lost_at_every_stage_are_failures_and_the_round_goes_on(
    cohort_folder: Path, config_of: ConfigOf
) -> None:
    lost = {"keys": 0, "shares": 1, "masked": 2, "unmask": 3}
    grid = Listening(lambda stage, attempt, client: lost[stage] == client)
    folder = run(config_of(secagg=True, rounds=2, clients_per_round=6, max_failed_share=0.5), cohort_folder, grid)
    # Who is lost when unmasking is in the sum all the same.
    assert [(r["clients"], r["failures"]) for r in folder.metrics()] == [(3, 3), (3, 3)]
    assert "stage 'keys' of secure aggregation: out of battery" in folder.metrics()[0]["first_failure"]
    only = {client for stage, client, _ in grid.replies if stage == "masked"} - {2}
    assert only == {3, 4, 5}


def test_an_attempt_that_fails_before_unmasking_is_repeated_with_fresh_keys(
    cohort_folder: Path, config_of: ConfigOf
) -> None:
    def lose(stage: str, attempt: int, client: int) -> bool:
        return attempt == 1 and stage == "masked"

    grid = Listening(lose)
    folder = run(config_of(secagg=True, rounds=1, clients_per_round=6, name="again"), cohort_folder, grid)
    undisturbed = run(config_of(secagg=True, rounds=1, clients_per_round=6, name="once"), cohort_folder, Listening())
    assert folder.metrics()[0]["clients"] == 6
    close(folder, undisturbed, 1, 0.0)
    vectors = [reply.content[MASKED][MASKED].numpy() for stage, client, reply in grid.replies
               if stage == "masked" and client == 0]  # fmt: skip
    assert len(vectors) == 2
    assert (vectors[0] == vectors[1]).mean() < 0.01
    keys = [r.content[SECAGG]["payload"] for stage, client, r in grid.replies if stage == "keys" and client == 0]
    assert keys[0] != keys[1]


def spoiled(payload: bytes, neighbours: int) -> bytes:
    """Shares of which none opens."""
    spoilt = bytearray(payload)
    for place in range(0, neighbours * (4 + SEALED_BYTES), 4 + SEALED_BYTES):
        spoilt[place + 4] ^= 1
    return bytes(spoilt)


def test_one_whose_shares_never_open_costs_each_round_two_clients_and_no_round(
    cohort_folder: Path, config_of: ConfigOf
) -> None:
    def lie(stage: str, client: int, payload: bytes) -> bytes:
        return spoiled(payload, CLIENTS - 1) if (stage, client) == ("shares", 3) else payload

    grid = Listening(lie=lie)
    config = config_of(secagg=True, rounds=2, clients_per_round=6, max_failed_share=0.5)
    folder = run(config, cohort_folder, grid)
    # Nobody can prove it: one of those that name it is left out with it.
    assert [(line["clients"], line["failures"]) for line in folder.metrics()] == [(4, 2), (4, 2)]
    assert "client 3" in folder.metrics()[0]["first_failure"]
    # Nothing was learned in vain: who has shares that do not open says so before it trains.
    trained = [
        (client, reply) for stage, client, reply in grid.replies if stage == "masked" and MASKED in reply.content
    ]
    assert len([client for client, _ in trained if client != 3]) == 8


def test_one_that_accuses_everybody_loses_its_own_place_alone(cohort_folder: Path, config_of: ConfigOf) -> None:
    class Accusing(Listening):
        def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
            return [self._accusing(reply) for reply in super().pull_messages(message_ids)]

        def _accusing(self, reply: Message) -> Message:
            if MASKED in reply.content and self.nodes[reply.metadata.src_node_id] == 3:
                reply.content.pop(MASKED)
                reply.content[SECAGG] = ConfigRecord({"payload": pack({c: b"" for c in range(CLIENTS) if c != 3})})
            return reply

    config = config_of(secagg=True, rounds=2, clients_per_round=6, max_failed_share=0.5)
    grid = Accusing()
    folder = run(config, cohort_folder, grid)
    assert [(line["clients"], line["failures"]) for line in folder.metrics()] == [(5, 1), (5, 1)]
    assert {int(m.content.config_records[SECAGG]["attempt"]) for m in grid.pushed if SECAGG in m.content} == {1, 2}


def test_one_that_deals_shares_of_no_secret_costs_one_round_and_is_asked_no_more(
    cohort_folder: Path, config_of: ConfigOf
) -> None:
    def lie(stage: str, client: int, payload: bytes) -> bytes:
        # What its own mask could be known by is of another.
        return payload[:-1] + bytes([payload[-1] ^ 1]) if (stage, client) == ("keys", 3) else payload

    grid = Listening(lie=lie)
    folder = run(config_of(secagg=True, rounds=3, clients_per_round=6, max_failed_share=0.5), cohort_folder, grid)
    lines = folder.metrics()
    assert [line["clients"] for line in lines] == [0, 5, 5]
    assert "client 3 dealt" in lines[0]["first_failure"]
    assert "left out: in an earlier round it dealt shares that do not belong together" in lines[1]["first_failure"]
    assert [client for _, client, _ in grid.replies].count(3) == 4


def test_when_every_attempt_fails_the_run_stops_with_one_line(cohort_folder: Path, config_of: ConfigOf) -> None:
    grid = Listening(lambda stage, attempt, client: stage == "shares")
    with pytest.raises(TrainingError, match=r"secure aggregation of round 1, attempt 3: .*left") as caught:
        run(config_of(secagg=True, clients_per_round=6), cohort_folder, grid)
    assert "\n" not in str(caught.value)


def test_a_round_that_stops_while_unmasking_is_abandoned_and_the_next_goes_on(
    cohort_folder: Path, config_of: ConfigOf
) -> None:
    grid = Listening(lambda stage, attempt, client: attempt == 2 and stage == "unmask")
    folder = run(config_of(secagg=True, rounds=3, clients_per_round=6), cohort_folder, grid)
    lines = folder.metrics()
    assert [line["clients"] for line in lines] == [6, 0, 6]
    assert "secure aggregation of round 2, attempt 2" in lines[1]["first_failure"]
    close(folder, folder, 2, 0.0)
    first, second, third = (folder.checkpoints.load(n).arrays["head.bias"] for n in (1, 2, 3))
    assert np.array_equal(first, second)
    assert not np.array_equal(second, third)
    # No second attempt at it: its updates were never to be part of another sum.
    attempts = [r.metadata for stage, client, r in grid.replies if stage == "keys" and client == 0]
    assert len(attempts) == 3


def test_a_run_killed_while_unmasking_never_sums_that_round_again(cohort_folder: Path, config_of: ConfigOf) -> None:
    class Killed(Exception):
        """Nothing of the server's own catches it."""

    class Killing(Listening):
        def push_messages(self, messages: Iterable[Message]) -> list[str]:
            messages = list(messages)
            record = messages[0].content.config_records.get(SECAGG)
            if record is not None and record["stage"] == "unmask" and record["round"] == 2:
                raise Killed
            return super().push_messages(messages)

    config = config_of(secagg=True, rounds=3, clients_per_round=6)
    folder = RunFolder.create(config)
    grid = Killing()
    with pytest.raises(Killed):
        run_federation(grid, config, cohort_folder, folder)
    again = Listening()
    again.nodes, again.contexts = grid.nodes, grid.contexts
    run(config, cohort_folder, again, resume=RunFolder.open(folder.path))
    lines = folder.metrics()
    assert [line["clients"] for line in lines] == [6, 0, 6]
    assert "had begun when the run stopped" in lines[1]["first_failure"]
    rounds = {int(m.content.config_records[SECAGG]["round"]) for m in again.pushed if SECAGG in m.content}
    assert rounds == {3}


def test_a_damaged_journal_is_said(cohort_folder: Path, config_of: ConfigOf) -> None:
    config = config_of(secagg=True, rounds=1, clients_per_round=6)
    folder = run(config, cohort_folder, Listening())
    journal = folder.path / "secagg.jsonl"
    whole = journal.read_text()
    # A line that a crash cut short was never acted upon.
    journal.write_text(whole + '{"round": 9, "att')
    run(config, cohort_folder, Listening(), resume=RunFolder.open(folder.path))
    assert journal.read_text() == whole
    journal.write_text(whole.replace("attempt", "attmept"))
    with pytest.raises(RunError, match="which rounds were unmasked"):
        run(config, cohort_folder, Listening(), resume=RunFolder.open(folder.path))


@pytest.mark.parametrize("strategy", ["krum", "fedmedian", "qfedavg"])
def test_strategies_that_compare_updates_are_refused(cohort_folder: Path, config_of: ConfigOf, strategy: str) -> None:
    with pytest.raises(ConfigError, match=f"{strategy} compares single updates"):
        run(config_of(secagg=True, strategy=strategy), cohort_folder, Listening())


@pytest.mark.parametrize("settings", [{"evaluate": "clients"}, {"mode": "local-only"}, {"mode": "centralized"}])
def test_what_shows_single_clients_is_refused(config_of: ConfigOf, settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="hides single clients"):
        config_of(secagg=True, **settings)
