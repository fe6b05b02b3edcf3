"""A program in a network of its own that leads nowhere, and everything that it tried to send.

Run as ``python -m tests.support.recorded_network COMMAND...`` by :func:`recorded`, in namespaces where it is root.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

_UNSHARE: Final = ("unshare", "--user", "--map-root-user", "--net", "--mount")
_TUNNEL: Final = "/dev/net/tun"
# TUNSETIFF; IFF_TUN and IFF_NO_PI.
_SET_INTERFACE, _PACKETS_ALONE = 0x400454CA, 0x1001
_IPV4, _TCP, _UDP, _DNS = 4, 6, 17, 53
_MARK: Final = "sent:"
_UNTIL: Final = "RECORDED_UNTIL"
_LOOK_S: Final = 0.05


def recorded(command: list[str], home: Path, until: str = "", **environment: str) -> list[str]:
    """Run a program with a fresh home and a network that takes every packet and answers none.

    Parameters
    ----------
    command : list of str
    home : Path
    until : str
        The program is ended once it has sent something that holds this.
    **environment : str
        Added to what the program sees.

    Returns
    -------
    list of str
        What it sent past its own machine: ``udp 10.0.0.1:53 host.example``, in order. Skips the test where this machine
        makes no such network.
    """
    if not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("util-linux and iproute2 are needed for a network of one's own")
    if subprocess.run([*_UNSHARE, "test", "-w", _TUNNEL], capture_output=True, check=False).returncode:
        pytest.skip("this machine refuses a network of one's own")
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [*_UNSHARE, sys.executable, "-m", "tests.support.recorded_network", *command],
        env={**kept, "HOME": str(home), "TMPDIR": str(home), _UNTIL: until, **environment},
        cwd=root,
        text=True,
        capture_output=True,
        timeout=1800,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.removeprefix(_MARK) for line in lines if line.startswith(_MARK)]


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _lead_nowhere(resolver: Path) -> int:
    """The only way out, which ends in the descriptor that is returned, and a resolver on it."""
    way = os.open(_TUNNEL, os.O_RDWR)
    fcntl.ioctl(way, _SET_INTERFACE, struct.pack("16sH22x", b"out", _PACKETS_ALONE))
    _ip("link", "set", "lo", "up")
    _ip("addr", "add", "10.9.8.7/24", "dev", "out")
    _ip("link", "set", "out", "up")
    _ip("route", "add", "default", "via", "10.9.8.1")
    resolver.write_text("nameserver 10.9.8.1\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--bind", str(resolver), "/etc/resolv.conf"], check=True)
    return way


def _note_packets(way: int, sent: list[str]) -> None:
    while True:
        sent.extend(_described(os.read(way, 65535)))


def _described(packet: bytes) -> Iterator[str]:
    """A packet of TCP or UDP; the kernel's own, to neighbours and groups, are nobody's."""
    if packet[0] >> 4 == _IPV4:
        transport, to, rest = packet[9], ipaddress.ip_address(packet[16:20]), packet[4 * (packet[0] & 15) :]
    else:
        transport, to, rest = packet[6], ipaddress.ip_address(packet[24:40]), packet[40:]
    if transport in (_TCP, _UDP):
        port = int.from_bytes(rest[2:4], "big")
        name = _asked(rest[8:]) if transport == _UDP and port == _DNS else ""
        yield f"{'tcp' if transport == _TCP else 'udp'} {to}:{port} {name}".rstrip()


def _asked(question: bytes) -> str:
    labels, place = [], 12
    while place < len(question) and (size := question[place]):
        labels.append(question[place + 1 : place + 1 + size].decode("ascii", "replace"))
        place += 1 + size
    return ".".join(labels)


def main(command: list[str]) -> int:
    """Set the network up, run the command in it, and print what was sent."""
    way = _lead_nowhere(Path(os.environ["TMPDIR"]) / "resolv.conf")
    sent: list[str] = []
    threading.Thread(target=_note_packets, args=(way, sent), daemon=True).start()
    until = os.environ.pop(_UNTIL, "")
    with subprocess.Popen(command) as program:
        while program.poll() is None:
            if until and any(until in line for line in sent):
                program.kill()
                break
            time.sleep(_LOOK_S)
    code = 0 if until else program.returncode
    sys.stdout.writelines(f"{_MARK}{line}\n" for line in sent)
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
