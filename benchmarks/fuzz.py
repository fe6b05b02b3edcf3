"""Coverage-guided fuzzing of what reads other people's bytes: nothing but our own errors may come out.

    pip install atheris==3.0.0
    python -m benchmarks.fuzz manifest bundle reply sound picture stream --minutes 10

Each target has a process of its own, begins with sound inputs and changes them where a change reaches new code. One
line a target says how many inputs were tried; the exit code is 1 where one of them raised something else than the
target may raise, ran for longer than 20 s or took more than 2 GB. The input is kept and its place said.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

_SLOWEST_S: Final = 20
_MOST_MB: Final = 2_048
Reader = Callable[[bytes], object]


def manifest() -> tuple[Reader, list[bytes]]:
    """A bundle's table of contents."""
    from fedaffect.edge.bundle.manifest import MANIFEST, Manifest

    return lambda data: Manifest.parse(data, Path("bundle")), [(_bundle() / MANIFEST).read_bytes()]


def bundle() -> tuple[Reader, list[bytes]]:
    """A bundle's tar, unpacked and its signature looked at."""
    from fedaffect.edge.bundle import Bundle
    from fedaffect.edge.bundle.archive import pack, unpack

    seed = pack(_bundle(), Path(tempfile.mkdtemp()) / "seed.tar").read_bytes()

    def read(data: bytes) -> None:
        with tempfile.TemporaryDirectory() as place:
            (tar := Path(place) / "bundle.tar").write_bytes(data)
            Bundle.load(unpack(tar, Path(place) / "bundle"), verify=True)

    return read, [seed]


def reply() -> tuple[Reader, list[bytes]]:
    """A client's reply, from the bytes of its records on."""
    import torch
    from flwr.app import Message, MetricRecord, RecordDict
    from flwr.supercore.task_identity import TaskIdentity
    from google.protobuf.message import DecodeError

    from fedaffect.client.flower_compat.records import record_from_bytes, record_to_bytes
    from fedaffect.client.layout import ArrayLayout
    from fedaffect.client.wire import ARRAYS, METRICS, to_record
    from fedaffect.edge.errors import FedAffectError
    from fedaffect.server.federation.robustness.reply_validation import UpdateValidator, read_evaluation

    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
    layout = ArrayLayout(("adapters.text.weight", "head"), ((4,), (3,)))
    validator = UpdateValidator(layout, torch.zeros(7))
    metrics = MetricRecord({"num-examples": 3, "num-examples.text": 2, "train_loss": 1.0})
    honest = RecordDict({ARRAYS: to_record(layout, torch.ones(7)), METRICS: metrics})

    def read(data: bytes) -> None:
        try:
            record = record_from_bytes(data)
        except (DecodeError, ValueError, TypeError, KeyError, AttributeError):
            return  # Flower's own reading, before anything reaches us
        message = Message(record, 1, "train")
        with suppress(FedAffectError):
            validator.read(message)
        read_evaluation(message, 2)

    return read, [record_to_bytes(honest)]


def sound() -> tuple[Reader, list[bytes]]:
    """A sound, or a film's."""
    from tests.support.media_files import tone, video

    from fedaffect.edge.media.sound import decode_audio

    seeds = [tone(0.1), tone(0.1, kind="FLAC"), tone(0.1, kind="OGG"), tone(0.1, kind="MP3"), video(frames=2)]
    return decode_audio, seeds


def picture() -> tuple[Reader, list[bytes]]:
    """A picture or film."""
    from tests.support.media_files import picture as drawn
    from tests.support.media_files import video

    from fedaffect.edge.media.picture import decode_video

    seeds = [drawn(8, 8, kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")] + [video(frames=2)]
    return lambda data: decode_video(data, 2.0, 4), seeds


def stream() -> tuple[Reader, list[bytes]]:
    """JSON messages of a stream: its settings, and words."""
    from fedaffect.edge.errors import FedAffectError
    from fedaffect.server.serving.http.body import parse_json
    from fedaffect.server.serving.http.websocket import _Message, _Settings

    seeds = [b'{"sample_rate_hz": 16000, "window_s": 3, "hop_s": 0.5}', b'{"text": "well", "time_s": 1.5, "end": true}']

    def read(data: bytes) -> None:
        with suppress(FedAffectError):
            parse_json(data, _Settings)
        parse_json(data, _Message)

    return read, seeds


TARGETS: Final[dict[str, Callable[[], tuple[Reader, list[bytes]]]]] = {
    each.__name__: each for each in (manifest, bundle, reply, sound, picture, stream)
}


def _bundle() -> Path:
    """A small bundle, its encoders a few bytes: what reads it reads no network."""
    from fedaffect.edge.bundle import RUNTIME, EncoderEntry, FileEntry, Manifest, SigningKey, Source, sign

    folder = Path(tempfile.mkdtemp())
    (folder / "text.onnx").write_bytes(b"network")
    entry = EncoderEntry("text", FileEntry.of(folder / "text.onnx"), {}, 4, 0.0, "fp32", Source("a fuzzer"), {})
    Manifest("edge", "1", "2026-01-01T00:00:00+00:00", RUNTIME, {"text": entry}).write(folder)
    sign(folder, SigningKey.own())
    return folder


def _only_ours(read: Reader) -> Callable[[bytes], None]:
    from fedaffect.edge.errors import FedAffectError

    def once(data: bytes) -> None:
        try:
            read(data)
        except FedAffectError as error:
            if "\n" in str(error):
                raise RuntimeError(f"an error of several lines: {error}") from error

    return once


def _fuzz(name: str, seconds: int) -> None:
    """In a process of its own: never returns."""
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

    with atheris.instrument_imports(include=["fedaffect", "PIL"]):
        read, seeds = TARGETS[name]()
    corpus = Path(tempfile.mkdtemp())
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    limits = [f"-max_total_time={seconds}", f"-timeout={_SLOWEST_S}", f"-rss_limit_mb={_MOST_MB}"]
    atheris.Setup([sys.argv[0], *limits, "-print_final_stats=1", "-verbosity=1", str(corpus)], _only_ours(read))
    atheris.Fuzz()


def main() -> None:
    """Fuzz each target that was named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="+", choices=TARGETS)
    parser.add_argument("--minutes", type=float, default=10.0, help="for each target")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given: Any = parser.parse_args()
    if given.inside:
        _fuzz(given.targets[0], round(given.minutes * 60))
    crashed = False
    for name in given.targets:
        command = [sys.executable, "-m", "benchmarks.fuzz", name, "--minutes", str(given.minutes), "--inside"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        tried = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
        print(f"{name:<9} {tried.group(1) if tried else '?':>10} inputs, exit code {done.returncode}", flush=True)
        if done.returncode:
            crashed = True
            print(done.stderr[-3_000:], flush=True)
    sys.exit(1 if crashed else 0)


if __name__ == "__main__":
    main()
