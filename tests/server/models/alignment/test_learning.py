"""The cloud learns from feedback whose senders allowed it, and offers only what makes nobody worse off."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from sqlalchemy import text
from tests.server.registry.conftest import migrated, postgresql_url, registry, url
from tests.support.constructed_materials import CLASSES, WIDTHS, material

from fedaffect.client.models.registry import build_model
from fedaffect.edge.cloud.messages import feature_sequences
from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.labels import label_set
from fedaffect.server.cli.learn import NOTHING_OFFERED
from fedaffect.server.cli.learn import learn as command
from fedaffect.server.models.alignment.consented import gather
from fedaffect.server.models.alignment.fitting import FitConfig
from fedaffect.server.models.alignment.learning import judge, learn
from fedaffect.server.models.alignment.storing import save_fusion
from fedaffect.server.models.bundling.fusion import read_fusion
from fedaffect.server.models.full_model.card import FUSION, ModelCard
from fedaffect.server.models.full_model.model import FullModel
from fedaffect.server.registry import Registry, audit, deployments, feedback, models
from fedaffect.server.registry.folder_hash import folder_sha256
from fedaffect.server.serving.openers import default_model

__all__ = ["migrated", "postgresql_url", "registry", "url"]

LABELS = label_set("shared7").labels
OPTIONS = {"width": 32, "heads": 2, "layers": 1, "feedforward": 32}
KEYS = {modality: f"{modality}-encoder" for modality in WIDTHS}
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

# Of what is learned, not of how it is stored: one of the databases shows it.
on_one_database = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


@pytest.fixture
def base(registry: Registry, tmp_path: Path) -> Path:
    """A version that takes features, with random weights, that all requests get."""
    folder = tmp_path / "base"
    torch.manual_seed(0)
    folder.mkdir()
    save_fusion(
        build_model("cmt", WIDTHS, CLASSES, OPTIONS), folder / FUSION, options=OPTIONS, widths=WIDTHS,
        labels="shared7", version="v1", temperatures={}, licence="test",
    )  # fmt: skip
    ModelCard(
        version="v1", profile="edge-features", label_set="shared7", labels=LABELS, options=OPTIONS, widths=WIDTHS,
        encoder_keys=KEYS, temperatures={"text": 1.5},
    ).write(folder)  # fmt: skip
    serve(registry, folder)
    return folder


def serve(registry: Registry, folder: Path) -> None:
    card = ModelCard.read(folder)
    models.add(
        registry,
        version=card.version,
        profile=card.profile,
        path=folder,
        label_set=card.label_set,
        sha256=folder_sha256(folder),
    )
    deployments.share(registry, {card.version: 1.0})


def say(
    registry: Registry,
    caller: str,
    count: int = 140,
    seed: int = 0,
    means: Callable[[int], int] = lambda label: label,
    **changes: Any,
) -> None:
    """Feedback on text and voice; ``means`` is what a caller calls a class."""
    said = {m: material(caller, m, rows=count, seed=seed + place) for place, m in enumerate(("text", "audio"))}
    for row in range(count):
        features = {m: one.tables[0].tokens[slice(*one.tables[0].offsets[row : row + 2])] for m, one in said.items()}
        sequences = feature_sequences(features, {**KEYS, **changes.get("keys", {})})
        given: dict[str, Any] = {
            "idempotency_key": f"{caller}-{seed}-{row}",
            "request_id": f"{caller}-{seed}-{row}",
            "label": LABELS[means(int(said["text"].labels[row]))],
            "consent": True,
            "features": pb.FeedbackRequest(features=sequences).SerializeToString(),
            "caller": caller,
        }
        feedback.take(registry, feedback.Feedback(**{**given, **{k: v for k, v in changes.items() if k != "keys"}}))


def run(registry: Registry, tmp_path: Path, *more: str) -> Result:
    address = registry.url.render_as_string(hide_password=False)
    return CliRunner().invoke(
        command, ["--registry", address, "--out", str(tmp_path / "models"), *more], catch_exceptions=False
    )


def consented(registry: Registry, base: Path) -> Any:
    told = feedback.newest(registry, since=LONG_AGO, most=10_000)
    return gather(told, ModelCard.read(base), 0.3)


def test_a_version_is_registered_that_answers_better(registry: Registry, base: Path, tmp_path: Path) -> None:
    say(registry, "a")
    say(registry, "b", seed=10)
    done = run(registry, tmp_path, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    assert said["after"]["uar"] > said["before"]["uar"] + 0.2
    assert said["trained_on"] + said["guard"] == 280
    assert 50 < said["guard"] < 120
    made = models.get(registry, said["version"])
    assert made.lineage == {"from": "v1", "command": "server learn", "feedback": said["trained_on"]}
    assert made.metrics["guard_uar"] == said["after"]["uar"]
    assert folder_sha256(made.path) == made.sha256
    # Registered, and given to nobody yet.
    assert (current := deployments.current(registry)) is not None
    assert dict(current.shares) == {"v1": 1.0}
    loaded = FullModel.load(made.path)
    assert (loaded.card.version, loaded.card.temperatures) == (said["version"], {"text": 1.5})
    before, after = read_fusion(base / FUSION).state, read_fusion(made.path / FUSION).state
    changed = {name.split(".")[1] if name.startswith("adapters.") else name for name in before if not torch.equal(
        before[name], after[name]
    )}  # fmt: skip
    assert changed == {"text", "audio"}
    (entry,) = audit.entries(registry, action="feedback.learned")
    assert entry.subject == said["version"]
    again = run(registry, tmp_path)
    assert again.exit_code == NOTHING_OFFERED
    assert "nothing is offered: nothing was said since the last time" in again.output


def test_what_is_not_used_is_said(registry: Registry, base: Path, tmp_path: Path) -> None:
    say(registry, "good", count=10)
    say(registry, "no", count=3, consent=False)
    say(registry, "bare", count=4, features=None)
    say(registry, "other", count=5, keys={"text": "another", "audio": "another"})
    say(registry, "half", count=2, keys={"audio": "another"})
    say(registry, "odd", count=6, label="boredom")
    say(registry, "broken", count=1, features=b"\xff\xff")
    say(registry, "old", count=7)
    with registry.writing() as session:
        # Both databases compare moments as they write them.
        session.execute(
            text("UPDATE feedback SET received = :old WHERE caller = 'old'"),
            {"old": "2020-01-01 00:00:00.000000+00:00" if registry.dialect == "postgresql" else "2020-01-01 00:00:00"},
        )
    # Consent that was given and taken back.
    say(registry, "good", count=1, idempotency_key="withdrawn", consent=False)
    done = run(registry, tmp_path)
    assert done.exit_code == NOTHING_OFFERED
    assert [line for line in done.output.splitlines() if line.startswith("not used: ")] == [
        "not used: 5 features of other encoders",
        "not used: 1 features that cannot be read",
        "not used: 6 label boredom is not among the model's",
        "not used: 4 without consent",
        "not used: 4 without features",
    ]
    assert "11 pieces of feedback are too few, and --least is 50" in done.output
    assert models.every(registry) == [models.get(registry, "v1")]


def _otherwise(label: int) -> int:
    return (label + 1) % CLASSES


def _taught(registry: Registry, base: Path, tmp_path: Path) -> Path:
    """A version that answers everybody right, served to all."""
    say(registry, "minority")
    folder = tmp_path / "v2"
    learn(base, consented(registry, base), folder, "v2")
    serve(registry, folder)
    return folder


@on_one_database
def test_a_version_that_is_worse_for_somebody_is_not_offered(registry: Registry, base: Path, tmp_path: Path) -> None:
    _taught(registry, base, tmp_path)
    for number in range(3):
        say(registry, f"majority {number}", seed=20 * number, means=_otherwise)
    done = run(registry, tmp_path)
    assert done.exit_code == NOTHING_OFFERED, done.output
    assert "nothing is offered: it would be worse for caller minority" in done.output
    assert {model.version for model in models.every(registry)} == {"v1", "v2"}
    assert list((tmp_path / "models").iterdir()) == []
    (entry,) = audit.entries(registry, action="feedback.learned")
    assert entry.subject == "v2"


@on_one_database
def test_a_corpus_that_is_forgotten_is_named(registry: Registry, base: Path, tmp_path: Path) -> None:
    served = _taught(registry, base, tmp_path)
    feedback.erase(registry, caller="minority")
    say(registry, "majority", means=_otherwise)
    learned, made = consented(registry, served), tmp_path / "made"
    learn(served, learned, made, "v3")
    corpus = material("meld", "text", seed=5)
    verdict = judge(served, made, learned, [corpus])
    assert len(verdict.worse) == 1
    assert verdict.worse[0].startswith("meld (UAR 0.")
    assert verdict.corpora["meld"][0] > verdict.corpora["meld"][1] + 0.1
    # Trained on as well, what it teaches is kept, where people do not contradict it.
    feedback.erase(registry, caller="majority")
    say(registry, "agrees")
    agreed, kept = consented(registry, served), tmp_path / "kept"
    learn(served, agreed, kept, "v4", [corpus], FitConfig(steps=200, lr=3e-4, weight_decay=0.0))
    assert judge(served, kept, agreed, [corpus]).worse == ()


def test_erased_feedback_is_neither_trained_on_nor_measured_with(registry: Registry, base: Path) -> None:
    say(registry, "stays", count=40)
    before = consented(registry, base)
    say(registry, "leaves", count=40, seed=7)
    both = consented(registry, base)
    assert set(both.owners[both.guard]) == set(both.owners[~both.guard]) == {"stays", "leaves"}
    feedback.erase(registry, caller="leaves")
    after = consented(registry, base)
    assert after.digest("v1") == before.digest("v1") != both.digest("v1")
    assert set(after.owners) == {"stays"}
    for modality, table in before.tables.items():
        np.testing.assert_array_equal(after.tables[modality].tokens, table.tokens)
    # Which are held out does not depend on what else was said.
    held = dict(zip(both.keys, both.guard, strict=True))
    assert all(held[key] == guard for key, guard in zip(after.keys, after.guard, strict=True))


def test_it_needs_a_version_that_is_served(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no registered version is served; register one"):
        run(registry, tmp_path)


@on_one_database
def test_a_version_that_takes_media_learns_from_corrections_of_what_its_encoders_made(
    registry: Registry, tmp_path: Path
) -> None:
    card = ModelCard.read(default_model())
    serve(registry, default_model())
    draw = np.random.default_rng(0)
    for row in range(24):
        made = {modality: draw.normal(size=(4, width)) for modality, width in card.widths.items()}
        given = feedback.Feedback(
            idempotency_key=f"page-{row}",
            request_id=f"answer-{row}",
            label=("joy", "anger")[row % 2],
            consent=True,
            features=pb.FeedbackRequest(features=feature_sequences(made, card.encoder_keys)).SerializeToString(),
        )
        feedback.take(registry, given)
    done = run(registry, tmp_path, "--least", "20", "--steps", "2", "--json")
    told = json.loads(done.output)
    assert told["base"] == card.version
    assert told["trained_on"] + told["guard"] == 24
    assert told["unused"] == {}
    # It was trained and measured; whether a version came of noise is chance.
    assert {"uar"} <= set(told["before"]) & set(told["after"])


def test_it_looks_again_every_so_often(
    registry: Registry, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("fedaffect.server.cli.learn.sleep", sleep)
    done = run(registry, tmp_path, "--every", "24")
    assert slept == [86_400.0, 86_400.0]
    assert done.output.count("nothing is offered: 0 pieces of feedback are too few") == 2


@on_one_database
def test_the_program_says_by_its_exit_code_that_nothing_was_offered(
    registry: Registry, base: Path, tmp_path: Path
) -> None:
    address = registry.url.render_as_string(hide_password=False)
    program = str(Path(sys.executable).with_name("fedaffect"))
    done = subprocess.run((program, "server", "learn", "--registry", address), capture_output=True, check=False)
    assert done.returncode == NOTHING_OFFERED
