"""One dialogue of the test split, turn by turn: who says what, what the model answers, and what it attends to."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import shorten

import numpy as np
import torch
from numpy.typing import NDArray

from fedaffect.client.cohort import Cohort
from fedaffect.client.corpora.base import Utterance
from fedaffect.client.corpora.registry import open_corpus
from fedaffect.client.models.avafn import AVAFN
from fedaffect.edge.charts import svg
from fedaffect.edge.labels import label_set
from fedaffect.server.federation.evaluation import TEST, has_rows
from fedaffect.simulation.prepare import prepare
from fedaffect.simulation.preparing.columns import read_columns
from fedaffect.simulation.recorded_run import RecordedRun
from fedaffect.simulation.reproducing.heat_map import CELL, heat_map

_LEAST, _MOST, _WORDS = 5, 10, 46
_TEXT, _TOP = 420.0, 46.0


@dataclass(frozen=True, slots=True)
class Case:
    """A dialogue and what a model makes of it.

    Parameters
    ----------
    said : list of Utterance
        L turns in their order.
    answers : tuple of str
        What the model answers to each.
    shares : float array, shape (L, L)
        How much turn t attends to an earlier turn k; not a number from t on.
    """

    said: list[Utterance]
    answers: tuple[str, ...]
    shares: NDArray[np.float64]


def dialogue_figure(run: RecordedRun) -> str:
    """The case as a figure; empty where the model has no attention over turns, or no test dialogue has enough."""
    found = case_of(run)
    return "" if found is None else _drawn(found)


def case_of(run: RecordedRun) -> Case | None:
    """The first test dialogue of 5 to 10 turns in which a speaker's emotion changes."""
    model = run.model()
    if not isinstance(model, AVAFN) or not model.attends_to_turns:
        return None
    cohort = Cohort.load(prepare(run.config, progress=False))
    if cohort.dialogues is None or not has_rows(cohort, TEST):
        return None
    rows = _with_a_change(cohort)
    if rows is None:
        return None
    batch = cohort.gather(rows, train=False, unit=model.unit)
    if batch.turns is None:
        return None
    with torch.inference_mode():
        scores, shares = model.with_context(batch.tokens, batch.present, batch.turns)
    attended = shares[0].numpy().astype(np.float64)
    attended[np.triu_indices(len(rows))] = np.nan
    return Case(_said(run, cohort, rows), tuple(cohort.label_names[i] for i in scores.argmax(-1).tolist()), attended)


def _with_a_change(cohort: Cohort) -> NDArray[np.int64] | None:
    """Rows of the dialogue, in the order of its turns; all of its turns are in the cohort's test split."""
    dialogues = cohort.dialogues
    if dialogues is None:
        return None
    test: NDArray[np.int64] = cohort.splits[TEST]
    for dialogue in np.unique(dialogues.ids[test]):
        rows: NDArray[np.int64] = test[dialogues.ids[test] == dialogue]
        whole = np.flatnonzero(dialogues.ids == dialogue)
        if dialogue < 0 or not _LEAST <= len(rows) <= _MOST or len(rows) < len(whole):
            continue
        rows = rows[np.argsort(dialogues.turns[rows], kind="stable")]
        pairs = {(int(dialogues.speakers[row]), int(cohort.labels[row])) for row in rows}
        if len(pairs) > len({speaker for speaker, _ in pairs}):
            return rows
    return None


def _said(run: RecordedRun, cohort: Cohort, rows: NDArray[np.int64]) -> list[Utterance]:
    """The utterances of some rows; a cohort keeps no words, and dialogue and turn say which they are."""
    data = run.config.data
    columns = read_columns(open_corpus(data.dataset, data.data_dir), label_set(data.labels))
    places = {pair: n for n, pair in enumerate(zip(columns.dialogues.tolist(), columns.turns.tolist(), strict=True))}
    if cohort.dialogues is None:
        return []
    dialogues = cohort.dialogues
    return [columns.utterances[places[int(dialogues.ids[row]), int(dialogues.turns[row])]] for row in rows]


def _drawn(case: Case) -> str:
    turns = len(case.said)
    parts = [
        svg.text(8, 20, "turn, speaker, words", class_="head"),
        svg.text(_TEXT - 120, 20, "true → answered", class_="head"),
        svg.text(_TEXT + 16, 20, "attends to turn", class_="head"),
    ]
    for t, (one, answer) in enumerate(zip(case.said, case.answers, strict=True)):
        y = _TOP + (t + 0.5) * CELL
        words = shorten(one.sample.text or "", _WORDS, placeholder=" …")
        verdict = "✓" if answer == one.label else "✗"
        parts.append(svg.text(8, y - 4, f"{t + 1}  {one.speaker}", class_="head"))
        parts.append(svg.text(24, y + 12, words, class_="name"))
        parts.append(svg.text(_TEXT - 120, y - 4, f"{one.label} → {answer} {verdict}"))
        parts.append(svg.text(_TEXT + 16 + (t + 0.5) * CELL, _TOP - 8, f"{t + 1}", text_anchor="middle", class_="tick"))
    said = [[f"turn {t + 1} attends to turn {k + 1}" for k in range(turns)] for t in range(turns)]
    parts.append(heat_map(case.shares, _TEXT + 16, _TOP, said))
    right = sum(answer == one.label for one, answer in zip(case.said, case.answers, strict=True))
    return svg.figure(
        "dialogue",
        _TEXT + 24 + CELL * turns,
        _TOP + CELL * turns + 8,
        "One dialogue, and what each turn attends to",
        f"{turns} turns, {right} answered as labelled.",
        "".join(parts),
    )
