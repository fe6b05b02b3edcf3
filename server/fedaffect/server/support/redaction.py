"""Texts without secrets and without names: what may leave a machine for whoever maintains the program."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_PATTERNS: Final = (
    (re.compile(r"-----BEGIN [^-]+-----.*?(-----END [^-]+-----|\Z)", re.DOTALL), "[key or certificate]"),
    (re.compile(r"\b(fa|fe)_[0-9A-Za-z]+_[0-9A-Za-z]+"), r"[\1 token]"),
    (re.compile(r"(?i)\b(authorization|cookie|set-cookie|x-api-key)(['\"]?\s*[:=]\s*)[^\r\n]+"), r"\1\2[secret]"),
    (re.compile(r"(?i)\bbearer\s+[^\s'\",]+"), "Bearer [secret]"),
    (re.compile(r"(?i)(pass(word|wd)?|secret|token|api_?key)(['\"]?\s*[:=]\s*)['\"]?[^\s'\",;]+"), r"\1\3[secret]"),
    (re.compile(r"://[^/\s:@]+:[^/\s@]+@"), "://[user]:[password]@"),
    (re.compile(r"\b(ssh-[a-z0-9]+|ecdsa-sha2-[a-z0-9-]+) [A-Za-z0-9+/=]+"), "[public key]"),
    (re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+"), "[mail address]"),
    (re.compile(r"\b(?!127\.0\.0\.1\b|0\.0\.0\.0\b)(\d{1,3}\.){3}\d{1,3}\b"), "[address]"),
    (re.compile(r"\b(?:[0-9a-fA-F]{1,4}:){3,7}[0-9a-fA-F:]{1,20}\b"), "[address]"),
    # Whatever else is long and random: hashes too, of which the beginning tells as much.
    (re.compile(r"\b(?=[A-Za-z0-9+/_-]*[0-9])(?=[A-Za-z0-9+/_-]*[A-Za-z])([A-Za-z0-9+_-]{6})[A-Za-z0-9+/_-]{26,}={0,2}"),
     r"\1[...]"),
)  # fmt: skip
# What a file of media is called tells of people.
_MEDIA: Final = re.compile(
    r"[^\s'\"/]*\.(wav|mp3|flac|ogg|m4a|mp4|webm|mkv|mov|avi|jpe?g|png|gif|webp|heic|bmp)\b", re.IGNORECASE
)


class Redaction:
    """Takes secrets and names out of texts; the same name becomes the same number everywhere.

    Parameters
    ----------
    names : iterable of str
        Of devices, people, hosts: whatever a person chose.
    home : Path, optional
        Becomes ``~``.
    """

    def __init__(self, names: Iterable[str], home: Path | None = None) -> None:
        # Longer ones first, or a part of one would be taken out of it.
        chosen = sorted({name for name in names if len(name) > 1}, key=lambda name: (-len(name), name))
        self._names = {name: f"[name {number}]" for number, name in enumerate(chosen, 1)}
        self._any = re.compile("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in chosen)) if chosen else None
        self._home = str(home) if home is not None and len(str(home)) > 1 else ""

    def __call__(self, text: str) -> str:
        """A text as it may leave."""
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        if self._home:
            text = text.replace(self._home, "~")
        text = _MEDIA.sub("[media file]", text)
        if self._any is not None:
            text = self._any.sub(lambda found: self._names[found[0]], text)
        return text
