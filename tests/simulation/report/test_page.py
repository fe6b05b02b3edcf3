from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from tests.support.recorded import LABELS, answers, recorded_run

from fedaffect.client.figures import FIGURES
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


def test_confusion_rows_sum_to_one(run: Path) -> None:
    figure = figures(write_report(run).read_text())["confusion"]
    shares = [float(e.text) for e in figure.iter() if "share" in e.attrib.get("class", "") and e.text]
    assert len(shares) == 16
    assert np.asarray(shares).reshape(4, 4).sum(axis=1) == pytest.approx([1] * 4, abs=0.02)


def test_each_modality_alone_stands_beside_all_together(run: Path) -> None:
    path = run / "summary.json"
    summary = json.loads(path.read_text())
    alone = dict.fromkeys(FIGURES, 0.25) | {"examples": 120}
    summary["test_by_modality"] = {"audio": alone, "fused": {**summary["test"], "examples": 240}}
    path.write_text(json.dumps(summary))
    page = write_report(run).read_text()
    assert re.search(r'<th scope="row">audio</th>(<td>0.250</td>){7}<td>120</td>', page)
    assert f'<th scope="row">fused</th><td>{summary["test"]["uar"]:.3f}</td>' in page


def test_figures_have_one_unit(run: Path) -> None:
    page = write_report(run).read_text()
    shown = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    assert not re.search(r"\d ?%", shown)
    assert "fractions of 1" in page


def dev_description(folder: Path) -> str:
    figure = figures(write_report(folder).read_text())["dev"]
    return str(figure.findtext("{http://www.w3.org/2000/svg}desc"))


def test_the_best_round_is_marked_on_the_curve_that_chooses(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path, "by-f1", *answers(240, 0.7, 0), select_by="weighted_f1")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line["dev"]["weighted_f1"] = 0.2 + 0.01 * line["round"]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = dev_description(folder)
    assert said.startswith("Rounds up to 4: weighted F1 from 0.210 to 0.240; UAR from")
    assert said.endswith("best round 3 at 0.230.")


def test_the_headline_says_attack_and_privacy(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    summary["attack"] = {"name": "sign-flip", "clients": [1, 2], "attackers": 0.1}
    summary["privacy"] = {
        **{"kind": "central", "unit": "client", "epsilon": 7.98, "delta": 1e-5},
        **{"mechanism": "gaussian", "private": True},
    }
    (run / "summary.json").write_text(json.dumps(summary))
    page = write_report(run).read_text()
    assert "2 of them malicious (sign-flip)" in page
    assert "ε 7.98 (δ 1e-05) for each client, central gaussian noise" in page
    assert '<span class="badge">under attack: sign-flip</span>' in page


def test_folds_are_one_curve_with_a_band_and_the_best_round_of_each(tmp_path: Path) -> None:
    top = recorded_run(tmp_path, "crossed", *answers(240, 0.7, 0))
    (top / "metrics.jsonl").unlink()
    for fold in (1, 2, 3):
        recorded_run(top, f"fold-{fold}", *answers(80, 0.6, fold), owners=4)
    page = write_report(top).read_text()
    assert "mean ± standard deviation over 3 folds" in page
    assert page.count('class="band first"') == 2
    assert "best of fold 3 round 3 at 0.600" in dev_description(top)


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
