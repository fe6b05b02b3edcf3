"""What a device's user forgets is on no disk any more, also where the trainer was killed in the middle of a round."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.client.device import test_own_examples

from fedaffect.client.device.folder import DeviceFolder
from fedaffect.edge.bundle import Bundle
from fedaffect.edge.store import Database, ExampleStore

bundle, device = test_own_examples.bundle, test_own_examples.device

# A trainer that is killed where most of it is on the way: with its examples gathered, and before it answered.
_KILLED = """
import os, signal, sys
from pathlib import Path
from flwr.supercore.task_identity import TaskIdentity
from tests.client.device import test_own_examples as own
from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.privacy.settings import PrivacyConfig
from fedaffect.client.task import ClientTask
from fedaffect.edge.bundle import BundleStore

TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
store = BundleStore(Path(sys.argv[2]))
BundleStore.default = classmethod(lambda cls, profile="edge": store)
name = sys.argv[3]
before = getattr(ClientTask, name)

def killed(*given, **named):
    before(*given, **named)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(ClientTask, name, killed)
privacy = PrivacyConfig(epsilon=2.0).to_record() if sys.argv[4] == "local" else {}
own.answers(DeviceFolder(Path(sys.argv[1])))(own.train(store.current(), **privacy), own.context())
"""


def _holding(folder: Path, pieces: list[bytes]) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            if any(piece in content for piece in pieces):
                yield path


@pytest.mark.slow
@pytest.mark.parametrize("privacy", ["none", "local"])
@pytest.mark.parametrize("where", ["__init__", "train"])
def test_a_killed_trainer_leaves_no_copy_of_what_is_forgotten(
    where: str, privacy: str, device: DeviceFolder, bundle: Bundle, tmp_path: Path
) -> None:
    scratch, home = tmp_path / "scratch", tmp_path / "home"
    for folder in (scratch, home):
        folder.mkdir()
    with Database(Path(device.settings.store)) as database:
        store = ExampleStore(database)
        pieces = [np.ascontiguousarray(store.features(e.id)["text"]).tobytes() for e in store.examples()]
    installed = tmp_path / "installed"
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(device.path), str(installed), where, privacy],
        env={**os.environ, "TMPDIR": str(scratch), "HOME": str(home)},
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    # Nothing but the example store has them, and after forgetting not even that.
    assert {path.name.split("-")[0] for path in _holding(tmp_path, pieces)} == {"examples.sqlite3"}
    assert [path for path in scratch.rglob("*") if path.is_file()] == []
    with Database(Path(device.settings.store)) as database:
        store = ExampleStore(database)
        store.forget(everything=True)
    assert list(_holding(tmp_path, pieces)) == []
