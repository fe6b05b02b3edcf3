"""The face networks: what they are indifferent to, and that they learn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Generator

from fedaffect.edge.errors import BundleError, ConfigError
from fedaffect.server.models.faces import weights
from fedaffect.server.models.faces.augment import augment
from fedaffect.server.models.faces.distil import DistilConfig, Pair, accuracy, distil, paired, probabilities
from fedaffect.server.models.faces.network import CLASSES, SIDE, SIZES, BothViews, ExpressionNet
from fedaffect.server.models.faces.votes import Faces


def drawn(count: int, seed: int) -> Faces:
    """Constructed: level stripes for one class, upright ones for another."""
    generator = Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (count,), generator=generator)
    pictures = torch.randint(0, 90, (count, 1, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    bright = (torch.arange(SIDE) // 4 % 2 == 0).to(torch.uint8) * 130
    pictures[labels == 0] += bright[:, None]
    pictures[labels == 1] += bright[None, :]
    votes = torch.nn.functional.one_hot(labels, len(CLASSES)).float()
    return Faces(pictures, votes, labels, torch.ones(count, dtype=torch.bool))


def small(name: str) -> ExpressionNet:
    torch.manual_seed(0)
    return ExpressionNet(SIZES[name]).eval()


@torch.no_grad()
def test_a_face_and_its_mirror_image_have_the_same_features() -> None:
    network, pixels = small("student"), torch.rand(3, 3, SIDE, SIDE)
    both = BothViews(network)
    torch.testing.assert_close(both(pixels), both(pixels.flip(-1)))
    assert not torch.allclose(network(pixels), network(pixels.flip(-1)))


@torch.no_grad()
def test_light_and_contrast_do_not_matter() -> None:
    network, pixels = small("student"), torch.rand(2, 3, SIDE, SIDE)
    torch.testing.assert_close(network(pixels), network(0.5 * pixels + 0.2), atol=0.05, rtol=0.05)


def test_views_follow_the_seed_and_have_the_side_asked_for() -> None:
    faces = drawn(6, 0).pictures
    first, again, other = (augment(faces, Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (6, 1, SIDE, SIDE)
    assert augment(faces, Generator().manual_seed(1), 40).shape == (6, 1, 40, 40)


@pytest.mark.slow
def test_both_learn_and_what_they_learned_is_gone_on_from(tmp_path: Path) -> None:
    train, dev = drawn(96, 0), drawn(48, 1)
    told: list[dict[str, float]] = []
    config = DistilConfig(epochs=3, batch_size=16, lr=0.05, average=0.5)
    pair = distil(train, dev, config, tmp_path, lambda figures: told.append(dict(figures)))
    assert [figures["epoch"] for figures in told] == [1, 2, 3]
    assert told[-1]["loss"] < told[0]["loss"]
    for network in (pair.teacher, pair.student):
        assert accuracy(probabilities(network, dev.pictures), dev) > 0.9
    assert len((tmp_path / "epochs.jsonl").read_text().splitlines()) == 3
    stored = Pair()
    stored.load_state_dict(torch.load(tmp_path / "pair.pt", weights_only=True))
    torch.testing.assert_close(stored.student.head.weight, pair.student.head.weight)
    # With the map fitted again, the pair begins near where it was.
    again = paired(pair.teacher, pair.student, train)
    begun: list[dict[str, float]] = []
    one = DistilConfig(epochs=1, batch_size=16, lr=1e-4, average=0.5)
    distil(train, dev, one, tmp_path / "again", lambda figures: begun.append(dict(figures)), again)
    assert begun[0]["loss"] < told[0]["loss"]
    assert json.loads((tmp_path / "again" / "epochs.jsonl").read_text())["epoch"] == 1


def test_networks_survive_being_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = small("student"), small("teacher")
    weights.save_student(student, tmp_path / "student.safetensors")
    weights.save_teacher(teacher, tmp_path / "teacher.safetensors")
    monkeypatch.setattr(weights, "STUDENT", tmp_path / "student.safetensors")
    monkeypatch.setattr(weights, "TEACHER", tmp_path / "teacher.safetensors")
    pixels = torch.rand(4, 3, SIDE, SIDE)
    with torch.no_grad():
        for before, after in ((student, weights.load_student()), (teacher, weights.load_teacher())):
            alike = torch.nn.functional.cosine_similarity(before(pixels), after(pixels))
            assert float(alike.min()) > 0.999
    (tmp_path / "student.safetensors").write_bytes(b"no weights")
    with pytest.raises(BundleError, match="install fedaffect again"):
        weights.load_student()


def test_a_plan_that_cannot_be_carried_out_is_refused() -> None:
    with pytest.raises(ConfigError):
        DistilConfig(epochs=0)
