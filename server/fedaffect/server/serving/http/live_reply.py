"""Answers of live streams as JSON."""

from __future__ import annotations

from typing import Any, Final

from fedaffect.server.serving.engines.explaining import LEAVE_ONE_OUT, Explanation, SeenFace
from fedaffect.server.serving.gateway.live import LiveReply
from fedaffect.server.serving.http.reply import prediction_body

# Shares and places on a screen; more digits are half of what travels.
_DIGITS: Final = 4


def live_body(told: LiveReply) -> dict[str, Any]:
    """An answer as of REST, with what it rests on; ``{"nothing": why}`` where nothing could be judged."""
    body: dict[str, Any] = {"nothing": told.why} if told.reply is None else prediction_body(told.reply)
    body |= {
        "session": told.session,
        "window_start_s": told.start_s,
        "window_end_s": told.end_s,
        "faces": [_face(face) for face in told.faces],
        "skipped": told.skipped,
        "waited_s": round(told.waited_s, _DIGITS),
    }
    if told.picture_time_s is not None:
        body["picture_time_s"] = told.picture_time_s
    if told.reply is not None and told.reply.answer.explanation is not None:
        body |= _explained(told.reply.answer.explanation)
    return body


def _face(face: SeenFace) -> dict[str, Any]:
    body: dict[str, Any] = {"id": face.id, "box": [round(side, _DIGITS) for side in face.box], "fused": face.fused}
    if face.probabilities:
        body["probabilities"] = {label: round(share, _DIGITS) for label, share in face.probabilities.items()}
    return body


def _explained(explanation: Explanation) -> dict[str, Any]:
    affect = explanation.affect
    return {
        "by_modality": {
            modality: {label: round(share, _DIGITS) for label, share in shares.items()}
            for modality, shares in explanation.by_modality.items()
        },
        "weights": {modality: round(weight, _DIGITS) for modality, weight in explanation.weights.items()},
        "weighed_by": LEAVE_ONE_OUT,
        "affect": {
            "valence": round(affect.valence, _DIGITS),
            "arousal": round(affect.arousal, _DIGITS),
            "derived": affect.derived,
        },
        "windows": {modality: list(span) for modality, span in explanation.windows.items()},
    }
