"""Streams learned from clips without labels: what is hidden stays hidden, what was learned begins a run."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from tests.support.small_cohorts import constructed_cohort

from fedaffect.client.cohort import Cohort, TokenTable
from fedaffect.client.models.autoencoder import MaskedAutoEncoder
from fedaffect.client.models.registry import build_model
from fedaffect.client.task import ClientTask
from fedaffect.edge.errors import BundleError, ConfigError, RunError
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.models.bundling.recipe import METADATA
from fedaffect.server.pretrained_streams import PretrainedStreams, read_streams, write_streams
from fedaffect.server.starting_point import start_of, with_start
from fedaffect.simulation.cli.pretrain import pretrain
from fedaffect.simulation.pretraining.clips import Clips
from fedaffect.simulation.pretraining.training import Epoch, hide
from fedaffect.simulation.pretraining.training import pretrain as pretrain_streams

WIDTHS = {"audio": 6, "video": 4}
SMALL = {"width": 16, "heads": 2, "layers": 1, "feedforward": 32, "dropout": 0.0}
STANDARD = {stream: torch.stack([torch.zeros(width), torch.ones(width)]) for stream, width in WIDTHS.items()}


def autoencoder(**options: Any) -> MaskedAutoEncoder:
    torch.manual_seed(0)
    return MaskedAutoEncoder("avt", build_model("avt", WIDTHS, 3, {**SMALL, **options}), STANDARD)


def test_some_of_a_clip_is_hidden_and_never_all_of_it() -> None:
    held = torch.arange(20) < torch.tensor([[0], [1], [2], [3], [20], [20]])
    draw = np.random.default_rng(0)
    shares = []
    for _ in range(50):
        hidden = hide({"audio": held}, draw)["audio"]
        assert not (hidden & ~held).any()
        assert hidden.sum(dim=1)[:2].tolist() == [0, 0]
        assert ((hidden.sum(dim=1) >= 1) & (hidden.sum(dim=1) < held.sum(dim=1)))[2:].all()
        shares.append(hidden[4:].float().mean())
    assert 0.2 < np.mean(shares) < 0.35


@pytest.mark.parametrize("fusion", ["cross", "late", "hybrid"])
def test_encoders_do_not_see_what_is_hidden(fusion: str) -> None:
    network = autoencoder(fusion=fusion).eval()
    tokens = {stream: torch.randn(2, 5, width) for stream, width in WIDTHS.items()}
    present = {stream: torch.ones(2, 5, dtype=torch.bool) for stream in WIDTHS}
    hidden = {stream: torch.tensor([[False, True, True, False, False]] * 2) for stream in WIDTHS}
    seen: list[torch.Tensor] = []
    keep = [decoder.register_forward_pre_hook(lambda _, given: seen.append(given[0])) for decoder in network.decoders]
    network(tokens, present, hidden)
    others = {stream: torch.where(hidden[stream][..., None], 9.0, own) for stream, own in tokens.items()}
    network(others, present, hidden)
    assert len(keep) == (4 if fusion == "hybrid" else 2)
    for first, second in zip(seen[: len(keep)], seen[len(keep) :], strict=True):
        torch.testing.assert_close(first, second)


def test_the_mean_of_every_feature_would_lose_one() -> None:
    network = autoencoder()
    for decoder in network.decoders:
        torch.nn.init.zeros_(decoder.weight)
        torch.nn.init.zeros_(decoder.bias)
    tokens = {stream: torch.randn(200, 8, width) for stream, width in WIDTHS.items()}
    present = {stream: torch.ones(200, 8, dtype=torch.bool) for stream in WIDTHS}
    loss = network(tokens, present, hide(present, np.random.default_rng(0)))
    assert float(loss.detach()) == pytest.approx(1.0, abs=0.05)


def test_what_is_learned_is_the_streams_own_encoders() -> None:
    assert {name.split(".")[2] for name in autoencoder().learned()} == {"encoders"}
    late = MaskedAutoEncoder("late", build_model("late", WIDTHS, 3, {"width": 16, "heads": 2}), STANDARD).learned()
    assert {name.split(".")[2] for name in late} == {"adapter", "encoder"}
    hybrid = autoencoder(fusion="hybrid").learned()
    assert {name.split(".")[1] for name in hybrid} == {"cross", "late"}


@pytest.mark.parametrize(("model", "options"), [("avt", {"fusion": "early"}), ("cmt", {}), ("linear", {})])
def test_models_without_encoders_of_streams_are_refused(model: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="no stream of model"):
        MaskedAutoEncoder(model, build_model(model, WIDTHS, 3, options), STANDARD)


def test_what_is_hidden_is_learned_of_what_is_around_it() -> None:
    draw = np.random.default_rng(0)
    # Each clip has a vector of its own, shown with a little noise.
    tables = {}
    for stream, width in WIDTHS.items():
        own = np.repeat(draw.normal(size=(120, width)), 6, axis=0)
        tokens = (own + draw.normal(0, 0.1, own.shape)).astype(np.float32)
        tables[stream] = TokenTable(tokens, np.arange(0, 6 * 121, 6))
    clips = Clips(tables, np.arange(100), np.arange(100, 120), {}, 0)
    config = RunSettings.of(model="avt", model_options=SMALL, rounds=15, lr=0.003, batch_size=16, mode="centralized")
    epochs: list[Epoch] = []
    kept, best = pretrain_streams(config, clips, lambda epoch, state: epochs.append(epoch))
    assert best == min(epoch.dev for epoch in epochs) < 0.5 < epochs[0].dev
    assert [epoch.best for epoch in epochs].count(True) >= 1
    again, _ = pretrain_streams(config, clips, lambda epoch, state: None)
    for name, tensor in kept.items():
        torch.testing.assert_close(tensor, again[name], rtol=0, atol=0)


def _voices(folder: Path) -> Path:
    """Twelve speakers in VoxCeleb2's layout, each with a tone that glides: a clip's frames tell of one another."""
    draw = np.random.default_rng(0)
    for speaker in range(12):
        place = folder / "dev" / "aac" / f"id{speaker:05d}" / "film"
        place.mkdir(parents=True)
        for clip in range(2):
            seconds = np.arange(int(16_000 * 0.7)) / 16_000
            pitch = 120 + 20 * speaker + 60 * clip * seconds
            sound = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / 16_000) + draw.normal(0, 0.01, len(seconds))
            written = io.BytesIO()
            soundfile.write(written, sound.astype(np.float32), 16_000, format="WAV")
            (place / f"{clip:05d}.m4a").write_bytes(written.getvalue())
    return folder


def test_voices_that_nobody_labelled_teach_a_models_streams(tmp_path: Path) -> None:
    flags = ["--dataset", "voxceleb2", "--data-dir", str(_voices(tmp_path / "vox")), "--modalities", "audio"]
    flags += [
        "--audio-features",
        "acoustic",
        "--rounds",
        "3",
        "--batch-size",
        "4",
        "--out",
        str(tmp_path / "runs"),
    ]
    flags += [f"--model-option={name}={value}" for name, value in SMALL.items()]
    done = CliRunner().invoke(pretrain, [*flags, "--name", "vox", "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["clips"], facts["unusable"]) == (20, 0)
    assert done.stderr.count("epoch ") == 3
    streams = read_streams(tmp_path / "runs" / "vox.safetensors")
    assert (streams.model, streams.dataset, streams.widths) == ("avt", "voxceleb2", {"audio": streams.widths["audio"]})
    assert streams.loss == facts["loss"]
    with pytest.raises(RunError, match="--overwrite"):
        CliRunner().invoke(pretrain, [*flags, "--name", "vox"], catch_exceptions=False)


@pytest.fixture
def streams(tmp_path: Path) -> PretrainedStreams:
    learned = autoencoder().learned()
    state = {name: torch.full_like(tensor, 0.25) for name, tensor in learned.items()}
    made = PretrainedStreams("vox", "avt", SMALL, WIDTHS, state, {}, "none", "voxceleb2", 0.5)
    write_streams(made, tmp_path / "vox.safetensors")
    return made


def _task(tmp_path: Path, **about: Any) -> ClientTask:
    cohort = Cohort.load(constructed_cohort(tmp_path / "cohort", clients=2, widths=WIDTHS, classes=3))
    cohort.about.update(about)  # type: ignore[attr-defined]
    return ClientTask(cohort, "avt", SMALL)


def test_a_run_begins_with_what_was_learned_and_all_else_fresh(tmp_path: Path, streams: PretrainedStreams) -> None:
    settings = with_start({"dataset": "ravdess", "start_from": "vox.safetensors", "out": tmp_path})
    assert (settings["model"], settings["model_options"]) == ("avt", SMALL)
    assert "labels" not in settings
    task = _task(tmp_path)
    config = RunSettings.of({**settings, "data_dir": tmp_path, "modalities": "audio,video"})
    arrays = task.layout.unflatten(start_of(config).weights(task, 3))
    fresh = task.layout.unflatten(task.initial_weights(3))
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, np.full_like(array, 0.25) if name in streams.state else fresh[name])
    assert 0 < len(streams.state) < len(arrays)


@pytest.mark.parametrize(
    ("changed", "about", "why"),
    [
        ({"normalise": "client"}, {"normalise": "none"}, "--normalise client"),
        ({"dataset": "ravdess"}, {"dataset": "ravdess", "folds": 6}, "a fold of the run tests"),
        ({"encoder_keys": {"audio": "a"}}, {"encoder_keys": {"audio": "b"}}, "other audio features"),
        ({"state": {"adapters.audio.weight": torch.zeros(1)}}, {}, "no parameter of the run's model"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, streams: PretrainedStreams, changed: dict[str, Any], about: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        replace(streams, **changed).weights(_task(tmp_path, **about), 0)


@pytest.mark.parametrize(
    ("about", "tensor"),
    [
        ({"options": 3}, torch.zeros(2)),
        ({"encoder_keys": ["audio"]}, torch.zeros(2)),
        ({"widths": {"audio": "wide"}}, torch.zeros(2)),
        ({}, torch.tensor([0.0, torch.nan])),
    ],
)
def test_a_strangers_file_is_refused_in_one_line(tmp_path: Path, about: dict[str, Any], tensor: torch.Tensor) -> None:
    whole = {"kind": "streams", "model": "avt", "options": {}, "widths": {"audio": 6}, "encoder_keys": {}}
    whole |= {"normalise": "none", "dataset": "voxceleb2", "loss": 0.5, **about}
    path = tmp_path / "theirs.safetensors"
    save_file({"parts.cross.encoders.audio.project.bias": tensor}, path, {METADATA: json.dumps(whole)})
    with pytest.raises(BundleError, match="holds no pretrained streams") as caught:
        read_streams(path)
    assert "\n" not in str(caught.value)


def test_half_precision_is_read_as_what_runs_compute_in(tmp_path: Path, streams: PretrainedStreams) -> None:
    halved = {name: tensor.to(torch.bfloat16) for name, tensor in streams.state.items()}
    write_streams(replace(streams, state=halved), tmp_path / "half.safetensors")
    read = read_streams(tmp_path / "half.safetensors")
    assert {tensor.dtype for tensor in read.state.values()} == {torch.float32}
    assert read.about()["sha256"] == streams.about()["sha256"], "a quarter is the same in both"


def test_a_damaged_file_says_what_makes_another(tmp_path: Path, streams: PretrainedStreams) -> None:
    path = tmp_path / "vox.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(BundleError, match="fedaffect pretrain"):
        read_streams(path)
