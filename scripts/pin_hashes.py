"""Write constraints-hashed.txt, the pins of constraints.txt with hashes: python scripts/pin_hashes.py.

Asks the package index for the files of each release and keeps those that one of our Pythons can install on Linux or
macOS. torch is left out: which of its builds is wanted, and from which index it comes, is the machine's business.
"""

from __future__ import annotations

import json
import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).resolve().parents[1]
INDEX = "https://pypi.org/simple/"
_ACCEPT = "application/vnd.pypi.simple.v1+json"
_PYTHONS = re.compile(r"py3|py2\.py3|py2|cp3[0-9]|cp31[0-3]")
_ABIS = re.compile(r"none|abi3|cp31[1-3]")
_PLATFORMS = re.compile(r"any|(many)?linux.*_(x86_64|aarch64)|macosx_.*_(arm64|x86_64|universal2)")


def fits(name: str) -> bool:
    """Whether a file of a release can be installed by one of our Pythons on Linux or macOS."""
    if not name.endswith(".whl"):
        return name.endswith(".tar.gz")
    return any(
        _PYTHONS.fullmatch(tag.interpreter) and _ABIS.fullmatch(tag.abi) and _PLATFORMS.fullmatch(tag.platform)
        for tag in parse_wheel_filename(name)[3]
    )


def hashes_of(pin: str) -> list[str]:
    """SHA-256 of each file that may be installed for a pin ``name==version``: wheels, or the source without any."""
    name, _, version = pin.partition("==")
    request = urllib.request.Request(f"{INDEX}{canonicalize_name(name)}/", headers={"Accept": _ACCEPT})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the index's own address
        files: list[dict[str, Any]] = json.load(answer)["files"]
    release = re.compile(rf"[^-]+-{re.escape(version)}(-.*\.whl|\.tar\.gz)")
    found = [f for f in files if release.fullmatch(f["filename"]) and fits(f["filename"])]
    wheels = [f for f in found if f["filename"].endswith(".whl")] or found
    hashes = {f["hashes"]["sha256"] for f in wheels}
    if not hashes:
        raise SystemExit(f"the index has no file for {pin} that fits; correct the pin")
    return sorted(hashes)


def main() -> None:
    """Write the file, a line a pin."""
    pins = [pin for pin in (ROOT / "constraints.txt").read_text(encoding="utf-8").split() if pin[:7] != "torch=="]
    with ThreadPoolExecutor(8) as pool:
        lines = [
            " ".join((pin, *(f"--hash=sha256:{one}" for one in hashes)))
            for pin, hashes in zip(pins, pool.map(hashes_of, pins), strict=True)
        ]
    (ROOT / "constraints-hashed.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
