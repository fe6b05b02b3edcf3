"""What privacy was spent only grows; a bundle that devices find worse goes back."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.support.public_keys import public_key

from fedaffect.edge.errors import ConfigError
from fedaffect.server.errors import NotFound
from fedaffect.server.registry import Registry, audit, bundles, devices, models, privacy, rollouts, runs, tokens
from fedaffect.server.registry.errors import DeviceRefused, LedgerConflict, RolloutConflict, UnknownRun
from fedaffect.server.registry.privacy import Charge

PAID = Charge(
    run_id="run",
    round=1,
    attempt=1,
    device_id="phone",
    unit="example",
    epsilon=1.0,
    delta=1e-5,
    accountant="prv",
    noise_multiplier=1.1,
)


@pytest.fixture
def ledger(registry: Registry) -> Registry:
    for run_id in ("run", "next"):
        runs.create(registry, run_id=run_id, config={})
    return registry


def test_spent_privacy_only_grows(ledger: Registry) -> None:
    first = privacy.charge(ledger, PAID)
    assert privacy.charge(ledger, PAID) == first
    with pytest.raises(LedgerConflict, match="never rewritten"):
        privacy.charge(ledger, replace(PAID, epsilon=0.5))
    with pytest.raises(LedgerConflict, match="never rewritten"):
        privacy.charge(ledger, replace(PAID, epsilon=2.0))
    third = privacy.charge(ledger, replace(PAID, round=3, epsilon=3.0))
    # The answer of round 2 comes late: no less than what is recorded is said to be spent.
    assert privacy.charge(ledger, replace(PAID, round=2, epsilon=2.0)).epsilon == 3.0
    for reset in (replace(PAID, round=4, epsilon=2.9), replace(PAID, run_id="next", epsilon=0.1)):
        with pytest.raises(LedgerConflict, match="its ledger was reset"):
            privacy.charge(ledger, reset)
    assert privacy.spent(ledger, "phone") == [third]
    # Another device, and what a run costs every client, are ledgers of their own.
    privacy.charge(ledger, replace(PAID, device_id="watch", epsilon=0.2))
    for run_id in ("run", "next"):
        privacy.charge(ledger, replace(PAID, run_id=run_id, device_id="", unit="client", epsilon=4.0 - len(run_id) / 2))
    assert [each.epsilon for each in privacy.spent(ledger, "watch")] == [0.2]
    assert privacy.spent(ledger, "", "next")[0].epsilon == 2.0
    privacy.charge(ledger, replace(PAID, run_id="next", epsilon=math.inf, noise_multiplier=0.0))
    assert privacy.spent(ledger, "phone")[0].epsilon == math.inf
    with pytest.raises(UnknownRun):
        privacy.charge(ledger, replace(PAID, run_id="nothing"))
    assert len(list(audit.entries(ledger, action="privacy.refused"))) == 4
    assert len(privacy.charges(ledger, device_id="phone")) == 4
    for statement in ("UPDATE privacy_ledger SET epsilon = 0", "DELETE FROM privacy_ledger"):
        with pytest.raises(DBAPIError, match="append-only"), ledger.writing() as session:
            session.execute(text(statement))


def test_many_charges_at_once(ledger: Registry) -> None:
    first, reset, other = PAID, replace(PAID, round=2, epsilon=0.5), replace(PAID, device_id="watch", epsilon=0.5)
    done = privacy.charge_all(ledger, [first, reset, other])
    assert [getattr(each, "epsilon", None) for each in done] == [1.0, None, 0.5]
    assert isinstance(done[1], LedgerConflict)
    assert privacy.charges(ledger) == [first, other]
    assert [entry.subject for entry in audit.entries(ledger, action="privacy.refused")] == ["run/2/1/phone"]
    with pytest.raises(UnknownRun):
        privacy.charge_all(ledger, [replace(PAID, round=3, epsilon=2.0), replace(PAID, run_id="nothing")])
    assert privacy.charges(ledger) == [first, other]


@pytest.mark.parametrize(
    "wrong", [{"epsilon": -1.0}, {"epsilon": math.nan}, {"delta": 1.0}, {"unit": "row"}, {"noise_multiplier": -0.1}]
)
def test_a_charge_that_is_none(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        replace(PAID, **wrong)  # type: ignore[arg-type]


def test_a_model_says_where_it_comes_from(registry: Registry) -> None:
    lineage: dict[str, Any] = {
        "run_id": "run",
        "round": 7,
        "data_statement": "speakers of MELD",
        "epsilon": 8.0,
        "delta": 1e-5,
    }
    made = models.add(
        registry, version="v1", profile="edge", path=Path("v1"), label_set="shared7", sha256="0" * 64, **lineage
    )
    assert {name: getattr(models.get(registry, "v1"), name) for name in lineage} == lineage
    assert [model for model in models.every(registry) if model.run_id == "run"] == [made]


@pytest.fixture
def fleet(registry: Registry) -> tuple[Registry, list[str]]:
    for version in ("old", "new"):
        bundles.add(registry, version=version, path=Path(version), sha256=version[0] * 64, size_bytes=1)
    bundles.offer(registry, "old")
    found = []
    for number in range(8):
        device = devices.enroll(
            registry,
            tokens.make_token(registry),
            name=f"phone {number}",
            public_key=public_key(str(number)),
            capabilities=devices.Capabilities(modalities=("text",), memory_mb=100, cores=1),
            consent=True,
        )
        found.append(device.id)
    return registry, found


def test_a_bundle_goes_to_a_part_and_then_to_all(fleet: tuple[Registry, list[str]]) -> None:
    registry, ids = fleet
    rollout = rollouts.stage(registry, "new", 50)
    assert (rollout.state, rollout.percent, rollout.change) == ("staged", 50, None)
    got = {device: rollouts.version_for(registry, device) for device in ids}
    assert got == {device: "new" if rollouts.in_stage("new", device, 50) else "old" for device in ids}
    # Who is told to run it may fetch it; for everybody else the newest is still the old one.
    assert bundles.get_offered(registry, "new").version == "new"
    assert bundles.get_offered(registry).version == "old"
    with pytest.raises(RolloutConflict, match="give more"):
        rollouts.stage(registry, "new", 20)
    bundles.add(registry, version="newer", path=Path("newer"), sha256="e" * 64, size_bytes=1)
    with pytest.raises(RolloutConflict, match="complete it or roll it back first"):
        rollouts.stage(registry, "newer", 20)
    assert rollouts.stage(registry, "new", 100).state == "staged"
    assert {rollouts.version_for(registry, device) for device in ids} == {"new"}
    assert bundles.get_offered(registry).version == "new"
    # All have it; the next one may come.
    assert rollouts.stage(registry, "newer", 20).state == "staged"
    assert [(r.bundle_version, r.state) for r in rollouts.every(registry)] == [("newer", "staged"), ("new", "complete")]
    assert rollouts.roll_back(registry, reason="not this one").bundle_version == "newer"
    # What all have can be taken back too, once.
    assert rollouts.roll_back(registry, reason="late").bundle_version == "new"
    assert {rollouts.version_for(registry, device) for device in ids} == {"old"}
    with pytest.raises(RolloutConflict, match="no bundle is rolled out"):
        rollouts.roll_back(registry, reason="later")
    with pytest.raises(NotFound):
        rollouts.stage(registry, "nowhere", 10)
    for wrong in (0, -1, 101, math.nan):
        with pytest.raises(ConfigError):
            rollouts.stage(registry, "newer", wrong)


def test_devices_that_find_it_worse_send_it_back(fleet: tuple[Registry, list[str]]) -> None:
    registry, ids = fleet
    rollouts.stage(registry, "new", 99, tolerance=0.02, min_examples=50)
    inside = [device for device in ids if rollouts.in_stage("new", device, 99)]

    def report(device: str, before: float, after: float, examples: int) -> rollouts.Rollout:
        return rollouts.report(registry, device, "new", metric="uar", before=before, after=after, examples=examples)

    # Worse, but on too few examples; then within what is tolerated, in the mean over examples.
    assert report(inside[0], 0.9, 0.5, 10).state == "staged"
    assert report(inside[0], 0.9, 0.8, 10).reports == 1
    fine = report(inside[1], 0.8, 0.81, 90)
    assert fine.state == "staged"
    assert fine.change == pytest.approx((-0.1 * 10 + 0.01 * 90) / 100)
    # Nobody counts for more than 200 examples.
    assert report(inside[2], 0.5, 0.5, 10**6).examples == 300
    gone = report(inside[3], 0.9, 0.8, 100)
    assert gone.state == "rolled-back"
    assert "uar changed by -0.025 over 400 examples of 4 devices" in gone.reason
    assert {rollouts.version_for(registry, device) for device in ids} == {"old"}
    with pytest.raises(NotFound):
        bundles.get_offered(registry, "new")
    with pytest.raises(RolloutConflict, match="is not staged now"):
        report(inside[4], 0.9, 0.8, 100)
    with pytest.raises(RolloutConflict, match="build a better one"):
        rollouts.stage(registry, "new", 10)
    last = list(audit.entries(registry, action="rollout"))[-1]
    assert (last.action, last.actor) == ("rollout.rolled-back", f"device:{inside[3]}")


def test_what_all_have_is_sent_back_too_where_devices_find_it_worse(fleet: tuple[Registry, list[str]]) -> None:
    registry, ids = fleet
    rollouts.stage(registry, "new", 100)
    good = rollouts.report(registry, ids[0], "new", metric="uar", before=0.5, after=0.6, examples=100)
    assert (good.state, good.percent) == ("staged", 100)
    bad = rollouts.report(registry, ids[1], "new", metric="uar", before=0.9, after=0.4, examples=100)
    assert bad.state == "rolled-back"
    assert {rollouts.version_for(registry, device) for device in ids} == {"old"}


def test_a_change_within_the_devices_own_noise_is_no_change(fleet: tuple[Registry, list[str]]) -> None:
    registry, ids = fleet
    rollouts.stage(registry, "new", 99, tolerance=0.02, min_examples=50)
    inside = [device for device in ids if rollouts.in_stage("new", device, 99)]

    def report(device: str, after: float, noise: float) -> rollouts.Rollout:
        return rollouts.report(
            registry, device, "new", metric="uar", before=0.5, after=after, examples=100, noise=noise
        )

    assert report(inside[0], 0.4, 0.05).noise == pytest.approx(0.05)
    both = report(inside[1], 0.4, 0.05)
    # Deviations of independent noise add up by their squares.
    assert both.noise == pytest.approx(0.05 / math.sqrt(2))
    assert both.change == pytest.approx(-0.1)
    assert both.state == "rolled-back"


def test_reports_that_do_not_count(fleet: tuple[Registry, list[str]]) -> None:
    registry, ids = fleet
    rollouts.stage(registry, "new", 50)
    inside = next(device for device in ids if rollouts.in_stage("new", device, 50))
    outside = next(device for device in ids if not rollouts.in_stage("new", device, 50))
    devices.revoke(registry, inside, reason="lost")
    for device, error in ((outside, RolloutConflict), (inside, DeviceRefused), ("stranger", DeviceRefused)):
        with pytest.raises(error):
            rollouts.report(registry, device, "new", metric="uar", before=1, after=0, examples=100)
    for figures in ((math.nan, 0.5, 1), (0.5, 1.5, 1), (0.5, 0.5, 0)):
        with pytest.raises(ConfigError):
            rollouts.report(
                registry, outside, "new", metric="uar", before=figures[0], after=figures[1], examples=int(figures[2])
            )
    with pytest.raises(ConfigError):
        rollouts.report(registry, outside, "new", metric="uar", before=1, after=1, examples=9, noise=math.inf)
    assert rollouts.every(registry)[0].reports == 0


@pytest.mark.slow
@given(st.text(max_size=20), st.floats(0, 100), st.floats(0, 100))
def test_a_device_that_is_in_stays_in_as_the_rollout_grows(device: str, one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert rollouts.in_stage("new", device, more) or not rollouts.in_stage("new", device, less)


def test_a_percentage_means_that_many_devices() -> None:
    within = sum(rollouts.in_stage("new", str(number), 20) for number in range(5000))
    assert within == pytest.approx(1000, abs=120)
