"""FedMultimodal (Feng et al., KDD 2023): MELD and CREMA-D."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fedaffect.simulation.reproducing.table import Published, Row, Table

_SOURCE: Final = "FedMultimodal, Table 4 (attention), as its repository states it"
_STRATEGIES: Final[Mapping[str, str]] = {
    "FedAvg": "fedavg",
    "FedProx": "fedprox",
    "FedOpt": "fedadam",
    "SCAFFOLD": "scaffold",
    "FedRS": "fedrs",
}
_MODELS: Final[Mapping[str, dict[str, Any]]] = {
    "concat": {"model": "fedmultimodal", "model_options": {"attention": False}},
    "attention": {"model": "fedmultimodal"},
    "ours": {"model": "cmt"},
}
_RATES: Final = (0.1, 0.2, 0.3, 0.4, 0.5)
_MELD: Final = {"labels": "meld4", "partition": "fedmultimodal", "clients_per_round": 9, "select_by": "uar"}
_CORPORA: Final[Mapping[str, tuple[str, dict[str, Any], tuple[str, ...]]]] = {
    "MELD": ("meld", {**_MELD, "modalities": ("text", "audio"), "context": 0}, ()),
    "MELD's words": ("meld", {**_MELD, "modalities": ("text",), "context": 0}, ("words alone",)),
    "MELD's words, RAVDESS's voices": (
        "meld_voiced",
        {**_MELD, "modalities": ("text", "audio"), "context": 0},
        ("constructed",),
    ),
    "CREMA-D": ("crema_d", {"labels": "shared4", "modalities": ("audio", "video"), "folds": 5}, ()),
}
_PUBLISHED: Final[Mapping[tuple[str, str], float]] = {
    ("MELD", "FedAvg"): 0.5437,
    ("MELD", "FedOpt"): 0.5537,
    ("CREMA-D", "FedAvg"): 0.6166,
    ("CREMA-D", "FedOpt"): 0.6266,
}


def _rows() -> Iterator[Row]:
    for title, (corpus, settings, marks) in _CORPORA.items():
        for strategy, name in _STRATEGIES.items():
            for model, chosen in _MODELS.items():
                yield Row(
                    f"{title}, {strategy}, {model}",
                    corpus,
                    {**settings, **chosen, "strategy": name},
                    _published(title, strategy, model),
                    against="" if model == "attention" else f"{title}, {strategy}, attention",
                    marks=marks,
                )
        for model, chosen in _MODELS.items():
            for rate in _RATES:
                whole = f"{title}, FedAvg, {model}"
                if len(settings["modalities"]) > 1:
                    lacking = {**settings, **chosen, "missing_modality": rate}
                    yield Row(f"{title}, {rate:.0%} missing, {model}", corpus, lacking, against=whole, marks=marks)
                noisy = {**settings, **chosen, "label_noise": rate}
                yield Row(f"{title}, {rate:.0%} label noise, {model}", corpus, noisy, against=whole, marks=marks)


def _published(title: str, strategy: str, model: str) -> tuple[Published, ...]:
    value = _PUBLISHED.get((title, strategy))
    if value is None or model != "attention":
        return ()
    protocol = "natural clients, MFCC with MobileBERT or MobileNetV2, SGD at 0.05, 200 rounds, a tenth of the clients"
    return (Published(_SOURCE, protocol, {"uar": (value,)}),)


TABLE: Final = Table(
    "fedmultimodal",
    "Federated over speakers: strategies, fusions, missing modalities, wrong labels",
    "FedMultimodal (Feng et al., KDD 2023)",
    "MELD with four classes and clients by season and speaker of more than ten utterances (86), CREMA-D with four "
    "classes by actor in five folds; frozen encoders of our edge bundle, 40 rounds (CREMA-D 30) of the corpus's "
    "defaults, nine clients a round (CREMA-D ten), the round chosen by UAR on development data. FedOpt is FedAdam.",
    tuple(_rows()),
)
TABLES: Final = (TABLE,)
