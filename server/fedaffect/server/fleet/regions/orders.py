"""Orders of a root on their way from a region's node to the ServerApp that carries them out, and answers back.

They are files: the two are processes of one machine that start and end apart, and an order outlives both.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flwr.app import ConfigRecord, RecordDict

from fedaffect.client.flower_compat.records import record_from_bytes, record_to_bytes
from fedaffect.edge.system.files import private_folder, write_private
from fedaffect.edge.system.toml_files import parse_toml, toml_text
from fedaffect.server.federation.regions.order import REGION
from fedaffect.server.fleet.errors import RegionError

_LOOK_S: Final = 0.05
_ORDER, _ANSWER, _CLOSED = ".order", ".answer", "closed.toml"
# Of an answer that is none: why.
ERROR: Final = "error"
# In an order: until when its answer is waited for, in seconds since 1970.
UNTIL: Final = "until"


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

    def ask(self, content: RecordDict, within_s: float) -> RecordDict:
        """Hand an order over and wait for its answer.

        Parameters
        ----------
        content : RecordDict
            With a record ``region``.
        within_s : float

        Raises
        ------
        RegionError
            If there is no answer in time, or it is an error.
        """
        until = time.time() + within_s
        order = RecordDict({**content, REGION: ConfigRecord({**content.config_records[REGION], UNTIL: until})})
        path = self.folder / f"{time.time_ns():020d}-{secrets.token_hex(4)}{_ORDER}"
        answer = path.with_suffix(_ANSWER)
        write_private(path, record_to_bytes(order))
        try:
            while not answer.exists():
                if time.time() > until:
                    raise RegionError(f"its aggregator did not answer within {within_s:g} s; see fedaffect fleet logs")
                time.sleep(_LOOK_S)
            found = record_from_bytes(answer.read_bytes())
        finally:
            path.unlink(missing_ok=True)
            answer.unlink(missing_ok=True)
        why = found.config_records[REGION].get(ERROR)
        if why is not None:
            raise RegionError(str(why))
        return found

    def next(self) -> tuple[Path, RecordDict] | None:
        """The oldest order that is waited for, and its content."""
        for path in sorted(self.folder.glob(f"*{_ORDER}")):
            if path.with_suffix(_ANSWER).exists():
                continue
            try:
                content = record_from_bytes(path.read_bytes())
            except FileNotFoundError:
                # Nobody waits for it any more.
                continue
            if float(content.config_records[REGION][UNTIL]) > time.time():  # type: ignore[arg-type]
                return path, content
            path.unlink(missing_ok=True)
        return None

    @staticmethod
    def answer(path: Path, content: RecordDict) -> None:
        """Answer an order, if it is still waited for."""
        if path.exists():
            write_private(path.with_suffix(_ANSWER), record_to_bytes(content), replace=True)

    def close(self, facts: Mapping[str, Any]) -> None:
        """Say that the root's run is over, and how."""
        write_private(self.folder / _CLOSED, toml_text(dict(facts)).encode(), replace=True)

    def closed(self) -> Mapping[str, Any] | None:
        """What :meth:`close` said."""
        path = self.folder / _CLOSED
        return parse_toml(path.read_bytes(), str(path)) if path.exists() else None
