"""One self-contained page about a run: figures, settings, nothing fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from fedaffect.edge.errors import RunError
from fedaffect.server.federation.checkpoint import write_atomically
from fedaffect.simulation.recorded_run import RecordedRun
from fedaffect.simulation.report.confusion import confusion_figure, per_class_table
from fedaffect.simulation.report.curves import Curve, chart, series
from fedaffect.simulation.report.partition import PARTITION, PartitionCounts, partition_figure
from fedaffect.simulation.report.spread import spread_figure
from fedaffect.simulation.report.style import STYLE

FIGURES = (("uar", "UAR"), ("accuracy", "accuracy"), ("weighted_f1", "weighted F1"), ("macro_f1", "macro F1"))


def write_report(folder: Path) -> Path:
    """Draw a finished run's ``report.html``.

    Parameters
    ----------
    folder : Path
        The run folder.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    RunError
        If the run has no summary yet, or one of its files is damaged.
    """
    run = RecordedRun.read(folder)
    page = folder / "report.html"
    write_atomically(page, report_page(run).encode())
    return page


def report_page(run: RecordedRun) -> str:
    """The page of a finished run as HTML."""
    if run.summary is None:
        raise RunError(f"{run.folder} has no summary yet; finish it with fedaffect simulate --resume {run.folder}")
    summary = run.summary
    synthetic = summary.get("dataset") == "synthetic"
    badge = ' <span class="badge">synthetic data</span>' if synthetic else ""
    head = (
        f"<h1>{escape(run.name)}{badge}</h1>"
        f'<p class="lead">{escape(sentence(summary))}</p>{_tiles(summary)}<div class="grid">'
    )
    sections = [
        *_curves(run),
        *_test(summary),
        *_views(summary),
        *_partition(run),
        *_folds(summary),
        _settings(run),
        _measured(summary),
    ]
    foot = (
        "</div><footer>Written by fedaffect. The best round is chosen on the development split, never on test.</footer>"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(run.name)} · fedaffect</title><style>{STYLE}</style></head>"
        f"<body><main>{head}{''.join(sections)}{foot}</main></body></html>\n"
    )


def sentence(summary: Mapping[str, Any]) -> str:
    """What was done and what came out, in one sentence."""
    mode, test = summary.get("mode", "federated"), summary.get("test")
    how = {
        "centralized": "on the pooled data of all clients (the upper bound)",
        "local-only": "on each client alone (the lower bound)",
    }.get(mode, f"federated by {summary['strategy']} over {summary['clients']:,} clients")
    data = "synthetic data, generated from a seed" if summary["dataset"] == "synthetic" else str(summary["dataset"])
    found = f"test UAR {test['uar']:.3f}, accuracy {test['accuracy']:.3f}" if test else "there is no test split"
    return (
        f"{summary['model']} learned {summary['labels']} from {_listed(summary['modalities'])} of {data}, {how}, "
        f"in {summary['rounds']} rounds: {found}."
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _tiles(summary: Mapping[str, Any]) -> str:
    test, spread = summary.get("test") or {}, summary.get("test_std") or {}
    tiles = [
        (f"{test[key]:.3f}" + (f" ± {spread[key]:.3f}" if key in spread else ""), f"test {name}")
        for key, name in FIGURES
        if key in test
    ]
    if summary.get("best_round") is not None:
        tiles.append((f"{summary['best_round']}", f"best of {summary['rounds']} rounds"))
    tiles.append((f"{summary['clients']:,}", "clients"))
    rate = summary.get("client_updates_per_second")
    if rate:
        tiles.append((f"{rate:,.1f}", "client updates a second"))
    inside = "".join(f'<div class="tile"><b>{escape(b)}</b><span>{escape(s)}</span></div>' for b, s in tiles)
    return f'<div class="tiles">{inside}</div>'


def _section(title: str, body: str, note: str = "", wide: bool = False) -> str:
    said = f'<p class="soft">{escape(note)}</p>' if note else ""
    return f"<section{' class=wide' if wide else ''}><h2>{escape(title)}</h2>{said}{body}</section>"


def _curves(run: RecordedRun) -> list[str]:
    # Clients that learn alone come in groups, which are no rounds of anything.
    rounds = run.rounds if run.config.federation.mode != "local-only" else []
    if not rounds:
        return []
    loss = Curve("training", *series(rounds, "train_loss"))
    dev_loss = Curve("development", *series(rounds, "dev", "loss"), "second")
    uar = Curve("UAR", *series(rounds, "dev", "uar"))
    accuracy = Curve("accuracy", *series(rounds, "dev", "accuracy"), "second")
    best = None
    chosen = (run.summary or {}).get("best_round")
    if chosen is not None and chosen in uar.rounds:
        best = (int(chosen), uar.values[list(uar.rounds).index(float(chosen))])
    return [
        _section("Development split", chart("dev", "UAR, accuracy", [uar, accuracy], best=best, percent=True, floor=0)),
        _section("Loss", chart("loss", "loss", [loss, dev_loss], floor=0)),
    ]


def _test(summary: Mapping[str, Any]) -> list[str]:
    test, labels = summary.get("test") or {}, summary["label_names"]
    sections = []
    if "confusion" in test:
        confusion = np.asarray(test["confusion"], dtype=np.int64)
        drawn = f'<div class="scroll">{confusion_figure(confusion, labels)}</div>'
        note = "Each row sums to 100 %; the diagonal is recall, and its mean is UAR."
        sections.append(_section("Confusion on the test split", drawn, note))
    beside = f"<h2>Each label</h2>{per_class_table(test['per_class'])}" if "per_class" in test else ""
    each = (test.get("owners") or {}).get("each") or []
    if each:
        alone = summary.get("mode") == "local-only"
        title = "Model of each client alone" if alone else "Each speaker, actor or video of the test split"
        beside += f'<h2 class="later">{title}</h2>{spread_figure(each)}{_weighted(each) if alone else ""}'
        if alone and "local_only_rule" in summary:
            beside += f'<p class="soft">How: {escape(summary["local_only_rule"])}.</p>'
    return [*sections, f"<section>{beside}</section>"] if beside else sections


def _weighted(each: Sequence[Mapping[str, Any]]) -> str:
    """Means over clients that learned alone, each counting as much as it has training samples."""
    weights = [one["examples"] for one in each]
    uar, accuracy = (float(np.average([one[key] for one in each], weights=weights)) for key in ("uar", "accuracy"))
    return f'<p class="soft">Weighted by training samples: UAR {uar:.3f}, accuracy {accuracy:.3f}.</p>'


def _views(summary: Mapping[str, Any]) -> list[str]:
    """Further views of the test split, such as FER+ by the largest vote."""
    views = summary.get("test_views") or {}
    if not views:
        return []
    head = "".join(f"<th scope=col>{x}</th>" for x in ("view", *(name for _, name in FIGURES), "samples"))
    rows = "".join(
        f"<tr><th scope=row>{escape(name)}</th>"
        + "".join(f"<td>{view[key]:.3f}</td>" for key, _ in FIGURES)
        + f"<td>{view.get('examples', '–')}</td></tr>"
        for name, view in views.items()
    )
    table = f"<table class=figures><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return [_section("Further views of the test split", table, wide=True)]


def _partition(run: RecordedRun) -> list[str]:
    partition = PartitionCounts.load(run.folder / PARTITION)
    if partition is None:
        return []
    how = f"Partition {run.config.data.partition}: what each client trains on."
    drawn = f'<div class="scroll broad">{partition_figure(partition)}</div>'
    return [_section("Who holds what", drawn, how, wide=True)]


def _folds(summary: Mapping[str, Any]) -> list[str]:
    folds = summary.get("folds") or []
    if not isinstance(folds, list) or not folds:
        return []
    head = "".join(f"<th scope=col>{x}</th>" for x in ("fold", *(name for _, name in FIGURES), "best round"))
    rows = "".join(
        f"<tr><th scope=row>{i}</th>"
        + "".join(f"<td>{fold['test'][key]:.3f}</td>" for key, _ in FIGURES)
        + f"<td>{fold.get('best_round', '–')}</td></tr>"
        for i, fold in enumerate(folds)
    )
    table = f"<table class=figures><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return [_section("Folds", table, "Test figures above are means over these.", wide=True)]


def _settings(run: RecordedRun) -> str:
    return _section("Settings", _pairs(run.config.to_dict()), "As in config.toml, which runs it again.")


def _measured(summary: Mapping[str, Any]) -> str:
    shown = {k: v for k, v in summary.items() if not isinstance(v, dict | list) and v is not None}
    return _section("Measured", _pairs(shown), "As in summary.json.")


def _pairs(values: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><th scope=row>{escape(str(key).replace('_', ' '))}</th><td>{escape(_written(value))}</td></tr>"
        for key, value in values.items()
        if value != {}
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}" if value >= 10000 else str(value)
    if isinstance(value, list | tuple):
        return ", ".join(str(x) for x in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{k} = {v}" for k, v in value.items())
    return str(value)
