from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from fedaffect.edge.bundle import Bundle, Fusion, FusionEntry, Source
from fedaffect.edge.bundle.entries import FileEntry
from fedaffect.edge.errors import BundleError, DataError

MakeBundle = Callable[..., Path]


def test_any_subset_is_scored_and_what_is_missing_adds_nothing(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    fusion = Bundle.load(folder).fusion()
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in onnx.load(folder / "fusion.onnx").graph.initializer}
    rng = np.random.default_rng(1)
    text, video = rng.normal(size=(5, 4)).astype(np.float32), rng.normal(size=(2, 3)).astype(np.float32)
    parts = {"text": text.sum(axis=0) @ weights["text_w"], "video": video.sum(axis=0) @ weights["video_w"]}
    assert fusion.labels == ("anger", "joy", "neutral", "sadness")
    assert fusion.widths == {"text": 4, "video": 3}
    np.testing.assert_allclose(fusion({"text": text}), parts["text"], rtol=1e-4)
    np.testing.assert_allclose(fusion({"video": video}), parts["video"], rtol=1e-4)
    np.testing.assert_allclose(fusion({"video": video, "text": text}), parts["text"] + parts["video"], rtol=1e-4)


@pytest.mark.parametrize(
    ("tokens", "why"),
    [
        ({}, "nothing to fuse"),
        ({"audio": np.zeros((1, 4), np.float32)}, "takes text, video, not 'audio'"),
        ({"text": np.zeros((2, 5), np.float32)}, r"\(T, 4\).*own encoder"),
        ({"text": np.zeros((0, 4), np.float32)}, "T of 1 or more"),
        ({"text": np.zeros(4, np.float32)}, r"\(T, 4\)"),
        ({"text": np.full((1, 4), np.nan, np.float32)}, "NaN.*compute them again"),
        ({"text": np.full((1, 4), np.inf, np.float32)}, "infinite"),
    ],
)
def test_features_that_do_not_fit_are_refused_with_the_remedy(
    make_bundle: MakeBundle, tokens: dict[str, np.ndarray], why: str
) -> None:
    fusion = Bundle.load(make_bundle()).fusion()
    with pytest.raises(DataError, match=why):
        fusion(tokens)


def test_a_graph_that_is_not_what_the_manifest_says_is_refused(make_bundle: MakeBundle) -> None:
    network = make_bundle() / "fusion.onnx"
    entry = FusionEntry(FileEntry.of(network), {"text": 4}, "fp32", Source("made up by a test"))
    with pytest.raises(BundleError, match="not the tokens of text"):
        Fusion(network, entry, ("anger", "joy", "neutral", "sadness"))
    whole = FusionEntry(FileEntry.of(network), {"text": 4, "video": 3}, "fp32", Source("made up by a test"))
    with pytest.raises(BundleError, match="4 scores for 2 labels"):
        Fusion(network, whole, ("anger", "joy"))({"text": np.ones((1, 4), np.float32)})
