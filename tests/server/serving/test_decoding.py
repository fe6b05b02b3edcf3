"""What callers send is opened in processes that may die; the server and its other callers do not notice."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from tests.support import hostile_decoder
from tests.support.hostile_decoder import marked
from tests.support.media_files import picture, tone, video
from tests.support.small_engine import SmallEngine

from fedaffect.edge.errors import DataError
from fedaffect.edge.media.beginning import beginning
from fedaffect.edge.media.picture import seen
from fedaffect.server.errors import InvalidRequest, RequestTooLarge
from fedaffect.server.serving.app import background
from fedaffect.server.serving.decoding.decoders import Decoders
from fedaffect.server.serving.gateway.limits import Limits

LIMITS = Limits().media()
SOON_S = 60.0


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with contextlib.closing(Decoders()) as opened:
        yield opened


@pytest.fixture
def hostile() -> Iterator[Decoders]:
    with contextlib.closing(Decoders((sys.executable, str(Path(hostile_decoder.__file__))))) as opened:
        yield opened


def until() -> float:
    return time.monotonic() + SOON_S


def pid_of(decoders: Decoders) -> int:
    return decoders._idle[-1]._process.pid


def test_a_process_decodes_what_this_one_would(decoders: Decoders) -> None:
    for data in (tone(1.0), tone(0.7, 44_100, 2, "FLAC"), video(), tone(2.0, 8_000, kind="OGG")):
        with contextlib.suppress(DataError):
            here, said = beginning(data, 0.5)
            there, notes = decoders.sound(data, 0.5, until())
            assert (there.sample_rate_hz, notes) == (here.sample_rate_hz, said)
            assert there.samples.tobytes() == here.samples.tobytes()
    for data in (picture(), picture(900, 300, "JPEG"), video(frames=12)):
        shown, said = seen(data, 5.0, 8)
        frames, notes = decoders.pictures(data, 5.0, 8, until())
        assert (frames.frames_per_second, notes) == (shown.frames_per_second, said)
        np.testing.assert_array_equal(frames.images, shown.images)
    assert decoders.decode_picture(picture(30, 20), LIMITS, until()).shape == (20, 30, 3)


def test_refusals_are_those_of_this_process(decoders: Decoders) -> None:
    with pytest.raises(InvalidRequest, match="no sound file"):
        decoders.check_sound(b"nothing", LIMITS, until())
    with pytest.raises(RequestTooLarge, match="megapixels"):
        decoders.check_pictures(picture(9, 9), Limits(picture_pixels=64).media(), until())
    for broken in (b"RIFF....WAVE", picture()):
        with pytest.raises(DataError) as here:
            beginning(broken, 1.0)
        with pytest.raises(DataError) as there:
            decoders.sound(broken, 1.0, until())
        assert str(there.value) == str(here.value)


@pytest.mark.parametrize(
    ("word", "seconds", "said", "logged"),
    [
        ("abort", SOON_S, "ended the process", "SIGABRT"),
        ("hang", 1.0, "longer than there was time", "SIGKILL"),
        ("spin", 1.0, "longer than there was time", "SIGKILL"),
        ("allocate", SOON_S, "more memory", "out of memory"),
    ],
)
def test_a_process_that_fails_costs_its_file_alone(
    hostile: Decoders, caplog: pytest.LogCaptureFixture, word: str, seconds: float, said: str, logged: str
) -> None:
    hostile.check_sound(tone(), LIMITS, until())
    before = pid_of(hostile)
    began_s = time.monotonic()
    with caplog.at_level(logging.WARNING), pytest.raises(DataError, match=said):
        hostile.sound(marked(word, tone()), 1.0, began_s + seconds)
    # It would hang for an hour.
    assert time.monotonic() - began_s < seconds + 300.0
    assert logged in caplog.text
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    assert pid_of(hostile) != before
    assert hostile.sound(tone(), 1.0, until())[0].samples.size


def test_nothing_that_a_process_says_is_believed_unseen(hostile: Decoders) -> None:
    with pytest.raises(DataError, match="ended the process"):
        hostile.sound(marked("lie", tone()), 1.0, until())
    with pytest.raises(DataError, match="ended the process"):
        hostile.pictures(marked("notes", picture()), 1.0, 1, until())
    with pytest.raises(DataError, match="ended the process"):
        hostile.sound(marked("rate", tone()), 1.0, until())


def test_large_results_leave_no_memory_behind(decoders: Decoders) -> None:
    frames, _ = decoders.pictures(video(640, 640, 40, 25), 25.0, 40, until())
    assert frames.images.nbytes > 40_000_000
    memory = decoders._idle[-1]._memory.file.fileno()
    assert os.fstat(memory).st_blocks * 512 < 1_000_000


def test_one_that_died_while_idle_is_not_asked(decoders: Decoders) -> None:
    decoders.check_sound(tone(), LIMITS, until())
    os.kill(pid_of(decoders), 9)
    decoders._idle[-1]._process.wait()
    decoders.check_sound(tone(), LIMITS, until())


def test_the_server_goes_on_answering(hostile: Decoders) -> None:
    limits = Limits(default_deadline_ms=600_000, longest_deadline_ms=600_000)
    with (
        background(SmallEngine(), limits=limits, decoders=hostile) as cloud,
        httpx.Client(base_url=cloud.rest_url, timeout=600) as http,
    ):
        for word in ("abort", "allocate"):
            refused = http.post("/v1/predict", files={"audio": marked(word, tone())})
            assert refused.status_code == 422, refused.text
            message = refused.json()["error"]["message"]
            assert message.startswith("audio: ")
            assert len(message) <= 160
            # What else the caller sent is answered, and so are others.
            both = http.post("/v1/predict", data={"text": "well"}, files={"audio": marked(word, tone())})
            assert both.json()["modalities"] == ["text"]
            assert any("audio: " in note for note in both.json()["notes"])
            assert http.post("/v1/predict", files={"audio": tone()}).status_code == 200
        for word in ("hang", "spin"):
            files, late = {"audio": marked(word, tone())}, {"X-Deadline-Ms": "700"}
            assert http.post("/v1/predict", files=files, headers=late).status_code in {422, 504}
            assert http.post("/v1/predict", files={"audio": tone()}).status_code == 200


def test_a_process_is_small_and_knows_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDAFFECT_REGISTRY", "postgresql://secret")
    with contextlib.closing(Decoders()) as decoders:
        decoders.check_sound(tone(), LIMITS, until())
        folder = Path(f"/proc/{pid_of(decoders)}")
        if not folder.is_dir():
            pytest.skip("no /proc here")
        assert b"secret" not in (folder / "environ").read_bytes()
        memory = next(line for line in (folder / "status").read_text().splitlines() if line.startswith("VmRSS"))
        assert int(memory.split()[1]) < 120_000
        assert "torch" not in (folder / "maps").read_text()
        for what, most in (
            (resource.RLIMIT_AS, (2 << 30) + (1 << 28)),
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_CORE, 0),
        ):
            assert resource.prlimit(pid_of(decoders), what)[1] == most
        assert resource.prlimit(pid_of(decoders), resource.RLIMIT_CPU)[0] < 2 * SOON_S


def test_a_process_ends_with_its_server() -> None:
    program = (
        "import os; from fedaffect.server.serving.decoding.decoders import Decoders\n"
        "decoders = Decoders(); decoders.warm(1); print(decoders._idle[-1]._process.pid, flush=True); os._exit(1)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=600)
    pid = json.loads(done.stdout)
    # Where nobody takes its status, an orphan stays as one that has ended.
    _, alive = psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=120)
    assert [process.status() for process in alive] in ([], [psutil.STATUS_ZOMBIE])
