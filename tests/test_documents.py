"""What the pages point to is there: links, anchors, files and modules."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
import pytest
from tests.support.pages import ROOT, Page, pages

from fedaffect.edge.cli.main import fedaffect

ROOMS = {"edge": "edge_runtime", "client": "client", "server": "server", "simulation": "simulation"}
FOLDERS = (*ROOMS.values(), "benchmarks", "tests", "docs", "examples", "scripts", "deploy")
# Names with a dot after ``fedaffect`` that are no modules: entry-point groups, and the subprotocols of a stream.
NO_MODULES = re.compile(
    r"fedaffect\.(commands|observers|preparers|run_folders|corpora|models|strategies|partitioners|algorithms|v1|key)"
    r"\b(?!\.\w)"
)
_MODULE = re.compile(r"\b(fedaffect(?:\.\w+)+|benchmarks\.\w+)(?::(\w+))?")
_PATH = re.compile(rf"(?:{'|'.join(FOLDERS)})/[\w./\-]*\w/?")

every_page = pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.path.relative_to(ROOT)))


@every_page
def test_links_lead_somewhere(page: Page) -> None:
    broken = []
    for target in page.links():
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.path.parent / name).resolve() if name else page.path
        if not path.exists() or (anchor and anchor not in Page(path).anchors()):
            broken.append(target)
    assert broken == []


@every_page
def test_files_and_modules_that_are_named_exist(page: Page) -> None:
    absent = []
    for span in page.code():
        if _PATH.fullmatch(span) and not _exists(span):
            absent.append(span)
        absent += [found.group() for found in _MODULE.finditer(NO_MODULES.sub("", span)) if not _resolves(found)]
    assert absent == []


@pytest.mark.slow
@every_page
def test_commands_and_flags_that_are_named_exist(page: Page) -> None:
    shown = [c for block in page.blocks() if block.language in ("sh", "", "bash") for c in block.commands()]
    unknown = []
    for command in (*shown, *page.code()):
        for part in re.split(r" && | \| |\$\(", command):
            if part.startswith("fedaffect "):
                unknown += [f"{part}: {name}" for name in _unknown(part.split()[1:])]
    assert unknown == []


def _unknown(words: list[str]) -> list[str]:
    """Sub-commands and flags that the command line does not know."""
    command: click.Command = fedaffect
    context = click.Context(command)
    while words and isinstance(command, click.Group) and re.fullmatch(r"[a-z][a-z\-]*", words[0]):
        below = command.get_command(context, words[0])
        if below is None:
            return [words[0]]
        command, words = below, words[1:]
    known = {flag for option in command.get_params(context) for flag in (*option.opts, *option.secondary_opts)}
    flags = (found[0] for word in words if (found := re.match(r"--[a-z][a-z\-]*", word)))
    return [flag for flag in flags if flag not in {*known, "--debug", "--version"}]


def _exists(path: str) -> bool:
    """Whether a path exists; ``server/fleet/runs`` is short for ``server/fedaffect/server/fleet/runs``."""
    top, _, rest = path.strip("/").partition("/")
    room = {folder: name for name, folder in ROOMS.items()}.get(top, top)
    return any((base / f"{rest}{end}").exists() for base in (ROOT / top, _room(room)) for end in ("", ".py"))


def _room(name: str) -> Path:
    return ROOT / ROOMS.get(name, name) / "fedaffect" / name


def _resolves(found: re.Match[str]) -> bool:
    """Whether a dotted name is a module, or a name that a module defines."""
    first, *parts = found[1].split(".")
    if first == "benchmarks":
        return _module(ROOT / "benchmarks" / parts[0]) is not None
    package = ROOT / "edge_runtime" / "fedaffect"
    path = _room(parts[0]) if parts[0] in ROOMS else package / parts[0]
    rest = parts[1:]
    while rest and _module(path / rest[0]) is not None:
        path, rest = path / rest[0], rest[1:]
    names = [*rest, *([found[2]] if found[2] else [])]
    module = _module(path)
    if module is None:  # a name of the public face
        module, names = package / "__init__.py", parts
    return not names or (len(names) == 1 and names[0] in _defined(module))


def _module(path: Path) -> Path | None:
    file = path.with_suffix(".py")
    return file if file.is_file() else next(iter(path.glob("__init__.py")), None)


def _defined(module: Path) -> set[str]:
    """Names that a module defines, imports or lists in ``__all__``."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return names
