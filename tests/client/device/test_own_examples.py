"""A device answers a server's round with its own examples, when its user agrees, and with nobody else's ever."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from flwr.app import Context, Message, MessageType, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from fedaffect.client import wire
from fedaffect.client.cli.device_status import status
from fedaffect.client.device.folder import DeviceFolder, DeviceSettings
from fedaffect.client.device.permission import LearningRules, Surroundings
from fedaffect.client.device.resident import DeviceAnswers
from fedaffect.client.device.spending import ledger_of
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.models.registry import build_model
from fedaffect.client.privacy.settings import PrivacyConfig
from fedaffect.client.train_config import TrainConfig
from fedaffect.edge.bundle import Bundle, BundleStore, SigningKey, sign
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.store import Database, ExampleStore
from fedaffect.edge.system.only_one import only_one

SMALL = {"width": 16, "heads": 2, "feedforward": 32}
NOISE = PrivacyConfig(epsilon=2.0).to_record()
NOON = datetime(2026, 5, 4, 12, 0)
Maker = Callable[..., Path]


@pytest.fixture
def bundle(make_bundle: Maker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bundle:
    """Installed as the device's own."""
    folder = make_bundle(seed=11, modalities=("text",))
    sign(folder, SigningKey.own())
    store = BundleStore(tmp_path / "installed")
    monkeypatch.setattr(BundleStore, "default", classmethod(lambda cls, profile="edge": store))
    return store.install(folder)


@pytest.fixture
def device(tmp_path: Path, bundle: Bundle) -> DeviceFolder:
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
    folder = DeviceFolder.at(tmp_path / "device")
    store = tmp_path / "examples.sqlite3"
    folder.save(
        DeviceSettings(
            id="a",
            name="phone",
            number=3,
            server="https://x:1",
            superlink="x:2",
            consent=True,
            only_private=False,
            store=str(store),
        )
    )
    rng, key = np.random.default_rng(0), bundle.encoder("text").key
    with Database(store) as database:
        examples = ExampleStore(database)
        for number in range(30):
            label = ("joy", "sadness")[number % 2]
            tokens = rng.normal(2.0 * (number % 2), 1, (3, bundle.fusion().widths["text"])).astype(np.float16)
            answer = Prediction(label, {label: 1.0}, 1.0, "edge", ("text",), 1.0, "v", "confident")
            examples.add(f"r{number}", {"text": tokens}, {"text": key}, answer)
            # The last ten are labelled and not to be learned from.
            examples.label(f"r{number}", label, consent=number < 20)
    return folder


def context() -> Context:
    return Context(run_id=1, node_id=9, node_config={"partition-id": 3}, state=RecordDict(), run_config={})


def train(bundle: Bundle, kind: str = MessageType.TRAIN, **settings: Any) -> Message:
    layout, start = _start(bundle)
    config = {**TrainConfig(lr=0.1).to_record(), wire.SERVER_ROUND: 1, wire.LABELS: "shared7", **settings}
    # The server's cohort folder is none of the device's.
    record = wire.request_config(Path("/nowhere"), "cmt", SMALL, 7, config)
    return Message(RecordDict({wire.ARRAYS: wire.to_record(layout, start), wire.CONFIG: record}), 9, kind)


def _start(bundle: Bundle) -> tuple[ArrayLayout, torch.Tensor]:
    fusion = bundle.fusion()
    torch.manual_seed(0)
    model = build_model("cmt", dict(fusion.widths), len(fusion.labels), SMALL)
    return ArrayLayout.of(model), torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def answers(device: DeviceFolder, around: Surroundings | None = None, moment: datetime = NOON) -> DeviceAnswers:
    return DeviceAnswers(device, lambda: around or Surroundings(), lambda: moment)


def test_it_trains_on_what_its_user_labelled_and_agreed_to(device: DeviceFolder, bundle: Bundle) -> None:
    reply = answers(device)(train(bundle), context())
    assert reply.has_content(), reply
    metrics = reply.content.metric_records[wire.METRICS]
    # Of the 20 with consent, some are held out.
    assert 8 < int(metrics["num-examples"]) <= 20  # type: ignore[arg-type]
    layout, start = _start(bundle)
    assert not torch.equal(wire.from_record(layout, reply.content.array_records[wire.ARRAYS]), start)


@pytest.mark.parametrize(
    ("changes", "around", "why"),
    [
        ({"consent": False}, None, "agreed"),
        ({"rules": LearningRules(min_examples=21)}, None, "too few"),
        ({"rules": LearningRules(only_charging=True)}, Surroundings(charging=False), "battery"),
        ({"rules": LearningRules(quiet_hours="11:00-13:00")}, None, "quiet"),
    ],
)
def test_it_says_no_for_this_round_with_a_code_of_its_own(
    changes: dict[str, Any], around: Surroundings | None, why: str, device: DeviceFolder, bundle: Bundle
) -> None:
    device.change(**changes)
    reply = answers(device, around)(train(bundle), context())
    assert reply.has_error()
    assert reply.error.code == wire.REFUSED
    assert why in (reply.error.reason or "")


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (MessageType.TRAIN, {}),
        (MessageType.TRAIN, PrivacyConfig(kind="central").to_record()),
        (MessageType.TRAIN, PrivacyConfig(epsilon=8.0, noise="seeded").to_record()),
        (MessageType.TRAIN, PrivacyConfig().to_record()),
        (MessageType.EVALUATE, {"split": "train"}),
        (MessageType.EVALUATE, {"split": "dev"}),
        (MessageType.EVALUATE, PrivacyConfig(epsilon=1.0).to_record()),
    ],
    ids=["plain", "central", "seeded", "no noise", "figures", "figures of dev", "figures under dp"],
)
def test_by_default_nothing_about_its_examples_leaves_without_noise_of_its_own(
    device: DeviceFolder, bundle: Bundle, kind: str, settings: dict[str, Any]
) -> None:
    assert answers(device)(train(bundle, kind, **settings), context()).has_content()
    said = asdict(device.settings)
    del said["only_private"]
    device.save(DeviceSettings(**{**said, "rules": LearningRules(**said["rules"])}))
    reply = answers(device)(train(bundle, kind, **settings), context())
    assert reply.error.code == wire.REFUSED
    assert not reply.has_content()
    assert not device.ledger_path.exists()


def test_by_default_it_learns_with_noise_that_its_budget_pays_for(device: DeviceFolder, bundle: Bundle) -> None:
    device.change(only_private=True)
    reply = answers(device)(train(bundle, **PrivacyConfig(epsilon=2.0).to_record()), context())
    assert dict(reply.content.metric_records[wire.METRICS]).keys() == {"num-examples", "num-examples.text", "steps"}
    assert 0 < ledger_of(device).spent <= 2.0


def test_consent_taken_back_counts_from_the_next_message_on(device: DeviceFolder, bundle: Bundle) -> None:
    resident = answers(device)
    assert resident(train(bundle), context()).has_content()
    device.change(consent=False)
    assert resident(train(bundle), context()).has_error()


def test_a_round_of_other_labels_is_not_learned(device: DeviceFolder, bundle: Bundle) -> None:
    # As many classes, so that nothing but the name tells them apart.
    reply = answers(device)(train(bundle, **{wire.LABELS: "meld7"}), context())
    assert reply.error.code == wire.REFUSED
    assert "label set 'meld7'" in reply.error.reason


@pytest.mark.parametrize(
    ("terms", "why"),
    [
        ({wire.ENCODERS: '{"text": ["another"]}'}, "other text encoders"),
        ({wire.LAYOUT: "another"}, "other shapes"),
    ],
)
def test_what_its_examples_do_not_fit_is_a_refusal_with_a_reason(
    terms: dict[str, str], why: str, device: DeviceFolder, bundle: Bundle
) -> None:
    assert not device.shared_path.exists()
    reply = answers(device)(train(bundle, **terms), context())
    assert reply.error.code == wire.REFUSED
    assert why in reply.error.reason
    assert not device.shared_path.exists()
    layout, _ = _start(bundle)
    fits = {wire.ENCODERS: json.dumps({"text": [bundle.encoder("text").key]}), wire.LAYOUT: layout.digest()}
    assert answers(device)(train(bundle, **fits), context()).has_content()


def test_a_device_that_insists_on_masks_believes_no_word_that_there_will_be_some(
    device: DeviceFolder, bundle: Bundle
) -> None:
    device.change(only_secagg=True)
    said = {wire.RUN: "r", wire.ATTEMPT: 1, wire.BASE: "0", wire.MASKING: True}
    assert answers(device)(train(bundle, **said), context()).error.code == wire.REFUSED
    # Whether it would take part may depend on it.
    assert answers(device)(train(bundle, MessageType.QUERY, **said), context()).has_content()
    asked = train(bundle, MessageType.QUERY, **{**said, wire.MASKING: False})
    assert answers(device)(asked, context()).error.code == wire.REFUSED


def test_its_user_sees_on_one_screen_what_it_holds_and_shared(device: DeviceFolder, bundle: Bundle) -> None:
    def shown() -> str:
        done = CliRunner().invoke(status, ["--device", str(device.path)])
        assert done.exit_code == 0, done.exception
        return " ".join(done.output.split())

    assert "30 kept, 30 labelled, 20 to learn from learns with torch" in shown()
    assert "at work no: fedaffect device start would learn now yes" in shown()
    with only_one(device.at_work_path, ""):
        assert "at work yes" in shown()
    assert "shared nothing yet" in shown()
    device.change(only_private=True)
    answers(device)(train(bundle, **{wire.RUN: "r", wire.ATTEMPT: 1, wire.BASE: "0"}, **NOISE), context())
    assert "1 times, the newest:" in shown()
    assert "update of run r, round 1 (with noise)" in shown()
    assert f"{bundle.version}, predicts shared7" in shown()
    assert "of 8 spent" in shown()
    device.change(rules=LearningRules(min_examples=25))
    assert "no: 20 of 25 examples are labelled" in shown()
    device.change(consent=False)
    assert "no: its user has not agreed to learning" in shown()
    assert device.shared_path.stat().st_mode & 0o077 == 0


def test_its_user_sees_what_is_not_learned_from_and_why(device: DeviceFolder, bundle: Bundle) -> None:
    def shown() -> str:
        done = CliRunner().invoke(status, ["--device", str(device.path)])
        assert done.exit_code == 0, done.exception
        return " ".join(done.output.split())

    with Database(Path(device.settings.store)) as database:
        examples = ExampleStore(database)
        examples.label("r0", "power", consent=True)
        examples.renew(2, {"text": np.ones((2, 3))}, {"text": "another"})
        assert "1 with labels that the bundle does not predict; 1 of other encoders: fedaffect edge exam" in shown()
        for example in examples.examples():
            examples.label(example.id, "joy", consent=True)
        assert "no: all examples to learn from are labelled joy; label some of another emotion too" in shown()
    # The server is told neither which nor that it is one.
    reply = answers(device)(train(bundle), context())
    assert (reply.error.code, reply.error.reason) == (wire.REFUSED, "it has too few examples")
    shutil.rmtree(BundleStore.default().folder)
    assert "bundle none yet: device start fetches the fleet's" in shown()
    assert "would learn now no: it has no bundle to learn with" in shown()
    device.revoked_path.touch()
    assert "would learn now no: the fleet revoked it" in shown()


def test_arrays_of_another_model_are_not_learned(device: DeviceFolder, bundle: Bundle) -> None:
    message = train(bundle)
    del message.content.array_records[wire.ARRAYS][next(iter(message.content.array_records[wire.ARRAYS]))]
    with pytest.raises(ConfigError, match="another model"):
        answers(device)(message, context())


def test_what_it_keeps_between_rounds_outlives_the_process(device: DeviceFolder, bundle: Bundle) -> None:
    settings = {**TrainConfig(lr=1e-3, optimizer="adamw", keep_optimizer=True).to_record(), wire.RUN: "r"}
    more = {**settings, wire.ATTEMPT: 1, wire.BASE: "0"}
    first = answers(device)(train(bundle, **more), context())
    second = answers(device)(train(bundle, **{**more, wire.SERVER_ROUND: 2}), context())
    # Another process, and a SuperNode that remembers nothing: the same round starts from the same state.
    again = answers(device)(train(bundle, **{**more, wire.SERVER_ROUND: 2}), context())
    layout, _ = _start(bundle)

    def arrays(reply: Message) -> torch.Tensor:
        return wire.from_record(layout, reply.content.array_records[wire.ARRAYS])

    assert torch.equal(arrays(second), arrays(again))
    assert not torch.equal(arrays(first), arrays(second))
    assert all(path.stat().st_mode & 0o077 == 0 for path in device.states.iterdir())
