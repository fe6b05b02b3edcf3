from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# In a process of its own: ALSA looks its configuration up once.
PROGRAM = """
from fedaffect.edge.media.capture import Microphone

microphone = Microphone("alsa:null")
print(len(next(microphone).samples) > 0)
microphone.close()
"""


@pytest.mark.skipif(not Path("/usr/share/alsa/alsa.conf").is_file(), reason="ALSA's files are not in /usr/share/alsa")
def test_a_microphone_of_alsa_opens() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).resolve().parents[3],
        env={name: value for name, value in os.environ.items() if not name.startswith("ALSA_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "True"
