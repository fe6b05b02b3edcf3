"""Networks that take raw input: neighbours in a batch change nothing, and what learns is what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from tests.support.raw_cohorts import raw_cohort

from fedaffect.edge.errors import BundleError, ConfigError
from fedaffect.server.models.bundling.speech import draft_speech
from fedaffect.server.models.bundling.text import draft_text
from fedaffect.server.models.bundling.vision import draft_vision
from fedaffect.server.models.fine_tuning.network import FineTuned, freeze, trained_share
from fedaffect.server.models.fine_tuning.opening import open_network

Folders = Callable[[str], Path]
KINDS = {"bert": "text", "distilbert": "text", "wav2vec2": "audio", "hubert": "audio", "wavlm": "audio", "vit": "video"}
# transformers' WavLM hands torch a mask and a bias of different types.
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")


def network_of(folder: Folders, *kinds: str, model: str = "own", dropout: float = 0.0) -> FineTuned:
    encoders = {KINDS[kind]: open_network(KINDS[kind], str(folder(kind)))[0] for kind in kinds}
    torch.manual_seed(0)
    small = {"width": 16, "heads": 2, "feedforward": 16} if model in ("cmt", "late", "mmbt") else {}
    return FineTuned(encoders, model, 2, {"dropout": dropout} if model == "own" else small)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_gives_what_each_sample_gives_alone(model_folder: Folders, kind: str) -> None:
    cohort, network = raw_cohort([KINDS[kind]]), network_of(model_folder, kind).eval()
    rows = cohort.splits["dev"]
    together = cohort.gather(rows, train=False).scored_by(network)
    alone = torch.cat([cohort.gather(rows[i : i + 1], train=False).scored_by(network) for i in range(len(rows))])
    assert together.shape == (len(rows), 2)
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("model", ["cmt", "late", "mmbt", "early", "cmt-paper"])
def test_a_fusion_takes_samples_that_lack_a_modality(model_folder: Folders, model: str) -> None:
    cohort = raw_cohort(["text", "audio", "video"])
    network = network_of(model_folder, "bert", "wav2vec2", "vit", model=model).eval()
    lacking = next(row for row in cohort.client_rows if not cohort.present["audio"][row])
    batch = cohort.gather(cohort.client_rows, train=False)
    scores = batch.scored_by(network)
    assert torch.isfinite(scores).all()
    alone = cohort.gather(cohort.client_rows[lacking : lacking + 1], train=False).scored_by(network)
    torch.testing.assert_close(scores[lacking], alone[0], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_reaches_every_parameter_that_is_not_frozen(model_folder: Folders, kind: str) -> None:
    cohort, network = raw_cohort([KINDS[kind]]), network_of(model_folder, kind).train()
    cohort.gather(cohort.client_rows, train=True).scored_by(network).square().sum().backward()  # type: ignore[no-untyped-call]
    lacking = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert not lacking
    assert all(p.grad is None for p in network.parameters() if not p.requires_grad)


@pytest.mark.parametrize(("kind", "lower"), [("wav2vec2", "layers.0."), ("bert", "layer.0."), ("vit", "layer")])
def test_half_an_encoder_is_what_stands_before_its_upper_layers(model_folder: Folders, kind: str, lower: str) -> None:
    encoder, _ = open_network(KINDS[kind], str(model_folder(kind)))
    before = trained_share(encoder)[0]
    freeze(encoder, "half")
    learned = [name for name, p in encoder.named_parameters() if p.requires_grad]
    frozen = [name for name, p in encoder.named_parameters() if not p.requires_grad]
    assert 0 < trained_share(encoder)[0] < before
    assert any(lower in name for name in frozen)
    assert all("conv" not in name and "embeddings" not in name and "projection" not in name for name in learned)
    freeze(encoder, "all")
    assert trained_share(encoder)[0] == 0


def test_a_frozen_encoder_draws_nothing(model_folder: Folders) -> None:
    network = network_of(model_folder, "bert")
    freeze(network.encoders["text"], "all")  # type: ignore[arg-type]
    network.train()
    cohort = raw_cohort(["text"])
    batch = cohort.gather(cohort.client_rows, train=True)
    torch.testing.assert_close(batch.scored_by(network), batch.scored_by(network), atol=0, rtol=0)


@pytest.mark.parametrize("kind", ["bert", "wav2vec2", "hubert", "wavlm", "whisper", "vit"])
def test_what_is_saved_is_what_transformers_and_bundles_load(model_folder: Folders, kind: str, tmp_path: Path) -> None:
    modality = "audio" if kind == "whisper" else KINDS[kind]
    source = str(model_folder(kind))
    encoder, save = open_network(modality, source)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += 0.01
    save(tmp_path / "saved")
    theirs, ours = (
        transformers.AutoModel.from_pretrained(folder).state_dict() for folder in (source, tmp_path / "saved")
    )
    assert theirs.keys() == ours.keys()
    moved = [name for name in ours if not torch.equal(theirs[name], ours[name])]
    assert len(moved) >= sum(p.requires_grad for p in encoder.parameters())
    draft = {"text": draft_text, "audio": draft_speech, "video": draft_vision}[modality]
    assert draft(str(tmp_path / "saved"), tmp_path).width == draft(source, tmp_path).width
    again, _ = open_network(modality, str(tmp_path / "saved"))
    for (name, mine), (_, other) in zip(encoder.named_parameters(), again.named_parameters(), strict=True):
        assert torch.equal(mine, other), name


@pytest.mark.slow
def test_weights_that_packages_carry_are_trained_and_saved(tmp_path: Path) -> None:
    for modality, width in {"text": 384, "audio": 512, "video": 216}.items():
        encoder, save = open_network(modality, "package")
        assert encoder.width == width
        save(tmp_path / modality)
    for modality, kind in {"text": "bert", "audio": "whisper"}.items():
        model = transformers.AutoModel.from_pretrained(tmp_path / modality)
        assert model.config.model_type == kind
        again, _ = open_network(modality, str(tmp_path / modality))
        assert again.width == model.config.hidden_size
    # Ours is no network of transformers; what it is made of lies there all the same.
    assert [p.name for p in (tmp_path / "video").iterdir()] == ["model.safetensors"]


def test_what_does_not_fit_is_refused(model_folder: Folders) -> None:
    with pytest.raises(ConfigError, match="--model own is of one modality"):
        network_of(model_folder, "bert", "vit")
    with pytest.raises(ConfigError, match="dialogue=false"):
        network_of(model_folder, "wav2vec2", "vit", model="avafn")
    with pytest.raises(BundleError, match="--text takes one of"):
        open_network("text", str(model_folder("vit")))
