"""How many clients of a round may fail before the run stops, and the counts of a whole run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedaffect.edge.errors import TrainingError
from fedaffect.server.federation.settings import RunSettings

# Of simulated clients. A fleet's devices fail for reasons of their own, and so many must not be able to end its run.
_SIMULATED, _DEVICES = 0.1, 1.0


class RoundFailedError(TrainingError):
    """Nothing that a round's clients sent can be used; with the same settings another attempt may go better."""


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """The largest share of clients that may fail where the rest goes on.

    Counted are clients that raised, whose worker died, or that did not answer in ``round_timeout_s``. Not counted are
    those that somebody planned or forged: who drops out or is late in a trace, who misses ``--deadline-s``, whose
    update was rejected, and a secure sum that was given up as a whole.

    Parameters
    ----------
    share : float
        0 stops at the first failure, 1 never.
    """

    share: float

    @classmethod
    def of(cls, config: RunSettings, *, in_fleet: bool) -> FailureLimit:
        """As set, or as suits who the clients are."""
        share = config.time.max_failed_share
        return cls((_DEVICES if in_fleet else _SIMULATED) if share is None else share)

    def require_few(self, broken: Sequence[tuple[int, str]], asked: int, where: str, names: Sequence[str]) -> None:
        """Check that the failures of one round are few enough.

        Parameters
        ----------
        broken : sequence of (int, str)
            Clients that failed, with their reasons.
        asked : int
            Clients that were asked and whose fate is known.
        where : str
            Such as ``"round 3"``.
        names : sequence of str
            Client names by partition id.

        Raises
        ------
        TrainingError
            If they are too many, with the reason of the first.
        """
        if len(broken) <= self.share * asked:
            return
        client, why = broken[0]
        name = names[client] if 0 <= client < len(names) else str(client)
        raise TrainingError(
            f"{len(broken)} of {asked} clients failed in {where}, more than --max-failed-share {self.share:g} allows; "
            f"the first, {name!r}: {why}"
        )


def count_failures(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What a summary says of failures, from the lines of ``metrics.jsonl``.

    Returns
    -------
    dict
        ``client_failures`` in all; of them ``rejected_updates`` and ``dropouts`` of a trace; ``refusals`` beside them;
        ``failed_rounds``, in how many rounds any client failed; ``failure_reasons``, how many rounds each first failure
        stands for.
    """
    records = list(records)
    return {
        "client_failures": sum(int(record["failures"]) for record in records),
        "rejected_updates": sum(len(record.get("rejected", {})) for record in records),
        "dropouts": sum(int((record.get("simulated") or {}).get("lost", 0)) for record in records),
        "refusals": sum(int(record.get("refusals", 0)) for record in records),
        "failed_rounds": sum(record["failures"] > 0 for record in records),
        "failure_reasons": dict(Counter(r["first_failure"] for r in records if r.get("first_failure")).most_common(5)),
    }
