from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from fedaffect.client.device.permission import LearningRules, Surroundings, refusal
from fedaffect.edge.errors import ConfigError

NOON = datetime(2026, 5, 4, 12, 0)


def why(
    rules: LearningRules | None = None,
    *,
    consent: bool = True,
    examples: int = 100,
    moment: datetime = NOON,
    around: Surroundings | None = None,
) -> str | None:
    return refusal(
        rules or LearningRules(),
        consent=consent,
        examples=examples,
        surroundings=around or Surroundings(),
        moment=moment,
    )


def test_a_device_that_agrees_and_has_examples_learns() -> None:
    assert why() is None


def test_without_consent_nothing_else_is_asked() -> None:
    assert "agreed" in (why(consent=False) or "")


def test_too_few_examples_are_refused_without_saying_how_many() -> None:
    said = why(LearningRules(min_examples=50), examples=49) or ""
    assert "too few" in said
    assert "49" not in said


@pytest.mark.parametrize(
    ("hours", "hour", "quiet"),
    [("22:00-07:00", 23, True), ("22:00-07:00", 6, True), ("22:00-07:00", 7, False), ("09:00-17:00", 12, True)],
)
def test_quiet_hours_may_cross_midnight(hours: str, hour: int, quiet: bool) -> None:
    rules = LearningRules(quiet_hours=hours)
    assert (why(rules, moment=NOON.replace(hour=hour)) is not None) == quiet


def test_power_network_and_load_count_only_where_they_are_known() -> None:
    rules = LearningRules(only_charging=True, only_unmetered=True, busy_load=0.5)
    assert why(rules) is None
    assert why(rules, around=Surroundings(charging=True, metered=False, load=0.4)) is None
    assert "battery" in (why(rules, around=Surroundings(charging=False)) or "")
    assert "metered" in (why(rules, around=Surroundings(metered=True)) or "")
    assert "in use" in (why(rules, around=Surroundings(load=0.6)) or "")


def test_what_the_machine_tells_is_read(tmp_path: Path) -> None:
    battery = tmp_path / "power" / "BAT0"
    battery.mkdir(parents=True)
    (battery / "type").write_text("Battery\n")
    (battery / "status").write_text("Discharging\n")
    routes = tmp_path / "route"
    routes.write_text("Iface\tDestination\tGateway\tFlags\nwwan0\t00000000\t0100A8C0\t0003\n")
    load = tmp_path / "loadavg"
    load.write_text("3.00 2.00 1.00 1/100 4242\n")
    found = Surroundings.now(power=tmp_path / "power", routes=routes, load=load, cores=2)
    assert found == Surroundings(charging=False, metered=True, load=1.5)
    (battery / "status").write_text("Full\n")
    routes.write_text("Iface\tDestination\tGateway\tFlags\nwlan0\t00000000\t0100A8C0\t0003\n")
    found = Surroundings.now(power=tmp_path / "power", routes=routes, load=load, cores=2)
    assert (found.charging, found.metered) == (True, False)
    nothing = tmp_path / "nothing"
    assert Surroundings.now(power=nothing, routes=nothing, load=nothing) == Surroundings()


@pytest.mark.parametrize("wrong", [{"min_examples": 0}, {"quiet_hours": "10pm-7am"}, {"busy_load": -1.0}])
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        LearningRules(**wrong)  # type: ignore[arg-type]
