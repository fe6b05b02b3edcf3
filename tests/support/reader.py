"""Somebody who types what a page says: commands in a shell, servers in the background, Python in a file.

What is changed on the way stands in ``SHORTER`` and ``CHANGED``: fewer rounds, free ports, no waiting for devices that
a test does not have.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.pages import ROOT, Page
from tests.support.small_fleet import free_port

_BIN: Final = Path(sys.executable).parent
_STARTING_S: Final = 600.0
_ENDING_S: Final = 60.0

# Flags that a test adds, so that a command takes seconds; a flag of the page's own stays unless it stands here too.
SHORTER: Final = (
    (r"^fedaffect simulate(?!.*--resume)", "--max-steps 1"),
    # Who starts from other weights has their model.
    (r"^fedaffect simulate(?!.*--(resume|start-from))", "--model-option width=16 --model-option feedforward=32"),
    (r"^fedaffect simulate(?!.*--(resume|rounds|engine flower))", "--rounds 1"),
    (r"^fedaffect simulate(?!.*--engine flower)", "--actors 1"),
    (r"^fedaffect simulate.*--seeds 0,1,2", "--seeds 0,1"),
    (r"^fedaffect audit privacy", "--canaries 40 --guesses 20 --models 4"),
    (r"^fedaffect audit archive", "--older-than 0"),  # nothing is a year old yet
    (r"^fedaffect edge bench", "--repeats 1"),
    (r"^fedaffect bundle build.*--distil", "--distil-epochs 1"),
    (r"^fedaffect server align", "--steps 2 --voice-copies 0"),
    (r"^fedaffect server serve", "--rest-port {rest} --grpc-port {grpc}"),
    (r"^fedaffect fleet init", "--superlink-port {superlink} --service-port {service}"),
    # A device learns a partition of the server's cohort, as nobody has labelled examples here.
    (r"^fedaffect device enroll", "--partition 0 --min-examples 1"),
    (r"^fedaffect fleet run", "--rounds 1 --set max-steps=1"),
    (r"^flwr run(?!.*--run-config)", "--run-config rounds=1"),
)
# What is replaced in a command, in this order.
CHANGED: Final = (
    (r":8080\b", ":{rest}"),
    (r":8081\b", ":{grpc}"),
    (r":9441\b", ":{service}"),
    (r"--host 0\.0\.0\.0", "--host 127.0.0.1"),
    (r"rounds=10'$", "rounds=1'"),
    (r"\brounds=5, name", "rounds=1, max_steps=1, actors=1, name"),
    (r"^fedaffect demo circle$", "fedaffect demo circle --help"),  # a test of its own shows it whole
)
# Commands that run until they are stopped, and what tells that they are there.
_LASTING: Final = ("fedaffect server serve", "fedaffect fleet up", "fedaffect device start")


def _expected(command: str) -> int:
    """The exit code that is right here: `data check` finds that the small corpora are not whole."""
    return 2 if command.startswith("fedaffect data check") else 0


class Reader:
    """Types commands in one folder, with an environment of its own.

    Parameters
    ----------
    folder : Path
        Where commands run.
    environment : mapping of str to str
        Added to the test's own.
    one_process : bool
        Whether simulations run in one process beside the shell, which spares each the start of Ray.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], *, one_process: bool = False) -> None:
        self.folder = folder
        path = f"{_BIN}{os.pathsep}{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "PWD": str(folder), **environment}
        self._ports = {name: free_port() for name in ("rest", "grpc", "superlink", "service")}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._words: dict[str, str] = {}
        self._one_process = one_process
        self._status = "fedaffect fleet status --json"

    def shorter(self, command: str) -> str:
        """A command as it is run here."""
        for pattern, flags in SHORTER:
            if re.search(pattern, command):
                command = f"{command} {flags}"
        for pattern, other in CHANGED:
            command = re.sub(pattern, other, command)
        for word, meant in self._words.items():
            command = re.sub(rf"\b{word}\b", meant, command)
        return re.sub(r"\{(\w+)\}", lambda found: str(self._ports.get(found[1], found[0])), command)

    def type(self, command: str) -> str:
        """Run a command to its end, or start one that lasts and wait until it is there; what it printed."""
        if " && " in command:
            return "".join(self.type(part) for part in command.split(" && "))
        changed = self.shorter(command)
        for lasting in _LASTING:
            if changed.startswith(lasting):
                self._start(lasting, changed)
                return ""
        if self._one_process and re.match(r"fedaffect (simulate|runs|data|audit)\b(?!.*[|>$])", changed):
            return self._in_one_process(changed)
        keeping = f"[ -f .said ] && . ./.said; {changed}; code=$?; export -p > .said; exit $code"
        done = subprocess.run(
            ["bash", "-c", keeping],
            cwd=self.folder,
            env=self._environment,
            input="y\n",  # to what asks whether to go on
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != _expected(changed):
            raise AssertionError(
                f"{changed}\nended with {done.returncode}\n{done.stdout}\n{done.stderr}\n{self._logs()}"
            )
        self._learn(done.stdout)
        return done.stdout

    def _in_one_process(self, command: str) -> str:
        running = self._running.get("one process")
        if running is None:
            with (self.folder / "background.log").open("ab") as log:
                running = self._running["one process"] = subprocess.Popen(
                    [sys.executable, "-m", "tests.support.one_process"],
                    cwd=self.folder,
                    env={**self._environment, "PYTHONPATH": str(ROOT)},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                )
        arguments = shlex.split(command.replace("~/", f"{self._environment['HOME']}/"))[1:]
        if running.stdin is None or running.stdout is None:
            raise AssertionError("the process has no pipes")
        running.stdin.write(json.dumps(arguments).encode() + b"\n")
        running.stdin.flush()
        answer = running.stdout.readline()
        done = json.loads(answer) if answer else {"code": running.wait(), "said": self._logs()}
        if done["code"] != _expected(command):
            raise AssertionError(f"{command}\nended with {done['code']}\n{done['said']}")
        return str(done["said"])

    def python(self, text: str) -> None:
        """Run a Python example."""
        script = self.folder / "example.py"
        script.write_text(self.shorter(text), encoding="utf-8")
        self.type("python example.py")

    def _learn(self, printed: str) -> None:
        """Words in capitals that a reader replaces by what a command before has printed."""
        found = re.search(r"^request (\S+)$", printed, re.MULTILINE)
        if found:
            self._words["REQUEST"] = found[1]

    def _start(self, name: str, command: str) -> None:
        self.stop(name)
        with (self.folder / "background.log").open("ab") as log:
            began = log.tell()
            self._running[name] = subprocess.Popen(
                shlex.split(command), cwd=self.folder, env=self._environment, stdout=log, stderr=log
            )
        if name == "fedaffect fleet up":
            self._status = f"{command.replace(' up', ' status')} --json"
        probes: dict[str, Callable[[], bool]] = {
            "fedaffect server serve": lambda: self._ready("https" if "--tls-cert" in command else "http"),
            "fedaffect fleet up": lambda: b"ready: devices reach the fleet" in self._log()[began:],
            "fedaffect device start": lambda: '"online": true' in self._said(self._status),
        }
        there = probes[name]
        until = time.monotonic() + _STARTING_S
        while not there():
            code = self._running[name].poll()
            if code is not None or time.monotonic() > until:
                raise AssertionError(f"{command}\nis not there (exit status {code})\n{self._logs()}")
            time.sleep(0.5)

    def _ready(self, scheme: str) -> bool:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with urllib.request.urlopen(f"{scheme}://127.0.0.1:{self._ports['rest']}/readyz", context=context) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def _said(self, command: str) -> str:
        """What a command printed; nothing of one that failed."""
        done = subprocess.run(
            shlex.split(command), cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False
        )
        return "" if done.returncode else done.stdout

    def _log(self) -> bytes:
        log = self.folder / "background.log"
        return log.read_bytes() if log.exists() else b""

    def _logs(self) -> str:
        return self._log()[-4000:].decode(errors="replace")

    def stop(self, name: str) -> None:
        """Stop what lasts."""
        process = self._running.pop(name, None)
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop_all(self) -> None:
        """Stop all that lasts, the newest first."""
        for name in reversed(list(self._running)):
            self.stop(name)
        for pid in self._left_behind():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _left_behind(self) -> Iterator[int]:
        """Processes that a command left running in this folder, as ``flwr run`` leaves its SuperLink."""
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.folder).encode() in (entry / "environ").read_bytes() and int(entry.name) != os.getpid():
                    yield int(entry.name)


@contextmanager
def reading(folder: Path, environment: Mapping[str, str], *, one_process: bool = False) -> Iterator[Reader]:
    """A reader whose servers end with the block."""
    reader = Reader(folder, environment, one_process=one_process)
    try:
        yield reader
    finally:
        reader.stop_all()


def typed(page: Page) -> Iterator[tuple[str, str]]:
    """Language and text of what a page has to be typed, in its order: commands one by one, Python by blocks."""
    for block in page.blocks():
        if block.language == "python":
            yield "python", block.text
        elif block.language == "sh":
            yield from (("sh", command) for command in block.commands())
