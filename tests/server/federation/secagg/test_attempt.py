"""The protocol from end to end, without a network: what comes out, what the server sees, and what it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from tests.support.whole_attempt import SESSION, Clients, plain_sum, run_attempt, stage, values_of

from fedaffect.client.secagg.errors import SecAggError
from fedaffect.client.secagg.masks import Words
from fedaffect.client.secagg.packing import pack
from fedaffect.client.secagg.protocol import SEALED_BYTES
from fedaffect.client.secagg.session import Session
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.secagg.accusations import accused_by_many, left_out
from fedaffect.server.federation.secagg.attempt import Attempt
from fedaffect.server.federation.secagg.errors import AttemptFailedError, RoundAbandonedError

STAGES = ("keys", "shares", "masked", "unmask")


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[list[int], dict[str, set[int]], int, int]:
    ids = sorted(draw(st.sets(st.integers(0, 5000), min_size=3, max_size=9)))
    drops = {name: draw(st.sets(st.sampled_from(ids), max_size=len(ids) // 2)) for name in STAGES}
    neighbours = draw(st.sampled_from([2, 4, len(ids) - 1]))
    return ids, drops, neighbours, draw(st.integers(2, 3))


@pytest.mark.slow
@given(cohorts(), st.sampled_from([np.uint16, np.uint32]))
@settings(max_examples=150)
def test_whoever_drops_out_at_whatever_stage_the_sum_is_that_of_the_survivors_or_there_is_none(
    cohort: tuple[list[int], dict[str, set[int]], int, int], dtype: type
) -> None:
    ids, drops, neighbours, threshold = cohort
    values = values_of(ids, dtype=dtype)
    lost = drops["keys"] | drops["shares"] | drops["masked"]
    try:
        attempt, total = run_attempt(Clients(values), drops, neighbours=neighbours, threshold=threshold, dtype=dtype)
    except (AttemptFailedError, RoundAbandonedError, ConfigError):
        # With everybody everyone's neighbour and enough of them left to the end, it must not fail.
        answering = [c for c in ids if c not in lost | drops["unmask"]]
        assert not (neighbours == len(ids) - 1 and len(answering) >= threshold)
        return
    assert attempt.survivors == set(ids) - lost
    np.testing.assert_array_equal(total, plain_sum(values, attempt.survivors))


@pytest.mark.parametrize("clients", [10, 40])
def test_three_in_ten_lost_at_every_stage(clients: int) -> None:
    ids = list(range(clients))
    present, drops = ids, {}
    for name in STAGES:
        drops[name] = present[: int(0.3 * len(present))]
        present = present[int(0.3 * len(present)) :]
    values = values_of(ids, length=64)
    attempt, total = run_attempt(Clients(values), drops)
    assert len(attempt.survivors) <= 0.4 * clients
    np.testing.assert_array_equal(total, plain_sum(values, attempt.survivors))


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_what_the_server_sees_of_one_client_is_uniform_and_looks_like_nothing_it_sent(dtype: type) -> None:
    # Constant updates: whatever is not random in a masked one would show.
    values = {c: np.full(20_000, c, dtype) for c in range(4)}
    clients = Clients(values)
    run_attempt(clients, {}, dtype=dtype)
    for client, vector in clients.seen_vectors.items():
        counts = np.histogram(vector, bins=64, range=(0, float(np.iinfo(dtype).max) + 1))[0]
        assert stats.chisquare(counts).pvalue > 1e-4
        bits = np.unpackbits(vector.view(np.uint8)).reshape(len(vector), -1).mean(0)
        assert np.abs(bits - 0.5).max() < 0.02
        assert not np.array_equal(vector, values[client])
        # Neither two clients' nor a client's own neighbouring words go together.
        for other, others in clients.seen_vectors.items():
            lag = 1 if other == client else 0
            correlation = np.corrcoef(vector[lag:].astype(float), others[: len(vector) - lag].astype(float))[0, 1]
            assert abs(correlation) < 0.05


def test_the_sum_of_only_some_masked_vectors_is_as_random_as_each() -> None:
    values = {c: np.zeros(20_000, np.uint32) for c in range(5)}
    clients = Clients(values)
    run_attempt(clients, {})
    for some in ([0, 1], [0, 1, 2, 3], [0, 1, 2, 3, 4]):
        total = plain_sum(clients.seen_vectors, some)
        counts = np.histogram(total, bins=64, range=(0, 2.0**32))[0]
        # Own masks stay on even where all pairwise masks cancel.
        assert stats.chisquare(counts).pvalue > 1e-4


def test_no_mask_is_used_in_two_attempts() -> None:
    values = {c: np.zeros(64, np.uint32) for c in range(4)}
    clients = Clients(values)
    seen = []
    for number in (1, 2):
        clients.session = Session("a run", 3, number)
        # Lost before unmasking: the same round may be tried again.
        with pytest.raises(AttemptFailedError):
            run_attempt(clients, {"masked": {0, 1, 2}}, threshold=2)
        seen.append(dict(clients.seen_vectors))
    for client in values:
        same = seen[0][client] == seen[1][client]
        # By chance one word in 2^32; a mask that came back would make all of them equal.
        assert same.mean() < 0.05
        difference = seen[0][client] - seen[1][client]
        assert len(np.unique(difference)) > 60


def test_stages_follow_each_other_once_and_a_late_answer_changes_nothing() -> None:
    values = values_of(range(4))
    clients = Clients(values)
    attempt = Attempt(SESSION, 7)
    stage("keys", dict.fromkeys(values, b""), clients.keys, attempt.take_keys, {})
    requests = attempt.close_keys()
    stage("shares", requests, lambda c, r: clients.shares(c, r, attempt.threshold), attempt.take_shares, {})
    requests = attempt.close_shares()
    stage("masked", requests, clients.masked, attempt.take_masked, {"masked": {3}})
    unmask = attempt.close_masked()
    with pytest.raises(SecAggError, match="not counted"):
        attempt.take_masked(3, clients.seen_vectors[3])
    with pytest.raises(SecAggError, match="stages follow each other once"):
        attempt.close_masked()
    stage("unmask", unmask, clients.unmask, attempt.take_unmask, {})
    np.testing.assert_array_equal(attempt.finish(), plain_sum(values, [0, 1, 2]))
    with pytest.raises(SecAggError, match="stages follow each other once"):
        attempt.finish()


def test_answers_that_do_not_fit_are_refused_and_the_rest_goes_on() -> None:
    values = values_of(range(4))
    clients = Clients(values)
    attempt = Attempt(SESSION, 7)
    stage("keys", dict.fromkeys(values, b""), clients.keys, attempt.take_keys, {})
    with pytest.raises(SecAggError, match="96 bytes"):
        attempt.take_keys(9, b"short")
    with pytest.raises(SecAggError, match="twice"):
        attempt.take_keys(1, bytes(96))
    requests = attempt.close_keys()
    answers = {c: clients.shares(c, r, attempt.threshold) for c, r in requests.items()}
    with pytest.raises(SecAggError, match="exactly the neighbours"):
        attempt.take_shares(0, answers[1])
    with pytest.raises(SecAggError, match="entries"):
        attempt.take_shares(0, answers[0][:-1])
    with pytest.raises(SecAggError, match="not asked"):
        attempt.take_shares(9, answers[0])
    for client in (0, 1, 2, 3):
        attempt.take_shares(client, answers[client])
    requests = attempt.close_shares()
    with pytest.raises(SecAggError, match="7 words"):
        attempt.take_masked(0, np.zeros(8, np.uint32))
    with pytest.raises(SecAggError, match="uint32"):
        attempt.take_masked(0, np.zeros(7, np.uint16))
    stage("masked", requests, clients.masked, attempt.take_masked, {})
    stage("unmask", attempt.close_masked(), clients.unmask, attempt.take_unmask, {})
    np.testing.assert_array_equal(attempt.finish(), plain_sum(values, range(4)))


class Lying(Clients):
    """Liars change a low byte of every share: the secret comes out wrong, and shows no sign of it itself."""

    def __init__(self, values: Mapping[int, Words], liars: set[int]) -> None:
        super().__init__(values)
        self.liars = liars

    def unmask(self, client: int, request: bytes) -> bytes:
        answer = bytearray(super().unmask(client, request))
        if client in self.liars:
            for place in range(4 + 32, len(answer), 37):
                answer[place] ^= 1
        return bytes(answer)


@pytest.mark.parametrize("dropped", [set(), {5}])
def test_a_changed_share_is_found_out_and_others_used_where_there_are_enough(dropped: set[int]) -> None:
    values = values_of(range(6))
    for liars in ({0}, {0, 2}):
        attempt, total = run_attempt(Lying(values, liars), {"masked": dropped}, threshold=3)
        np.testing.assert_array_equal(total, plain_sum(values, attempt.survivors))
        assert attempt.liars.keys() == liars
    liars = {0, 1, 2, 3}
    honest = 6 - len(liars | dropped)
    with pytest.raises(RoundAbandonedError, match=rf"round 3, attempt 1: {honest} of the holders of .* it takes 3"):
        run_attempt(Lying(values, liars), {"masked": dropped}, threshold=3)


@pytest.mark.parametrize("liars", [{0}, {1}, {2}])
def test_of_three_clients_two_honest_shares_open_a_sum_wherever_the_liar_stands(liars: set[int]) -> None:
    _with_liars(values_of(range(3)), liars, 2)


@pytest.mark.parametrize("liars", [{0, 2, 4}, {1, 3}, {2, 3, 4}])
def test_shares_that_belong_together_are_found_among_those_of_liars(liars: set[int]) -> None:
    _with_liars(values_of(range(6)), liars, 3)


def _with_liars(values: Mapping[int, Words], liars: set[int], threshold: int) -> None:
    attempt, total = run_attempt(Lying(values, liars), {}, threshold=threshold)
    np.testing.assert_array_equal(total, plain_sum(values, attempt.survivors))
    assert attempt.liars.keys() == liars


class Dealing(Clients):
    """Client 2 deals what is no share of its secrets, and commits to it: nobody can tell before unmasking."""

    def shares(self, client: int, request: bytes, threshold: int) -> bytes:
        if client == 2:
            secret = dict.fromkeys(("own_mask", "masking"), b"\x07" * 32)
            self.memories[2] = replace(self.memories[2], **secret)
        return super().shares(client, request, threshold)


@pytest.mark.parametrize("dropped", [set(), {2}])
def test_who_deals_shares_of_no_secret_is_named_and_nothing_is_opened(dropped: set[int]) -> None:
    attempt = Attempt(SESSION, 7, threshold=3)
    with pytest.raises(RoundAbandonedError, match="shares that client 2 dealt do not belong together"):
        run_attempt(Dealing(values_of(range(6))), {"masked": dropped}, attempt=attempt)
    assert attempt.liars.keys() == {2}


class Spoiling(Clients):
    """Liars seal something else than shares for some of their neighbours; others say so of those who did not."""

    def __init__(self, values: Mapping[int, Words], spoils: Mapping[int, set[int]]) -> None:
        super().__init__(values)
        self.spoils = spoils

    def shares(self, client: int, request: bytes, threshold: int) -> bytes:
        answer = bytearray(super().shares(client, request, threshold))
        for place in range(0, (len(self.values) - 1) * (4 + SEALED_BYTES), 4 + SEALED_BYTES):
            if int.from_bytes(answer[place : place + 4], "big") in self.spoils.get(client, ()):
                answer[place + 4] ^= 1
        return bytes(answer)


def test_a_client_whose_shares_do_not_open_is_named_by_those_who_got_them() -> None:
    values = values_of(range(6))
    attempt = Attempt(SESSION, 7, threshold=3)
    # One victim is lost, and the attempt goes on without it.
    attempt, total = run_attempt(Spoiling(values, {4: {1}}), {}, attempt=attempt)
    assert attempt.accusations == {1: {4}}
    assert attempt.survivors == {0, 2, 3, 4, 5}
    np.testing.assert_array_equal(total, plain_sum(values, attempt.survivors))
    attempt = Attempt(SESSION, 7, threshold=3)
    attempt.require_undisputed()
    run_attempt(Spoiling(values, {4: {1, 2}}), {}, attempt=attempt)
    with pytest.raises(AttemptFailedError, match="more than one client said that the shares of client 4 are wrong"):
        attempt.require_undisputed()
    assert left_out(attempt.accusations).keys() == {1, 4}


def test_an_accusation_names_somebody_whose_shares_came_and_takes_the_place_of_a_vector() -> None:
    values = values_of(range(4))
    clients = Clients(values)
    attempt = Attempt(SESSION, 7)
    stage("keys", dict.fromkeys(values, b""), clients.keys, attempt.take_keys, {})
    requests = attempt.close_keys()
    stage(
        "shares", requests, lambda c, r: clients.shares(c, r, attempt.threshold), attempt.take_shares, {"shares": {3}}
    )
    attempt.close_shares()
    for nobody in (b"", pack({0: b""}), pack({1: b"", 3: b""}), pack({9: b""}), b"abc"):
        with pytest.raises(SecAggError):
            attempt.take_accusation(0, nobody)
    attempt.take_accusation(0, pack({1: b""}))
    with pytest.raises(SecAggError, match="twice"):
        attempt.take_masked(0, np.zeros(7, np.uint32))
    with pytest.raises(SecAggError, match="twice"):
        attempt.take_accusation(0, pack({2: b""}))


@pytest.mark.slow
@given(st.sets(st.integers(0, 11), max_size=4), st.data())
def test_for_every_honest_client_that_is_left_out_a_liar_is_too_and_nobody_left_accuses_another(
    liars: set[int], data: st.DataObject
) -> None:
    everybody = set(range(12))
    accusations = {
        client: named
        for client in everybody
        # Liars say what they like; honest clients accuse liars only.
        if (named := data.draw(st.sets(st.sampled_from(sorted(everybody if client in liars else liars)))
                               if client in liars or liars else st.just(set())) - {client})
    }  # fmt: skip
    out = left_out(accusations).keys()
    assert len(out - liars) <= len(out & liars)
    for accuser, named in accusations.items():
        assert accuser in out or named <= out
    if len(liars) <= 1:
        assert set(accused_by_many(accusations)) <= liars


def test_one_that_accuses_everybody_throws_nobody_out() -> None:
    assert accused_by_many({3: {0, 1, 2, 4}}) == []
    assert accused_by_many({0: {3}, 1: {3}, 3: {0, 1, 2, 4}}) == [3]


@pytest.mark.parametrize("place", [0, 32])
def test_keys_that_neighbours_would_refuse_are_their_senders_loss_alone(place: int) -> None:
    clients = Clients(values_of(range(4)))
    attempt = Attempt(SESSION, 7)
    keys = clients.keys(1)
    with pytest.raises(SecAggError, match="public key"):
        attempt.take_keys(1, keys[:place] + bytes(32) + keys[place + 32 :])


def test_below_the_threshold_it_says_so_in_one_line() -> None:
    values = values_of(range(6))
    with pytest.raises(AttemptFailedError, match=r"round 3, attempt 1: 2 of the holders .* it takes 4"):
        run_attempt(Clients(values), {"masked": {0, 1, 2, 3}}, threshold=4)
    with pytest.raises(RoundAbandonedError, match=r"3 of the holders"):
        run_attempt(Clients(values), {"unmask": {0, 1, 2}}, threshold=4)
    with pytest.raises(AttemptFailedError, match="1 clients sent keys"):
        run_attempt(Clients(values), {"keys": {0, 1, 2, 3, 4}})
    with pytest.raises(ConfigError, match="--secagg-threshold"):
        run_attempt(Clients(values), {}, threshold=7)
