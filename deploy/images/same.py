"""Make an image that buildah or podman built equal to every other build of the same commit, to the digest.

    python3 deploy/images/same.py buildah fedaffect/edge:0.1.0

Layers are equal already: `build` gives every file the commit's time, and nothing that is installed writes another. What
the engine adds to the image's configuration of its own (names of containers that it worked in, images in between) runs
nowhere and differs each time; it goes. Prints the digest.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_OF_A_BUILD = ("container", "parent")
_OF_A_CONTAINER = ("Hostname", "Domainname", "Image")


def lasting(config: dict[str, Any]) -> dict[str, Any]:
    """An image's configuration without what tells of the build that made it."""
    kept = {key: value for key, value in config.items() if key not in _OF_A_BUILD}
    for part in ("config", "container_config"):
        if part in kept:
            kept[part] = {key: value for key, value in kept[part].items() if key not in _OF_A_CONTAINER}
    kept["history"] = [
        {key: value for key, value in step.items() if key != "comment"} for step in config.get("history", ())
    ]
    return kept


def make_same(folder: Path) -> str:
    """Do so with an image in a folder, as the engines' ``dir:`` has it; the manifest's digest.

    Parameters
    ----------
    folder : Path
        ``manifest.json``, and the configuration in a file that is called by its SHA-256.
    """
    manifest = json.loads((folder / "manifest.json").read_bytes())
    named = manifest["config"]
    before = folder / named["digest"].removeprefix("sha256:")
    config = _bytes_of(lasting(json.loads(before.read_bytes())))
    before.unlink()
    named["digest"], named["size"] = f"sha256:{hashlib.sha256(config).hexdigest()}", len(config)
    (folder / named["digest"].removeprefix("sha256:")).write_bytes(config)
    said = _bytes_of(manifest)
    (folder / "manifest.json").write_bytes(said)
    return f"sha256:{hashlib.sha256(said).hexdigest()}"


def _bytes_of(what: dict[str, Any]) -> bytes:
    return json.dumps(what, sort_keys=True, separators=(",", ":")).encode()


def main() -> None:
    """Take the image out, and put it back under its name."""
    engine, image = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run((engine, "push", "--quiet", image, f"dir:{folder}"), check=True, stdout=subprocess.DEVNULL)
        digest = make_same(Path(folder))
        pulled = subprocess.run((engine, "pull", "--quiet", f"dir:{folder}"), check=True, stdout=subprocess.PIPE)
        subprocess.run((engine, "tag", pulled.stdout.decode().split()[-1], image), check=True)
    sys.stdout.write(f"{image} {digest}\n")


if __name__ == "__main__":
    main()
