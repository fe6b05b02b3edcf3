"""The ledger under everything that can happen between a charge and an answer."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from fedaffect.client.privacy.accounting import Spending, epsilon
from fedaffect.client.privacy.ledger import BudgetError, PrivacyLedger

ROUND = Spending(2.0, 1.0, 3)


def ledger_of(folder: Path, budget: float = 8.0) -> PrivacyLedger:
    return PrivacyLedger(folder / "ledger.sqlite", budget, 1e-5)


def test_spending_adds_up_across_runs_and_openings(tmp_path: Path) -> None:
    other = Spending(1.5, 0.2, 10)
    assert ledger_of(tmp_path).spent == 0
    ledger_of(tmp_path).charge("a/1", "a", 1, ROUND)
    after = ledger_of(tmp_path).charge("b/1", "b", 1, other)
    ledger = ledger_of(tmp_path)
    assert ledger.spent == after == pytest.approx(epsilon([ROUND, other], 1e-5))
    assert [(c.run, c.spending) for c in ledger.charges()] == [("a", ROUND), ("b", other)]


def test_a_device_refuses_to_train_past_its_budget_and_charges_nothing_for_it(tmp_path: Path) -> None:
    budget = epsilon([ROUND] * 2, 1e-5)
    ledger = ledger_of(tmp_path, budget + 1e-9)
    for number in (1, 2):
        ledger.answer(f"r/{number}", "r", number, ROUND, lambda: b"update")
    with pytest.raises(BudgetError, match="will not take part"):
        ledger.answer("r/3", "r", 3, ROUND, lambda: pytest.fail("trained past the budget"))
    assert len(ledger.charges()) == 2
    assert ledger.spent <= budget + 1e-9


def test_a_retry_gets_the_same_bytes_and_costs_nothing(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    first = ledger.answer("r/1", "r", 1, ROUND, lambda: b"noisy update")
    again = ledger_of(tmp_path).answer("r/1", "r", 1, ROUND, lambda: pytest.fail("trained twice for one request"))
    assert first == again == b"noisy update"
    assert len(ledger.charges()) == 1


@pytest.mark.slow
def test_the_file_does_not_grow_with_every_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedaffect.client.privacy.ledger._KEPT_BYTES", 1_000_000)
    ledger, tiny = ledger_of(tmp_path), Spending(500.0, 0.01, 1)
    sizes = []
    for number in range(60):
        reply = os.urandom(200_000)
        assert ledger.answer(f"r/{number}", "r", number, tiny, lambda reply=reply: reply) == reply
        sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
    assert sizes[-1] < sizes[19] + 500_000
    assert len(ledger.charges()) == 60
    assert ledger.stored("r/59") == reply
    assert ledger.stored("r/10") is None
    # One that is gone is charged again, as if it had been lost.
    assert ledger.answer("r/10", "r", 10, tiny, lambda: b"again") == b"again"
    assert [c.attempt for c in ledger.charges() if c.request == "r/10"] == [1, 2]


def test_large_answers_stay_for_their_retries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedaffect.client.privacy.ledger._KEPT_BYTES", 10)
    ledger, tiny = ledger_of(tmp_path), Spending(500.0, 0.01, 1)
    for number in range(6):
        ledger.answer(f"r/{number}", "r", number, tiny, lambda: bytes(100))
    assert [ledger.stored(f"r/{number}") is not None for number in range(6)] == [False] * 2 + [True] * 4


def test_a_training_that_fails_stays_charged_and_a_retry_is_charged_again(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)

    def fails() -> bytes:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        ledger.answer("r/1", "r", 1, ROUND, fails)
    assert ledger.answer("r/1", "r", 1, ROUND, lambda: b"x") == b"x"
    assert [charge.attempt for charge in ledger.charges()] == [1, 2]
    assert ledger.spent == pytest.approx(epsilon([ROUND] * 2, 1e-5))


_KILLED = """
import os, signal, sys
from pathlib import Path
from fedaffect.client.privacy.accounting import Spending
from fedaffect.client.privacy.ledger import PrivacyLedger

folder, where = Path(sys.argv[1]), sys.argv[2]
ledger = PrivacyLedger(folder / "ledger.sqlite", 8.0, 1e-5)

def train():
    if where == "training":
        os.kill(os.getpid(), signal.SIGKILL)
    return b"first answer"

reply = ledger.answer("r/1", "r", 1, Spending(2.0, 1.0, 3), train)
if where == "sending":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("where", ["training", "sending"])
def test_killed_between_charge_and_send_nothing_is_spent_unrecorded(tmp_path: Path, where: str) -> None:
    command = [sys.executable, "-c", textwrap.dedent(_KILLED), str(tmp_path), where]
    died = subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])})
    assert died.returncode == -signal.SIGKILL
    ledger = ledger_of(tmp_path)
    one = epsilon([ROUND], 1e-5)
    assert ledger.spent == pytest.approx(one), "charged before anything could leave"
    reply = ledger.answer("r/1", "r", 1, ROUND, lambda: b"second answer")
    if where == "sending":
        # The first answer may have left: the same bytes, no new cost.
        assert reply == b"first answer"
        assert ledger.spent == pytest.approx(one)
    else:
        assert reply == b"second answer"
        assert ledger.spent == pytest.approx(epsilon([ROUND] * 2, 1e-5))


def test_two_at_once_never_overspend(tmp_path: Path) -> None:
    budget = epsilon([ROUND] * 3, 1e-5) + 1e-9
    ledger_of(tmp_path, budget)
    outcomes: list[str] = []

    def device(number: int) -> None:
        try:
            ledger_of(tmp_path, budget).answer(f"r/{number}", "r", number, ROUND, lambda: b"x")
            outcomes.append("sent")
        except BudgetError:
            outcomes.append("refused")

    threads = [threading.Thread(target=device, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 3 + ["sent"] * 3
    assert ledger_of(tmp_path, budget).spent <= budget


def test_a_budget_may_shrink_but_not_grow(tmp_path: Path) -> None:
    ledger_of(tmp_path, 4.0)
    assert ledger_of(tmp_path, 8.0).budget == (4.0, 1e-5)
    assert ledger_of(tmp_path, 2.0).budget == (2.0, 1e-5)
    with pytest.raises(BudgetError, match="one delta"):
        PrivacyLedger(tmp_path / "ledger.sqlite", 8.0, 1e-3)
    with pytest.raises(BudgetError, match="above 0"):
        PrivacyLedger(tmp_path / "other.sqlite", 0.0, 1e-5)


def test_a_damaged_or_unwritable_ledger_means_no_training(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database, but long enough to be read as one" * 30)
    with pytest.raises(BudgetError, match="does not train"):
        ledger_of(tmp_path)


def test_a_full_disk_means_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = ledger_of(tmp_path)
    connect = sqlite3.connect

    def small(*args: object, **kwargs: object) -> sqlite3.Connection:
        database = connect(*args, **kwargs)  # type: ignore[call-overload]
        database.execute("PRAGMA max_page_count = 1")
        return database

    def many() -> None:
        for number in range(1000):
            ledger.answer(f"r/{number}", "r", number, Spending(500.0, 1.0, 1), lambda: b"x" * 100)

    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(BudgetError, match="full"):
        many()
    monkeypatch.undo()
    stored = [c.request for c in ledger.charges() if ledger.stored(c.request)]
    assert len(ledger.charges()) - len(stored) <= 1, "an answer without a charge would be unrecorded spending"
