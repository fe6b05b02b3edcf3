"""Several settings on one page: figures over seeds, learning curves, and whether the differences could be chance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

from fedaffect.client.figures import CHOSEN_BY, FIGURES
from fedaffect.edge.charts import svg
from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.system.files import write_whole
from fedaffect.server.federation.run_folder import PAGE
from fedaffect.simulation.comparison import words
from fedaffect.simulation.comparison.compare import Comparison, Side, compare, sides_of
from fedaffect.simulation.report.curves import Curve, chart, mean_curve, series
from fedaffect.simulation.report.page import badges
from fedaffect.simulation.report.rendering import render

WIDTH, ROW = 1060.0, 46.0


def write_sweep_report(folder: Path, failed: Sequence[str]) -> Path:
    """Draw a sweep's ``report.html`` beside its ``sweep.json``.

    Parameters
    ----------
    folder : Path
        The sweep's; at least one of its runs is finished.
    failed : sequence of str
        What the runs that did not finish said.

    Returns
    -------
    Path
        The page.
    """
    sides = sides_of(folder)
    comparisons: list[Comparison] = []
    if len(sides) > 1:
        try:
            comparisons = compare(sides)
        except FedAffectError as error:
            # Settings that cannot be compared (another corpus, no seed in common) still have figures.
            failed = [*failed, str(error)]
    page = folder / PAGE
    write_whole(page, comparison_page(folder.resolve().name, sides, comparisons, failed).encode())
    return page


def comparison_page(
    name: str, sides: Sequence[Side], comparisons: Sequence[Comparison], failed: Sequence[str] = ()
) -> str:
    """The page as HTML.

    Parameters
    ----------
    name : str
        Its heading.
    sides : sequence of Side
        One or more.
    comparisons : sequence of Comparison
        Of further sides with the first.
    failed : sequence of str
        What went wrong with runs that are not here.
    """
    runs = [run for side in sides for run in side.runs.values()]
    by = runs[0].config.evaluation.select_by
    curves = [_curve(side, by, number) for number, side in enumerate(sides)]
    said = badges(runs[0].summary or {})
    return render(
        "comparison.html",
        name=name,
        badges=[badge for badge in said if all(badge in badges(run.summary or {}) for run in runs)],
        lead=f"{_counted(sides)} of {runs[0].config.data.dataset}, {len(runs)} finished runs.",
        figure=CHOSEN_BY[by],
        settings=[(side.name, len(side.runs), *(_mean(side, key) for key in FIGURES)) for side in sides],
        strip=_strip(sides, by),
        keys=[side.name for side in sides],
        curves=chart("curves", CHOSEN_BY[by], curves, ceiling=1.0, width=WIDTH),
        comparisons=[
            {"title": words.title(each), "verdict": each.verdict(), "rows": words.rows(each)} for each in comparisons
        ],
        failed=failed,
    )


def _counted(sides: Sequence[Side]) -> str:
    return "one setting" if len(sides) == 1 else f"{len(sides)} settings"


def _curve(side: Side, by: str, number: int) -> Curve:
    return mean_curve(side.name, [series(run.rounds, "dev", by) for run in side.runs.values()], f"s{number % 10}")


def _mean(side: Side, key: str) -> str:
    values = [side.figure(seed, key) for seed in side.runs]
    return f"{fmean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def _strip(sides: Sequence[Side], by: str) -> str:
    """A row for each setting: a dot for each seed, a line at their mean."""
    values = [[side.figure(seed, by) for seed in side.runs] for side in sides]
    low, high = svg.nice_range([v for row in values for v in row], 0.0, 1.0)
    height = ROW * len(sides) + 44
    x = svg.Scale(low, high, 16.0, WIDTH - 16)
    parts = []
    for tick in x.ticks(8):
        parts.append(svg.element("line", x1=x(tick), x2=x(tick), y1=4, y2=height - 40, class_="grid"))
        parts.append(svg.text(x(tick), height - 22, svg.number(tick, False), text_anchor="middle", class_="tick"))
    for number, (side, row) in enumerate(zip(sides, values, strict=True)):
        top, style = number * ROW, f"s{number % 10}"
        parts.append(svg.text(x.start, top + 18, f"{side.name}: {_mean(side, by)}", class_="name"))
        mean = x(fmean(row))
        parts.append(svg.element("line", x1=mean, x2=mean, y1=top + 23, y2=top + 41, class_=f"line {style}"))
        parts += [
            svg.element(
                "circle", svg.tooltip(f"seed {seed}: {value:.3f}"), cx=x(value), cy=top + 32, r=5, class_=f"dot {style}"
            )
            for seed, value in zip(side.runs, row, strict=True)
        ]
    parts.append(
        svg.text((x.start + x.stop) / 2, height - 4, f"test {CHOSEN_BY[by]}", text_anchor="middle", class_="name")
    )
    said = "; ".join(f"{side.name} {_mean(side, by)}" for side in sides)
    return svg.figure("strip", WIDTH, height, f"Test {CHOSEN_BY[by]} of each seed", f"{said}.", "".join(parts))
