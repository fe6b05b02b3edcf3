"""Machines on this machine: each with its own network, mounts and processes, and no file that another one writes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# Of a Ray cluster's first machine.
PORT = 6391
HEAD = ("--head", f"--port={PORT}", "--temp-dir=/tmp/r", "--include-dashboard=false")
REPOSITORY = Path(__file__).resolve().parents[2]
_SUBNET = "10.77.0"
_UNSHARE = (
    "unshare",
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--propagation",
    "private",
)
# /tmp is its own, and so is the memory that Ray shares between processes; code and interpreter are looked at in place.
_INIT = """
set -e
mount -t tmpfs -o size=1g tmpfs /dev/shm
n=0
for kept in "$@"; do n=$((n + 1)); mkdir /dev/shm/kept$n; mount --bind "$kept" /dev/shm/kept$n; done
mount -t tmpfs -o size=2g tmpfs /tmp
n=0
for kept in "$@"; do n=$((n + 1)); mkdir -p "$kept"; mount --move /dev/shm/kept$n "$kept"; done
mkdir /tmp/home
ip link set lo up
echo up
exec sleep infinity
"""


class Host:
    """One machine.

    Parameters
    ----------
    number : int
        The last part of its address.
    """

    def __init__(self, number: int) -> None:
        self.address = f"{_SUBNET}.{number}"
        below_tmp = {path for path in (REPOSITORY, Path(sys.prefix)) if path.is_relative_to("/tmp")}
        kept = [str(path) for path in below_tmp if not below_tmp & set(path.parents)]
        command = [*_UNSHARE, "sh", "-c", _INIT, "init", *kept]
        self._outer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._started = [self._outer]
        assert self._outer.stdout is not None
        said = self._outer.stdout.readline()
        if said != "up\n":
            raise OSError(f"{said} {self._outer.stdout.read()}".strip())
        # Others reach the first one at this address through a link each.
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text()
        self.pid = int(children.split()[0])
        _run(*self.inside("ip", "address", "add", f"{self.address}/32", "dev", "lo"))

    def inside(self, *command: str) -> list[str]:
        """A command that runs another one on this machine."""
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-p", f"--wdns={REPOSITORY}", *command]

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """Start a program of this interpreter; what it writes is read from its ``stdout``."""
        own = {"HOME": "/tmp/home", "TMPDIR": "/tmp", "FEDAFFECT_CACHE": "/tmp/cache", "FEDAFFECT_DATA": "/tmp/data",
               "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"]}  # fmt: skip
        process = subprocess.Popen(
            self.inside(sys.executable, *command),
            env={**own, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )
        self._started.append(process)
        return process

    def copy(self, folder: Path, place: str) -> None:
        """Put a copy of a folder there."""
        packed = subprocess.run(["tar", "c", "-C", str(folder), "."], stdout=subprocess.PIPE, check=True)
        unpack = self.inside("sh", "-c", 'mkdir -p "$1" && tar x -C "$1"', "", place)
        subprocess.run(unpack, input=packed.stdout, check=True)

    def cover(self, path: Path, text: str) -> None:
        """Let a file have another content here, and nowhere else."""
        other = "/tmp/covering"
        _run(*self.inside("sh", "-c", 'printf "%s" "$1" > "$2"; mount --bind "$2" "$3"', "", text, other, str(path)))

    def die(self) -> None:
        """Lose power: every process of it is gone at once."""
        self._outer.kill()
        processes, self._started = self._started, []
        for process in processes:
            process.communicate()


class Network:
    """A first machine, and others that are linked to it."""

    def __init__(self) -> None:
        self.hosts: list[Host] = []

    def host(self) -> Host:
        """Another machine, which reaches the first one."""
        host = Host(len(self.hosts) + 1)
        self.hosts.append(host)
        if len(self.hosts) == 1:
            return host
        first, near, far = self.hosts[0], _near(host), f"far{len(self.hosts)}"
        pair = ["ip", "link", "add", near, "netns", str(first.pid), "type", "veth"]
        _run(*pair, "peer", "name", far, "netns", str(host.pid))
        for one, other, device in ((first, host, near), (host, first, far)):
            _run(*one.inside("ip", "address", "add", one.address, "peer", other.address, "dev", device))
            _run(*one.inside("ip", "link", "set", device, "up"))
        return host

    def remove(self, host: Host) -> None:
        """Take the last machine away with its link, which the kernel would keep until it has cleaned up."""
        self.hosts.remove(host)
        _run(*self.hosts[0].inside("ip", "link", "delete", _near(host)))
        host.die()


def _near(host: Host) -> str:
    return f"near{host.address.rpartition('.')[2]}"


def start_ray(host: Host, *arguments: str, **environment: str) -> None:
    """Let a machine, which has one processor, begin a Ray cluster or join one."""
    command = ("-m", "ray.scripts.scripts", "start", "--block", f"--node-ip-address={host.address}", "--num-cpus=1")
    store = "--object-store-memory=100000000"
    patient = {"RAY_raylet_start_wait_time_s": "120", **environment}
    process = host.start(*command, store, "--disable-usage-stats", *arguments, **patient)
    said = []
    for line in process.stdout or ():
        said.append(line)
        if "Ray runtime started" in line:
            return
    raise AssertionError("".join(said))


def listing(host: Host, folder: str) -> list[str]:
    """Names in a folder of a machine; none where it is not there."""
    done = subprocess.run(host.inside("ls", folder), capture_output=True, text=True, check=False)
    return done.stdout.split()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


@contextmanager
def network() -> Iterator[Network]:
    """A network with one machine; skips, saying why, where this one cannot be divided."""
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"machines are made with {', '.join(missing)}, which this one lacks")
    made = Network()
    try:
        try:
            made.host()
            made.remove(made.host())
        except OSError as error:
            pytest.skip(f"this machine refuses namespaces: {error}")
        yield made
    finally:
        for host in made.hosts:
            host.die()
