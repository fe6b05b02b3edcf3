"""What a film's windows were judged by, for corrections of those who allow to learn from them."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Mapping
from typing import IO

from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.server.serving.engines.engine import Answer
from fedaffect.server.serving.gateway.examples import example_of


class FilmExamples:
    """Features of the windows of one film, in a file without a name, as long as its timeline is remembered.

    Threads share it: one writes, others read, and the event loop closes it meanwhile.

    Parameters
    ----------
    most_bytes : int
        Windows after that have none.

    Attributes
    ----------
    held_bytes : int
    """

    def __init__(self, most_bytes: int) -> None:
        self.held_bytes = 0
        self._most_bytes = most_bytes
        self._file: IO[bytes] | None = None
        self._places: dict[str, tuple[int, int]] = {}
        self._closed = False
        # Between asking for a file's number and using it, nobody may close it: the next file opened gets that number.
        self._lock = threading.Lock()

    def add(self, request_id: str, answer: Answer) -> None:
        """Write those of an answer; a disk without room costs the example, not the film."""
        data = pb.FeedbackRequest(features=example_of(answer)).SerializeToString()
        if not data:
            return
        with self._lock:
            if self._closed or self.held_bytes + len(data) > self._most_bytes:
                return
            try:
                if self._file is None:
                    self._file = tempfile.TemporaryFile(buffering=0, prefix="fedaffect-film-")  # noqa: SIM115
                if os.pwrite(self._file.fileno(), data, self.held_bytes) != len(data):
                    return
            except OSError:
                return
            self._places[request_id] = self.held_bytes, len(data)
            self.held_bytes += len(data)

    def of(self, request_id: str) -> Mapping[str, pb.FeatureSequence]:
        """Those of an answer; nothing where there are none."""
        with self._lock:
            if self._file is None or request_id not in self._places:
                return {}
            at, count = self._places[request_id]
            data = os.pread(self._file.fileno(), count, at)
        return pb.FeedbackRequest.FromString(data).features

    def close(self) -> None:
        """Delete them."""
        with self._lock:
            self._closed = True
            self._places.clear()
            self.held_bytes = 0
            if self._file is not None:
                self._file.close()
                self._file = None
