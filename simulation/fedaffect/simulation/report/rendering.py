"""Pages from their templates: everything that a run or a person named is escaped."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fedaffect.client.figures import FIGURES
from fedaffect.edge.charts.style import CHART_STYLE


def render(template: str, **values: Any) -> str:
    """A page of its own: style and figures inside, nothing fetched from elsewhere.

    Parameters
    ----------
    template : str
        A file in ``templates``.
    **values : object
        What it shows.
    """
    page = _environment().get_template(template)
    return page.render(chart_style=CHART_STYLE, figure_names=list(FIGURES.values()), **values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("fedaffect.simulation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
