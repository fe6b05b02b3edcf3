"""How large the house is, which imports go the wrong way, and who touches private modules of others.

``python -m benchmarks.house [CHECKOUT]`` prints one table; docs/architecture/measures.md has it before and after.
Tests are left out; an older checkout, whose rooms were top-level packages, can be measured too.
"""

from __future__ import annotations

import argparse
import ast
import io
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# From the top of the house to its floor; rooms on one line may not know each other.
LAYERS: Final = (
    ("simulation",),
    ("server.cli",),
    ("server.app",),
    ("server.fleet", "server.serving"),
    ("server.starting_point",),
    ("server.trained_fusion",),
    ("server.federation", "server.models"),
    ("server.registry",),
    ("server",),
    ("client",),
    ("edge", "edge_runtime"),
)
# What Flower calls public and other packages document; everything else of theirs is private.
PUBLIC_FLOWER: Final = (
    *("flwr", "flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.serverapp.strategy", "flwr.simulation"),
)
GUESTS: Final = ("flwr", "ray", "torch", "uvicorn", "opacus", "onnxruntime", "starlette", "fastapi")
# flower_compat, torch_compat, transformers_compat, uvicorn_compat.
WALL: Final = "_compat"
_NO_CODE: Final = frozenset(
    (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
)


def modules(checkout: Path) -> dict[str, Path]:
    """Python files of a checkout without tests, by module name."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=checkout, capture_output=True, text=True, check=True)
    found = {}
    for line in listed.stdout.splitlines():
        parts = list(Path(line).with_suffix("").parts)
        if parts[0] == "tests" or not (checkout / line).is_file():
            continue
        if parts[1:2] == ["fedaffect"]:
            parts = parts[2:]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = checkout / line
    return found


def imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """Dotted names that a module imports; names taken from a package come with it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                kept = parents[: len(parents) - node.level + is_package]
                base = ".".join([*kept, base] if base else kept)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def reached(tree: ast.AST) -> Iterator[str]:
    """Private attributes of guests that a module reaches into, such as ``ray._private.worker``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            name = ast.unparse(node)
            if name.split(".")[0] in GUESTS:
                yield name


def layer(module: str) -> int | None:
    """Number of a module's layer, the top one first; None for what is no room."""
    name = module.removeprefix("fedaffect.")
    for length in (2, 1):
        head = ".".join(name.split(".")[:length])
        for number, rooms in enumerate(LAYERS):
            if head in rooms:
                return number
    return None


def room(module: str) -> str:
    """The room of a module, as LAYERS spells it."""
    parts = module.removeprefix("fedaffect.").split(".")
    two = ".".join(parts[:2])
    return two if any(two in rooms for rooms in LAYERS) else parts[0]


def is_private(name: str) -> bool:
    """Whether an imported name belongs to a private module of another package."""
    first, *rest = name.split(".")
    if first not in GUESTS:
        return False
    if any(part.startswith("_") and not part.startswith("__") for part in rest):
        return True
    return first == "flwr" and name.rpartition(".")[0] not in PUBLIC_FLOWER and name not in PUBLIC_FLOWER


def code_lines(text: str) -> int:
    """Lines that hold code: no blanks, comments or docstrings."""
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            held.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        first = getattr(node, "body", None)
        if isinstance(first, list) and first and isinstance(first[0], ast.Expr):
            value = first[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                held -= set(range(value.lineno, (value.end_lineno or value.lineno) + 1))
    return len(held)


def _module(name: str, found: dict[str, Path]) -> str:
    name = name.removeprefix("fedaffect.")
    return name if name in found else name.rpartition(".")[0]


def measure(checkout: Path) -> dict[str, list[str] | int]:
    """The table's figures; where a figure counts places, the places."""
    found = modules(checkout)
    wrong: set[str] = set()
    inside: set[str] = set()
    outside: set[str] = set()
    for module, path in found.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        here = layer(module)
        names = set(imports(tree, module, path.name == "__init__.py"))
        for name in names:
            there = layer(name)
            if name.startswith((f"{module}.", f"fedaffect.{module}.")):
                continue  # a package that shows names of its own parts
            if here is not None and there is not None and room(module) != room(name) and there <= here:
                wrong.add(f"{module} -> {_module(name, found)}")
        touched = {name for name in names if is_private(name)} | set(reached(tree))
        (inside if WALL in module else outside).update(f"{module} -> {name}" for name in touched)
    texts = [path.read_text(encoding="utf-8") for name, path in found.items() if not name.startswith("benchmarks")]
    return {
        "files": len(texts),
        "lines": sum(len(text.splitlines()) for text in texts),
        "lines of code": sum(map(code_lines, texts)),
        "import edges that go the wrong way": sorted(wrong),
        f"private names inside {WALL}": sorted(inside),
        f"private names outside {WALL}": sorted(outside),
        "modules that touch them outside": sorted({place.split(" -> ")[0] for place in outside}),
    }


def main() -> None:
    """Print the figures of a checkout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", nargs="?", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--places", action="store_true", help="also print every place")
    arguments = parser.parse_args()
    for name, value in measure(arguments.checkout).items():
        print(f"{name}: {value if isinstance(value, int) else len(value)}")
        if arguments.places and not isinstance(value, int):
            print("".join(f"    {place}\n" for place in value), end="")


if __name__ == "__main__":
    main()
