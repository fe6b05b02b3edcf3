from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from fedaffect.client.models.registry import build_model
from fedaffect.edge.bundle import MANIFEST, SIGNATURE, Bundle, Manifest, SigningKey, default_bundle_path, sign
from fedaffect.edge.bundle.archive import pack
from fedaffect.edge.cli.main import fedaffect
from fedaffect.edge.errors import BundleError
from fedaffect.edge.labels import LABEL_SETS
from fedaffect.server.models.bundling import hub
from fedaffect.server.models.bundling.recipe import METADATA, VERSION

Folders = Callable[[str], Path]
Put = Callable[[Path], Path]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(fedaffect, ["bundle", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.slow
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


@pytest.mark.slow
def test_if_missing_makes_anew_what_an_older_recipe_left_in_the_cache_but_not_what_people_brought(
    model_folder: Folders, built_at: Put
) -> None:
    flags = {"--text": "bert", "--speech": "hubert", "--vision": "vit"}
    chosen = [part for flag, kind in flags.items() for part in (flag, str(model_folder(kind)))]
    build = ("build", "--profile", "cloud", "--no-quantise", *chosen)
    target = built_at(default_bundle_path("cloud"))

    def age(**source: str) -> None:
        manifest = Manifest.read(target)
        encoders = {m: replace(e, source=replace(e.source, **source)) for m, e in manifest.encoders.items()}
        replace(manifest, version="0", encoders=encoders).write(target)
        sign(target, SigningKey.own())

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


@pytest.fixture(scope="module")
def _with_fusion(model_folder: Folders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    flags = {"--text": "bert", "--speech": "hubert", "--vision": "vit"}
    chosen = [part for flag, kind in flags.items() for part in (flag, str(model_folder(kind)))]
    torch.manual_seed(0)
    widths = {"text": 32, "audio": 64, "video": 32}
    module = build_model("cmt", widths, 7, {"width": 16, "feedforward": 16})
    about = {"model": "cmt", "options": {"width": 16, "feedforward": 16}, "widths": widths, "version": "1"}
    about |= {"label_set": "shared7", "labels": list(LABEL_SETS["shared7"].labels)}
    folder = tmp_path_factory.mktemp("with-fusion")
    fusion, out = folder / "fusion.safetensors", folder / "built"
    save_file(module.state_dict(), fusion, metadata={METADATA: json.dumps(about)})
    arguments = ("--profile", "cloud", "--no-quantise", "--fusion", str(fusion), "--out", str(out))
    assert "shared7" in run("build", *arguments, *chosen)
    return out


@pytest.fixture
def small_bundle(_with_fusion: Path, tmp_path: Path) -> Path:
    """Built by the command, with a fusion of random weights that fits its encoders."""
    return Path(shutil.copytree(_with_fusion, tmp_path / "built"))


@pytest.mark.slow
def test_from_build_to_a_device_and_back(small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = Bundle.load(small_bundle).version
    assert version in run("verify", str(small_bundle))
    tar = tmp_path / "b.tar"
    assert "bundle install b.tar" in run("pack", str(small_bundle), str(tar))
    # On the device: keys and cache of its own.
    monkeypatch.setenv("FEDAFFECT_CONFIG", str(tmp_path / "device"))
    monkeypatch.setenv("FEDAFFECT_CACHE", str(tmp_path / "device-cache"))
    for command in ("verify", "install"):
        with pytest.raises(BundleError, match=r"not trusted here") as refused:
            run(command, str(tar))
        assert str(refused.value).endswith(f"fedaffect bundle trust {tar}")
    run("install", str(tar), "--allow-unsigned")
    with pytest.raises(BundleError, match="not trusted"):
        run("verify")
    run("trust", str(tar))
    assert version in run("install", str(tar))
    assert version in run("verify")
    assert version in run("show")
    (small_bundle / SIGNATURE).unlink()
    for source in (small_bundle, pack(small_bundle, tmp_path / "unsigned.tar")):
        for command in ("verify", "install", "trust"):
            with pytest.raises(BundleError, match=f"^{source} is not signed"):
                run(command, str(source))
    for nothing, why in ((small_bundle / MANIFEST, "holds no public key"), (tmp_path / "nowhere", "does not exist")):
        with pytest.raises(BundleError, match=why):
            run("trust", str(nothing))
    assert "not signed" in run("verify", str(small_bundle), "--allow-unsigned")
    manifest = Manifest.read(small_bundle)
    replace(manifest, created="2030-01-01T00:00:00+00:00").write(small_bundle)
    run("sign", str(small_bundle))
    newer = Bundle.load(small_bundle).version
    assert newer in run("install", str(small_bundle))
    assert newer in run("show")
    assert version in run("rollback")
    assert version in run("verify")


@pytest.mark.slow
def test_what_is_damaged_is_neither_signed_nor_packed(small_bundle: Path, tmp_path: Path) -> None:
    (small_bundle / "fusion.onnx").write_bytes(b"other")
    for arguments in (("sign", str(small_bundle)), ("pack", str(small_bundle), str(tmp_path / "x.tar"))):
        with pytest.raises(BundleError, match=r"fusion\.onnx"):
            run(*arguments)
    assert not (tmp_path / "x.tar").exists()
