"""Texts without secrets and without names: what may leave a machine for whoever maintains the program."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address
from itertools import product
from pathlib import Path
from typing import Final

# What stands in one word or string: a quote ends it unless letters follow, as they may in a password.
_WITHIN: Final = r"(?:[^\s'\"]|['\"](?=\w))"


def _without_ipv6(found: re.Match[str]) -> str:
    """Only what is an address goes: times of day and ports have colons too, and a sentence's stand beside one."""
    text = found[0]
    for before, after in product((0, 1), (0, 1, 2)):
        try:
            address = IPv6Address(text[before : len(text) - after])
        except ValueError:
            continue
        if address.is_loopback or address.is_unspecified:
            return text
        return f"{text[:before]}[address]{text[len(text) - after :]}"
    return text


_PATTERNS: Final[tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = (
    (re.compile(r"-----BEGIN [^-]+-----.*?(-----END [^-]+-----|\Z)", re.DOTALL), "[key or certificate]"),
    (re.compile(r"\b(fa|fe)_[0-9A-Za-z]+_[0-9A-Za-z]+"), r"[\1 token]"),
    (re.compile(r"(?i)\b(authorization|cookie|set-cookie|x-api-key)(['\"]?\s*[:=]\s*)[^\r\n]+"), r"\1\2[secret]"),
    (re.compile(r"(?i)\bbearer\s+[^\s'\",]+"), "Bearer [secret]"),
    # Of exporters: each has a name of its own for the header with the key.
    (re.compile(r"(?i)(headers['\"]?\s*[:=]\s*+)(?!['\"]\[set\])[^\r\n]+"), r"\1[secret]"),
    # Whole, where it is quoted: up to the same quote, which in JSON within JSON has backslashes before it.
    (re.compile(r"(?im)(pass(?:word|wd|phrase)?|secret|token|(?:api|access|secret|private)[-_]?key)(['\"]?\s*[:=]\s*)"
                rf"(?:(\\*['\"])[^\r\n]*?(?:(?<!\\)\3|$)|{_WITHIN}+)"),
     r"\1\2\3[secret]\3"),
    # Up to the last @, since programs differ in what a password may have unescaped.
    (re.compile(rf"://(?:[^/\s:'\"]*:{_WITHIN}*|[^/\s:'\"]+)@"), "://[user]:[password]@"),
    (re.compile(r"\b(ssh-[a-z0-9]+|ecdsa-sha2-[a-z0-9-]+) [A-Za-z0-9+/=]+"), "[public key]"),
    (re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+"), "[mail address]"),
    # Of gRPC's peers, too: ipv6:%5Bfe80::1%5D:443.
    (re.compile(r"(?:(?<=%5B)|(?<![\w%]))[0-9A-Fa-f]*:[0-9A-Fa-f:.]++(?![0-9A-Za-z])"), _without_ipv6),
    (re.compile(r"\b(?!127\.0\.0\.1\b|0\.0\.0\.0\b)(\d{1,3}\.){3}\d{1,3}\b"), "[address]"),
    # Of devices (MAC), and whatever has a port behind eight groups.
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
