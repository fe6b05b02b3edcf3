"""Token tables in a folder of the cache: written in parts, whole or not there at all."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import TokenTable
from fedaffect.edge.errors import DataError
from fedaffect.edge.system.files import is_full

_INDEX = "index.json"
_TOKENS = "tokens.npy"
_OFFSETS = "offsets.npy"
# Bytes that come before the values in a file of ours.
_HEADER = 128


@dataclass(frozen=True, slots=True)
class FeatureFolder:
    """One corpus in one modality through one encoder.

    Parts of consecutive rows are written one by one beside the final folder, so that encoding that was
    interrupted goes on where it stopped; at the end they become one memory-mappable array.

    Parameters
    ----------
    path : Path
        The final folder.
    width : int
        Of a token.
    rows : int
        Utterances.
    dtype : numpy type
        Of a token's values.
    """

    path: Path
    width: int
    rows: int
    dtype: type[np.generic] = np.float16

    @property
    def _unfinished(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the folder against other processes; waits for one that writes it now, and frees it on any exit."""
        with reporting_disk(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = self.path.with_name(f"{self.path.name}.lock").open("w")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def open(self) -> tuple[TokenTable, dict[int, str]] | None:
        """The finished table, mapped into memory, and why rows have no tokens; None where there is none yet.

        Raises
        ------
        DataError
            If a file is missing, cut off or not what the index says.
        """
        if not (self.path / _INDEX).is_file():
            if self.path.exists():
                raise _damaged(self.path, f"{_INDEX} is missing")
            return None
        try:
            index = json.loads((self.path / _INDEX).read_text(encoding="utf-8"))
            for name, size in index["files"].items():
                actual = (self.path / name).stat().st_size
                if actual != size:
                    raise _damaged(self.path, f"{name} has {actual} of {size} bytes")
            table = TokenTable(_map(self.path / _TOKENS), _map(self.path / _OFFSETS))
            unusable = {int(row): reason for row, reason in index["unusable"].items()}
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise _damaged(self.path, str(error)) from error
        if table.width != self.width or len(table.offsets) != self.rows + 1 or table.offsets[-1] != len(table.tokens):
            raise _damaged(self.path, "its arrays do not fit the corpus")
        return table, unusable

    def has_part(self, start: int, stop: int) -> bool:
        """Whether these rows were encoded before; a part that is damaged counts as missing."""
        try:
            self._read_part(start, stop)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return False
        return True

    def write_part(self, start: int, stop: int, sequences: Sequence[NDArray[Any]], unusable: Mapping[int, str]) -> None:
        """Commit the tokens of rows ``start`` to ``stop``, shapes (T_i, W), and why rows have none.

        Raises
        ------
        DataError
            If the disk is full or cannot be written; parts committed before stay.
        """
        lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
        tokens = np.concatenate([np.zeros((0, self.width), self.dtype), *sequences])
        target = self._part(start, stop)
        draft = target.with_suffix(".draft")
        with reporting_disk(self.path):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with draft.open("wb") as stream:
                    np.savez(stream, tokens=tokens, lengths=lengths, unusable=np.array(json.dumps(unusable)))
                draft.replace(target)
            finally:
                draft.unlink(missing_ok=True)

    def finish(self, parts: Sequence[tuple[int, int]], about: Mapping[str, Any]) -> tuple[TokenTable, dict[int, str]]:
        """Join all parts and let the final folder appear; as `open` gives it.

        Parameters
        ----------
        parts : sequence of (start, stop)
            All rows, in order.
        about : mapping
            What the index tells a reader of the folder; JSON.

        Raises
        ------
        DataError
            If the disk is full or cannot be written; the parts stay.
        """
        with reporting_disk(self.path):
            joined = self._unfinished / "joined"
            shutil.rmtree(joined, ignore_errors=True)
            joined.mkdir(parents=True)
            try:
                self._join(joined, parts, about)
                joined.replace(self.path)
            finally:
                shutil.rmtree(joined, ignore_errors=True)
            shutil.rmtree(self._unfinished, ignore_errors=True)
        found = self.open()
        if found is None:
            raise _damaged(self.path, "it vanished while it was written")
        return found

    def _join(self, folder: Path, parts: Sequence[tuple[int, int]], about: Mapping[str, Any]) -> None:
        lengths = [np.zeros(0, np.int64)]
        unusable: dict[str, str] = {}
        for part in parts:
            _, in_part, reasons = self._read_part(*part)
            lengths.append(in_part)
            unusable |= reasons
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))])
        np.save(folder / _OFFSETS, offsets)
        with (folder / _TOKENS).open("wb") as stream:
            _write_header(stream, (int(offsets[-1]), self.width), self.dtype)
            for part in parts:
                stream.write(np.ascontiguousarray(self._read_part(*part)[0]).data)
        sizes = {name: (folder / name).stat().st_size for name in (_TOKENS, _OFFSETS)}
        index = {
            "files": sizes,
            "rows": self.rows,
            "tokens": int(offsets[-1]),
            "width": self.width,
            "unusable": unusable,
        }
        (folder / _INDEX).write_text(json.dumps({**index, **about}, indent=1, sort_keys=True), encoding="utf-8")

    def _part(self, start: int, stop: int) -> Path:
        return self._unfinished / f"{start:09d}-{stop:09d}.npz"

    def _read_part(self, start: int, stop: int) -> tuple[NDArray[Any], NDArray[np.int64], dict[str, str]]:
        # Opened here, because np.load forgets to close a file that is no archive.
        with self._part(start, stop).open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            tokens, lengths, unusable = archive["tokens"], archive["lengths"], json.loads(str(archive["unusable"]))
        if tokens.shape != (lengths.sum(), self.width) or len(lengths) != stop - start:
            raise ValueError("the part's arrays do not belong together")
        return tokens, lengths, unusable


def _map(path: Path) -> NDArray[Any]:
    # An empty array cannot be mapped. A plain view, because indexing np.memmap costs several times as much.
    array: NDArray[Any] = np.load(path, mmap_mode="r" if path.stat().st_size > _HEADER else None, allow_pickle=False)
    return array.view(np.ndarray)


def _write_header(stream: BinaryIO, shape: tuple[int, int], dtype: type[np.generic]) -> None:
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"the cached features {path} are damaged ({why}); delete that folder and run again")


@contextmanager
def reporting_disk(path: Path) -> Iterator[None]:
    """Say in one line what it means that writing a folder of the cache failed.

    Raises
    ------
    DataError
        In place of an OSError.
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise DataError(
                f"the disk is full: {path} cannot be written; free some space or set FEDAFFECT_CACHE to another disk, "
                "then run again to go on from here"
            ) from error
        raise DataError(f"{path} cannot be written ({error}); set FEDAFFECT_CACHE to a folder that can") from error
