from __future__ import annotations

import io
import re
from dataclasses import replace
from time import monotonic, sleep
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from rich.console import Console

from fedaffect.client.cohort import Cohort
from fedaffect.edge.system import progress
from fedaffect.server.federation.observer import RoundRecord
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.live import FewLines, LiveTable, duration, live, size

COHORT = cast(Cohort, SimpleNamespace(num_clients=20, client_rows=np.arange(720)))


def record(number: int, uar: float | None = 0.5, failures: int = 0, **changes: Any) -> RoundRecord:
    made = RoundRecord(
        round=number,
        clients=8,
        failures=failures,
        train_loss=1.2345,
        lr=0.01,
        dev=None if uar is None else {"uar": uar, "weighted_f1": 1 - uar},
        updates_per_second=123.4,
        bytes_up=4_100_000,
        bytes_down=999,
        train_seconds=1.0,
        seconds=1.0,
        elapsed_s=number,
        eta_s=125.0,
        first_failure="disk gone" if failures else None,
    )
    return replace(made, **changes)


def shown(terminal: bool) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=terminal, width=120), stream


@pytest.mark.parametrize("rounds", [1, 7, 10, 100, 1000])
def test_without_a_terminal_at_most_a_line_every_tenth_round(rounds: int) -> None:
    console, stream = shown(terminal=False)
    (lines,) = live(console, quiet=False, title="fold 1 of 2")
    assert isinstance(lines, FewLines)
    lines.started(RunSettings.of(rounds=rounds), COHORT, 1_619_460)
    for number in range(1, rounds + 1):
        lines.round_finished(record(number, failures=int(number == rounds)))
    first, *rest = stream.getvalue().splitlines()
    assert "1,619,460 parameters" in first
    assert "synthetic data" in first
    assert len(rest) <= 12
    assert rest[-1].startswith(f"fold 1 of 2: round {rounds}/{rounds}: clients 8, loss 1.2345, dev UAR 0.500")
    assert rest[-1].endswith("up 4.1 MB, down 999 B, ETA 2m05s, 1 failed")
    assert "\x1b" not in stream.getvalue()


def test_on_a_terminal_a_table_with_the_best_round_and_failures() -> None:
    console, stream = shown(terminal=True)
    (table,) = live(console, quiet=False)
    assert isinstance(table, LiveTable)
    table.started(RunSettings.of(rounds=12), COHORT, 1000)
    for number in range(1, 13):
        table.round_finished(record(number, uar=0.9 if number == 6 else 0.5, failures=int(number == 11)))
    table.finished({})
    table.close()
    drawn = stream.getvalue()
    for word in ("updates/s", "dev UAR", "ETA", "12/12", "best on development: round 6, UAR 0.900", "disk gone"):
        assert word in drawn


def test_quiet_shows_nobody() -> None:
    assert live(shown(terminal=True)[0], quiet=True) == []


def test_sizes_and_durations_read_well() -> None:
    assert [size(b) for b in (0, 999, 1500, 4_093_692, 5.2e9, 7e15)] == [
        *("0 B", "999 B", "1.5 kB", "4.1 MB", "5.2 GB", "7000.0 TB")
    ]
    assert [duration(s) for s in (0.2, 59, 61, 3599, 12_000)] == ["0s", "59s", "1m01s", "59m59s", "3h20m"]


@pytest.mark.parametrize("terminal", [True, False])
def test_what_was_not_measured_is_left_out(terminal: bool) -> None:
    console, stream = shown(terminal)
    (lines,) = live(console, quiet=False)
    lines.started(RunSettings.of(rounds=1), COHORT, 10)
    lines.round_finished(record(1, uar=None, train_loss=None))
    lines.close()
    assert "updates/s" in stream.getvalue()
    for absent in ("dev UAR", "loss", "ε", "–"):
        assert absent not in stream.getvalue()


def test_a_round_without_evaluation_shows_a_dash_beside_others_with_one() -> None:
    console, stream = shown(terminal=True)
    table = LiveTable(console)
    table.started(RunSettings.of(rounds=2), COHORT, 10)
    table.round_finished(record(1))
    table.round_finished(record(2, uar=None))
    table.close()
    assert "–" in stream.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_the_figure_that_chooses_is_shown_and_so_is_the_epsilon_spent(terminal: bool) -> None:
    console, stream = shown(terminal)
    (lines,) = live(console, quiet=False)
    lines.started(RunSettings.of(rounds=1, select_by="weighted_f1"), COHORT, 10)
    lines.round_finished(record(1, uar=0.25, privacy={"epsilon": 2.314, "delta": 1e-5}))
    lines.close()
    drawn = stream.getvalue()
    assert "dev weighted F1" in drawn
    assert "0.750" in drawn
    assert "2.31 (δ 1e-05)" in drawn
    assert "UAR" not in drawn


def test_without_a_terminal_starting_says_so_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0.01)
    console, stream = shown(terminal=False)
    lines = FewLines(console)
    lines.starting("--engine ray")
    assert stream.getvalue() == "starting --engine ray\n"
    until = monotonic() + 120
    while stream.getvalue().count("\n") < 3 and monotonic() < until:
        sleep(0.01)
    lines.started(RunSettings.of(rounds=1), COHORT, 10)
    lines.round_finished(record(1))
    said = stream.getvalue()
    assert len(re.findall(r"starting --engine ray, \d+ s", said)) >= 2
    sleep(0.05)
    assert stream.getvalue() == said


def test_encoding_without_a_terminal_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0.01)
    with progress.working("encoding meld text", 2000) as done:
        done(1500)
        said, until = "", monotonic() + 120
        while "1,500" not in said and monotonic() < until:
            sleep(0.01)
            said += capsys.readouterr().err
    first, *others = said.splitlines()
    assert first == "encoding meld text: 0 of 2,000"
    assert any(re.fullmatch(r"encoding meld text: 1,500 of 2,000, \d+ s", line) for line in others)
    capsys.readouterr()
    with progress.working("encoding meld text", 2000, shown=False):
        pass
    assert capsys.readouterr().err == ""


def test_headline_of_each_mode() -> None:
    words: dict[str, Any] = {"federated": "fedavg over 20 clients", "centralized": "pooled", "local-only": "each alone"}
    for mode, expected in words.items():
        console, stream = shown(terminal=False)
        FewLines(console).started(RunSettings.of(mode=mode), COHORT, 10)
        assert expected in stream.getvalue()
