"""Weights travel with their licence and their card, in the repository and in a wheel."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODELS = ROOT / "server/fedaffect/server/models"
FOLDERS = sorted({path.parent for path in MODELS.rglob("trained/**/*.safetensors")})


def test_all_folders_of_weights_are_looked_at() -> None:
    assert {str(folder.relative_to(ROOT / "server/fedaffect/server/models")) for folder in FOLDERS} >= {
        "bundling/trained",
        "encoders/words/trained",
        "faces/trained",
    }


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_each_folder_of_weights_has_licence_and_card_and_is_packaged_whole(folder: Path) -> None:
    names = {path.name for path in folder.iterdir() if path.is_file()}
    assert names >= {"LICENSE-WEIGHTS", "README.md"}
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    left_out = [pattern for target in (build, build["targets"]["wheel"]) for pattern in target.get("exclude", ())]
    assert not [name for name in names for pattern in left_out if fnmatch(str(folder / name), f"*{pattern}")]
