from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner
from tests.simulation.report.test_page import Balanced, figures
from tests.support.recorded import answers, recorded_run

from fedaffect.simulation.cli.runs import runs
from fedaffect.simulation.recorded_run import SWEEP
from fedaffect.simulation.report.comparison import write_sweep_report


def sweep(folder: Path) -> Path:
    for share, setting in ((0.5, "lr=<a>"), (0.7, "lr=b")):
        for seed in (0, 1):
            recorded_run(folder, f"{setting},seed={seed}", *answers(200, share, seed), seed=seed)
    (folder / SWEEP).write_text(json.dumps({"groups": [], "members": []}))
    return folder


def test_a_sweep_has_a_page_with_figures_curves_and_verdicts(tmp_path: Path) -> None:
    page = write_sweep_report(sweep(tmp_path / "which"), ["lr=c,seed=0: it <broke>"]).read_text()
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert parser.fetched == []
    assert figures(page).keys() == {"strip", "curves"}
    assert "lr=b is better than lr=&lt;a&gt; by 0." in page
    assert "it &lt;broke&gt;" in page
    assert "2 settings of synthetic, 4 finished runs" in page


def test_a_sweep_of_seeds_alone_has_a_page(tmp_path: Path) -> None:
    for seed in (0, 1):
        recorded_run(tmp_path / "seeds", f"seed={seed}", *answers(200, 0.5, seed), seed=seed)
    (tmp_path / "seeds" / SWEEP).write_text("{}")
    assert "1 settings" not in write_sweep_report(tmp_path / "seeds", []).read_text()


def test_compare_writes_the_page_that_is_asked_for(tmp_path: Path) -> None:
    folders = [str(recorded_run(tmp_path, name, *answers(200, 0.5, 0))) for name in ("one", "two")]
    page = tmp_path / "page.html"
    done = CliRunner().invoke(runs, ["compare", *folders, "--html", str(page)], catch_exceptions=False)
    assert done.exit_code == 0
    assert "two minus one" in page.read_text()
