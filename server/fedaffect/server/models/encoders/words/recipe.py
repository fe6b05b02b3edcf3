"""From corpora to a folder that ``bundle build --text`` takes, with a card of what it is worth."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from fedaffect.client.corpora.registry import factory
from fedaffect.edge.errors import ConfigError
from fedaffect.server.models.bundling.licences import OFFERED
from fedaffect.server.models.bundling.recipe import licence_of_weights
from fedaffect.server.models.encoders.words.figures import Judged, linear_on_features, own_answers
from fedaffect.server.models.encoders.words.network import TaughtWords
from fedaffect.server.models.encoders.words.rows import read_judged, read_taught, teachers_of
from fedaffect.server.models.encoders.words.training import Progress, WordsConfig, teach
from fedaffect.server.models.encoders.words.weights import save_upper

CARD: Final = "README.md"
FIGURES: Final = "figures.json"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the card: what was asked, and the figures."""

    what: str
    figures: Judged


def train_words(
    data_dir: Path,
    out: Path,
    config: WordsConfig,
    *,
    licence: str = OFFERED[0],
    leave_out: str | None = None,
    export: tuple[Path, str] | None = None,
    progress: Progress = lambda *_: None,
    step: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """Teach MiniLM emotion, judge it on development splits, and write a model folder.

    Parameters
    ----------
    data_dir : Path
        Holds a folder of each corpus.
    out : Path
        A new or empty folder.
    config : WordsConfig
    licence : {"non-commercial", "permissive"}
        Of what is made: permissive is taught only by corpora that let an app ship it.
    leave_out : str, optional
        A corpus that teaches nothing and is judged on whole.
    export : tuple of Path and str, optional
        File for the taught layers alone, as this project ships them, and the version to write there.
    progress : callable
        Of `training.teach`.
    step : callable of str
        Told what begins.

    Raises
    ------
    ConfigError
        If the folder holds something, or a corpus to judge on has no emotions.
    DataError
        If a corpus is missing or cannot be read.
    """
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} holds files already; give --out another folder, or empty it")
    step("reading corpora")
    teachers = teachers_of(licence)
    lines = read_taught(data_dir, leave_out, teachers)
    meld = {split: read_judged("meld", data_dir, (split,)) for split in ("train", "dev")}
    asked = [("MELD, development", meld["dev"]), ("EmoryNLP, development", read_judged("emorynlp", data_dir, ("dev",)))]
    if leave_out is None:
        asked.append(("GoEmotions, development", read_judged("goemotions", data_dir, ("dev",))))
    else:
        asked.append((f"{leave_out}, left out, all lines", read_judged(leave_out, data_dir, ("train", "dev", "test"))))
    if silent := [what for what, each in asked if not len(each)]:
        raise ConfigError(f"nobody named emotions in {silent[0]}, so nothing can be judged on it; choose another")
    step(f"teaching on {len(lines):,} lines")
    model = teach(lines, config, progress)
    step("judging")
    rows = [Row(f"{what}; its own answers", own_answers(model, each)) for what, each in asked]
    linear = linear_on_features(model, meld["train"], meld["dev"])
    rows.append(Row("MELD, development; a linear layer learned on its training lines", linear))
    taught = [name for name in teachers if name != leave_out]
    _write(model, out, config, rows, len(lines), leave_out, taught)
    if export is not None:
        terms = licence_of_weights([factory(name).info.licence for name in taught])
        save_upper(model.encoder, config.frozen, *export, terms)
    return rows


def _write(
    model: TaughtWords,
    out: Path,
    config: WordsConfig,
    rows: list[Row],
    lines: int,
    leave_out: str | None,
    taught: list[str],
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    model.encoder.save_pretrained(out)
    model.tokenizer.save_pretrained(out)
    told = {"settings": asdict(config), "lines": lines, "left_out": leave_out, "figures": [asdict(row) for row in rows]}
    (out / FIGURES).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    (out / CARD).write_text(_card(config, rows, lines, taught), encoding="utf-8")


def _card(config: WordsConfig, rows: list[Row], lines: int, taught: list[str]) -> str:
    terms = "\n".join(f"| {name} | {factory(name).info.title} | {factory(name).info.licence} |" for name in taught)
    names = sorted({name for row in rows for name in row.figures.recall})
    table = "\n".join(
        f"| {row.what} | {row.figures.rows:,} | {row.figures.classes} | {row.figures.uar:.3f} "
        f"| {row.figures.weighted_f1:.3f} | "
        + " | ".join(f"{row.figures.recall[name]:.2f}" if name in row.figures.recall else "" for name in names)
        + " |"
        for row in rows
    )
    return f"""# An encoder of words that was taught emotion

MiniLM-L6, its embeddings and first {config.frozen} layers as they were, the others taught on {lines:,} lines: seven
emotions by shares of votes, GoEmotions' finer ones, valence and arousal at once. {config.epochs} epochs of at most
{config.most_a_class:,} lines of each emotion, seed {config.seed}. English only.

| corpus | | licence |
|---|---|---|
{terms}

What it learned from may be used as the strictest of these licences allows. Lines of three words or more that stand in
MELD, in EmoryNLP, or in a development or test split were left out. Figures are of development splits; answers are
chosen among the emotions that occur.

| asked about | lines | emotions | UAR | weighted F1 | {" | ".join(f"recall, {name}" for name in names)} |
|---|---:|---:|---:|---:|{"---:|" * len(names)}
{table}
"""
