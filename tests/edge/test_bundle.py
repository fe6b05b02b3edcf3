from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedaffect.edge.bundle import MANIFEST, Bundle, FileEntry, Manifest, SigningKey, default_bundle_path, sign
from fedaffect.edge.errors import BundleError, ConfigError


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))
    sign(folder, SigningKey.own())


def test_manifest_survives_writing(tiny_bundle: Path, tmp_path: Path) -> None:
    manifest = Bundle.load(tiny_bundle).manifest
    manifest.write(tmp_path)
    again = Manifest.read(tmp_path)
    assert again.encoders["audio"].key() == manifest.encoders["audio"].key()
    assert (again.profile, again.encoders["video"].files) == ("edge", manifest.encoders["video"].files)


def test_lies_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEDAFFECT_CACHE", str(tmp_path))
    assert default_bundle_path("cloud") == tmp_path / "bundles" / "cloud"
    monkeypatch.delenv("FEDAFFECT_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_bundle_path() == Path.home() / ".cache" / "fedaffect" / "bundles" / "edge"


def test_key_is_of_content_not_of_measurements(copy: Path) -> None:
    before = {m: Bundle.load(copy).encoder(m).key for m in ("text", "audio", "video")}
    edit(
        copy,
        lambda c: [
            e["latency_ms"].update(fp32=99.0) or e["fidelity"].update(cosine=0.5) for e in c["encoders"].values()
        ],
    )
    edit(copy, lambda c: c.update(created="2030-01-01T00:00:00+00:00"))
    assert {m: Bundle.load(copy).encoder(m).key for m in before} == before
    edit(copy, lambda c: c["encoders"]["audio"]["preprocessing"].update(tokens_per_second=5.0))
    changed = {m: Bundle.load(copy).encoder(m).key for m in before}
    assert changed["audio"] != before["audio"]
    assert changed["text"] == before["text"]


def test_how_faces_are_found_is_part_of_the_key(tiny_bundle: Path) -> None:
    bundle = Bundle.load(tiny_bundle)
    assert bundle.encoder("video", faces="whole").key != bundle.encoder("video").key
    assert bundle.encoder("video", threads=2).key == bundle.encoder("video").key


def test_a_changed_file_is_found(copy: Path) -> None:
    data = bytearray((copy / "text.onnx").read_bytes())
    data[-20] ^= 1
    (copy / "text.onnx").write_bytes(data)
    with pytest.raises(BundleError, match=r"text\.onnx.*fedaffect bundle build"):
        Bundle.load(copy)
    Bundle.load(copy, verify=False)
    (copy / "text.onnx").write_bytes(data[:-1])
    with pytest.raises(BundleError, match=r"text\.onnx"):
        Bundle.load(copy, verify=False)
    (copy / "text.onnx").unlink()
    with pytest.raises(BundleError, match="missing"):
        Bundle.load(copy)


def test_no_bundle_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="fedaffect bundle build"):
        Bundle.load(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"minimum_runtime": 1, "encoders": {"text": {}}}'])
def test_a_damaged_manifest_says_so(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(BundleError, match=r"build the bundle again|build it again"):
        Manifest.read(tmp_path)


def test_a_newer_bundle_asks_for_an_update(copy: Path) -> None:
    edit(copy, lambda c: c.update(minimum_runtime=99))
    with pytest.raises(BundleError, match="update"):
        Bundle.load(copy)


def test_files_cannot_lie_outside_the_folder() -> None:
    for name in ("../evil.onnx", "/etc/passwd", "a/b.onnx", ".."):
        with pytest.raises(BundleError, match="own folder"):
            FileEntry(name, 1, "")


def test_unknown_names_list_the_known(copy: Path) -> None:
    bundle = Bundle.load(copy)
    with pytest.raises(ConfigError, match="audio, text, video"):
        bundle.encoder("smell")
    with pytest.raises(ConfigError, match="whole"):
        bundle.encoder("video", faces="some")
    edit(copy, lambda c: c["encoders"].pop("audio"))
    with pytest.raises(BundleError, match="no audio encoder"):
        Bundle.load(copy).encoder("audio")


def test_unknown_preprocessing_is_refused(copy: Path) -> None:
    edit(copy, lambda c: c["encoders"]["text"]["preprocessing"].update(stemming=True))
    with pytest.raises(BundleError, match="stemming"):
        Bundle.load(copy).encoder("text")


def test_an_encoders_key_is_known_without_opening_it(tiny_bundle: Path) -> None:
    opened = Bundle.load(tiny_bundle)
    for modality in opened.manifest.encoders:
        assert opened.encoder_key(modality) == opened.encoder(modality).key
    assert opened.encoder_key("video", faces="whole") == opened.encoder("video", faces="whole").key
    with pytest.raises(ConfigError, match="modality") as caught:
        opened.encoder_key("smell")
    assert "\n" not in str(caught.value)
