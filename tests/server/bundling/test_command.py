from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_runtime.bundle import MANIFEST, Manifest, default_bundle_path
from edge_runtime.command import fedaffect
from edge_runtime.errors import BundleError
from server.bundling import hub
from server.bundling.recipe import VERSION

Folders = Callable[[str], Path]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(fedaffect, ["bundle", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_builds_into_the_cache_shows_and_builds_again_only_if_missing(model_folder: Folders) -> None:
    flags = {"--text": "bert", "--speech": "hubert", "--vision": "vit"}
    chosen = [part for flag, kind in flags.items() for part in (flag, str(model_folder(kind)))]
    target = default_bundle_path("cloud")
    built = run("build", "--profile", "cloud", "--no-quantise", *chosen)
    assert all(word in built for word in ("bert", "hubert", "vit", "fp32"))
    assert "hubert" in run("show", str(target))
    manifest = (target / MANIFEST).read_bytes()
    assert run("build", "--profile", "cloud", "--if-missing", *chosen) == ""
    assert (target / MANIFEST).read_bytes() == manifest
    (target / "audio.onnx").write_bytes(b"damaged")
    with pytest.raises(BundleError, match=r"audio\.onnx"):
        run("show", str(target))
    run("build", "--profile", "cloud", "--if-missing", "--no-quantise", *chosen)
    run("show", str(target))


def test_if_missing_makes_anew_what_an_older_recipe_left_in_the_cache_but_not_what_people_brought(
    model_folder: Folders,
) -> None:
    flags = {"--text": "bert", "--speech": "hubert", "--vision": "vit"}
    chosen = [part for flag, kind in flags.items() for part in (flag, str(model_folder(kind)))]
    build = ("build", "--profile", "cloud", "--no-quantise", *chosen)
    run(*build)
    target = default_bundle_path("cloud")

    def age(**source: str) -> None:
        manifest = Manifest.read(target)
        encoders = {m: replace(e, source=replace(e.source, **source)) for m, e in manifest.encoders.items()}
        replace(manifest, version="0", encoders=encoders).write(target)

    age()
    assert run(*build, "--if-missing") == ""
    age(licence="MIT")
    assert run(*build, "--if-missing", "--out", str(target)) == ""
    assert "another recipe" in run(*build, "--if-missing")
    assert Manifest.read(target).version == VERSION


def test_a_model_that_cannot_be_had_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_hub_answers", lambda: False)
    with pytest.raises(BundleError, match="hub"):
        run("build", "--text", "nobody/no-such-model", "--out", str(tmp_path / "b" / "edge"))
    assert list((tmp_path / "b").iterdir()) == []
