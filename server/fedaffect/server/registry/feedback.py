"""Feedback: delivered at least once, taken once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from fedaffect.server.errors import InvalidRequest
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.tables import FeedbackRow

_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What a user said a sample really was.

    Parameters
    ----------
    idempotency_key : str
        Of this delivery; the same one again is not taken twice.
    request_id : str
        The request that it is about.
    label : str
    consent : bool
        Whether the example may be learned from.
    model_version : str
        That had answered.
    features : bytes, optional
        Of the example, as the face serialised them; kept only with consent.
    """

    idempotency_key: str
    request_id: str
    label: str
    consent: bool
    model_version: str = ""
    features: bytes | None = None

    def __post_init__(self) -> None:
        if not self.idempotency_key:
            raise InvalidRequest("feedback wants an idempotency key; send a UUID of your own with it")
        for name in ("idempotency_key", "request_id", "label", "model_version"):
            value: str = getattr(self, name)
            if len(value) > _LONGEST or "\x00" in value:
                raise InvalidRequest(f"{name} is longer than {_LONGEST} characters or has a NUL in it; shorten it")


def take(registry: Registry, feedback: Feedback) -> bool:
    """Store feedback once.

    Returns
    -------
    bool
        False if that idempotency key was taken before; then nothing changes.
    """
    values: dict[str, Any] = {
        "idempotency_key": feedback.idempotency_key,
        "request_id": feedback.request_id,
        "label": feedback.label,
        "consent": feedback.consent,
        "model_version": feedback.model_version,
        "features": feedback.features if feedback.consent else None,
        "received": datetime.now(UTC),
    }
    with registry.writing() as session:
        # One statement decides, so that two deliveries at the same moment cannot both be first.
        if registry.dialect == "postgresql":
            taken = session.execute(
                postgresql_insert(FeedbackRow)
                .values(**values)
                .on_conflict_do_nothing(index_elements=["idempotency_key"])
                .returning(FeedbackRow.idempotency_key)
            )
        else:
            taken = session.execute(
                sqlite_insert(FeedbackRow)
                .values(**values)
                .on_conflict_do_nothing(index_elements=["idempotency_key"])
                .returning(FeedbackRow.idempotency_key)
            )
        return taken.first() is not None


def consented(registry: Registry) -> Iterator[Feedback]:
    """Feedback that may be learned from, oldest first."""
    with registry.reading() as session:
        rows = session.scalars(
            select(FeedbackRow)
            .where(FeedbackRow.consent)
            .order_by(FeedbackRow.received)
            .execution_options(yield_per=500)
        )
        for row in rows:
            yield Feedback(
                idempotency_key=row.idempotency_key,
                request_id=row.request_id,
                label=row.label,
                consent=row.consent,
                model_version=row.model_version,
                features=row.features,
            )
