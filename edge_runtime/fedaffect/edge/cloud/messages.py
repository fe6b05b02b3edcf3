"""Requests as protocol messages: what travels by gRPC, and what waits in the queue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.cloud.upload import audio_bytes, video_bytes
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.labels import VOCABULARY
from fedaffect.edge.sample import MODALITIES, Sample

_LITTLE_ENDIAN_FLOAT16: Final = np.dtype("<f2")
_ID: Final = re.compile(r"[A-Za-z0-9._:\-]{1,128}")


def predict_request(
    sample: Sample | None,
    *,
    request_id: str,
    features: Mapping[str, NDArray[Any]] | None = None,
    encoder_keys: Mapping[str, str] | None = None,
    bundle_version: str = "",
    transcribe: bool = False,
) -> pb.PredictRequest:
    """A question to the cloud, media read and packed; parameters as in `CloudClient.predict`.

    Raises
    ------
    ConfigError
        If neither or both of sample and features are given, or a modality has no encoder key.
    DataError
        If media cannot be read, or features are not finite rows.
    """
    _check_id("request id", request_id)
    if (sample is None) == (not features):
        raise ConfigError("ask the cloud with either a sample or its features, not with both or neither")
    if sample is None:
        return pb.PredictRequest(
            request_id=request_id,
            features=feature_sequences(features or {}, encoder_keys or {}),
            bundle_version=bundle_version,
            transcribe=transcribe,
        )
    if not sample.modalities:
        raise ConfigError("the sample has neither text, audio nor video; give at least one")
    return pb.PredictRequest(
        request_id=request_id,
        text=sample.text or "",
        audio=b"" if sample.audio is None else audio_bytes(sample.audio),
        video=b"" if sample.video is None else video_bytes(sample.video),
        bundle_version=bundle_version,
        transcribe=transcribe,
    )


def feedback_request(
    *,
    idempotency_key: str,
    request_id: str,
    label: str,
    consent: bool,
    model_version: str = "",
    features: Mapping[str, NDArray[Any]] | None = None,
    encoder_keys: Mapping[str, str] | None = None,
) -> pb.FeedbackRequest:
    """What the user says it really was; parameters as in `CloudClient.feedback`.

    Raises
    ------
    ConfigError
        If the label is outside the vocabulary, or features come without consent.
    DataError
        If features are not finite rows.
    """
    _check_id("idempotency key", idempotency_key)
    _check_id("request id", request_id)
    if label not in VOCABULARY:
        raise ConfigError(f"{label!r} is no emotion of the vocabulary; choose from {', '.join(VOCABULARY)}")
    if features and not consent:
        raise ConfigError("features leave the device only with the user's consent; send the label alone, or ask")
    return pb.FeedbackRequest(
        idempotency_key=idempotency_key,
        request_id=request_id,
        label=label,
        consent=consent,
        model_version=model_version,
        features=feature_sequences(features or {}, encoder_keys or {}),
    )


def feature_sequences(
    features: Mapping[str, NDArray[Any]], encoder_keys: Mapping[str, str]
) -> dict[str, pb.FeatureSequence]:
    """Features by modality, each (T, W), as the protocol has them."""
    sequences = {}
    for modality, values in features.items():
        if modality not in MODALITIES:
            raise ConfigError(f"there is no modality {modality!r}; known: {', '.join(MODALITIES)}")
        if not encoder_keys.get(modality):
            raise ConfigError(f"the {modality} features lack their encoder's key; give it in encoder_keys")
        rows = half_precision(modality, values)
        sequences[modality] = pb.FeatureSequence(
            encoder_key=encoder_keys[modality], rows=rows.shape[0], width=rows.shape[1], values=rows.tobytes()
        )
    return sequences


def half_precision(modality: str, values: NDArray[Any]) -> NDArray[np.float16]:
    """Features as little-endian float16, shape (T, W).

    Raises
    ------
    DataError
        If there are none, or one is not a number or beyond what float16 holds.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        rows = np.ascontiguousarray(values).astype(_LITTLE_ENDIAN_FLOAT16)
    if rows.ndim != 2 or 0 in rows.shape:
        raise DataError(f"the {modality} features have shape {np.shape(values)}; give (T, W) with T and W of 1 or more")
    if not np.isfinite(rows).all():
        raise DataError(f"the {modality} features hold values that are not numbers or beyond 65504; encode them again")
    return rows


def read_sequences(
    sequences: Mapping[str, pb.FeatureSequence],
) -> tuple[dict[str, NDArray[np.float16]], dict[str, str]]:
    """Features, each (T, W), and encoder keys by modality.

    Raises
    ------
    DataError
        If a sequence's bytes are not rows x width float16 values.
    """
    features = {}
    for modality, sequence in sequences.items():
        if not sequence.rows or not sequence.width or len(sequence.values) != 2 * sequence.rows * sequence.width:
            raise DataError(
                f"the {modality} features say {sequence.rows} x {sequence.width} float16 values but hold "
                f"{len(sequence.values)} bytes; encode them again"
            )
        values = np.frombuffer(sequence.values, _LITTLE_ENDIAN_FLOAT16)
        features[modality] = values.reshape(sequence.rows, sequence.width).astype(np.float16)
    return features, {modality: sequence.encoder_key for modality, sequence in sequences.items()}


def _check_id(what: str, value: str) -> None:
    # Ids stand in headers and in the cloud's logs.
    if _ID.fullmatch(value) is None:
        raise ConfigError(f"a {what} has 1 to 128 of A-Z a-z 0-9 . _ : -, not {value[:40]!r}; take a UUID for instance")
