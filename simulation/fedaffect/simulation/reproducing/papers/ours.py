"""Questions of ours: fusion against fusion, and what random splits add over unseen people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fedaffect.simulation.reproducing.table import Published, Row, Table

_FUSIONS: Final = (
    "cmt",
    "late",
    "cmt-paper",
    "early",
    "mmbt",
    "hybrid",
    "avt",
    "fedmultimodal",
    "avafn",
    "mfer",
    "linear",
)
# What cmt is left with.
_LESS: Final[dict[str, dict[str, Any]]] = {
    "words alone": {"modalities": ("text",)},
    "voice alone": {"modalities": ("audio",)},
    "face alone": {"modalities": ("video",)},
    "half of the modalities missing in training": {"missing_modality": 0.5},
}
_MODES: Final = {"federated": "federated", "central": "centralized"}
_BC_LSTM: Final = Published(
    "Poria et al., Context-Dependent Sentiment Analysis (bc-LSTM), ACL 2017",
    "MOSI, three modalities of such features, central, official split",
    {"accuracy": (0.803,)},
)


def _fusions() -> Iterator[Row]:
    for corpus, mark in (("mosi", ""), ("mosaic", "constructed"), ("synthetic", "constructed")):
        for how, mode in _MODES.items():
            for model in _FUSIONS:
                yield Row(
                    f"{corpus}, {how}: {model}",
                    corpus,
                    {"mode": mode, "model": model},
                    against="" if model == "cmt" else f"{corpus}, {how}: cmt",
                    marks=(mark,) if mark else (),
                )
            for what, more in _LESS.items():
                yield Row(
                    f"{corpus}, {how}: cmt, {what}",
                    corpus,
                    {"mode": mode, "model": "cmt", **more},
                    against=f"{corpus}, {how}: cmt",
                    marks=(mark,) if mark else (),
                )
    yield Row("mosi: bc-LSTM", published=(_BC_LSTM,))


FUSIONS: Final = Table(
    "fusions",
    "Fusion against fusion",
    "our own question",
    "the corpus's defaults for all (chosen for cmt), federated over its natural clients or central on the pooled data; "
    "the round is chosen on development data; every row is paired with cmt by seed and by test sample.",
    tuple(_fusions()),
    seeds=(0, 1, 2, 3, 4),
    notes=("On MOSI avafn hears a video's earlier opinions, too; the others judge each alone.",),
)


def _splits() -> Iterator[Row]:
    kinds: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
        "unseen actors": ({}, ()),
        "clips drawn at random": ({"folds_over": "samples"}, ("actors seen",)),
    }
    for corpus, title, folds in (("urdu", "URDU", 5), ("ravdess", "RAVDESS", 6)):
        for model in ("cmt", "mfer", "linear"):
            for kind, (more, marks) in kinds.items():
                yield Row(
                    f"{title}, {model}, {kind}",
                    corpus,
                    {"mode": "centralized", "rounds": 30, "model": model, "folds": folds, **more},
                    against=f"{title}, {model}, unseen actors" if marks else "",
                    marks=marks,
                )
    for name, value in (("MFER, combined", 0.9694), ("Common information framework, combined", 0.9757)):
        yield Row(
            f"{name}, clips drawn at random",
            published=(Published("MFER, Table VI", "RAVDESS, random draws, actors seen", {"accuracy": (value,)}),),
            marks=("actors seen",),
        )


SPLITS: Final = Table(
    "splits",
    "What random splits add over unseen people",
    "our own question; most figures published for RAVDESS are of random splits",
    "the same models and settings, folds over actors and over clips; central training for 30 epochs, the epoch chosen "
    "on a fold of its own.",
    tuple(_splits()),
)
TABLES: Final = (SPLITS, FUSIONS)
