"""Nothing but what was signed by somebody trusted is opened, and each refusal says why in one line."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fedaffect.edge.bundle import MANIFEST, RUNTIME, SIGNATURE, Bundle, Manifest, PublicKey, SigningKey, Trust, sign
from fedaffect.edge.bundle.signature import keys_folder, trust_key
from fedaffect.edge.errors import BundleError

MakeBundle = Callable[..., Path]


def refused(folder: Path, why: str | None = None) -> None:
    with pytest.raises(BundleError, match=why) as caught:
        Bundle.load(folder)
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_anywhere_is_found(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    Bundle.load(folder)
    for path in sorted(folder.iterdir()):
        original = path.read_bytes()
        for place in {0, len(original) // 3, len(original) // 2, len(original) - 2}:
            changed = bytearray(original)
            changed[place] ^= 1
            path.write_bytes(changed)
            refused(folder)
        path.write_bytes(original)
    Bundle.load(folder)


def test_every_byte_of_the_signature_counts(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    content = json.loads((folder / SIGNATURE).read_text())
    for name, value in content.items():
        for place in range(0, len(value.rstrip("=")), 7):
            other = "B" if value[place] == "A" else "A"
            changed = content | {name: value[:place] + other + value[place + 1 :]}
            (folder / SIGNATURE).write_text(json.dumps(changed))
            refused(folder)


def test_truncated_and_missing_files_are_found(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    for path in sorted(folder.iterdir()):
        original = path.read_bytes()
        for length in (0, 1, len(original) // 2, len(original) - 2):
            path.write_bytes(original[:length])
            refused(folder)
        path.unlink()
        refused(folder)
        path.write_bytes(original)
    Bundle.load(folder)


def test_a_link_is_no_file_of_a_bundle(make_bundle: MakeBundle, tmp_path: Path) -> None:
    folder = make_bundle()
    (folder / "text.onnx").rename(tmp_path / "elsewhere.onnx")
    (folder / "text.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    refused(folder, "missing")


def test_an_unsigned_bundle_is_refused_unless_allowed(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    (folder / SIGNATURE).unlink()
    refused(folder, "not signed.*bundle sign.*--allow-unsigned")
    assert Bundle.load(folder, trust=None).manifest.fusion is not None


@pytest.mark.parametrize("fusion", [True, False])
@pytest.mark.parametrize("runtime", range(RUNTIME + 1))
def test_no_bundle_is_believed_without_a_signature(make_bundle: MakeBundle, runtime: int, fusion: bool) -> None:
    folder = make_bundle()
    content = json.loads((folder / MANIFEST).read_text()) | {"minimum_runtime": runtime}
    if not fusion:
        content |= {"fusion": None, "label_set": None}
    (folder / MANIFEST).write_text(json.dumps(content))
    (folder / SIGNATURE).unlink()
    refused(folder, "no longer reads; build it again" if runtime < 3 else "not signed")


def test_a_manifest_of_another_bundle_does_not_fit(make_bundle: MakeBundle) -> None:
    one, other = make_bundle("one", 1), make_bundle("other", 2)
    (one / MANIFEST).write_bytes((other / MANIFEST).read_bytes())
    refused(one, "does not fit the manifest")
    (one / SIGNATURE).write_bytes((other / SIGNATURE).read_bytes())
    refused(one, r"fusion\.onnx is not the file")


def test_a_foreign_key_is_refused_until_it_is_trusted(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FEDAFFECT_CONFIG", str(tmp_path / "config"))
    key = SigningKey.generate()
    folder = make_bundle(key=key)
    refused(folder, f"{key.public.id}, which is not trusted here.*bundle trust")
    trust_key(key.public)
    Bundle.load(folder)
    Bundle.load(folder, trust=Trust.of([key.public]))
    with pytest.raises(BundleError, match="not trusted"):
        Bundle.load(folder, trust=Trust.of([SigningKey.generate().public]))


def test_claiming_a_trusted_keys_name_does_not_help(make_bundle: MakeBundle) -> None:
    folder = make_bundle(key=SigningKey.generate())
    content = json.loads((folder / SIGNATURE).read_text())
    (folder / SIGNATURE).write_text(json.dumps(content | {"key_id": SigningKey.own().public.id}))
    refused(folder, "names another key")


def test_a_newer_bundle_asks_for_an_update_even_when_signed(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    content = json.loads((folder / MANIFEST).read_text()) | {"minimum_runtime": RUNTIME + 1}
    (folder / MANIFEST).write_text(json.dumps(content))
    sign(folder, SigningKey.own())
    refused(folder, f"needs runtime {RUNTIME + 1}, this is {RUNTIME}; update fedaffect")


def test_versions_are_of_the_content(make_bundle: MakeBundle) -> None:
    one, other = make_bundle("one", 1), make_bundle("other", 2)
    versions = {Bundle.load(one).version, Bundle.load(other).version}
    assert len(versions) == 2
    sign(one, SigningKey.generate())
    assert Bundle.load(one, trust=None).version in versions
    Manifest.read(one).write(other)
    assert Bundle.load(one, trust=None).version == Bundle.load(one, verify=False, trust=None).version


def test_keys_are_private_made_once_and_trusted_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDAFFECT_CONFIG", str(tmp_path / "config"))
    assert not Trust.default().keys
    with ThreadPoolExecutor(8) as pool:
        ids = {key.public.id for key in pool.map(lambda _: SigningKey.own(), range(16))}
    assert len(ids) == 1
    assert set(Trust.default().keys) == ids
    (private,) = [path for path in keys_folder().iterdir() if path.is_file()]
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert private.read_text().splitlines()[0] == "-----BEGIN PRIVATE KEY-----"
    assert "PRIVATE" not in repr(SigningKey.own())
    monkeypatch.delenv("FEDAFFECT_CONFIG")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert keys_folder() == Path.home() / ".config" / "fedaffect" / "keys"


def test_damaged_keys_say_so(tmp_path: Path) -> None:
    (tmp_path / "bundle.key").write_text("-----BEGIN")
    with pytest.raises(BundleError, match=r"no usable private key.*move it away"):
        SigningKey.own(tmp_path)
    with pytest.raises(BundleError, match="no public key"):
        PublicKey.read(tmp_path / "bundle.key")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(BundleError, match="FEDAFFECT_CONFIG"):
        SigningKey.own(tmp_path / "keys")
