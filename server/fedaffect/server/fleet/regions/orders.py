"""Orders of a root on their way from a region's node to the ServerApp that carries them out, and answers back.

They are files: the two are processes of one machine that start and end apart, and an order outlives both.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flwr.app import RecordDict

from fedaffect.client.flower_compat.records import record_from_bytes, record_to_bytes
from fedaffect.edge.system.files import private_folder, write_private
from fedaffect.edge.system.toml_files import parse_toml, toml_text
from fedaffect.server.federation.regions.order import REGION
from fedaffect.server.fleet.errors import RegionError

_LOOK_S: Final = 0.05
_ORDER, _ANSWER, _CLOSED = ".order", ".answer", "closed.toml"
# Of an answer that is none: why.
ERROR: Final = "error"


@dataclass(frozen=True, slots=True)
class Orders:
    """Orders of one run.

    Parameters
    ----------
    folder : Path
    """

    folder: Path

    @classmethod
    def of(cls, fleet: Path, run_id: str) -> Orders:
        """Of a run of the fleet in a folder."""
        return cls(private_folder(private_folder(fleet / "orders") / run_id))

    @staticmethod
    def forget_all(fleet: Path) -> None:
        """Remove the orders of all runs: those who waited for them are gone with their process."""
        for path in (fleet / "orders").glob("*/*"):
            if path.suffix in (_ORDER, _ANSWER):
                path.unlink(missing_ok=True)

    def ask(self, content: RecordDict, until: float) -> RecordDict:
        """Hand an order over and wait for its answer.

        Parameters
        ----------
        content : RecordDict
            With a record ``region``.
        until : float
            When the answer is waited for no more, in seconds since 1970.

        Raises
        ------
        RegionError
            If there is no answer in time, or it is an error.
        """
        within_s = until - time.time()
        if within_s <= 0:
            raise RegionError(
                f"the order came {-within_s:.0f} s after its time was over; see that the clocks are right"
            )
        path = self.put(content, until)
        answer = path.with_suffix(_ANSWER)
        try:
            while not answer.exists():
                if time.time() > until:
                    raise RegionError(
                        f"its aggregator did not answer within {within_s:.0f} s; see fedaffect fleet logs"
                    )
                time.sleep(_LOOK_S)
            found = record_from_bytes(answer.read_bytes())
        finally:
            path.unlink(missing_ok=True)
            answer.unlink(missing_ok=True)
        why = found.config_records[REGION].get(ERROR)
        if why is not None:
            raise RegionError(str(why))
        return found

    def put(self, content: RecordDict, until: float) -> Path:
        """Hand an order over, as :meth:`ask`; the file of it."""
        path = self.folder / f"{time.time_ns():020d}-{secrets.token_hex(4)}-{int(until * 1e3):013d}{_ORDER}"
        write_private(path, record_to_bytes(content))
        return path

    def next(self) -> tuple[Path, RecordDict] | None:
        """The oldest order that is waited for, and its content; what nobody waits for any more is removed."""
        for path in sorted(self.folder.glob(f"*{_ORDER}")):
            if int(path.stem.rpartition("-")[2]) / 1e3 <= time.time():
                path.unlink(missing_ok=True)
                path.with_suffix(_ANSWER).unlink(missing_ok=True)
                continue
            if path.with_suffix(_ANSWER).exists():
                continue
            # Where it is gone, nobody waits for it.
            with suppress(FileNotFoundError):
                return path, record_from_bytes(path.read_bytes())
        return None

    @staticmethod
    def answer(path: Path, content: RecordDict) -> bool:
        """Answer an order; whether it is still waited for, and so goes up."""
        answer = path.with_suffix(_ANSWER)
        if path.exists():
            write_private(answer, record_to_bytes(content), replace=True)
            # Between the two its time may have ended.
            if path.exists() or not answer.exists():
                return True
        answer.unlink(missing_ok=True)
        return False

    def close(self, facts: Mapping[str, Any]) -> None:
        """Say that the root's run is over, and how."""
        write_private(self.folder / _CLOSED, toml_text(dict(facts)).encode(), replace=True)

    def remove(self) -> None:
        """Remove the folder of a run that is over."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def closed(self) -> Mapping[str, Any] | None:
        """What :meth:`close` said."""
        path = self.folder / _CLOSED
        return parse_toml(path.read_bytes(), str(path)) if path.exists() else None
