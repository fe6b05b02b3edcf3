"""From consented feedback to a further version of a model that takes features, if nobody is worse off with it.

The trunk stays as devices learned it: adapters of the streams that feedback has go on from the served version's. Before
and after are measured on the guard set, feedback that no version was trained on, for each caller apart too: a model
that is better on average may be worse for somebody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fedaffect.edge.errors import ConfigError
from fedaffect.server.models.alignment.answers import figures, logits_of
from fedaffect.server.models.alignment.consented import Consented
from fedaffect.server.models.alignment.fitting import FitConfig, fit
from fedaffect.server.models.alignment.material import Material
from fedaffect.server.models.alignment.storing import save_fusion
from fedaffect.server.models.bundling.fusion import FusionWeights, read_fusion
from fedaffect.server.models.full_model.card import FUSION, ModelCard

# As on devices: one answer may go either way.
_ONE: Final = 1
_SHARE: Final = 0.02
# Fewer say too little about a caller.
_LEAST_OF_A_CALLER: Final = 5
# Small steps from what is known, and no decay towards zero.
GENTLY: Final = FitConfig(steps=400, lr=3e-4, weight_decay=0.0, evenness=0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a version would change, on the guard set and on corpora.

    Parameters
    ----------
    before, after : mapping of str to float
        Figures on the guard set.
    corpora : mapping of str to (float, float)
        UAR on the development rows of each corpus, before and after.
    worse : tuple of str
        Who or what would be worse off, in words; empty where nobody would.
    """

    before: dict[str, float]
    after: dict[str, float]
    corpora: dict[str, tuple[float, float]] = field(default_factory=dict)
    worse: tuple[str, ...] = ()

    @property
    def why_not(self) -> str:
        """Why the version is not to be offered; empty where it is."""
        if self.worse:
            return f"it would be worse for {'; '.join(self.worse)}"
        if self.after["uar"] <= self.before["uar"]:
            return "it would answer no better than before"
        return ""


def learn(
    base: Path,
    learned: Consented,
    out: Path,
    version: str,
    corpora: Sequence[Material] = (),
    fitting: FitConfig = GENTLY,
) -> None:
    """Write a model folder that goes on from another.

    Parameters
    ----------
    base : Path
        The folder of a model that takes features.
    learned : Consented
    out : Path
        The new folder.
    version : str
    corpora : sequence of Material
        Trained on as well, so that what they teach is kept.
    fitting : FitConfig

    Raises
    ------
    ConfigError
        If the model has no adapters, or there is nothing to train on.
    """
    card, fusion = ModelCard.read(base), read_fusion(base / FUSION)
    materials = [*learned.materials(), *corpora]
    if not materials:
        raise ConfigError("there is no feedback to train on; wait for more, or give --guard-share less")
    model = fusion.module()
    prefixes = tuple(f"adapters.{modality}." for modality in sorted({m.modality for m in materials}))
    trained = [parameter for name, parameter in model.named_parameters() if name.startswith(prefixes)]
    if fusion.model != "cmt" or not trained:
        raise ConfigError(
            f"model {fusion.model!r} of version {card.version} has no adapters to fit; learn from one of cmt"
        )
    fit(model, trained, materials, fitting)
    out.mkdir(parents=True)
    save_fusion(
        model,
        out / FUSION,
        options=fusion.options,
        widths=fusion.widths,
        labels=fusion.labels.name,
        version=version,
        temperatures=card.temperatures,
        licence=fusion.source.licence,
    )
    replace(card, version=version).write(out)


def judge(
    base: Path, made: Path, learned: Consented, corpora: Sequence[Material] = (), tolerance: float = 0.01
) -> Verdict:
    """Hold a version against the one that it came from.

    Parameters
    ----------
    base, made : Path
        Model folders.
    learned : Consented
    corpora : sequence of Material
        Their development rows are a guard set too.
    tolerance : float
        UAR that a corpus may lose.
    """
    old, new = read_fusion(base / FUSION), read_fusion(made / FUSION)
    rows = np.flatnonzero(learned.guard)
    labels, owners = learned.labels[rows], learned.owners[rows]
    before, after = (_guard_logits(fusion, learned, rows) for fusion in (old, new))
    was_right, is_right = (scores.argmax(1) == labels for scores in (before, after))
    worse = [
        f"caller {owner}"
        for owner in np.unique(owners)
        if _loses(was_right[owners == owner], is_right[owners == owner])
    ]
    known: dict[str, tuple[float, float]] = {}
    for material in corpora:
        if len(dev := material.of_split("dev")):
            was, now = (_uar(fusion.module(), material, dev) for fusion in (old, new))
            known[material.corpus] = (was, now)
            if was - now > tolerance:
                worse.append(f"{material.corpus} (UAR {was:.3f}, then {now:.3f})")
    return Verdict(before=figures(before, labels), after=figures(after, labels), corpora=known, worse=tuple(worse))


def _loses(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> bool:
    """Whether a caller, whose answers were and would be right so often, would lose more than chance may take."""
    lost = int(before.sum()) - int(after.sum())
    return len(before) >= _LEAST_OF_A_CALLER and lost > max(_ONE, _SHARE * len(before))


def _guard_logits(fusion: FusionWeights, learned: Consented, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return logits_of(fusion.module(), learned.tables, dict.fromkeys(learned.tables, rows))


def _uar(model: nn.Module, material: Material, rows: NDArray[np.int64]) -> float:
    logits = logits_of(model, {material.modality: material.tables[0]}, {material.modality: rows})
    return figures(logits, material.labels[rows])["uar"]
