from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from fedaffect.server.cli.keys import keys
from fedaffect.server.errors import Forbidden, Overloaded, Unauthenticated
from fedaffect.server.registry import Registry, RegistryUnavailable, api_keys
from fedaffect.server.registry.access import CLOCK_SKEW, Access, AccessConfig
from fedaffect.server.token_bucket import TokenBucket

START = datetime(2030, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def wall(self) -> datetime:
        return START + timedelta(seconds=self.seconds - 1000.0)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'server.db'}"


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    with Registry.open(url) as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every look for a key into the registry, counted."""
    made: list[str] = []
    find = api_keys.find

    def counted(registry: Registry, key_id: str) -> api_keys.ApiKey | None:
        made.append(key_id)
        return find(registry, key_id)

    monkeypatch.setattr(api_keys, "find", counted)
    return made


def _wrong(token: str) -> str:
    last = "0" if token[-1] != "0" else "1"
    return token[:-1] + last


def test_a_key_is_let_in_for_what_it_may(registry: Registry) -> None:
    key, token = api_keys.create(registry, "kiosk", ["predict"], requests_per_minute=90)
    access = Access(registry)
    caller = access.check(token, "predict")
    assert (caller.id, caller.requests_per_minute) == (key.id, 90)
    with pytest.raises(Forbidden, match="lacks the scope 'bundles'"):
        access.check(token, "bundles")


def test_an_administrator_may_all(registry: Registry) -> None:
    _, token = api_keys.create(registry, "operator", ["admin"])
    access = Access(registry)
    for scope in api_keys.SCOPES:
        access.check(token, scope)


@pytest.mark.parametrize(
    "token", [None, "", "Bearer", "fa_", "fa_zz_zz", "fa_" + "0" * 12 + "_" + "0" * 64 + "\n", "é"]
)
def test_what_is_no_key_is_refused_without_a_look_into_the_registry(registry: Registry, token: str | None) -> None:
    access = Access(registry)
    registry.migrate("base")  # a look would fail
    with pytest.raises(Unauthenticated):
        access.check(token, "predict")


def test_unknown_and_wrong_look_alike(registry: Registry) -> None:
    _, token = api_keys.create(registry, "kiosk", ["predict"])
    access = Access(registry)
    access.check(token, "predict")
    said = set()
    for bad in (_wrong(token), "fa_" + "0" * 12 + token[15:]):
        with pytest.raises(Unauthenticated) as caught:
            access.check(bad, "predict")
        said.add(str(caught.value))
        assert token.rpartition("_")[2][:-1] not in str(caught.value)
    assert len(said) == 1
    access.check(token, "predict")


def test_a_row_is_believed_for_a_while(registry: Registry, clock: Clock, looks: list[str]) -> None:
    _, token = api_keys.create(registry, "kiosk", ["predict"])
    access = Access(registry, AccessConfig(fresh_s=10), clock=clock)
    for _ in range(6):
        access.check(token, "predict")
        clock.seconds += 4
    assert len(looks) == 2


def test_a_revoked_key_is_refused_as_soon_as_its_row_is_read_again(registry: Registry, clock: Clock) -> None:
    key, token = api_keys.create(registry, "kiosk", ["predict"])
    access = Access(registry, AccessConfig(fresh_s=10), clock=clock)
    access.check(token, "predict")
    api_keys.revoke(registry, key.id)
    clock.seconds += 10.1
    with pytest.raises(Unauthenticated, match="revoked"):
        access.check(token, "predict")


def test_expiry_allows_for_clocks_that_differ(registry: Registry, clock: Clock) -> None:
    expires = START + timedelta(hours=1)
    _, token = api_keys.create(registry, "kiosk", ["predict"], expires=expires)
    access = Access(registry, clock=clock, now=clock.wall)
    clock.seconds += 3600 + CLOCK_SKEW.total_seconds()
    access.check(token, "predict")
    assert access.configured()
    clock.seconds += 1
    with pytest.raises(Unauthenticated, match="expired at 2030-01-01 01:00 UTC"):
        access.check(token, "predict")
    assert not access.configured()


def test_a_minute_of_requests_and_then_their_rate(registry: Registry, clock: Clock) -> None:
    _, token = api_keys.create(registry, "kiosk", ["predict"], requests_per_minute=6)
    _, other = api_keys.create(registry, "other", ["predict"], requests_per_minute=6)
    access = Access(registry, clock=clock)
    for _ in range(6):
        access.check(token, "predict")
    with pytest.raises(Overloaded) as caught:
        access.check(token, "predict")
    assert caught.value.retry_after_s == pytest.approx(10.0)
    access.check(other, "predict")
    clock.seconds += 10.1
    access.check(token, "predict")
    with pytest.raises(Overloaded):
        access.check(token, "predict")


@pytest.mark.slow
def test_reading_the_row_again_does_not_fill_the_bucket(registry: Registry, clock: Clock) -> None:
    _, token = api_keys.create(registry, "kiosk", ["predict"], requests_per_minute=1)
    access = Access(registry, AccessConfig(fresh_s=0.5), clock=clock)
    access.check(token, "predict")
    clock.seconds += 1
    with pytest.raises(Overloaded):
        access.check(token, "predict")


def test_wrong_secrets_for_a_keys_id_never_lock_its_owner_out(registry: Registry, clock: Clock) -> None:
    _, token = api_keys.create(registry, "kiosk", ["predict"], requests_per_minute=1_000)
    access = Access(registry, clock=clock)

    def tries(count: int) -> None:
        for _ in range(count):
            with pytest.raises(Unauthenticated, match="not known here"):
                access.check(_wrong(token), "predict")

    tries(500)  # before the owner was ever there
    access.check(token, "predict")
    tries(500)
    access.check(token, "predict")
    clock.seconds += 60  # its row is read again
    tries(500)
    access.check(token, "predict")
    assert Access(registry, clock=clock).check(token, "predict").id  # of a server that starts now


def test_a_known_keys_wrong_secrets_cost_no_look(registry: Registry, clock: Clock, looks: list[str]) -> None:
    _, token = api_keys.create(registry, "kiosk", ["predict"])
    access = Access(registry, clock=clock)
    access.check(token, "predict")
    for _ in range(50):
        with pytest.raises(Unauthenticated):
            access.check(_wrong(token), "predict")
    assert len(looks) == 1


def test_the_key_used_least_recently_is_forgotten(registry: Registry, clock: Clock, looks: list[str]) -> None:
    tokens = [api_keys.create(registry, f"kiosk {n}", ["predict"])[1] for n in range(3)]
    access = Access(registry, AccessConfig(remembered=2), clock=clock)
    for token in (tokens[0], tokens[1], tokens[0], tokens[2]):
        access.check(token, "predict")
    assert len(looks) == 3
    access.check(tokens[0], "predict")
    assert len(looks) == 3
    access.check(tokens[1], "predict")
    assert len(looks) == 4


def test_keys_that_were_good_outlast_a_registry_that_is_away(
    registry: Registry, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, token = api_keys.create(registry, "kiosk", ["predict"])
    _, never_seen = api_keys.create(registry, "late", ["predict"])
    access = Access(registry, AccessConfig(fresh_s=10, stale_s=100), clock=clock)
    access.check(token, "predict")

    def away(*_: object) -> None:
        raise RegistryUnavailable("away")

    with monkeypatch.context() as patch:
        # A database that is really away is in tests/server/registry/test_away.py; here only its error matters.
        patch.setattr(api_keys, "find", away)
        clock.seconds += 50
        access.check(token, "predict")
        for other in (never_seen, _wrong(token)):
            with pytest.raises(RegistryUnavailable):
                access.check(other, "predict")
        clock.seconds += 51
        with pytest.raises(RegistryUnavailable):
            access.check(token, "predict")
    access.check(token, "predict")


def test_threads_and_the_event_loop_spend_one_bucket(registry: Registry, clock: Clock) -> None:
    _, token = api_keys.create(registry, "kiosk", ["predict"], requests_per_minute=50)
    access = Access(registry, clock=clock)

    def one(_: int) -> bool:
        try:
            access.check(token, "predict")
        except Overloaded:
            return False
        return True

    async def many() -> int:
        outcomes = await asyncio.gather(*(access.acheck(token, "predict") for _ in range(40)), return_exceptions=True)
        return sum(not isinstance(outcome, BaseException) for outcome in outcomes)

    with ThreadPoolExecutor(8) as pool:
        admitted = sum(pool.map(one, range(40)))
    assert admitted + asyncio.run(many()) == 50


@settings(deadline=None, max_examples=50)
@given(rate=st.integers(1, 600), gaps=st.lists(st.floats(0, 30), min_size=1, max_size=80))
def test_a_bucket_never_gives_more_than_its_rate(rate: int, gaps: list[float]) -> None:
    clock = Clock()
    bucket = TokenBucket(rate, clock=clock)
    taken = 0
    for gap in gaps:
        clock.seconds += gap
        taken += bucket.take() == 0.0
        assert taken <= rate + (clock.seconds - 1000.0) * rate / 60 + 1e-6
    wait_s = bucket.wait_s()
    clock.seconds += wait_s
    assert bucket.take() == 0.0


def test_the_commands(url: str) -> None:
    run = CliRunner().invoke
    made = run(keys, ["create", "front door", "--scope", "predict", "--days", "30", "--registry", url])
    assert made.exit_code == 0, made.output
    token = made.stdout.strip()
    assert "shown this once" in made.stderr
    with Registry.open(url) as registry:
        caller = Access(registry).check(token, "predict")
        with pytest.raises(Forbidden):
            Access(registry).check(token, "feedback")
    listed = run(keys, ["list"], env={"FEDAFFECT_REGISTRY": url, "COLUMNS": "200"}).output
    assert caller.id in listed
    assert "front door" in listed
    assert token.rpartition("_")[2] not in listed
    assert run(keys, ["revoke", caller.id, "--registry", url]).exit_code == 0
    with Registry.open(url) as registry, pytest.raises(Unauthenticated):
        Access(registry).check(token, "predict")
    assert "revoked" in run(keys, ["list", "--registry", url], env={"COLUMNS": "200"}).output
