"""Install fedaffect's pinned dependencies into an environment, each file known by its hash, for the images' build.

    python3 deploy/images/install.py --prefix /opt/fedaffect --extra server,transcribe --torch ""

Which of the pins are needed, pip finds out from pyproject.toml; their hashes are those of constraints-hashed.txt. torch
alone comes without: which of its builds is wanted is the machine's business, so it is installed first.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_OWN = re.compile(r"fedaffect\[(?P<extras>[^]]+)\]")


def requirements(extras: Sequence[str]) -> Iterator[str]:
    """What the package and these extras of it require, as pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    yield from project["dependencies"]
    for extra in extras:
        for line in project["optional-dependencies"][extra]:
            if (own := _OWN.fullmatch(line)) is not None:
                yield from requirements(own["extras"].split(","))
            else:
                yield line


def hashed(names: Sequence[str]) -> list[str]:
    """The lines of constraints-hashed.txt for these projects."""
    lines = (ROOT / "constraints-hashed.txt").read_text(encoding="utf-8").splitlines()
    by_name = {_canonical(line.partition("==")[0]): line for line in lines}
    if unknown := sorted(set(map(_canonical, names)) - set(by_name)):
        raise SystemExit(f"no hashes are known of {', '.join(unknown)}; pin them, then python scripts/pin_hashes.py")
    return [by_name[_canonical(name)] for name in names]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    """Find out what is needed, and install it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prefix", type=Path, required=True, help="Of the environment.")
    parser.add_argument("--extra", default="", help="Extras, between commas.")
    parser.add_argument("--only", help="This project with what it requires, instead of ours.")
    parser.add_argument("--torch", help="Arguments by which pip finds the wanted build of torch.")
    given = parser.parse_args()
    pip = (sys.executable, "-m", "pip", "--python", str(given.prefix / "bin" / "python"), "install", "--no-cache-dir")
    pins = ("-c", str(ROOT / "constraints.txt"))
    if given.torch is not None:
        torch = next(line for line in requirements(["client"]) if line.startswith("torch=="))
        subprocess.run((*pip, *pins, *given.torch.split(), torch), check=True)
    wanted = [given.only] if given.only else list(requirements([one for one in given.extra.split(",") if one]))
    looked = (*pip, "--dry-run", "--quiet", "--report", "-", *pins, *wanted)
    report = json.loads(subprocess.run(looked, check=True, stdout=subprocess.PIPE, text=True).stdout)
    lines = hashed([one["metadata"]["name"] for one in report["install"]])
    listed = given.prefix / "requirements.txt"
    listed.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    subprocess.run((*pip, "--no-deps", "--require-hashes", "-r", str(listed)), check=True)


if __name__ == "__main__":
    main()
