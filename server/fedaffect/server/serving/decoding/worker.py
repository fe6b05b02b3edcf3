"""The program of one decoder: takes files over a socket, answers with arrays, holds limits of the system.

Started by `fedaffect.server.serving.decoding.decoders`. It never imports torch or ONNX Runtime.
"""

from __future__ import annotations

import contextlib
import math
import resource
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import DataError
from fedaffect.edge.media.beginning import beginning
from fedaffect.edge.media.opening import decoding_until
from fedaffect.edge.media.picture import seen
from fedaffect.server.errors import InvalidRequest, RequestTooLarge
from fedaffect.server.serving.decoding.checks import MediaLimits, check_pictures, check_sound, decode_picture
from fedaffect.server.serving.decoding.messages import MOST_BYTES, BrokenMessage, Link, MappedMemory

# What 25 megapixels with transparency and a film of 150 pictures take, twice.
_MEMORY_BYTES: Final = (2 << 30) + MOST_BYTES
_OPEN_FILES: Final = 64

Made = tuple[NDArray[Any] | None, dict[str, Any]]
Work = Callable[[bytes, dict[str, Any]], Made]


def _check_sound(data: bytes, given: dict[str, Any]) -> Made:
    check_sound(data, MediaLimits(**given["limits"]))
    return None, {}


def _check_pictures(data: bytes, given: dict[str, Any]) -> Made:
    check_pictures(data, MediaLimits(**given["limits"]))
    return None, {}


def _decode_picture(data: bytes, given: dict[str, Any]) -> Made:
    return decode_picture(data, MediaLimits(**given["limits"])), {}


def _sound(data: bytes, given: dict[str, Any]) -> Made:
    heard, notes = beginning(data, given["max_seconds"])
    return heard.samples, {"rate": heard.sample_rate_hz, "notes": notes}


def _pictures(data: bytes, given: dict[str, Any]) -> Made:
    frames, notes = seen(data, given["frames_per_second"], given["max_frames"])
    return frames.images, {"rate": frames.frames_per_second, "notes": notes}


WORK: Final[Mapping[str, Work]] = MappingProxyType(
    {
        "check_sound": _check_sound,
        "check_pictures": _check_pictures,
        "decode_picture": _decode_picture,
        "sound": _sound,
        "pictures": _pictures,
    }
)


def serve(arguments: Sequence[str], work: Mapping[str, Work] = WORK) -> None:
    """Answer until the server closes its end, or memory has run out.

    Parameters
    ----------
    arguments : sequence of str
        Numbers of the socket and of the memory that were handed down.
    work : mapping of str to callable
        What may be asked for.
    """
    line, memory = map(int, arguments)
    link = Link(socket.socket(fileno=line), MappedMemory(memory))
    _hold_limits()
    with contextlib.suppress(BrokenMessage, ConnectionError):
        while _answer(link, work):
            pass


def _answer(link: Link, work: Mapping[str, Work]) -> bool:
    given, body = link.receive()
    _allow_cpu(given["left_s"])
    array: NDArray[Any] | None = None
    try:
        with decoding_until(time.monotonic() + given["left_s"]):
            array, head = work[given["do"]](body.tobytes(), given)
    except DataError as error:
        head = {"error": "DataError", "why": str(error)}
    except (InvalidRequest, RequestTooLarge) as error:
        head = {"error": type(error).__name__, "why": str(error)}
    except MemoryError:
        link.send({"error": "MemoryError", "why": ""})
        return False
    except Exception:  # noqa: BLE001 told to the server, which writes it into its log
        head = {"error": "unforeseen", "why": traceback.format_exc()}
    if array is None:
        link.send(head)
    else:
        array = np.ascontiguousarray(array)
        link.send({**head, "shape": array.shape, "dtype": array.dtype.str}, array.data.cast("B"))
    return True


def _hold_limits() -> None:
    for what, most in (
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
    ):
        # Some systems refuse one of them, and a container may have less already.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))


def _allow_cpu(seconds: float) -> None:
    """Processor time for one more file; the system ends the process beyond it, also where the server has gone."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + seconds) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


if __name__ == "__main__":
    serve(sys.argv[1:])
