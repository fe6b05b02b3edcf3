"""Files that lie where a clip should be: a pointer to it, a web page, or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

_HEAD_BYTES: Final = 512
_POINTERS: Final = {
    b"version https://git-lfs.github.com/spec/": "it is a git-lfs pointer; get the clips with: git lfs pull",
    b"/annex/objects/": "it is a git-annex pointer; get the clips with: git annex get",
    b"oid sha256:": "it is a git-lfs pointer; get the clips with: git lfs pull",
}
_PAGES: Final = (b"<!doctype html", b"<html", b"<?xml version", b'{"error', b'{"message')


def stand_in(content: Any) -> str:
    """Why a file is no clip, from its first bytes; empty where it may be one.

    Parameters
    ----------
    content : Path, bytes or other
        Of a clip. What is neither a path nor bytes is no file, and nothing is said of it.

    Raises
    ------
    OSError
        If the file is there and cannot be read.
    """
    if isinstance(content, Path):
        try:
            with content.open("rb") as file:
                head = file.read(_HEAD_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return "it is a link to a file that is missing" if content.is_symlink() else "it is missing"
    elif isinstance(content, bytes):
        head = content[:_HEAD_BYTES]
    else:
        return ""
    if not head:
        return "it is empty; download it again"
    for start, reason in _POINTERS.items():
        if head.lstrip().startswith(start):
            return reason
    if head.lstrip().lower().startswith(_PAGES):
        return "it is a web page or a server's answer; download it again"
    if not head.strip(b"\0") and len(head) == _HEAD_BYTES:
        return "it begins with zeros alone, as a download that was not finished; download it again"
    return ""
