"""A decoder whose files do what a fault in a decoding library would do: the program beside the real worker.

A file behind whose end stands ``!abort``, ``!hang``, ``!spin`` or ``!allocate`` does that to its decoder; with
``!lie``, ``!rate`` or ``!notes`` the decoder says what cannot be.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np

from fedaffect.server.serving.decoding.worker import WORK, Made, serve


def marked(word: str, whole: bytes) -> bytes:
    """A file that does so; the mark lies behind its end, where decoders do not look."""
    return whole + b"!" + word.encode()


def _hostile(do: str) -> Any:
    def work(data: bytes, given: dict[str, Any]) -> Made:
        if data.endswith(b"!abort"):
            os.abort()
        if data.endswith(b"!hang"):
            time.sleep(3600)
        if data.endswith(b"!spin"):
            while True:
                pass
        if data.endswith(b"!allocate"):
            _ = [np.ones(1 << 26) for _ in range(64)]
        if data.endswith(b"!lie"):
            return np.zeros(7, np.uint8), {"rate": 1, "notes": []}
        if data.endswith(b"!rate"):
            return np.zeros(7, np.float32), {"rate": float("nan"), "notes": []}
        if data.endswith(b"!notes"):
            return np.zeros((1, 8, 8, 3), np.uint8), {"rate": 1, "notes": 5}
        return WORK[do](data, given)

    return work


if __name__ == "__main__":
    serve(sys.argv[1:], {do: _hostile(do) for do in WORK})
