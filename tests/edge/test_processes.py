"""Child processes end with the process that started them, also where that is the first process of a container."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Starts a child, which says that it lives once the kernel knows whose it is.
PARENT = """
import sys, time
from pathlib import Path
from fedaffect.edge.system.processes import Child
child = Child("child", (sys.executable, "-c", sys.argv[2], sys.argv[1]))
child.start()
print(child.process.wait(60), flush=True)
"""
CHILD = """
import os, sys
from pathlib import Path
from fedaffect.edge.system.processes import end_with_parent
end_with_parent()
Path(sys.argv[1]).write_text(f"{os.getppid()} {sorted(name for name in os.environ if 'PARENT_PID' in name)}")
"""


def test_the_first_process_of_a_container_keeps_its_children(tmp_path: Path) -> None:
    alone = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")
    if shutil.which("unshare") is None or subprocess.run((*alone, "true"), check=False, capture_output=True).returncode:
        pytest.skip("this machine gives no process number spaces of their own")
    said = tmp_path / "said"
    command = (*alone, sys.executable, "-c", PARENT, str(said), CHILD)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
    # It was the child of number 1, and hands nothing of that on to what it starts.
    assert said.read_text(encoding="utf-8") == "1 []"
