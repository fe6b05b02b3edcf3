"""Traces of devices: drawn from a seed, or read from a file; refused where they make no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.small_cohorts import constructed_cohort

from fedaffect.client.cohort import Cohort
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.traces.devices import DAY_S, DeviceTrace
from fedaffect.simulation.traces.registry import check_trace, pace_of

CLIENTS = 200


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    folder = constructed_cohort(
        tmp_path_factory.mktemp("traced") / "cohort", clients=CLIENTS, examples=2, widths={"text": 4}
    )
    return Cohort.load(folder)


def trace(cohort: Cohort, name: str | None = "devices", seed: int = 0, **options: Any) -> DeviceTrace:
    pace = pace_of(RunSettings.of(trace=name, trace_options=options, seed=seed), cohort)
    assert pace is not None
    return pace


def test_no_trace_unless_time_matters(cohort: Cohort) -> None:
    assert pace_of(RunSettings.of(), cohort) is None
    for settings in ({"mode": "async"}, {"deadline_s": 9.0}, {"over_selection": 1.3}):
        assert pace_of(RunSettings.of(**settings), cohort) is not None


def test_equal_seeds_give_equal_devices_and_trips_and_others_do_not(cohort: Cohort) -> None:
    one, again, other = trace(cohort), trace(cohort), trace(cohort, seed=1)
    trips = [one.trip(client, start, 0.0) for client in range(20) for start in range(3)]
    assert trips == [again.trip(client, start, 9.0) for client in range(20) for start in range(3)]
    assert trips != [other.trip(client, start, 0.0) for client in range(20) for start in range(3)]
    assert len({trip.seconds for trip in trips}) == len(trips)
    assert one.describe() == again.describe()
    assert one.describe()["sha256"] != other.describe()["sha256"]


def test_speeds_hours_and_dropouts_are_as_asked(cohort: Cohort) -> None:
    devices = trace(cohort, spread=1.0, jitter=0.0, dropout=0.3, online=0.25, **{"compute-s": 40.0, "network-s": 0.0})
    seconds = [devices.trip(client, 0, 0.0).seconds for client in range(CLIENTS)]
    assert 25 < np.median(seconds) < 60
    assert 0.7 < np.std(np.log(seconds)) < 1.3
    arrived = np.mean([devices.trip(client, start, 0.0).arrives for client in range(CLIENTS) for start in range(10)])
    assert 0.65 < arrived < 0.75
    hours = np.array([devices.online(3_600.0 * hour) for hour in range(24)])
    assert 0.15 < hours.mean() < 0.35
    np.testing.assert_array_equal(hours.sum(0), 6)
    np.testing.assert_array_equal(devices.online(1_234.0), devices.online(1_234.0 + 5 * DAY_S))


def test_a_file_of_devices_is_read_and_each_client_is_one_of_them(cohort: Cohort, tmp_path: Path) -> None:
    file = tmp_path / "devices.csv"
    file.write_text("compute_s,network_s,dropout,from_hour,online_hours\n10,1,0,0,24\n500,5,1,22,4\n")
    devices = trace(cohort, str(file), jitter=0.0)
    trips = [devices.trip(client, 0, 0.0) for client in range(CLIENTS)]
    assert {(round(trip.seconds), trip.arrives) for trip in trips} == {(11, True), (505, False)}
    slow = np.array([trip.seconds > 100 for trip in trips])
    # From ten in the evening to two at night.
    assert [devices.online(3_600.0 * hour)[slow].all() for hour in (1, 3, 21, 23)] == [True, False, False, True]
    assert devices.online(3_600.0 * 12)[~slow].all()
    assert devices.describe()["name"] == "devices.csv"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column compute_s"),
        ("compute_s\n", "holds no device"),
        ("network_s\n1\n", "no column compute_s"),
        ("compute_s,speed\n1,2\n", "unknown column 'speed'"),
        ("compute_s\nfast\n", "devices.csv:2: compute_s is 'fast'"),
        ("compute_s\n1\n-3\n", "devices.csv:3: compute_s is -3"),
        ("compute_s,dropout\n1,1.5\n", "dropout is 1.5, not from 0 to 1"),
        ("compute_s\nnan\n", "compute_s is nan"),
        ("compute_s,network_s\n1\n", None),
    ],
)
def test_a_broken_file_is_refused_with_its_line(cohort: Cohort, tmp_path: Path, text: str, words: str | None) -> None:
    file = tmp_path / "devices.csv"
    file.write_text(text)
    if words is None:
        assert trace(cohort, str(file), jitter=0.0).trip(0, 0, 0.0).seconds == 1.0
        return
    with pytest.raises(ConfigError, match=words) as caught:
        trace(cohort, str(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"trace": "phones"}, "neither 'devices' nor a CSV file"),
        ({"trace": "devices", "trace_options": {"speed": 1}}, "'speed'"),
        ({"trace": "devices", "trace_options": {"dropout": 2.0}}, "dropout is a rate"),
        ({"trace": "devices", "trace_options": {"online": "all"}}, "online takes a number"),
        ({"trace_options": {"dropout": 0.1}}, "add --trace"),
    ],
)
def test_a_wrong_trace_is_refused_before_anything_slow(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_trace(RunSettings.of(**settings))
