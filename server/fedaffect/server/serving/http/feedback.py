"""What the user said it really was, as JSON brings it: by REST, or in a stream beside its media."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.server.registry import feedback
from fedaffect.server.serving.gateway.gateway import Gateway, RequestContext, features_of
from fedaffect.server.serving.http.body import feature_messages
from fedaffect.server.serving.http.schemas import FeedbackBody

_NONE: Final[Mapping[str, pb.FeatureSequence]] = MappingProxyType({})


async def take_feedback(
    gateway: Gateway,
    context: RequestContext,
    body: FeedbackBody,
    key: str = "",
    features: Mapping[str, pb.FeatureSequence] = _NONE,
) -> dict[str, Any]:
    """Keep it, and say whether it had come before and which modalities' features came with it.

    Parameters
    ----------
    gateway : Gateway
    context : RequestContext
        Of a caller whose key allows feedback.
    body : FeedbackBody
    key : str
        Idempotency key, where the body has none.
    features : mapping of str to FeatureSequence
        Of the answer, where the body has none and the person consents.

    Raises
    ------
    ServingError
    """
    messages = feature_messages(body.features) or dict(features)
    features_of(messages, gateway.limits)
    given = feedback.Feedback(
        idempotency_key=body.idempotency_key or key,
        request_id=body.request_id,
        label=body.label,
        consent=body.consent,
        model_version=body.model_version,
        features=pb.FeedbackRequest(features=messages).SerializeToString() if messages else None,
    )
    duplicate = await gateway.feedback(context, given, messages)
    return {"accepted": True, "duplicate": duplicate, "features": sorted(messages)}
