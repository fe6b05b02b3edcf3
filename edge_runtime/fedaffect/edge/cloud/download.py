"""A download that goes on where it stopped, and appears whole or not at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from fedaffect.edge.cloud.client import Progress
from fedaffect.edge.cloud.errors import CloudGarbage, CloudUnreachable
from fedaffect.edge.cloud.retry import Backoff, Deadline, retried
from fedaffect.edge.errors import BundleError

# A bundle is a few tens of megabytes; a cloud that promises more is not to fill the device's disk.
MAX_BYTES: Final = 2**30
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class Download:
    """The file's beginning in ``NAME.part``, and in ``NAME.part.json`` of what content it is the beginning.

    Parameters
    ----------
    target : Path
        The file wanted.
    version : str
        What was asked for; a beginning of something else is thrown away.
    progress : callable, optional
        Of the bytes that are there and of all, after each piece.
    """

    def __init__(self, target: Path, version: str, progress: Progress | None = None) -> None:
        self.target = target
        self._version = version
        self._progress = progress
        self._part = target.with_name(f"{target.name}.part")
        self._about = target.with_name(f"{target.name}.part.json")
        self.sha256, self._total = "", 0
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._remember()
        except OSError as error:
            raise _disk(target, error) from error

    def _remember(self) -> None:
        try:
            about = json.loads(self._about.read_text(encoding="utf-8"))
            same = about["version"] == self._version and _SHA256.fullmatch(about["sha256"]) is not None
            total = int(about["total"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            same, total, about = False, 0, {}
        if same and self._part.is_file() and self._part.stat().st_size <= total:
            self.sha256, self._total = about["sha256"], total
        else:
            self.restart()

    @property
    def offset(self) -> int:
        """Bytes that are already there."""
        return self._part.stat().st_size if self._part.exists() else 0

    @property
    def complete(self) -> bool:
        """Whether all bytes are there."""
        return bool(self._total) and self.offset == self._total

    def restart(self) -> None:
        """Forget what was downloaded so far."""
        self._part.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)
        self.sha256, self._total = "", 0

    def begins(self, digest: str, total: int) -> bool:
        """Learn of what content the coming bytes are.

        Parameters
        ----------
        digest : str
            SHA-256 of the whole, hexadecimal.
        total : int
            Its size in bytes.

        Returns
        -------
        bool
            False where what is there already belongs to other content: it was thrown away, begin at 0.

        Raises
        ------
        CloudGarbage
            If that is no SHA-256, or the size is none that a bundle has.
        """
        if _SHA256.fullmatch(digest) is None or not 0 < total <= MAX_BYTES:
            raise CloudGarbage(f"the cloud offers a bundle of {total} bytes with SHA-256 {digest[:64]!r}; update it")
        if (digest, total) == (self.sha256, self._total):
            return True
        fresh = self.offset == 0
        self.restart()
        self.sha256, self._total = digest, total
        try:
            self._about.write_text(json.dumps({"version": self._version, "sha256": digest, "total": total}))
        except OSError as error:
            raise _disk(self.target, error) from error
        return fresh

    def append(self, data: bytes) -> None:
        """The next bytes.

        Raises
        ------
        CloudGarbage
            If there are more than were announced.
        BundleError
            If they cannot be written.
        """
        if self.offset + len(data) > self._total:
            self.restart()
            raise CloudGarbage("the cloud sends more of the bundle than it announced; ask again")
        try:
            with self._part.open("ab") as file:
                file.write(data)
        except OSError as error:
            raise _disk(self.target, error) from error
        if self._progress is not None:
            self._progress(self.offset, self._total)

    def finish(self) -> Path:
        """Check the whole and give it its name.

        Raises
        ------
        CloudGarbage
            If it is not what was announced; it is thrown away.
        """
        digest = sha256()
        try:
            with self._part.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
                os.fsync(file.fileno())
            if digest.hexdigest() != self.sha256:
                self.restart()
                raise CloudGarbage("the downloaded bundle is not the one announced (its SHA-256 differs); ask again")
            self._part.replace(self.target)
            self._about.unlink(missing_ok=True)
        except OSError as error:
            raise _disk(self.target, error) from error
        return self.target


def resumed(download: Download, receive: Callable[[], None], deadline: Deadline, backoff: Backoff) -> Path:
    """Receive until the whole is there, as long as attempts bring it further or the back-off allows another.

    Parameters
    ----------
    download : Download
    receive : callable
        Appends what the cloud sends from ``download.offset`` on.
    deadline : Deadline
    backoff : Backoff

    Raises
    ------
    CloudError
        What ended the last attempt; the next call goes on from there.
    """

    def attempt() -> None:
        if not download.complete:
            receive()

    while True:
        before = download.offset
        try:
            retried(attempt, deadline, backoff)
        except CloudUnreachable:
            if download.offset > before:
                continue
            raise
        return download.finish()


def _disk(target: Path, error: OSError) -> BundleError:
    return BundleError(
        f"the bundle cannot be written to {target} ({error.strerror}); free space or choose another path"
    )
