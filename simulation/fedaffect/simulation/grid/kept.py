"""What clients keep between messages, as files that travel along where a worker does not see the server's folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fedaffect.client.secagg.secret_folder import SecretFolder
from fedaffect.client.state_store import StateFolder
from fedaffect.edge.system.files import write_whole

# Content of a client's file of states and of its file of secrets; None where it has none.
KeptFiles: TypeAlias = tuple[bytes | None, bytes | None]


@dataclass(frozen=True, slots=True)
class KeptFolders:
    """The two folders with a file a client.

    Parameters
    ----------
    states : StateFolder
        Of algorithms and optimisers.
    secrets : SecretFolder
        Of secure sums.
    """

    states: StateFolder
    secrets: SecretFolder

    @classmethod
    def at(cls, folder: Path) -> KeptFolders:
        """States in a folder, secrets beside it."""
        return cls(StateFolder(folder), SecretFolder(folder.with_name(f"{folder.name}-secagg")))

    def read(self, clients: Iterable[int]) -> dict[int, KeptFiles]:
        """Files of these clients, of those that have any."""
        files = {
            client: (_read(self.states.file_of(client)), _read(self.secrets.file_of(client))) for client in clients
        }
        return {client: pair for client, pair in files.items() if any(pair)}

    def take(self, client: int) -> KeptFiles | None:
        """A client's files, which are gone from here afterwards; None where it has none."""
        files = self.read([client]).get(client)
        for path in (self.states.file_of(client), self.secrets.file_of(client)):
            path.unlink(missing_ok=True)
        return files

    def write(self, files: Mapping[int, KeptFiles]) -> None:
        """Put files in their places, each whole or not at all."""
        for client, (state, secret) in files.items():
            if state is not None:
                self.states.folder.mkdir(exist_ok=True)
                write_whole(self.states.file_of(client), state)
            if secret is not None:
                self.secrets.save(client, secret)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
