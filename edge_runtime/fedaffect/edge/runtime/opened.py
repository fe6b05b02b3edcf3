"""A bundle with its networks open: what one prediction works with from beginning to end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.attention import Attention
from fedaffect.edge.bundle import Bundle, usual_bundle_path
from fedaffect.edge.bundle.fusion import DialogueMemory
from fedaffect.edge.bundle.population import centred
from fedaffect.edge.encoders.base import Encoder, Prepared
from fedaffect.edge.errors import BundleError
from fedaffect.edge.sample import MODALITIES


class OpenBundle:
    """A bundle, its fusion, and its encoders, each opened when it is first needed.

    Nothing in it changes but that, so predictions on several threads share it, and a runtime that swaps bundles
    replaces it as a whole.

    Parameters
    ----------
    bundle : Bundle or Path, optional
        The default one if not given.
    threads : int
        Samples that an encoder works on at a time.

    Raises
    ------
    BundleError
        If there is no bundle, it is damaged, or it has no fusion.
    """

    def __init__(self, bundle: Bundle | Path | None, threads: int = 1) -> None:
        if not isinstance(bundle, Bundle):
            bundle = Bundle.load(Path(bundle) if bundle is not None else usual_bundle_path())
        if bundle.manifest.fusion is None:
            raise BundleError(
                f"{bundle.path} has encoders but no fusion, so it can say nothing; "
                f"build one that has with: fedaffect bundle build --out {bundle.path}"
            )
        self.bundle = bundle
        self.fusion = bundle.fusion()
        self.offsets: Mapping[str, NDArray[np.float32]] = {}
        self.encoders: Mapping[str, Encoder] = _Encoders(bundle, tuple(self.fusion.widths), threads)

    def centred(self, offsets: Mapping[str, NDArray[np.float32]]) -> OpenBundle:
        """The same, which takes something off the features of one person, by modality, before it fuses them."""
        if not offsets:
            return self
        made = copy(self)
        made.offsets = offsets
        return made

    @property
    def version(self) -> str:
        """Of the bundle, unique to its content."""
        return str(self.bundle.version)

    @property
    def labels(self) -> tuple[str, ...]:
        """What it predicts, in the order of the scores."""
        return self.fusion.labels

    def encode(self, modality: str, prepared: Prepared) -> NDArray[np.float32]:
        """Tokens of one source, shape (T, W)."""
        return self.encoders[modality].encode([prepared])[0]

    def answer(self, tokens: Mapping[str, NDArray[np.float32]]) -> tuple[NDArray[np.float64], dict[str, float]]:
        """Calibrated probabilities (C,) of one sample's tokens, and its ratings by name.

        Parameters
        ----------
        tokens : mapping of str to float32 array, shape (T, W)
            Any non-empty subset of the modalities.
        """
        scores, ratings = self.fusion.answer(centred(tokens, self.offsets))
        return self._calibrated(scores, tokens), ratings

    def turn(
        self, tokens: Mapping[str, NDArray[np.float32]], speaker: int, before: DialogueMemory
    ) -> tuple[NDArray[np.float64], dict[str, float], DialogueMemory]:
        """The same of one more turn of a dialogue, and its memory; see `fedaffect.edge.bundle.fusion.Fusion.turn`."""
        scores, ratings, after = self.fusion.turn(centred(tokens, self.offsets), speaker, before)
        return self._calibrated(scores, tokens), ratings, after

    def _calibrated(
        self, scores: NDArray[np.float32], tokens: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float64]:
        tempered = scores.astype(np.float64) / self.bundle.manifest.calibration.temperature(tuple(tokens))
        shares = np.exp(tempered - tempered.max())
        return np.asarray(shares / shares.sum())

    def attention(self, tokens: Mapping[str, NDArray[np.float32]]) -> Attention:
        """Which tokens of one sample attend to which; see `fedaffect.edge.bundle.fusion.Fusion.attention`."""
        return self.fusion.attention(centred(tokens, self.offsets))


class _Encoders(Mapping[str, Encoder]):
    """Encoders by modality, opened on first use, once, whichever thread is first."""

    def __init__(self, bundle: Bundle, modalities: tuple[str, ...], threads: int) -> None:
        self._bundle = bundle
        self._modalities = tuple(m for m in MODALITIES if m in modalities)
        self._threads = threads
        self._open: dict[str, Encoder] = {}
        self._lock = Lock()

    def __getitem__(self, modality: str) -> Encoder:
        if modality not in self._modalities:
            raise KeyError(modality)
        with self._lock:
            if modality not in self._open:
                self._open[modality] = self._bundle.encoder(modality, threads=self._threads)
            return self._open[modality]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modalities)

    def __len__(self) -> int:
        return len(self._modalities)
