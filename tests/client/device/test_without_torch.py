"""A device learns, masks, adds noise and shows its state where torch, Opacus and SciPy cannot be imported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.learning_bundle import OPTIONS, learning_bundle
from tests.support.without_extras import run_without

from fedaffect.client.device.folder import DeviceFolder, DeviceSettings
from fedaffect.edge.bundle import BundleStore

REFUSED = {"torch", "opacus", "scipy", "onnx", "onnxscript", "transformers", "ray", "psutil"}
pytestmark = pytest.mark.slow

_ROUNDS = """
import json
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict

from fedaffect.client import wire
from fedaffect.client.cli.device_status import status
from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.permission import Surroundings
from fedaffect.client.device.resident import DeviceAnswers
from fedaffect.client.device.training_data import learner_of
from fedaffect.client.flower_compat.names import act_as
from fedaffect.client.onnx_engine.graph import StepGraph
from fedaffect.client.privacy.settings import PrivacyConfig
from fedaffect.client.train_config import TrainConfig
from fedaffect.edge.bundle import BundleStore
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.store import Database, ExampleStore

folder, options = DeviceFolder(Path(sys.argv[1])), json.loads(sys.argv[2])
act_as(1, 1, 1)
bundle = BundleStore.default().current()
layout = StepGraph.load(learner_of(folder.settings, bundle).step).about.layout
rng, key = np.random.default_rng(0), bundle.encoder_key("text")
with Database(Path(folder.settings.store)) as database:
    examples = ExampleStore(database)
    for number in range(24):
        label = ("joy", "sadness")[number % 2]
        tokens = rng.normal(2.0 * (number % 2), 1, (3, bundle.manifest.encoders["text"].width)).astype(np.float16)
        answer = Prediction(label, {label: 1.0}, 1.0, "edge", ("text",), 1.0, "v", "confident")
        examples.add(f"r{number}", {"text": tokens}, {"text": key}, answer)
        examples.label(f"r{number}", label, consent=True)

start = rng.normal(0, 0.1, layout.size).astype(np.float32)

def ask(kind, round, **more):
    terms = {wire.SERVER_ROUND: round, wire.LABELS: "shared7", wire.LAYOUT: layout.digest()}
    terms |= {wire.RUN: "r", wire.ATTEMPT: 1, wire.BASE: "0"}
    settings = {**TrainConfig(lr=0.1).to_record(), **terms, **more}
    config = wire.request_config(Path("/nowhere"), "cmt", options, 7, settings)
    content = RecordDict({wire.ARRAYS: wire.to_record(layout, start), wire.CONFIG: config})
    context = Context(run_id=1, node_id=9, node_config={"partition-id": 3}, state=RecordDict(), run_config={})
    return DeviceAnswers(folder, lambda: Surroundings())(Message(content, 9, kind), context)

said = {}
for name, kind, more in (
    ("asked", MessageType.QUERY, {}),
    ("plain", MessageType.TRAIN, {}),
    ("adam", MessageType.TRAIN, {"optimizer": "adamw", "keep-optimizer": True}),
    ("noisy", MessageType.TRAIN, PrivacyConfig(epsilon=2.0).to_record()),
    ("small", MessageType.TRAIN, {wire.COMPRESSION: "top-k:0.1"}),
    ("figures", MessageType.EVALUATE, {"split": "train"}),
):
    reply = ask(kind, len(said) + 1, **more)
    assert reply.has_content(), (name, reply.error.reason)
    said[name] = sorted(reply.content)
moved = layout.vector({n: a.numpy() for n, a in ask(MessageType.TRAIN, 9).content.array_records[wire.ARRAYS].items()})
said["moved"] = float(np.linalg.norm(moved - start))
prv = PrivacyConfig(epsilon=2.0, accountant="prv").to_record()
for name, more in (("scaffold", {"algorithm": "scaffold"}), ("prv", prv)):
    said[name] = ask(MessageType.TRAIN, 10, **more).error.reason
shown = CliRunner().invoke(status, ["--device", str(folder.path), "--json"])
assert shown.exit_code == 0, shown.exception
said["status"] = json.loads(shown.output)
assert not REFUSED & set(sys.modules), REFUSED & set(sys.modules)
print(json.dumps(said))
"""


def test_its_rounds_and_its_status(tiny_bundle: Path, tmp_path: Path) -> None:
    BundleStore.default().install(learning_bundle(tiny_bundle, tmp_path / "bundle", step=True))
    device = DeviceFolder.at(tmp_path / "device")
    device.save(
        DeviceSettings(
            **{"id": "a", "name": "phone", "number": 3, "server": "https://x:1", "superlink": "x:2"},
            consent=True,
            only_private=False,
            store=str(tmp_path / "examples.sqlite3"),
        )
    )
    done = run_without(REFUSED, _ROUNDS, str(device.path), json.dumps(OPTIONS))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["moved"] > 0.01
    assert "compressed" in said["small"]
    assert "pip install 'fedaffect[client]'" in said["scaffold"]
    assert "Opacus" in said["prv"]
    assert said["status"]["engine"] == "onnx"
    assert said["status"]["refusal"] is None
    assert 1.0 < said["status"]["epsilon"]["spent"] <= 2.0
