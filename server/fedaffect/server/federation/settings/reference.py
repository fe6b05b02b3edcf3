"""What is made from the settings: the command's flags, Flower's keys, the reference page.

Write all three again after a change with ``make settings``; a test compares them.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import click
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from fedaffect.server.federation.settings.corpus_defaults import CORPUS_DEFAULTS, GENERAL
from fedaffect.server.federation.settings.fine_tuning import FineTuning
from fedaffect.server.federation.settings.refusals import bounds, choices, flag_facts, flag_of
from fedaffect.server.federation.settings.run_settings import RunSettings, fields_by_name, sections_by_name

# Flower lets a user override only the keys that an app lists. Empty stands for what suits the corpus.
# Flower simulates two nodes unless told otherwise, and a natural partition needs one a speaker.
_FLOWER_DEFAULTS = {"dataset": "synthetic", "partition": "iid:2", "rounds": 5, "name": "flwr-run"}
# What Flower decides itself, and what belongs to its app alone.
_NOT_FLOWERS = frozenset({"engine", "actors", "gpus_per_actor", "cohort_size", "ray_address", *FineTuning.model_fields})
_FLOWERS_OWN: dict[str, Any] = {"cohort-folder": "", "resume": "", "overwrite": True}
_CONFIG = "[tool.flwr.app.config]\n"


def flags() -> list[dict[str, Any]]:
    """The flags of ``fedaffect simulate``, from which its options are made without importing the models."""
    return [_flag(name, field) for name, field in fields_by_name().items()]


def _flag(name: str, field: FieldInfo) -> dict[str, Any]:
    facts, flag = flag_facts(field), flag_of(name)
    default = _default(field)
    return {
        "section": _title(sections_by_name()[name]),
        "name": name,
        "flag": f"{flag}/{facts.off}" if facts.off else flag,
        "kind": _kind(field),
        "metavar": facts.metavar,
        "help": f"{field.description}{f'  [default: {default}]' if default else ''}",
        "common": facts.common,
    }


def _kind(field: FieldInfo) -> str:
    kinds = set(get_args(field.annotation) or (field.annotation,)) - {NoneType}
    for kind in (bool, int, float):
        if kind in kinds:
            return kind.__name__
    return "options" if flag_facts(field).metavar == "NAME=VALUE" else "str"


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "" if field.default_factory else "suits the corpus"
    if field.default is None:
        return flag_facts(field).default
    if isinstance(field.default, bool):
        return ""
    if isinstance(field.default, tuple):
        return ",".join(field.default)
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)


def _title(section: str) -> str:
    return str(RunSettings.model_fields[section].annotation.__doc__).partition("\n")[0].rstrip(".")


def flower_config() -> str:
    """The lines of ``[tool.flwr.app.config]``, its heading included."""
    keys: dict[str, Any] = {
        name.replace("_", "-"): _FLOWER_DEFAULTS.get(name, "") for name in fields_by_name() if name not in _NOT_FLOWERS
    }
    return _CONFIG + "".join(f"{key} = {json.dumps(value)}\n" for key, value in (keys | _FLOWERS_OWN).items())


def with_flower_config(pyproject: str) -> str:
    """A ``pyproject.toml`` with the keys that Flower is to know."""
    before, heading, rest = pyproject.partition(_CONFIG)
    if not heading:
        raise ValueError(f"pyproject.toml has no {_CONFIG.strip()}")
    return before + flower_config() + "\n" + rest[rest.index("\n[") + 1 :]


def page() -> str:
    """The reference page, in Markdown."""
    lines = [
        "# Settings of a run",
        "",
        "Made from `server/fedaffect/server/federation/settings` by `make settings`; do not edit.",
        "",
        "A setting has one name everywhere: a flag of `fedaffect simulate`, a key of `config.toml` (at the top or in "
        "the table of its section), a key of `flwr run . --run-config`, a setting of `fedaffect fleet run`, and a "
        "keyword of `fedaffect.simulate` (with underscores). *corpus* stands for what suits the corpus, below.",
        "",
    ]
    for section in RunSettings.model_fields:
        lines += [f"## {_title(section)}", "", f"`[{section}]`, in code `config.{section}`", ""]
        lines += ["| flag | value | unit | default | |", "|---|---|---|---|---|"]
        lines += [_row(name, field) for name, field in fields_by_name().items() if sections_by_name()[name] == section]
        lines.append("")
    return "\n".join([*lines, *_corpora()])


def _row(name: str, field: FieldInfo) -> str:
    facts, default = flag_facts(field), _default(field)
    shown = "*corpus*" if default == "suits the corpus" else f"`{default}`" if default else "off" if facts.off else ""
    cells = (f"`{flag_of(name)}`", _values(field), facts.unit, shown, field.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _values(field: FieldInfo) -> str:
    if known := choices(field):
        return ", ".join(f"`{one}`" for one in known)
    kind = {"bool": "switch", "int": "whole number", "float": "number", "str": "text", "options": "name=value"}
    bound = bounds(field).removeprefix("must be ").removeprefix("is a rate ")
    return f"{kind[_kind(field)]}{f', {bound}' if bound else ''}"


def _corpora() -> list[str]:
    keys = [key for key in (*GENERAL, "modalities", "labels") if any(key in own for own in CORPUS_DEFAULTS.values())]
    lines = ["## What suits a corpus", "", "Empty cells take the first row.", ""]
    lines += [f"| corpus | {' | '.join(key.replace('_', '-') for key in keys)} |", "|---" * (len(keys) + 1) + "|"]
    for name, own in {"any other": {"modalities": "all", "labels": "shared7", **GENERAL}, **CORPUS_DEFAULTS}.items():
        cells = (own.get(key, "") for key in keys)
        shown = (",".join(cell) if isinstance(cell, tuple) else f"{cell}" for cell in cells)
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return [*lines, ""]


FLAGS = Path(__file__).resolve().parent.parent / "flags.json"


def flags_text() -> str:
    """The text of ``flags.json``: a line each flag."""
    return "[\n" + ",\n".join(json.dumps(flag, ensure_ascii=False) for flag in flags()) + "\n]\n"


@click.command()
@click.argument("root", type=click.Path(path_type=Path, exists=True), default=".")
def main(root: Path) -> None:
    """Write flags.json, pyproject.toml and docs/reference/settings.md of the checkout at ROOT."""
    pyproject, document = root / "pyproject.toml", root / "docs" / "reference" / "settings.md"
    FLAGS.write_text(flags_text(), encoding="utf-8")
    pyproject.write_text(with_flower_config(pyproject.read_text(encoding="utf-8")), encoding="utf-8")
    document.parent.mkdir(parents=True, exist_ok=True)
    document.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
