"""Features that a device sends instead of media: checked against the model that shall answer on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.server.errors import InvalidRequest, RequestTooLarge
from fedaffect.server.models.full_model.model import FullModel

# Thirty seconds at five tokens a second, or 128 word pieces, many times over.
MAX_ROWS: Final = 4096


def check_features(
    features: Mapping[str, NDArray[Any]], encoder_keys: Mapping[str, str], model: FullModel
) -> dict[str, NDArray[np.float32]]:
    """Features as FP32, by modality.

    Parameters
    ----------
    features : mapping of str to array, shape (T, W)
    encoder_keys : mapping of str to str
        Keys of the encoders that made them; one that is not given is not checked.
    model : FullModel
        One that answers on features.

    Raises
    ------
    InvalidRequest
        On features that the model does not take: another modality, width or encoder, nothing, or no numbers.
    RequestTooLarge
        If there are more rows than any sample has.
    """
    card = model.card
    if model.encoders:
        raise InvalidRequest(f"model {card.version} takes media, not features; send the sample itself")
    checked = {}
    for modality, given in features.items():
        width = card.widths.get(modality)
        if width is None:
            raise InvalidRequest(
                f"model {card.version} takes features of {', '.join(card.widths)}, not of {modality!r}; leave it out"
            )
        if given.ndim != 2 or given.shape[1] != width or len(given) == 0:
            raise InvalidRequest(
                f"{modality} features of shape {given.shape} do not fit: model {card.version} wants (T, {width}), T of "
                f"1 or more; update the device's bundle"
            )
        if len(given) > MAX_ROWS:
            raise RequestTooLarge(f"{modality} features have {len(given)} rows; send at most {MAX_ROWS}")
        if not np.isfinite(given).all():
            raise InvalidRequest(f"{modality} features hold values that are not numbers; drop this sample")
        known, key = card.encoder_keys.get(modality), encoder_keys.get(modality)
        if known and key and known != key:
            raise InvalidRequest(
                f"the {modality} features come from another encoder than the one that model {card.version} was trained "
                f"behind; update the device's bundle"
            )
        checked[modality] = given.astype(np.float32)
    if not checked:
        raise InvalidRequest(f"there are no features; send at least one of {', '.join(card.widths)}")
    return checked
