"""``fedaffect reproduce``: tables from tiny folders of the official layouts."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from rich.console import Console
from tests.simulation.cli.conftest import Fedaffect
from tests.support.small_corpora import write_meld
from tests.support.small_models import model_folders

from fedaffect.client.corpora.registry import names
from fedaffect.client.figures import FIGURES
from fedaffect.edge.errors import ConfigError, RunError
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.reproducing.at_hand import AtHand
from fedaffect.simulation.reproducing.registry import TABLES, tables_of
from fedaffect.simulation.reproducing.running import Reproduction
from fedaffect.simulation.reproducing.table import Published, Row, Table
from fedaffect.simulation.running import Runner

ROWS = [(table, row) for table in TABLES.values() for row in table.rows]


def table_in(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "table.json").read_text())
    return read


def test_every_row_is_a_valid_run_or_says_why_there_is_none() -> None:
    assert len(ROWS) > 250
    for table, row in ROWS:
        if row.dataset in names() and not row.why_not and not row.answers_of:
            config = RunSettings.of({"dataset": row.dataset, **row.settings})
            assert config.data.modalities, (table.name, row.name)
        # Whoever is tested on people that were trained on says so.
        assert ("actors seen" in row.marks) >= (row.settings.get("folds_over") == "samples"), (table.name, row.name)


def test_published_figures_are_fractions_with_source_and_protocol() -> None:
    figures = {(table.name, row.name): published.figures for table, row in ROWS for published in row.published}
    for found in figures.values():
        for key, values in found.items():
            assert key in ("loss", "latency_ms") or all(0 <= value <= 1 for value in values)
    assert figures["cmt-table1", "CMT as in the paper, meld"] == {"accuracy": (0.8374,)}
    assert figures["mfer-4", "combined, clips drawn at random"]["accuracy"] == (0.9694, 0.0127, 0.9479, 0.9861)
    assert figures["avafn-3", "AVAFN without ACM, sound and pictures"] == {"weighted_f1": (0.4535,)}
    with pytest.raises(ConfigError, match="a source, a protocol and known names"):
        Published("", "", {"accuracy": (0.5,)})


def test_tables_are_found_by_name_by_paper_and_all_together() -> None:
    assert [table.name for table in tables_of("mfer")] == [f"mfer-{n}" for n in range(1, 7)]
    assert [table.name for table in tables_of("cmt-table1")] == ["cmt-table1"]
    assert tables_of("all") == list(TABLES.values())
    with pytest.raises(ConfigError, match="kamble"):
        tables_of("kambel")


def test_list_says_what_there_is(fedaffect: Fedaffect) -> None:
    done = fedaffect("reproduce", "list")
    assert done.code == 0, done.err
    for table in TABLES.values():
        assert table.name in done.out


def test_a_corpus_that_is_not_at_hand_keeps_its_row(fedaffect: Fedaffect, tmp_path: Path) -> None:
    write_meld(tmp_path / "corpora" / "MELD")
    done = fedaffect("reproduce", "avafn", "--data-dir", tmp_path / "corpora", "--only", "sound", "--quick")
    assert done.code == 0, done.err
    written = table_in(tmp_path / "reproduced" / "avafn-2-quick")
    both = next(row for row in written["rows"] if row["row"] == "AVAFN, sound and pictures")
    assert both["state"] == "not measured"
    assert "sound and pictures of MELD" in both["why_not"]
    assert both["why_not"].endswith("are not at hand")
    assert both["published"][0]["figures"] == {"weighted_f1": [0.4798]}
    page = (tmp_path / "reproduced" / "avafn-2-quick" / "table.md").read_text()
    assert re.search(r"AVAFN, sound and pictures.*not at hand.*weighted F1 0\.4798 \[1\]", page)

    done = fedaffect("reproduce", "mfer-1", "--out", "counted")
    assert done.code == 0, done.err
    counted = (tmp_path / "counted" / "mfer-1" / "table.md").read_text()
    assert "| URDU | published | 100 | 0 | 100 | 100 | 100 |" in counted
    assert "this version reads no corpus saudi" in counted or "is not at hand" in counted


def test_two_do_not_make_one_table_at_once(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "mfer-3").mkdir(parents=True)
    with (out / "mfer-3" / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="now; wait for its end, or give another --out"):
            Reproduction(
                Runner(Console(quiet=True), quiet=True), AtHand(tmp_path), out, False, False, 1, lambda _: None
            ).run(TABLES["mfer-3"])
    assert [path.name for path in (out / "mfer-3").iterdir()] == [".lock"]
    Reproduction(Runner(Console(quiet=True), quiet=True), AtHand(tmp_path), out, False, False, 1, lambda _: None).run(
        TABLES["mfer-3"]
    )
    assert (out / "mfer-3" / "table.md").is_file()


def test_counts_are_of_the_folder_that_is_given(fedaffect: Fedaffect, tmp_path: Path) -> None:
    write_meld(tmp_path / "MELD")
    # The corpus's own folder does, too.
    done = fedaffect("reproduce", "avafn-1", "--data-dir", tmp_path / "MELD", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    train = table_in(tmp_path / "reproduced" / "avafn-1")["counts"][0]
    assert train["found"]["anger"] == 40
    assert train["published"]["anger"] == 1109


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("kambel",), "kamble"),
        (("fusions", "--only", "nobody"), "no row of fusions"),
        (("fusions", "--data-dir", "nowhere"), "nowhere"),
    ],
)
def test_mistakes_are_one_line(fedaffect: Fedaffect, arguments: tuple[str, ...], words: str) -> None:
    done = fedaffect("reproduce", *arguments)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert words in done.err


CMT = {"model": "cmt", "model_options": {"width": 16, "heads": 2, "feedforward": 16}, "lr": 0.01, "rounds": 2}
AVAFN = {"model": "avafn", "model_options": {"width": 16, "states": 8, "dropout": 0.0}, "lr": 0.01, "rounds": 2}
TINY = Table(
    "tiny",
    "A tiny table",
    "nobody",
    "two seeds on constructed vectors.",
    (
        Row("hears videos", "mosi", AVAFN),
        Row(
            "cmt",
            "mosi",
            CMT,
            (Published("Somebody, Table 9", "of another kind", {"accuracy": (0.7, 0.1)}),),
            against="hears videos",
        ),
        Row("folds", "mosi", {"model": "linear", "folds": 3, "rounds": 1}),
        Row("answers elsewhere", "mosi", answers_of="folds"),
        Row("begins there", "mosi", CMT, after=("cmt",)),
        Row("lacks its corpus", "affectnet"),
    ),
    seeds=(0, 1),
    per_class=True,
    dialogue="hears videos",
)


@pytest.mark.slow
def test_a_table_has_ours_beside_others_figures_tests_and_drawings(mosi: Path, no_ray: None, tmp_path: Path) -> None:
    runner = Runner(Console(quiet=True), quiet=True)
    reproduction = Reproduction(runner, AtHand(mosi.parent), tmp_path, False, False, 1, say=lambda words: None)
    result = reproduction.run(TINY)
    assert result.failed == []
    written = {row["row"]: row for row in table_in(tmp_path / "tiny")["rows"]}
    assert list(written) == [row.name for row in TINY.rows]
    cmt = written["cmt"]
    assert cmt["figures"].keys() == set(FIGURES)
    assert cmt["figures"]["uar"]["count"] == 2
    assert cmt["by_modality"].keys() == {"text", "audio", "video", "fused"}
    assert cmt["against"]["first"] == "hears videos"
    assert cmt["against"]["seeds"]["accuracy"]["seeds"] == [0, 1]
    assert written["folds"]["figures"]["uar"]["count"] == 6  # three folds of two seeds
    assert written["folds"]["pooled"]["uar"]["count"] == 2
    assert written["cmt"]["pooled"] == {}
    assert written["answers elsewhere"]["figures"]["uar"]["count"] == 6
    assert written["lacks its corpus"]["state"] == "not measured"
    begun = json.loads((Path(written["begins there"]["runs"]["1"]) / "summary.json").read_text())
    assert "/cmt/seed=1" in str(begun["start"])
    page = (tmp_path / "tiny" / "table.md").read_text()
    assert "accuracy 0.7 ± 0.1 [1]" in page
    assert "- [1] Somebody, Table 9. of another kind" in page
    for heading in ("macro precision", "macro recall", "cross-entropy", "## Each class", "## Tests, paired"):
        assert heading in page

    figures = tmp_path / "tiny" / "figures"
    drawn = {path.stem: ElementTree.parse(path) for path in figures.glob("*.svg")}
    assert {"cmt-loss", "cmt-confusion", "cmt-attention", "development-accuracy"} <= drawn.keys()
    assert "hears-videos-attention" not in drawn
    told = "".join(drawn["hears-videos-dialogue"].getroot().itertext())
    assert "attends to turn" in told
    assert "→" in told
    shares = "".join(drawn["cmt-attention"].getroot().itertext())
    assert "text looks at audio" in shares

    # A second call runs nothing again, and writes the same table.
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("summary.json")}
    assert len(before) == 2 * 4 + 2 * 3
    again = reproduction.run(TINY)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("summary.json")} == before
    assert [one.figures() for one in again.rows] == [one.figures() for one in result.rows]


_ASKED = """
import pytest
from tests.support.without_ray import train_in_this_process
from fedaffect.edge.cli.main import main
train_in_this_process(pytest.MonkeyPatch())
main()
"""


@pytest.mark.slow
def test_a_killed_table_goes_on_where_it_stopped(
    mosi: Path, fedaffect: Fedaffect, no_ray: None, tmp_path: Path
) -> None:
    asked = ("reproduce", "fusions", "--data-dir", mosi, "--only", "mosi, federated: l", "--quick", "--actors", "1")
    command = [sys.executable, "-c", _ASKED, *map(str, asked)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    folder = tmp_path / "reproduced" / "fusions-quick"
    # Two rows hold those words: late, then linear.
    first = folder / "runs" / "mosi-federated-late" / "seed=0" / "summary.json"
    second = folder / "runs" / "mosi-federated-linear" / "seed=0"
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as child:
        while not (first.is_file() and (second / "config.toml").is_file()) and child.poll() is None:
            time.sleep(0.02)
        child.kill()
    finished = first.stat().st_mtime_ns
    done = fedaffect(*asked)
    assert done.code == 0, done.err
    assert first.stat().st_mtime_ns == finished
    written = table_in(folder)
    measured = [row["row"] for row in written["rows"] if row["state"] == "measured"]
    assert measured == ["mosi, federated: late", "mosi, federated: linear"]
    others = {row["why_not"] for row in written["rows"] if row["row"].startswith("mosi, central")}
    assert others == {"not run yet"}
    assert written["quick"] is True
    assert "no figure here means anything" in (folder / "table.md").read_text()


def test_encoders_are_fine_tuned_from_weights_that_are_at_hand(fedaffect: Fedaffect, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    corpora = tmp_path / "corpora"
    write_meld(corpora / "MELD")
    model_folders(corpora, layers=2, channels=16)("bert").rename(corpora / "bert-base-uncased")
    asked = ("reproduce", "cmt-table1", "--data-dir", corpora, "--only", "fine-tuned, meld", "--quick")
    done = fedaffect(*asked)
    assert done.code == 0, done.err
    folder = tmp_path / "reproduced" / "cmt-table1-quick"
    rows = {row["row"]: row for row in table_in(folder)["rows"]}
    words = rows["BERT (text), fine-tuned, meld"]
    assert words["state"] == "measured"
    assert words["published"][0]["figures"] == {"accuracy": [0.7496]}
    run = folder / "runs" / "bert-text-fine-tuned-meld" / "seed=0"
    assert json.loads((run / "summary.json").read_text())["networks"]["text"]["source"] == "bert-base-uncased"
    assert (run / "model" / "model.json").is_file()
    assert "weights of wav2vec2-large are not at hand" in rows["Wav2Vec2 (audio), fine-tuned, meld"]["why_not"]
    lacking = rows["CMT as in the paper, fine-tuned, meld"]["why_not"]
    assert "wav2vec2-large and vit-base-patch16-224" in lacking
    assert {path.name for path in (folder / "figures").iterdir()} >= {"bert-text-fine-tuned-meld-loss.svg"}


@pytest.mark.slow
def test_the_stages_of_mfer_follow_one_another(mosi: Path, no_ray: None, tmp_path: Path) -> None:
    small = {
        "mode": "centralized",
        "model": "mfer",
        "model_options": {"hidden": 8},
        "rounds": 2,
        "folds": 3,
        "lr": 0.05,
    }
    head = {**small, "model_options": {"hidden": 8, "arms_learn": False}, "modalities": ("audio", "video")}
    table = Table(
        "stages",
        "Stages",
        "nobody",
        "three folds of constructed vectors.",
        (
            Row("visual", "mosi", {**small, "modalities": ("video",)}),
            Row("audio", "mosi", {**small, "modalities": ("audio",)}),
            Row("combined", "mosi", head, after=("visual", "audio")),
        ),
        seeds=(4,),
    )
    runner = Runner(Console(quiet=True), quiet=True)
    result = Reproduction(runner, AtHand(mosi.parent), tmp_path, False, False, 1, say=lambda words: None).run(table)
    assert result.failed == []
    visual, audio, combined = (row.runs[4] for row in result.rows)
    for arm, fold in zip(audio.folds, combined.folds, strict=True):
        start = (fold.summary or {})["start"]
        assert start["from"] == f"{visual.folder},{audio.folder}"
        name = "arms.audio.bias_hh_l0"
        kept, learned = (run.checkpoint().arrays[name] for run in (fold, arm))
        np.testing.assert_allclose(kept, learned, atol=1e-6, rtol=0)
    first, second = (run.checkpoint().arrays["arms.audio.bias_hh_l0"] for run in audio.folds[:2])
    assert not np.allclose(first, second, atol=1e-5)
