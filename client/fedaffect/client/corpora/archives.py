"""Reading many members of a few archives: each archive is opened once."""

from __future__ import annotations

import zlib
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any
from zipfile import BadZipFile, ZipFile

from fedaffect.edge.errors import DataError
from fedaffect.edge.sample import ZipMember


class Archives:
    """Zip archives that stay open, for use by several threads.

    ``ZipMember.read`` opens its archive again, which reads the whole directory: seconds in all for one picture, hours
    for the 28,000 of one archive.
    """

    def __init__(self) -> None:
        self._open: dict[Path, ZipFile] = {}
        self._stack = ExitStack()
        self._lock = Lock()

    def __enter__(self) -> Archives:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def resolve(self, source: Any) -> Any:
        """A member's bytes; any other source as it is.

        Raises
        ------
        DataError
            If the archive or the member is missing or damaged.
        """
        if not isinstance(source, ZipMember):
            return source
        try:
            return self._archive(source.archive).read(source.name)
        except (OSError, KeyError, ValueError, RuntimeError, EOFError, BadZipFile, zlib.error) as error:
            raise DataError(
                f"{source.archive}!{source.name} cannot be read ({error}); download the archive again"
            ) from error

    def _archive(self, path: Path) -> ZipFile:
        with self._lock:
            if path not in self._open:
                self._open[path] = self._stack.enter_context(ZipFile(path))
            return self._open[path]
