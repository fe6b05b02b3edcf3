"""What `make setup` installs is what the constraints name, byte for byte."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _pins(name: str) -> list[str]:
    return [line.split()[0] for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if line[:1] != "#"]


def test_every_pin_but_torchs_has_its_hashes() -> None:
    pins = _pins("constraints.txt")
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[^=\s]+", pin) for pin in pins)
    assert _pins("constraints-hashed.txt") == [pin for pin in pins if not pin.startswith("torch==")]
    for name in ("constraints-hashed.txt", "constraints-weights.txt"):
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            assert line[:1] == "#" or re.fullmatch(r"\S+==\S+( --hash=sha256:[0-9a-f]{64})+", line), line[:80]


def test_set_up_takes_nothing_whose_hash_is_not_known_but_torch() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    installs = [line.partition("pip install $(QUIET) ")[2] for line in makefile.splitlines() if "pip install" in line]
    hashed = [line for line in installs if line.startswith("--no-deps --require-hashes -r ")]
    own = [line for line in installs if line == "--no-deps --no-build-isolation -e ."]
    assert [line for line in installs if line not in hashed + own] == ['-c constraints.txt "torch==2.13.0"']
    assert len(hashed) == 2
