"""The project's pages: their headings, links, code spans, and the commands that they show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str

    def commands(self) -> Iterator[str]:
        """Lines of a shell block, continuations joined, without comments."""
        for line in self.text.replace("\\\n", " ").splitlines():
            command = re.sub(r"(^|\s+)#\s.*$", "", line).strip()
            if command:
                yield re.sub(r"\s{2,}", " ", command)


@dataclass(frozen=True, slots=True)
class Page:
    """A Markdown page of the repository."""

    path: Path

    @property
    def text(self) -> str:
        """The whole page."""
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        """The page without its fenced blocks."""
        return _FENCE.sub("", self.text)

    def blocks(self) -> list[Block]:
        """Fenced blocks, in their order."""
        return [Block(language, text) for language, text in _FENCE.findall(self.text)]

    def anchors(self) -> set[str]:
        """What a link can point to, as GitHub names headings."""
        return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in _HEADING.findall(self.prose)}

    def links(self) -> list[str]:
        """Targets of links and pictures."""
        return _LINK.findall(self.prose)

    def code(self) -> list[str]:
        """What stands in backticks in a line."""
        return _CODE.findall(self.prose)


def pages() -> list[Page]:
    """All pages: those beside README and those under docs."""
    return [Page(path) for path in (*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")))]
