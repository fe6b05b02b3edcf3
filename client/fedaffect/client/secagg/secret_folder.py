"""What simulated clients remember of secure aggregation, one file a client, so that any worker can answer for it."""

from __future__ import annotations

from pathlib import Path

from fedaffect.edge.system.files import write_whole


class SecretFolder:
    """One file of secrets a client.

    Parameters
    ----------
    folder : Path
        Created when first written to; the folder around it must be there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, client: int) -> bytes | None:
        """What a client kept; None before its first message."""
        try:
            return self.file_of(client).read_bytes()
        except FileNotFoundError:
            return None

    def save(self, client: int, memory: bytes) -> None:
        """Keep it; the file changes whole or not at all, and nobody else may read it."""
        self.folder.mkdir(exist_ok=True, mode=0o700)
        write_whole(self.file_of(client), memory, private=True)

    def file_of(self, client: int) -> Path:
        """Where a client's secrets lie, if it has any."""
        return self.folder / f"{client}.json"
