"""What was trained is served: the cloud and a device answer on raw media as the network does that was trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fedaffect.client.cohort import Cohort, TokenTable
from fedaffect.edge.bundle import Bundle
from fedaffect.edge.errors import BundleError
from fedaffect.edge.labels import label_set
from fedaffect.edge.sample import Frames, Waveform
from fedaffect.server.models.bundling.build import BuildConfig, build_bundle
from fedaffect.server.models.bundling.fusion import read_fusion
from fedaffect.server.models.fine_tuning.limits import Limits
from fedaffect.server.models.fine_tuning.model_folder import write_model
from fedaffect.server.models.fine_tuning.opening import open_inputs
from fedaffect.server.models.fine_tuning.whole import Opened, Plan
from fedaffect.server.models.full_model import Compute, FullModel, ModelCard
from fedaffect.server.models.full_model.card import FUSION
from fedaffect.server.models.reading import Reading

LABELS = label_set("shared7").labels
LIMITS = Limits(max_seconds=1.5, max_frames=4)
EQUAL = 1e-4
Folders = Callable[[str], Path]
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")


def media(seed: int) -> dict[str, Any]:
    """Words, sound of no whole number of rows and longer than is heard, and more pictures than are looked at."""
    rng = np.random.default_rng(seed)
    sound = (0.2 * rng.normal(size=int(rng.integers(11_000, 30_000)))).astype(np.float32)
    pictures = rng.integers(0, 256, (int(rng.integers(5, 14)), 40, 40, 3), dtype=np.uint8)
    words = ("i am so happy !", "you am sad .")[seed % 2]
    return {"text": words, "audio": Waveform(sound, 16_000), "video": Frames(pictures, 5.0)}


def opened(plan: Plan) -> Opened:
    """With parameters that are not those of the folders, so that only what was saved can answer."""
    made = plan.open()
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in made.network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    made.network.eval()
    return made


def trained_answers(made: Opened, plan: Plan, samples: list[dict[str, Any]]) -> NDArray[np.float32]:
    """As a run evaluates: raw input of all samples in one batch."""
    tables, present = {}, {}
    for modality, source in plan.sources.items():
        inputs = open_inputs(modality, source, LIMITS, "whole")
        rows = [inputs.encode([inputs.prepare(sample[modality])])[0] for sample in samples]
        kept = np.concatenate(rows).astype(inputs.stored)
        tables[modality] = TokenTable(kept, np.cumsum([0, *map(len, rows)]).astype(np.int64))
        present[modality] = np.ones(len(samples), bool)
    labels = np.zeros(len(samples), np.int64)
    cohort = Cohort(
        tables=tables,
        present=present,
        labels=labels,
        train_labels=labels,
        client_offsets=np.array([0, len(samples)]),
        client_rows=np.arange(len(samples)),
        splits={},
        groups=labels,
        group_names=("nobody",),
        client_names=("all",),
        label_names=LABELS,
        about={},
    )
    with torch.inference_mode():
        answers = cohort.gather(np.arange(len(samples)), train=False).scored_by(made.network)
    return answers[:, : len(LABELS)].softmax(-1).numpy()


def written(folders: Folders, kinds: Mapping[str, str], model: str, folder: Path) -> tuple[Opened, Plan]:
    sources = {modality: kind if kind == "package" else str(folders(kind)) for modality, kind in kinds.items()}
    small = {"own": {}, "mfer": {"hidden": 8}}.get(model, {"width": 16, "heads": 2, "feedforward": 16})
    # Some learn more than the class.
    ratings = ("valence", "arousal") if model == "cmt" else ()
    plan = Plan(
        sources=sources, frozen={}, model=model, options=small, classes=7, seed=0, device="cpu", ratings=len(ratings)
    )
    made = opened(plan)
    write_model(made, plan, LIMITS, folder, labels="shared7", ratings=ratings, run="first", best_round=3)
    return made, plan


ALL = {"text": "bert", "audio": "wav2vec2", "video": "vit"}


@pytest.mark.parametrize(
    ("kinds", "model"),
    [
        (ALL, "cmt"),
        ({"text": "roberta", "audio": "whisper", "video": "package"}, "late"),
        ({"text": "distilbert"}, "own"),
        ({"audio": "hubert"}, "own"),
        ({"audio": "whisper"}, "own"),
        ({"video": "vit"}, "own"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value.values()),
)
def test_the_cloud_answers_as_the_network_that_was_trained(
    model_folder: Folders, tmp_path: Path, kinds: dict[str, str], model: str
) -> None:
    made, plan = written(model_folder, kinds, model, tmp_path / "model")
    samples = [media(seed) for seed in range(3)]
    wanted = trained_answers(made, plan, samples)
    # A folder that is carried elsewhere is the same model.
    served = FullModel.load((tmp_path / "model").rename(tmp_path / "elsewhere"))
    assert served.modalities == tuple(kinds)
    tokens = [
        {m: encoder.encode([encoder.take(sample[m]).prepared])[0] for m, encoder in served.encoders.items()}
        for sample in samples
    ]
    np.testing.assert_allclose(served.fuse(tokens), wanted, atol=EQUAL)
    assert np.abs(wanted[0] - wanted[1]).max() > 100 * EQUAL


@pytest.mark.parametrize(
    ("kinds", "model"),
    [(ALL, "cmt"), ({"text": "bert", "audio": "whisper", "video": "package"}, "mfer"), ({"audio": "wav2vec2"}, "own")],
    ids=["cmt", "mfer", "own"],
)
def test_a_device_answers_as_the_network_that_was_trained(
    model_folder: Folders, tmp_path: Path, kinds: dict[str, str], model: str
) -> None:
    made, plan = written(model_folder, kinds, model, tmp_path / "model")
    card = ModelCard.read(tmp_path / "model")
    others = {modality: str(model_folder(kind)) for modality, kind in ALL.items()}
    networks = dict(zip(("text", "speech", "vision"), {**others, **card.sources}.values(), strict=True))
    fusion = read_fusion(tmp_path / "model" / FUSION)
    build_bundle(
        BuildConfig(profile="cloud", quantise=False, fusion=fusion, readings=card.readings, **networks),
        tmp_path / "bundle",
    )
    samples = [media(seed) for seed in range(2)]
    wanted = trained_answers(made, plan, samples)
    bundle = Bundle.load(tmp_path / "bundle")
    assert "scale" not in bundle.manifest.encoders["audio"].assets
    encoders, fused = {m: bundle.encoder(m, faces="whole") for m in kinds}, bundle.fusion()
    for sample, row in zip(samples, wanted, strict=True):
        tokens = {m: one.encode([one.prepare(sample[m])])[0] for m, one in encoders.items()}
        scores, rated = fused.answer(tokens)
        np.testing.assert_allclose(torch.from_numpy(scores).softmax(-1), row, atol=EQUAL)
        assert len(rated) == plan.ratings


def test_a_card_says_how_features_are_read_and_older_cards_stay_as_they_are(
    model_folder: Folders, tmp_path: Path
) -> None:
    written(model_folder, {"audio": "wav2vec2"}, "own", tmp_path / "model")
    said = json.loads((tmp_path / "model" / "model.json").read_text())
    assert said["sources"] == {"audio": "encoders/speech"}
    assert said["readings"] == {
        "audio": {"layers": [2], "pooling": "mean", "tokens_per_second": 1 / 60, "max_seconds": 1.5}
    }
    plain = ModelCard(version="v", profile="cloud", label_set="shared7", labels=LABELS)
    plain.write(tmp_path / "old")
    assert "readings" not in json.loads((tmp_path / "old" / "model.json").read_text())
    assert ModelCard.read(tmp_path / "old") == plain
    said["readings"]["audio"]["layer"] = [2]
    (tmp_path / "model" / "model.json").write_text(json.dumps(said))
    with pytest.raises(BundleError, match="make the model folder again"):
        ModelCard.read(tmp_path / "model")
    with pytest.raises(BundleError, match="no way to read features"):
        Reading(pooling="max")


def test_encoders_that_were_trained_again_are_not_taken_for_those_of_the_fusion(
    model_folder: Folders, tmp_path: Path
) -> None:
    made, _ = written(model_folder, {"text": "bert"}, "own", tmp_path / "model")
    with torch.no_grad():
        next(made.network.encoders["text"].parameters()).add_(0.1)
    made.saves["text"](tmp_path / "model" / "encoders" / "text")
    with pytest.raises(BundleError, match="behind another text encoder"):
        FullModel.load(tmp_path / "model", Compute())
