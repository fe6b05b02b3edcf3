"""A device's budget of privacy, through what answers Flower's messages: charged before, spent once, refused past it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from flwr.app import Context, Message, MessageType, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from tests.support.small_cohorts import constructed_cohort

from fedaffect.client import wire
from fedaffect.client.cli.device import device
from fedaffect.client.device.folder import DeviceFolder, DeviceSettings
from fedaffect.client.device.permission import LearningRules, Surroundings
from fedaffect.client.device.resident import DeviceAnswers
from fedaffect.client.device.spending import ledger_of, noisy_count, part_to_report, spent_by_run
from fedaffect.client.device.states import DeviceStates
from fedaffect.client.privacy.accounting import Spending, epsilon
from fedaffect.client.privacy.ledger import BudgetError
from fedaffect.client.privacy.plan import private_plan
from fedaffect.client.privacy.settings import PrivacyConfig
from fedaffect.client.protocol.sizes import CHARGES_PER_CHECK_IN
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig

SMALL = {"width": 16, "heads": 2, "feedforward": 32}
PRIVACY = PrivacyConfig(epsilon=2.0, participations=2)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return constructed_cohort(tmp_path_factory.mktemp("cohort") / "c", ragged=False)


@pytest.fixture(scope="module")
def task(cohort: Path) -> ClientTask:
    return ClientTask(cohort, "cmt", SMALL)


@pytest.fixture(autouse=True)
def _identity() -> None:
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1


@pytest.fixture
def folder(tmp_path: Path) -> DeviceFolder:
    made = DeviceFolder.at(tmp_path / "device")
    made.save(
        DeviceSettings(
            id="d1",
            name="ana",
            number=0,
            server="https://127.0.0.1:1",
            superlink="127.0.0.1:2",
            consent=True,
            partition=1,
            epsilon=3.0,
            only_private=False,
            rules=LearningRules(min_examples=1),
        )
    )
    return made


def ask(
    folder: DeviceFolder,
    task: ClientTask,
    cohort: Path,
    round: int,
    privacy: PrivacyConfig | None = PRIVACY,
    kind: str = MessageType.TRAIN,
    start: torch.Tensor | None = None,
    **more: str,
) -> Message:
    settings = {**TrainConfig(privacy=privacy).to_record(), wire.SERVER_ROUND: round, wire.RUN: "run-1"}
    settings |= {wire.ATTEMPT: 1, wire.BASE: "b", **more}
    content = RecordDict(
        {
            wire.ARRAYS: wire.to_record(task.layout, task.initial_weights(round) if start is None else start),
            wire.CONFIG: wire.request_config(cohort, "cmt", SMALL, 7, settings),
        }
    )
    context = Context(run_id=1, node_id=9, node_config={"partition-id": 1}, state=RecordDict(), run_config={})
    answers = DeviceAnswers(folder, surroundings=lambda: Surroundings.now(cores=2))
    return answers(Message(content=content, message_type=kind, dst_node_id=9), context)


def sent(task: ClientTask, reply: Message) -> torch.Tensor:
    return wire.from_record(task.layout, reply.content.array_records[wire.ARRAYS])


def test_a_round_is_charged_what_it_costs_and_once(folder: DeviceFolder, task: ClientTask, cohort: Path) -> None:
    first = ask(folder, task, cohort, 1)
    again = ask(folder, task, cohort, 1)
    # The same bytes: noise is drawn again for every training, so these were not trained twice.
    assert torch.equal(sent(task, first), sent(task, again))
    ledger = ledger_of(folder)
    (charge,) = ledger.charges()
    plan = private_plan(PRIVACY, 24, 16, 1, 0)
    assert charge.spending == plan.spending
    assert ledger.spent == pytest.approx(epsilon([plan.spending], 1e-5))
    assert spent_by_run(folder)[0]["epsilon"] == pytest.approx(ledger.spent)


@pytest.mark.parametrize("weight", [101.0, 1e9, -1e25])
def test_weights_that_no_model_learns_are_refused_and_nothing_is_charged(
    folder: DeviceFolder, task: ClientTask, cohort: Path, weight: float
) -> None:
    """With such, a server could choose what single precision rounds away, and an example would pass unclipped."""
    start = task.initial_weights(1)
    assert start.abs().max() < 10
    start[7] = weight
    reply = ask(folder, task, cohort, 1, start=start)
    assert reply.has_error()
    assert "beyond those of any model" in reply.error.reason
    assert ledger_of(folder).charges() == []


def test_what_was_kept_without_noise_goes_when_noise_is_insisted_on(folder: DeviceFolder) -> None:
    states = DeviceStates(folder.states)
    states.save("run-1", RecordDict())
    run = CliRunner().invoke
    assert run(device, ["budget", "--device", str(folder.path), "--only-private"]).exit_code == 0
    assert states.load("run-1") is None


def test_past_its_budget_a_device_says_no_and_trains_nothing(
    folder: DeviceFolder, task: ClientTask, cohort: Path
) -> None:
    replies = [ask(folder, task, cohort, round) for round in range(1, 12)]
    refused = [reply for reply in replies if reply.has_error()]
    assert refused
    assert not replies[0].has_error()
    assert {reply.error.code for reply in refused} == {wire.REFUSED}
    assert "will not take part" in refused[0].error.reason
    ledger = ledger_of(folder)
    assert len(ledger.charges()) == len(replies) - len(refused)
    assert ledger.spent <= 3.0


def test_the_device_works_out_the_cost_itself(folder: DeviceFolder, task: ClientTask, cohort: Path) -> None:
    # A server that promises epsilon 0.1 and asks for next to no noise.
    reply = ask(folder, task, cohort, 1, PrivacyConfig(epsilon=0.1, noise_multiplier=0.01))
    assert reply.error.code == wire.REFUSED
    assert ledger_of(folder).charges() == []


def test_the_charge_is_on_the_disk_before_training_begins(
    folder: DeviceFolder, task: ClientTask, cohort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def killed(*_: object, **__: object) -> None:
        seen.append(len(ledger_of(folder).charges()))
        raise KeyboardInterrupt

    monkeypatch.setattr(ClientTask, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        ask(folder, task, cohort, 1)
    assert seen == [1]
    monkeypatch.undo()
    # Nobody knows whether the first answer left: charged again.
    assert not ask(folder, task, cohort, 1).has_error()
    assert [charge.attempt for charge in ledger_of(folder).charges()] == [1, 2]


@pytest.mark.parametrize(
    "privacy", [None, PrivacyConfig(kind="central"), PrivacyConfig(epsilon=2.0, noise="seeded")], ids=str
)
def test_a_device_may_insist_on_noise_of_its_own(
    folder: DeviceFolder, task: ClientTask, cohort: Path, privacy: PrivacyConfig | None
) -> None:
    assert not ask(folder, task, cohort, 1, privacy).has_error()
    said = CliRunner().invoke(device, ["budget", "--device", str(folder.path), "--only-private"])
    assert said.exit_code == 0, said.output
    assert "spent epsilon 0.000 of 3 at delta 1e-05" in said.output
    reply = ask(folder, task, cohort, 2, privacy)
    assert reply.error.code == wire.REFUSED
    assert "noise of its own" in reply.error.reason


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_exact_figures_do_not_go_around_the_budget(
    folder: DeviceFolder, task: ClientTask, cohort: Path, split: str
) -> None:
    assert not ask(folder, task, cohort, 1, None, MessageType.EVALUATE, split=split).has_error()
    folder.change(only_private=True, epsilon=1e-6)
    for privacy in (PRIVACY, None):
        reply = ask(folder, task, cohort, 1, privacy, MessageType.EVALUATE, split=split)
        assert reply.error.code == wire.REFUSED
        assert "no exact figures" in reply.error.reason
        assert not reply.has_content()


def test_a_report_is_charged_once_and_refused_past_the_budget(folder: DeviceFolder) -> None:
    said, deviation = noisy_count(folder, "bundle 1", 3)
    assert noisy_count(folder, "bundle 1", 30) == (said, deviation), "asked again, the first answer leaves again"
    (charge,) = ledger_of(folder).charges()
    assert charge.spending == Spending(deviation, 1.0, 1)
    once = ledger_of(folder).spent
    noisy_count(folder, "bundle 2", 0)
    twice = ledger_of(folder).spent
    assert once < twice
    folder.change(epsilon=twice)
    with pytest.raises(BudgetError, match="will not take part"):
        noisy_count(folder, "bundle 3", 0)
    assert ledger_of(folder).spent == twice
    assert spent_by_run(folder) == [], "a report is of no run"
    shown = CliRunner().invoke(device, ["budget", "--device", str(folder.path)])
    assert "a new bundle" in shown.output


@pytest.mark.slow
def test_a_reports_noise_has_the_deviation_that_is_charged(folder: DeviceFolder) -> None:
    folder.change(epsilon=1e4)
    drawn = np.array([noisy_count(folder, str(number), 5)[0] for number in range(400)])
    assert abs(drawn.mean() - 5) < 5 * 8 / 20
    assert 0.8 < drawn.std() / noisy_count(folder, "0", 5)[1] < 1.2


def test_a_budget_can_be_lowered_and_never_raised(folder: DeviceFolder, task: ClientTask, cohort: Path) -> None:
    ask(folder, task, cohort, 1)
    for epsilon_given, kept in (("1.5", "of 1.5 "), ("6", "of 1.5 ")):
        said = CliRunner().invoke(device, ["budget", "--device", str(folder.path), "--epsilon", epsilon_given])
        assert said.exit_code == 0, said.output
        assert kept in said.output
        assert "run-1" in said.output
    folder.change(epsilon=6.0)
    assert ledger_of(folder).budget[0] == 1.5


@pytest.mark.parametrize("count", [0, 1, 200, 201, 999])
def test_check_ins_report_all_that_was_spent_in_turns(count: int) -> None:
    spent = [{"run": str(number)} for number in range(count)]
    begun, told = 0, []
    for _ in range(1 + count // CHARGES_PER_CHECK_IN):
        part, begun = part_to_report(spent, begun)
        assert len(part) <= CHARGES_PER_CHECK_IN
        told += part
    assert {each["run"] for each in told} == {each["run"] for each in spent}
    # A part that did not arrive is sent again, and what came meanwhile is not left out.
    assert part_to_report(spent, 10_000)[0] == spent[:CHARGES_PER_CHECK_IN]
