from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fedaffect.edge.bundle import MANIFEST, Bundle
from fedaffect.edge.bundle.archive import pack, unpack
from fedaffect.edge.errors import BundleError

MakeBundle = Callable[..., Path]


def test_there_and_back_again_and_always_the_same_bytes(make_bundle: MakeBundle, tmp_path: Path) -> None:
    folder = make_bundle()
    tar = pack(folder, tmp_path / "one.tar")
    (folder / "stray.txt").write_text("no part of the bundle")
    (folder / "text.onnx").touch()
    assert pack(folder, tmp_path / "deep" / "two.tar").read_bytes() == tar.read_bytes()
    there = unpack(tar, tmp_path / "there")
    assert Bundle.load(there).version == Bundle.load(folder).version
    assert not (there / "stray.txt").exists()
    with pytest.raises(BundleError, match="exists already"):
        unpack(tar, there)


def test_every_truncation_is_found_and_leaves_nothing(make_bundle: MakeBundle, tmp_path: Path) -> None:
    whole = pack(make_bundle(), tmp_path / "whole.tar").read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as archive:
        last = max(member.offset_data + member.size for member in archive)
    (tmp_path / "in").mkdir()
    for length in (0, 1, 511, 512, 1024, 1536, *range(2048, last, 2048), last - 1):
        (tmp_path / "cut.tar").write_bytes(whole[:length])
        with pytest.raises(BundleError, match="get it again") as caught:
            unpack(tmp_path / "cut.tar", tmp_path / "in" / "bundle")
        assert "\n" not in str(caught.value)
    assert list((tmp_path / "in").iterdir()) == []


def write_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def named(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize(
    ("member", "data", "why"),
    [
        (named("../evil"), b"x", "outside its own folder"),
        (named("/tmp/evil"), b"x", "outside its own folder"),
        (named("a/b.onnx"), b"x", "outside its own folder"),
        (named("..\\evil"), b"x", "outside its own folder"),
        (named("C:evil"), b"x", "outside its own folder"),
        (named("."), b"x", "outside its own folder"),
        (named("link", tarfile.SYMTYPE, "/etc/passwd"), b"", "no plain file"),
        (named("link", tarfile.LNKTYPE, MANIFEST), b"", "no plain file"),
        (named("pipe", tarfile.FIFOTYPE), b"", "no plain file"),
        (named("disk", tarfile.BLKTYPE), b"", "no plain file"),
        (named("folder", tarfile.DIRTYPE), b"", "no plain file"),
        (named("text.onnx"), b"again", "twice"),
        (named("huge.onnx"), bytes(2_000_000), "more than a bundle may"),
    ],
)
def test_tricks_are_refused_and_leave_nothing(
    make_bundle: MakeBundle, tmp_path: Path, member: tarfile.TarInfo, data: bytes, why: str
) -> None:
    folder = make_bundle()
    members = [(named(path.name), path.read_bytes()) for path in sorted(folder.iterdir())]
    tar = write_tar(tmp_path / "evil.tar", [*members, (member, data)])
    (tmp_path / "in").mkdir()
    with pytest.raises(BundleError, match=why):
        unpack(tar, tmp_path / "in" / "bundle", largest_bytes=1_000_000 if "huge" not in member.name else 1_999_000)
    assert list((tmp_path / "in").iterdir()) == []
    assert not (tmp_path / "evil").exists()


def test_too_many_files_a_huge_manifest_and_a_huge_tar_are_refused(tmp_path: Path) -> None:
    many = write_tar(tmp_path / "many.tar", [(named(f"{n}.onnx"), b"") for n in range(65)])
    with pytest.raises(BundleError, match="more than 64 files"):
        unpack(many, tmp_path / "bundle")
    large = write_tar(tmp_path / "large.tar", [(named(MANIFEST), bytes(2 << 20))])
    with pytest.raises(BundleError, match="more than a bundle may"):
        unpack(large, tmp_path / "bundle")
    with pytest.raises(BundleError, match="larger than a bundle may be"):
        unpack(large, tmp_path / "bundle", largest_bytes=1000)


def test_what_is_no_tar_or_no_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "noise.tar").write_bytes(bytes(range(256)) * 40)
    other = write_tar(tmp_path / "other.tar", [(named("thesis.txt"), b"mine")])
    squeezed = write_tar(tmp_path / "squeezed.tar", [(named(MANIFEST), b"{}")], "w:gz")
    for tar in (tmp_path / "noise.tar", other, squeezed, tmp_path / "nothing.tar"):
        with pytest.raises(BundleError, match="get it again"):
            unpack(tar, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_that_lacks_a_file_is_not_packed(make_bundle: MakeBundle, tmp_path: Path) -> None:
    folder = make_bundle()
    (folder / "text.onnx").unlink()
    with pytest.raises(BundleError, match="cannot be packed"):
        pack(folder, tmp_path / "out" / "b.tar")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_is_not_blamed_on_the_tar(make_bundle: MakeBundle, tmp_path: Path) -> None:
    tar, small = pack(make_bundle(), tmp_path / "whole.tar"), tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount a small disk")
    try:
        with pytest.raises(BundleError, match=r"cannot be written \(No space left on device\); free some space"):
            unpack(tar, small / "bundle")
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert unpack(tar, small / "bundle")


@pytest.mark.parametrize("what", ["missing.tar", "a folder"])
def test_a_tar_that_cannot_be_read_is_named(tmp_path: Path, what: str) -> None:
    (tmp_path / "a folder").mkdir()
    with pytest.raises(BundleError, match=f"{what} cannot be read"):
        unpack(tmp_path / what, tmp_path / "in" / "bundle")


def test_a_name_of_a_name_of_a_name_is_refused(tmp_path: Path) -> None:
    head = tarfile.TarInfo("././@LongLink")
    head.type, head.size = tarfile.GNUTYPE_LONGNAME, 2
    block = head.tobuf(tarfile.GNU_FORMAT) + b"x\0" + bytes(510)
    (tmp_path / "deep.tar").write_bytes(block * 3_000)
    with pytest.raises(BundleError, match="get it again"):
        unpack(tmp_path / "deep.tar", tmp_path / "in" / "bundle")
