from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from tests.support.recorded import LABELS, answers, recorded_run

from fedaffect.edge.errors import RunError
from fedaffect.simulation.report.page import write_report
from fedaffect.simulation.report.partition import PARTITION, PartitionCounts

VOID = {"meta"}


class Balanced(HTMLParser):
    """Fails where a tag is not closed, and notes what the page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [str(v) for k, v in attrs if k in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [str(v) for k, v in attrs if k in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = recorded_run(tmp_path, "a<b>&c", *answers(240, 0.7, 0))
    counts = np.arange(80).reshape(20, 4)
    PartitionCounts(tuple(f"client {k}" for k in range(20)), LABELS, counts, 20).save(folder / PARTITION)
    return folder


def figures(page: str) -> dict[str, ElementTree.Element]:
    found = {}
    for text in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        figure = ElementTree.fromstring(text)
        found[figure.attrib["aria-labelledby"].split("-title")[0]] = figure
    return found


def test_the_page_is_whole_and_fetches_nothing(run: Path) -> None:
    page = write_report(run).read_text()
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert parser.fetched == []
    assert "<script" not in page
    assert "prefers-color-scheme: dark" in page
    assert "a&lt;b&gt;&amp;c" in page
    assert "synthetic data" in page
    for label in LABELS:
        assert label in page


def test_every_figure_has_a_title_and_a_description_with_its_numbers(run: Path) -> None:
    drawn = figures(write_report(run).read_text())
    assert drawn.keys() == {"dev", "loss", "confusion", "spread", "partition"}
    space = "{http://www.w3.org/2000/svg}"
    for name, figure in drawn.items():
        assert figure.attrib["role"] == "img"
        assert figure.findtext(f"{space}title"), name
        assert re.search(r"\d", str(figure.findtext(f"{space}desc"))), name
    assert "best round 3 at 0.600" in str(drawn["dev"].findtext(f"{space}desc"))
    assert "240 test samples" in str(drawn["confusion"].findtext(f"{space}desc"))
    assert "12 owners" in str(drawn["spread"].findtext(f"{space}desc"))
    assert "20 clients hold 6 to 310 samples" in str(drawn["partition"].findtext(f"{space}desc"))


def test_confusion_rows_sum_to_one_hundred(run: Path) -> None:
    figure = figures(write_report(run).read_text())["confusion"]
    shares = [
        float(e.text.removesuffix(" %")) for e in figure.iter() if "share" in e.attrib.get("class", "") and e.text
    ]
    assert len(shares) == 16
    assert np.asarray(shares).reshape(4, 4).sum(axis=1) == pytest.approx([100] * 4, abs=2)


def test_very_many_clients_are_thinned_and_said_to_be() -> None:
    counts = PartitionCounts(tuple(map(str, range(3))), LABELS, np.ones((3, 4), dtype=np.int64), 100_000)
    from fedaffect.simulation.report.partition import partition_figure

    assert "3 of 100,000 clients" in partition_figure(counts)


def test_clients_alone_say_how_they_trained(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    for one in summary["test"]["owners"]["each"]:
        one["examples"] = 5
    summary |= {"mode": "local-only", "local_only_rule": "each client trained <6> epochs"}
    (run / "summary.json").write_text(json.dumps(summary))
    assert "How: each client trained &lt;6&gt; epochs." in write_report(run).read_text()


def test_an_unfinished_run_has_no_page(run: Path) -> None:
    (run / "summary.json").unlink()
    with pytest.raises(RunError, match="--resume"):
        write_report(run)
    assert not (run / "report.html").exists()


def test_a_damaged_partition_is_named(run: Path) -> None:
    (run / PARTITION).write_text('{"clients": ["a"], "labels": ["x", "y"], "counts": [[1]], "total_clients": 1}')
    with pytest.raises(RunError, match=r"partition\.json is damaged"):
        write_report(run)
