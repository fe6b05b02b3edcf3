"""The default fusion on real development rows: several senses are never worth less than the best of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.support.built_edge import BuiltEdge

from fedaffect.client.cohort import TokenTable
from fedaffect.client.corpora.registry import open_corpus
from fedaffect.edge.bundle import Bundle
from fedaffect.edge.labels import label_set
from fedaffect.server.models.alignment.fused import fused_and_alone
from fedaffect.server.models.alignment.material import CORPORA, LABELS, Material, splits_of
from fedaffect.server.models.bundling.fusion import read_fusion
from fedaffect.server.models.bundling.recipe import DEFAULT_FUSION

pytestmark = pytest.mark.slow

# Enough that a row drawn is seldom drawn again.
_ROWS = 400


def _development_rows(bundle: Bundle, corpus: str, folder: Path) -> Material:
    modality, shared = CORPORA[corpus], label_set(LABELS)
    encoder = bundle.encoder(modality, faces="whole")
    everyone = list(open_corpus(corpus, folder))
    known = [u for u, split in zip(everyone, splits_of(corpus, everyone), strict=True) if split == "dev"]
    rows = [u for u in known if shared.index(u.label) is not None]
    rows = [rows[place] for place in np.linspace(0, len(rows) - 1, min(_ROWS, len(rows))).astype(int)]
    sources = [getattr(u.sample, modality) for u in rows]
    tokens = encoder.encode([encoder.prepare(source) for source in sources])
    labels = np.array([shared.index(u.label) for u in rows], np.int64)
    votes = np.eye(len(shared), dtype=np.float32)[labels]
    offsets = np.cumsum([0, *(len(each) for each in tokens)]).astype(np.int64)
    table = TokenTable(np.concatenate(tokens).astype(np.float16), offsets)
    splits = np.full(len(rows), "dev")
    return Material(corpus, modality, (table,), labels, votes, np.full(len(rows), ""), splits)


def test_fused_is_no_worse_than_the_best_alone(built_edge: BuiltEdge, shared_data: Callable[[str], Path]) -> None:
    bundle = Bundle.load(built_edge.folder / "cache" / "bundles" / "edge", trust=None)
    materials = [_development_rows(bundle, corpus, shared_data(corpus)) for corpus in ("meld", "ravdess", "ferplus")]
    found = fused_and_alone(read_fusion(DEFAULT_FUSION).module(), materials)
    assert [(one.subset, one.shown) for one in found] == [
        (subset, shown)
        for subset in ("text+audio", "text+video", "audio+video", "text+audio+video")
        for shown in ("all", "one")
    ]
    # Half a point, in UAR.
    assert {(one.subset, one.shown): one.gain for one in found if one.gain < -0.005} == {}
