from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.constructed_materials import CLASSES, WIDTHS, material, one_of_each

from fedaffect.client.cohort import TokenTable
from fedaffect.client.models.registry import build_model
from fedaffect.edge.bundle import Source
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.labels import label_set
from fedaffect.server.models.alignment.aligning import behind_trunk, widths_of
from fedaffect.server.models.alignment.answers import figures, logits_of
from fedaffect.server.models.alignment.calibrating import NEUTRAL, let_experts_answer, temperatures
from fedaffect.server.models.alignment.fitting import Draws, FitConfig, fit
from fedaffect.server.models.alignment.fused import fused_and_alone
from fedaffect.server.models.alignment.material import Material, without_repeats
from fedaffect.server.models.alignment.storing import save_fusion
from fedaffect.server.models.bundling.fusion import FusionWeights, read_fusion

OPTIONS = {"width": 16, "heads": 2, "layers": 1, "feedforward": 24, "dropout": 0.1, "token_dropout": 0.0}


def fusion(widths: dict[str, int] = WIDTHS, ratings: tuple[str, ...] = ()) -> FusionWeights:
    torch.manual_seed(0)
    model = build_model("cmt", widths, CLASSES + len(ratings), OPTIONS)
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    return FusionWeights("cmt", OPTIONS, widths, label_set("shared7"), state, Source("test", "1", ""), ratings=ratings)


def uar(model: torch.nn.Module, one: Material) -> float:
    rows = one.of_split("test")
    return figures(logits_of(model, {one.modality: one.tables[0]}, {one.modality: rows}), one.labels[rows])["uar"]


@pytest.mark.slow
def test_adapters_learn_in_front_of_a_trunk_that_stays_as_it_was() -> None:
    first = fusion()
    learned = behind_trunk(first, WIDTHS, head="own")
    materials = one_of_each()
    fit(learned.model, learned.trained, materials, FitConfig(steps=250, lr=3e-3))
    assert min(uar(learned.model, one) for one in materials) > 0.8
    trunk = FusionWeights("cmt", OPTIONS, WIDTHS, first.labels, learned.model.state_dict(), first.source)

    aligned = behind_trunk(trunk, WIDTHS, head="shared", seed=5)
    before = {name: tensor.clone() for name, tensor in aligned.model.state_dict().items()}
    assert uar(aligned.model.eval(), materials[0]) < 0.6
    fit(aligned.model, aligned.trained, materials, FitConfig(steps=150, lr=3e-3))
    assert min(uar(aligned.model, one) for one in materials) > 0.8
    for name, tensor in aligned.model.state_dict().items():
        assert torch.equal(tensor, before[name]) != name.startswith("adapters."), name


def test_a_deeper_head_leaves_the_trunk_alone() -> None:
    aligned = behind_trunk(fusion(), WIDTHS, head="deep", layers=2)
    before = {name: tensor.clone() for name, tensor in aligned.model.state_dict().items()}
    fit(aligned.model, aligned.trained, one_of_each(), FitConfig(steps=3))
    changed = {name for name, tensor in aligned.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert aligned.options["layers"] == 3
    assert {"encoder.1.expand.weight", "encoder.2.expand.weight", "head.weight"} <= changed
    assert not [name for name in changed if name.startswith(("cross_", "modality_", "encoder.0."))]


def test_modalities_without_data_keep_their_adapters() -> None:
    aligned = behind_trunk(fusion(), {"text": 40}, head="shared")
    assert aligned.widths == {"text": 40, "audio": WIDTHS["audio"], "video": WIDTHS["video"]}
    with pytest.raises(ConfigError, match="never learned video"):
        behind_trunk(fusion({"text": 24}), {"video": 8})


def test_of_a_fusion_that_rates_too_the_classes_are_shared() -> None:
    rated = fusion(ratings=("valence", "arousal"))
    with torch.inference_mode():
        aligned = behind_trunk(rated, WIDTHS, head="shared").model.eval()
        for name, parameter in aligned.named_parameters():
            if name.startswith("adapters."):
                parameter.copy_(rated.state[name])
        tokens = {m: torch.randn(2, 3, width) for m, width in WIDTHS.items()}
        present = {m: torch.ones(2, 3).bool() for m in WIDTHS}
        torch.testing.assert_close(aligned(tokens, present), rated.module()(tokens, present)[:, :CLASSES])


def test_fitting_is_repeatable() -> None:
    runs = []
    for _ in range(2):
        aligned = behind_trunk(fusion(), WIDTHS, head="shared", seed=1)
        fit(aligned.model, aligned.trained, one_of_each(), FitConfig(steps=4, seed=2))
        runs.append(torch.cat([p.detach().reshape(-1) for p in aligned.model.parameters()]))
    assert torch.equal(*runs)


def test_draws_put_rows_of_equal_label_side_by_side() -> None:
    materials = one_of_each()
    sizes = set()
    for batch, _ in zip(Draws(materials, FitConfig(batch_size=8, smoothing=0.0)), range(60), strict=False):
        sizes.add(len(batch.tokens))
        assert torch.allclose(batch.targets.max(dim=1).values, torch.ones(8))
    assert sizes == {1, 2, 3}


def test_draws_need_training_rows() -> None:
    bare = material("meld", "text", rows=0)
    with pytest.raises(DataError, match="no row to train on"):
        Draws([bare], FitConfig())


def test_every_subset_gets_a_temperature() -> None:
    model = behind_trunk(fusion(), WIDTHS, head="own").model.eval()
    found = temperatures(model, one_of_each())
    assert set(found) == {
        "text",
        "audio",
        "video",
        "text+audio",
        "text+video",
        "audio+video",
        "text+audio+video",
    }
    assert all(0.05 <= value <= 20 for value in found.values())


def test_experts_know_what_they_favour_and_beat_each_alone(tmp_path: Path) -> None:
    materials = [replace(one, tables=tuple(_noisy(t) for t in one.tables)) for one in one_of_each()]
    aligned = behind_trunk(fusion(), WIDTHS, head="own")
    fit(aligned.model, aligned.trained, materials, FitConfig(steps=60, lr=3e-3))
    model = aligned.model.eval()
    with torch.no_grad():
        model.head.bias[NEUTRAL] += 2.0
    before = {(one.subset, one.shown): one.uar for one in fused_and_alone(model, materials)}
    options = let_experts_answer(model, materials)
    assert options["neutral"] == NEUTRAL
    for shares in options["priors"].values():
        assert sum(shares) == pytest.approx(1, abs=1e-3)
        assert max(range(CLASSES), key=shares.__getitem__) == NEUTRAL
    found = fused_and_alone(model, materials)
    assert [one.subset for one in found if one.gain < -0.005] == []
    assert sum(one.uar > before[one.subset, one.shown] for one in found) >= len(found) - 1

    save_fusion(
        model,
        tmp_path / "fusion.safetensors",
        options={**OPTIONS, "experts": options},
        widths=WIDTHS,
        labels="shared7",
        version="8",
        temperatures={},
        licence="none",
    )
    read = read_fusion(tmp_path / "fusion.safetensors")
    assert read.module().experts == model.experts
    # What a cloud fits behind this trunk favours other classes.
    assert behind_trunk(read, WIDTHS, head="shared").model.experts is None


def _noisy(table: TokenTable) -> TokenTable:
    noise = np.random.default_rng(7).normal(size=table.tokens.shape)
    return TokenTable((table.tokens + 1.5 * noise).astype(np.float16), table.offsets)


def test_a_modality_that_lacks_a_class_favours_none() -> None:
    model = behind_trunk(fusion(), WIDTHS, head="own").model.eval()
    words, voices, _ = one_of_each()
    few = replace(voices, splits=np.where(voices.labels == 1, "", voices.splits))
    priors = let_experts_answer(model, [words, few])["priors"]
    assert priors.keys() == {"text"}


def test_stored_weights_are_read_back(tmp_path: Path) -> None:
    model = behind_trunk(fusion(), WIDTHS, head="own").model.eval()
    path = tmp_path / "fusion.safetensors"
    save_fusion(
        model,
        path,
        options=OPTIONS,
        widths=widths_of(one_of_each()),
        labels="shared7",
        version="7",
        temperatures={"text": 1.5},
        licence="none",
    )
    read = read_fusion(path)
    one = one_of_each()[0]
    rows = one.of_split("test")
    here, there = (logits_of(m, {"text": one.tables[0]}, {"text": rows}) for m in (model, read.module()))
    assert np.abs(here - there).max() < 0.02
    assert read.calibration.temperatures == {"text": 1.5}
    assert read.source.version == "7"


def test_lines_of_held_out_splits_are_not_trained_on() -> None:
    first, second = material("meld", "text"), material("emorynlp", "text")
    kept = without_repeats([first, second])
    # Both have the same lines and the same splits, so none of the training lines is held out by the other.
    assert [list(one.splits) for one in kept] == [list(first.splits), list(second.splits)]
    kept = without_repeats([first, second], keep="emorynlp")
    assert not (kept[0].splits == "train").any()
    assert (kept[1].splits == "train").any()
