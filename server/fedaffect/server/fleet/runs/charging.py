"""What rounds cost in privacy, as lines of the registry's ledger."""

from __future__ import annotations

from flwr.app import Message

from fedaffect.server.federation.observer import RoundRecord
from fedaffect.server.federation.robustness.reply_validation import read_paid
from fedaffect.server.registry.participations import Slot
from fedaffect.server.registry.privacy import Charge


def paid_by_device(reply: Message, slot: Slot) -> Charge | None:
    """What an update has cost its device, as that says; None where it says nothing.

    Raises
    ------
    UpdateRejectedError
        If what it says is no charge.
    """
    said = read_paid(reply)
    if not said:
        return None
    return Charge(
        run_id=slot.run_id,
        round=slot.round,
        attempt=int(said["attempt"]),
        device_id=slot.device_id,
        unit="example",
        epsilon=said["epsilon"],
        delta=said["delta"],
        accountant="rdp",
        noise_multiplier=said["noise-multiplier"],
    )


def paid_by_all(run_id: str, attempt: int, record: RoundRecord) -> Charge | None:
    """What noise in the centre leaves every client spent after a round; None without such noise."""
    said = record.privacy
    if said is None or said["epsilon"] is None:
        return None
    return Charge(
        run_id=run_id,
        round=record.round,
        attempt=attempt,
        device_id="",
        unit="client",
        epsilon=said["epsilon"],
        delta=float(said["delta"] or 0.0),
        accountant="rdp",
        noise_multiplier=float(said["noise_multiplier"] or 0.0),
    )
