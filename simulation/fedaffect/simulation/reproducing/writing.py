"""A table as Markdown and JSON, with its figures beside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fedaffect.client.figures import FIGURES
from fedaffect.edge.system.files import write_whole
from fedaffect.simulation.comparison.compare import Comparison, shown_p
from fedaffect.simulation.reproducing.results import CountResult, RowResult, Spread, TableResult
from fedaffect.simulation.reproducing.table import Published

MARKDOWN, JSON = "table.md", "table.json"
# The loss is no figure of a confusion matrix.
_POOLED = tuple(key for key in FIGURES if key != "loss")
_NAMES: Mapping[str, str] = {**FIGURES, "latency_ms": "ms"}


def write_table(result: TableResult, drawn: Sequence[str] = ()) -> None:
    """Write ``table.md`` and ``table.json`` into the table's folder.

    Parameters
    ----------
    result : TableResult
    drawn : sequence of str
        Names of its figures.
    """
    result.folder.mkdir(parents=True, exist_ok=True)
    write_whole(result.folder / MARKDOWN, markdown(result, drawn).encode())
    write_whole(result.folder / JSON, (json.dumps(to_json(result, drawn), indent=2) + "\n").encode())


def markdown(result: TableResult, drawn: Sequence[str] = ()) -> str:
    """The table as a person reads it: our figures, then those published, each with its source and protocol."""
    table = result.table
    parts = [f"# {table.title}", f"Source: {table.source}.", f"Our protocol: {table.protocol}"]
    if result.quick:
        parts.insert(1, "**Cut short to see that every row runs: no figure here means anything.**")
    if result.counts:
        parts.append(_counts(result.counts))
    if result.rows:
        parts.append(_ours(result))
        parts += [f"## {title}\n\n{text}" for title, text in _details(result) if text]
    if drawn:
        parts.append("## Figures\n\n" + "\n".join(f"- [{name}](figures/{name})" for name in drawn))
    if table.notes:
        parts.append("## Notes\n\n" + "\n".join(f"- {note}" for note in table.notes))
    return "\n\n".join(parts) + "\n"


def _ours(result: TableResult) -> str:
    compared = result.comparisons()
    sources: list[Published] = []
    rows = []
    for one in result.rows:
        figures = one.figures()
        cells = [_spread(figures[key]) if figures else "" for key in FIGURES]
        if not figures:
            cells[0] = f"*{one.why_not}*"
        count = str(figures["uar"].count) if figures else ""
        size = "" if one.parameters is None else f"{one.parameters:,}"
        said = _difference(compared.get(one.row.name))
        published = "; ".join(_published(each, sources) for each in one.row.published)
        rows.append((_named(one), one.row.dataset, size, count, *cells, said, published))
    headings = ("row", "corpus", "parameters", "models", *FIGURES.values(), "difference", "published")
    words = "Mean ± standard deviation (least to greatest) over models: one a seed, or one a fold of each seed."
    return "\n\n".join([words, _table(headings, rows), _listed(sources)])


def _details(result: TableResult) -> list[tuple[str, str]]:
    alone = [
        (one.row.name, name, *(f"{figures[key]:.4f}" for key in FIGURES))
        for one in result.rows
        for name, figures in one.by_modality().items()
    ]
    classes = [
        (one.row.name, label, *(f"{figures[key]:.4f}" for key in ("precision", "recall", "f1")))
        for one in (result.rows if result.table.per_class else ())
        for label, figures in one.per_class().items()
    ]
    tests = [
        (name, one.first, *(_paired(one, key) for key in ("accuracy", "uar", "weighted_f1")), one.verdict())
        for name, one in result.comparisons().items()
    ]
    pooled = [
        (one.row.name, *(_spread(figures[key]) for key in _POOLED)) for one in result.rows if (figures := one.pooled())
    ]
    return [
        (
            "All folds' answers together, a value a seed",
            _table(("row", *(FIGURES[key] for key in _POOLED)), pooled) if pooled else "",
        ),
        (
            "Each modality alone, and all together",
            _table(("row", "shown", *FIGURES.values()), alone) if alone else "",
        ),
        ("Each class", _table(("row", "class", "precision", "recall", "F1"), classes) if classes else ""),
        (
            "Tests, paired by seed and by test sample",
            _table(("row", "against", "accuracy", "UAR", "weighted F1", "verdict"), tests) if tests else "",
        ),
    ]


def to_json(result: TableResult, drawn: Sequence[str] = ()) -> dict[str, Any]:
    """The table for machines: ours under ``figures``, others' under ``published``."""
    compared = result.comparisons()
    return {
        "table": result.table.name,
        "title": result.table.title,
        "source": result.table.source,
        "protocol": result.table.protocol,
        "quick": result.quick,
        "counts": [{**asdict(one.count), "found": one.found, "why_not": one.why_not} for one in result.counts],
        "rows": [_row_json(one, compared.get(one.row.name)) for one in result.rows],
        "figures": list(drawn),
        "notes": list(result.table.notes),
    }


def _row_json(one: RowResult, compared: Comparison | None) -> dict[str, Any]:
    return {
        "row": one.row.name,
        "dataset": one.row.dataset,
        "marks": list(one.row.marks),
        "settings": dict(one.row.settings),
        "state": "failed" if one.failed else "measured" if one.tests else "not measured",
        "why_not": one.why_not,
        "figures": {key: asdict(spread) for key, spread in one.figures().items()},
        "pooled": {key: asdict(spread) for key, spread in one.pooled().items()},
        "by_modality": one.by_modality(),
        "per_class": one.per_class(),
        "parameters": one.parameters,
        "runs": {str(seed): str(run.folder) for seed, run in one.runs.items()},
        "against": None if compared is None else compared.to_json(),
        "published": [asdict(each) for each in one.row.published],
    }


def _counts(counts: Sequence[CountResult]) -> str:
    labels = list(dict.fromkeys(label for one in counts for label in one.count.published))
    rows = []
    for one in counts:
        for whose, found in (("ours", one.found), ("published", one.count.published)):
            cells = [f"*{one.why_not}*"] if found is None else [f"{found.get(label, 0):,}" for label in labels]
            rows.append((one.count.name, whose, *cells, *[""] * (len(labels) - len(cells))))
    return _table(("corpus", "counted by", *labels), rows)


def _named(one: RowResult) -> str:
    return one.row.name + "".join(f" **[{mark}]**" for mark in one.row.marks)


def _spread(spread: Spread) -> str:
    if spread.count == 1:
        return f"{spread.mean:.4f}"
    return f"{spread.mean:.4f} ± {spread.std:.4f} ({spread.low:.4f} to {spread.high:.4f})"


def _difference(compared: Comparison | None) -> str:
    if compared is None:
        return ""
    return f"accuracy {_paired(compared, 'accuracy')} against {compared.first}"


def _paired(compared: Comparison, key: str) -> str:
    paired = compared.seeds[key]
    spread = f" ± {paired.std:.4f}" if len(paired.seeds) > 1 else ""
    p = "" if paired.t_p is None else f", p {shown_p(paired.t_p)}" if paired.t_p < 0.001 else f", p = {paired.t_p:.3f}"
    return f"{paired.mean:+.4f}{spread}{p}"


def _published(each: Published, sources: list[Published]) -> str:
    known = [(one.source, one.protocol) for one in sources]
    if (each.source, each.protocol) not in known:
        sources.append(each)
        known.append((each.source, each.protocol))
    figures = ", ".join(f"{_name(key)} {_values(key, values)}" for key, values in each.figures.items())
    return f"{figures} [{known.index((each.source, each.protocol)) + 1}]"


def _name(key: str) -> str:
    kind, _, label = key.partition(":")
    return f"{_NAMES.get(kind, kind)} of {label}" if label else _NAMES.get(kind, kind)


def _values(key: str, values: Sequence[float]) -> str:
    shown = [f"{value:g}" for value in values]
    spread = f" ± {shown[1]}" if len(shown) > 1 else ""
    return shown[0] + spread + (f" ({shown[2]} to {shown[3]})" if len(shown) > 3 else "")


def _listed(sources: Sequence[Published]) -> str:
    if not sources:
        return "Nothing is published for these rows."
    lines = [f"- [{number}] {one.source}. {one.protocol}" for number, one in enumerate(sources, start=1)]
    return "Published figures are others', by their protocols:\n\n" + "\n".join(lines)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
