"""Which Python versions the pins have wheels for: python scripts/resolve_pythons.py [EXTRA...].

Asks pip to resolve the base dependencies and each extra under constraints.txt, without installing anything, and prints
a line each. The base decides requires-python. Markers are read as for the Python that runs this.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("3.11", "3.12", "3.13")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def requirements(extra: str) -> list[str]:
    """What the base, or an extra with all that it builds on, asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    def expanded(lines: list[str]) -> Iterator[str]:
        for line in lines:
            if own := re.fullmatch(r"fedaffect\[(.+)\]", line):
                for name in own.group(1).split(","):
                    yield from expanded(project["optional-dependencies"][name])
            else:
                yield line

    return [*project["dependencies"], *expanded(project["optional-dependencies"][extra] if extra else [])]


def missing(version: str, wanted: list[str]) -> str:
    """Why pip cannot resolve these for a Python, or nothing where it can."""
    target = ["--python-version", version, "--implementation", "cp", "--abi", f"cp{version.replace('.', '')}"]
    target += ["--abi", "abi3", "--abi", "none", *(part for name in PLATFORMS for part in ("--platform", name))]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--only-binary=:all:", *target]
        command += ["--ignore-installed", "--target", folder, "--constraint", str(ROOT / "constraints.txt"), *wanted]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own pip
    reasons = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    return "" if done.returncode == 0 else (reasons or ["pip failed"])[-1]


def main() -> None:
    """Print a line for each version, of the base and of each extra that was named, or all."""
    extras = sys.argv[1:] or ["transcribe", "client", "server", "simulation"]
    for name in ("", *extras):
        wanted = requirements(name)
        for version in VERSIONS:
            why = missing(version, wanted)
            print(f"{name or 'base':<12} {version}  {why or 'resolves'}", flush=True)


if __name__ == "__main__":
    main()
