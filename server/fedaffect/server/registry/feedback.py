"""Feedback: delivered at least once, taken once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import and_, delete, literal, or_, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from fedaffect.edge.errors import ConfigError
from fedaffect.server.errors import InvalidRequest
from fedaffect.server.registry import audit
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
        Of the example, as the transport serialised them; kept only with consent.
    caller : str
        Id of the key that it came with, or an address where no keys are asked for.
    received : datetime, optional
        When it was taken.
    """

    idempotency_key: str
    request_id: str
    label: str
    consent: bool
    model_version: str = ""
    features: bytes | None = None
    caller: str = ""
    received: datetime | None = None

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
        "caller": feedback.caller[:_LONGEST],
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


def newest(registry: Registry, *, since: datetime, most: int) -> Iterator[Feedback]:
    """What was said last of each request: who said it before it was taken back does not say it any more.

    A correction often comes without the features that an earlier word on the request came with; it has them here, as
    long as each of both may be learned from.

    Parameters
    ----------
    registry : Registry
    since : datetime
        Nothing older.
    most : int
        So many rows are looked at, the newest.
    """
    query = select(FeedbackRow).where(FeedbackRow.received >= since)
    order = query.order_by(FeedbackRow.received.desc(), FeedbackRow.idempotency_key)
    seen: set[tuple[str, str]] = set()
    lacking: dict[tuple[str, str], Feedback] = {}
    with registry.reading() as session:
        rows = session.scalars(order.limit(most).execution_options(yield_per=100))
        for row in rows:
            about = (row.caller, row.request_id)
            if about not in seen:
                seen.add(about)
                said = _record(row)
                if said.consent and said.features is None:
                    lacking[about] = said
                else:
                    yield said
            elif about in lacking and row.consent and row.features is not None:
                yield replace(lacking.pop(about), features=row.features)
    yield from lacking.values()


def erase(registry: Registry, *, request_ids: Sequence[str] = (), caller: str = "", actor: str = "operator") -> int:
    """Delete what was said of requests, or all that came with a key; how many pieces there were.

    What a model learned from it stays in that model.

    Raises
    ------
    ConfigError
        If neither is named.
    """
    if not request_ids and not caller:
        raise ConfigError("nothing is named to be erased; give --request ID or --caller KEY")
    with registry.writing() as session:
        wanted = or_(FeedbackRow.request_id.in_(request_ids), and_(literal(bool(caller)), FeedbackRow.caller == caller))
        # RETURNING would carry every row over; the cursor knows how many there were.
        count = session.connection().execute(delete(FeedbackRow).where(wanted)).rowcount
        subject = f"caller {caller}" if caller else f"{len(request_ids)} requests"
        audit.append(session, "feedback.erased", subject=subject, actor=actor, count=count)
        return count


def _record(row: FeedbackRow) -> Feedback:
    return Feedback(
        idempotency_key=row.idempotency_key,
        request_id=row.request_id,
        label=row.label,
        consent=row.consent,
        model_version=row.model_version,
        features=row.features,
        caller=row.caller,
        received=row.received,
    )
