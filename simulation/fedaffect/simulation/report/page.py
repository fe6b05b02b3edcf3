"""One self-contained page about a run: figures, settings, nothing fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedaffect.client.corpora.base import CONSTRUCTED
from fedaffect.client.figures import CHOSEN_BY, FIGURES, RATING_FIGURES
from fedaffect.edge.errors import RunError
from fedaffect.edge.system.files import write_whole
from fedaffect.server.federation.guard import guard_figures
from fedaffect.server.federation.privacy.words import guarantee, spent
from fedaffect.server.federation.run_folder import PAGE
from fedaffect.server.federation.settings import FINE_TUNED
from fedaffect.simulation.recorded_run import CHOOSING, RecordedRun
from fedaffect.simulation.report.confusion import confusion_figure
from fedaffect.simulation.report.curves import Mark, chart, mean_curve, series
from fedaffect.simulation.report.partition import PARTITION, PartitionCounts, partition_figure
from fedaffect.simulation.report.rendering import render
from fedaffect.simulation.report.spread import spread_figure


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
    page = folder / PAGE
    write_whole(page, report_page(run).encode())
    return page


def report_page(run: RecordedRun) -> str:
    """The page of a finished run as HTML."""
    if run.summary is None:
        raise RunError(f"{run.folder} has no summary yet; finish it with fedaffect simulate --resume {run.folder}")
    summary = run.summary
    test, labels = summary.get("test") or {}, summary["label_names"]
    each = (test.get("owners") or {}).get("each") or []
    alone = summary.get("mode") == "local-only"
    partition = PartitionCounts.load(run.folder / PARTITION)
    confusion = np.asarray(test.get("confusion", ()), dtype=np.int64)
    return render(
        "run.html",
        name=run.name,
        badges=badges(summary),
        lead=sentence(summary),
        tiles=_tiles(summary),
        # Clients that learn alone come in groups, which are no rounds of anything.
        charts=[] if alone else [(title, drawn) for title, drawn in _charts(run) if drawn],
        confusion=confusion_figure(confusion, labels) if confusion.size else "",
        per_class=[_class_row(label, figures) for label, figures in (test.get("per_class") or {}).items()],
        ratings=_ratings(test, summary.get("rating_names", ())),
        spread=spread_figure(each) if each else "",
        weighted=_weighted(each) if each and alone else "",
        alone=alone,
        alone_rule=summary.get("local_only_rule", ""),
        views=[
            (name, *_figures(view), view.get("examples", "–"))
            for name, view in (summary.get("test_views") or {}).items()
        ],
        by_modality=[
            (name, *_figures(alone), f"{alone['examples']:,}")
            for name, alone in (summary.get("test_by_modality") or {}).items()
        ],
        partition=partition_figure(partition) if partition else "",
        partition_spec=run.config.data.partition,
        folds=[
            (number, *_figures(fold["test"]), fold.get("best_round", "–"))
            for number, fold in enumerate(summary.get("folds") or (), start=1)
        ],
        settings=_pairs(run.config.to_dict()),
        measured=_pairs({k: v for k, v in summary.items() if not isinstance(v, dict | list) and v is not None}),
    )


def badges(summary: Mapping[str, Any]) -> list[str]:
    """What a reader has to know before any figure: made-up data, an attack, noise."""
    made = CONSTRUCTED.get(str(summary.get("dataset")))
    found = [] if made is None else [made]
    if summary.get("folds_over") == "samples":
        found.append("random draws: who is tested was trained on")
    if attack := summary.get("attack"):
        found.append(f"under attack: {attack['name']}")
    if privacy := summary.get("privacy"):
        found.append(spent(privacy))
    return found


def sentence(summary: Mapping[str, Any]) -> str:
    """What was done and what came out, in one sentence."""
    mode, test = summary.get("mode", "federated"), summary.get("test")
    how = {
        FINE_TUNED: "with encoders that learned too, on the pooled data",
        "centralized": "on the pooled data of all clients (the upper bound)",
        "local-only": "on each client alone (the lower bound)",
    }.get(mode, f"federated by {summary['strategy']} over {summary['clients']:,} clients")
    if attack := summary.get("attack"):
        how += f", {len(attack['clients'])} of them malicious ({attack['name']})"
    if privacy := summary.get("privacy"):
        how += f", with {guarantee(privacy)}"
    data = CONSTRUCTED.get(str(summary["dataset"]), str(summary["dataset"]))
    found = f"test UAR {test['uar']:.3f}, accuracy {test['accuracy']:.3f}" if test else "there is no test split"
    if attack and "success" in attack:
        found += f"; the attack succeeds on {attack['success']:.3f} of its samples"
    return (
        f"{summary['model']} learned {summary['labels']} from {_listed(summary['modalities'])} of {data}, {how}, "
        f"in {summary['rounds']} rounds: {found}."
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _tiles(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    test, spread = summary.get("test") or {}, summary.get("test_std") or {}
    tiles = [
        (f"{test[key]:.3f}" + (f" ± {spread[key]:.3f}" if key in spread else ""), f"test {name}")
        for key, name in FIGURES.items()
        if key in test
    ]
    if summary.get("best_round") is not None:
        mean = "mean best" if summary.get("folds") else "best"
        tiles.append((f"{summary['best_round']}", f"{mean} of {summary['rounds']} rounds"))
    tiles.append((f"{summary['clients']:,}", "clients"))
    if privacy := summary.get("privacy"):
        tiles.append((spent(privacy).partition(" (")[0], f"spent, δ {privacy['delta']:g}"))
    for name, (before, after) in guard_figures(summary).items():
        tiles.append((f"{before:.3f} → {after:.3f}", f"guard {name}, UAR before and after"))
    if (share := summary.get("guard", {}).get("kept_share") or 1) < 1:
        tiles.append((f"{share:.0%}", "of the way from the start kept, for the guard"))
    if rate := summary.get("client_updates_per_second"):
        tiles.append((f"{rate:,.1f}", "client updates a second"))
    return tiles


def _charts(run: RecordedRun) -> list[tuple[str, str]]:
    """Learning curves: of the run, of its folds as mean and band, or of what chose the rounds of a retrained one."""
    runs = [_choosing(one) for one in run.folds or [run]]
    rounds = [one.rounds for one in runs]
    if not all(rounds):
        return []
    by = run.config.evaluation.select_by
    beside = "accuracy" if by == "uar" else "uar"
    chosen = [series(each, "dev", by) for each in rounds]
    dev = [mean_curve(CHOSEN_BY[by], chosen)]
    dev.append(mean_curve(CHOSEN_BY[beside], [series(each, "dev", beside) for each in rounds], "second"))
    marks = []
    for number, (one, values) in enumerate(zip(runs, chosen, strict=True), start=1):
        best = (one.summary or {}).get("best_round")
        if best in values:
            marks.append(Mark(best, values[best], "best" if len(runs) == 1 else f"best of fold {number}"))
    loss = [mean_curve("training", [series(each, "train_loss") for each in rounds])]
    loss.append(mean_curve("development", [series(each, "dev", "loss") for each in rounds], "second"))
    spending = [mean_curve("ε", [series(each, "privacy", "epsilon") for each in rounds])]
    over = f", mean ± standard deviation over {len(runs)} folds" if len(runs) > 1 else ""
    return [
        (
            f"Development split{over}; {CHOSEN_BY[by]} chooses",
            chart("dev", f"{CHOSEN_BY[by]}, {CHOSEN_BY[beside]}", dev, marks=marks, ceiling=1.0),
        ),
        (f"Loss{over}", chart("loss", "loss", loss)),
        ("Privacy spent", chart("epsilon", "ε", spending)),
    ]


def _choosing(run: RecordedRun) -> RecordedRun:
    folder = run.folder / CHOOSING
    return RecordedRun.read(folder) if folder.is_dir() else run


def _figures(values: Mapping[str, Any]) -> list[str]:
    return [f"{values[key]:.3f}" for key in FIGURES]


def _ratings(test: Mapping[str, Any], names: Sequence[str]) -> list[tuple[str, ...]]:
    """Name, CCC and MAE of each rating that the test split has."""
    rows = [(name, *(test.get(f"{name}_{kind}") for kind in RATING_FIGURES)) for name in names]
    return [(str(name), *(f"{value:.3f}" for value in values)) for name, *values in rows if None not in values]


def _class_row(label: str, figures: Mapping[str, float]) -> tuple[str, ...]:
    shown = (f"{figures[key]:.3f}" for key in ("recall", "precision", "f1"))
    return label, *shown, f"{int(figures['support']):,}"


def _weighted(each: Sequence[Mapping[str, Any]]) -> str:
    """Means over clients that learned alone, each counting as much as it has training samples."""
    weights = [one["examples"] for one in each]
    uar, accuracy = (float(np.average([one[key] for one in each], weights=weights)) for key in ("uar", "accuracy"))
    return f"Weighted by training samples: UAR {uar:.3f}, accuracy {accuracy:.3f}."


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(key.replace("_", " "), _written(value)) for key, value in values.items() if value != {}]


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
