"""A table's figures as SVG files: learning curves, confusion matrices, attention, one dialogue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from fedaffect.client.figures import FIGURES
from fedaffect.edge.charts import svg
from fedaffect.edge.charts.style import CHART_STYLE
from fedaffect.edge.system.files import write_whole
from fedaffect.server.federation.run_folder import SUMMARY
from fedaffect.simulation.recorded_run import RecordedRun
from fedaffect.simulation.report.confusion import confusion_figure
from fedaffect.simulation.report.curves import Curve, chart, mean_curve, series
from fedaffect.simulation.reproducing.attention import attention_figure
from fedaffect.simulation.reproducing.dialogue import dialogue_figure
from fedaffect.simulation.reproducing.results import RowResult, TableResult

_CURVES = 10


def draw(result: TableResult) -> list[str]:
    """Write every figure that the finished rows give, but for those that are there already; their names, in order."""
    folder = result.folder / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    done = [one for one in result.rows if one.runs]
    names = []
    for name, rows, make in _figures(done, result.table.dialogue):
        path = folder / f"{name}.svg"
        if not (path.is_file() and path.stat().st_mtime_ns > max(map(_finished_ns, rows))):
            figure = make()
            if not figure:
                continue
            write_whole(path, _standalone(figure).encode())
        names.append(path.name)
    return names


def _figures(done: Sequence[RowResult], dialogue: str) -> Iterator[tuple[str, Sequence[RowResult], Callable[[], str]]]:
    """Name of each figure, the rows that it shows, and what draws it."""
    for one in done:
        slug, rows = one.row.slug, (one,)
        yield f"{slug}-loss", rows, partial(_losses, one)
        yield f"{slug}-confusion", rows, partial(_confusion, one)
        yield f"{slug}-attention", rows, partial(attention_figure, _first(one))
        if one.row.name == dialogue:
            yield f"{slug}-dialogue", rows, partial(dialogue_figure, _first(one))
    for key in ("accuracy", "loss") if done else ():
        yield f"development-{key}", done, partial(_development, done, key)


def _finished_ns(one: RowResult) -> int:
    return max((run.folder / SUMMARY).stat().st_mtime_ns for run in one.runs.values())


def _first(one: RowResult) -> RecordedRun:
    """The model of the first seed, and of its first fold."""
    run = next(iter(one.runs.values()))
    return next(iter(run.folds), run)


def _losses(one: RowResult) -> str:
    """Training and validation loss, mean and band over models."""
    rounds = [model.rounds for run in one.runs.values() for model in run.folds or [run]]
    curves = [
        mean_curve("training", [series(each, "train_loss") for each in rounds]),
        mean_curve("validation", [series(each, "dev", "loss") for each in rounds], "second"),
    ]
    return chart("loss", f"cross-entropy of {one.row.name}", curves)


def _development(done: Sequence[RowResult], key: str) -> str:
    """One validation figure of all rows, in one chart with its own legend."""
    curves = [_curve(one, key, number) for number, one in enumerate(done[:_CURVES])]
    drawn = chart(f"development-{key}", f"validation {FIGURES[key]}", curves, width=760.0)
    if not drawn:
        return ""
    legend = "".join(
        svg.element("circle", cx=70.0, cy=44.0 + 15 * number, r=4, class_=f"dot {curve.style}")
        + svg.text(80.0, 48.0 + 15 * number, curve.name)
        for number, curve in enumerate(curves)
    )
    return f"{drawn.removesuffix('</svg>')}{legend}</svg>"


def _curve(one: RowResult, key: str, number: int) -> Curve:
    rounds = [model.rounds for run in one.runs.values() for model in run.folds or [run]]
    return mean_curve(one.row.name, [series(each, "dev", key) for each in rounds], f"s{number % _CURVES}")


def _confusion(one: RowResult) -> str:
    summaries = [run.summary for run in one.runs.values() if run.summary is not None]
    return confusion_figure(
        np.sum([np.asarray(each["test"]["confusion"], dtype=np.int64) for each in summaries], axis=0),
        summaries[0]["label_names"],
    )


def _standalone(figure: str) -> str:
    """A figure with its colours inside, as a file needs them."""
    head, end, body = figure.partition(">")
    return f"{head}{end}{svg.element('style', CHART_STYLE)}{body}"
