"""What an answer rests on, as an example that a correction may be learned from."""

from __future__ import annotations

from collections.abc import Mapping

from fedaffect.edge.cloud.messages import feature_sequences
from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.errors import DataError
from fedaffect.server.serving.engines.engine import Answer


def example_of(answer: Answer) -> Mapping[str, pb.FeatureSequence]:
    """What the encoders made of the window, by modality; nothing where the engine does not tell it."""
    if answer.explanation is None:
        return {}
    try:
        return feature_sequences(answer.explanation.features, answer.explanation.encoder_keys)
    except DataError:
        return {}
