"""Tokens to class scores: the fusion layer as a device runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.bundle.entries import FusionEntry
from fedaffect.edge.errors import BundleError, DataError
from fedaffect.edge.system.onnx_session import open_session

PRESENT: Final = "_present"
SCORES: Final = "scores"


class Fusion:
    """Runs a fusion network on one sample at a time.

    Parameters
    ----------
    network : Path
        ONNX: for each modality ``m`` tokens ``m`` (B, T_m, W_m) and ``m_present`` (B, T_m), to ``scores`` (B, C).
    entry : FusionEntry
        What the manifest says of it.
    labels : tuple of str
        Names of the C classes, in order.

    Raises
    ------
    BundleError
        If the graph does not open or takes other inputs than the manifest says.
    """

    def __init__(self, network: Path, entry: FusionEntry, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.widths = dict(entry.widths)
        self._session = open_session(network)
        inputs = {value.name for value in self._session.get_inputs()}
        if inputs != {name for m in self.widths for name in (m, m + PRESENT)}:
            raise BundleError(
                f"{network} takes {', '.join(sorted(inputs))}, not the tokens of {', '.join(self.widths)}; "
                f"build the bundle again"
            )

    def __call__(self, tokens: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Class scores of one sample, before temperature and softmax.

        Parameters
        ----------
        tokens : mapping of str to float32 array, shape (T_m, W_m)
            Any non-empty subset of the modalities; T_m of at least 1.

        Returns
        -------
        float32 array, shape (C,)

        Raises
        ------
        DataError
            If there are no tokens at all, a width is not the fusion's, or a feature is not a number.
        """
        self._check(tokens)
        feed: dict[str, NDArray[Any]] = {}
        for modality, width in self.widths.items():
            given = tokens.get(modality)
            # A modality that is missing is one token that nobody looks at: the graph's inputs are always the same.
            values = np.zeros((1, width), np.float32) if given is None else np.asarray(given, np.float32)
            feed[modality] = values[None]
            feed[modality + PRESENT] = np.full((1, len(values)), given is not None)
        scores: NDArray[np.float32] = self._session.run([SCORES], feed)[0][0]
        if scores.shape != (len(self.labels),):
            raise BundleError(
                f"the fusion gives {scores.size} scores for {len(self.labels)} labels; build the bundle again"
            )
        return scores

    def _check(self, tokens: Mapping[str, NDArray[np.float32]]) -> None:
        if not tokens:
            raise DataError(f"there is nothing to fuse; give tokens of at least one of {', '.join(self.widths)}")
        for modality, values in tokens.items():
            if modality not in self.widths:
                raise DataError(
                    f"this bundle's fusion takes {', '.join(self.widths)}, not {modality!r}; leave it out, "
                    f"or use a bundle whose fusion learned it"
                )
            if values.ndim != 2 or values.shape[1] != self.widths[modality] or len(values) == 0:
                raise DataError(
                    f"{modality} features are of shape {values.shape}, this bundle takes (T, {self.widths[modality]}) "
                    f"with T of 1 or more; compute them with this bundle's own encoder"
                )
            if not np.isfinite(values).all():
                raise DataError(
                    f"{modality} features hold NaN or infinite values; compute them again from the source, "
                    f"or leave {modality} out"
                )
