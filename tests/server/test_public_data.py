"""Public corpora are read for replay and guard: who guards is never replayed, and what does not fit is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.edge.conftest import tiny_bundle
from tests.support.public_lines import MARKS, write_lines
from tests.support.small_corpora import write_meld, write_ravdess

from fedaffect.client.cohort import Cohort, TokenTable
from fedaffect.edge.bundle import Bundle, keys_of
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.labels import label_set
from fedaffect.server.federation.replay import chances_of
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.public_data import public_of, read_public

__all__ = ["tiny_bundle"]


@pytest.fixture
def like(tiny_bundle: Path) -> Cohort:
    """A run's cohort without a row, as a fleet has it."""
    manifest = Bundle.load(tiny_bundle, None).manifest
    nothing = np.zeros(0, np.int64)
    widths = {m: e.width for m, e in manifest.encoders.items()}
    return Cohort(
        tables={m: TokenTable(np.zeros((0, w), np.float16), np.zeros(1, np.int64)) for m, w in widths.items()},
        present={m: np.zeros(0, bool) for m in widths},
        labels=nothing,
        train_labels=nothing,
        client_offsets=np.zeros(2, np.int64),
        client_rows=nothing,
        splits={},
        groups=nothing,
        group_names=(),
        client_names=("d",),
        label_names=label_set("shared7").labels,
        about={"encoder_keys": {m: sorted(keys_of(e)) for m, e in manifest.encoders.items()}},
    )


@pytest.fixture
def settings(tiny_bundle: Path) -> Callable[..., RunSettings]:
    return lambda **more: RunSettings.of(dataset="devices", bundle=str(tiny_bundle), **more)


def test_who_guards_is_never_replayed(settings: Callable[..., RunSettings], like: Cohort, tmp_path: Path) -> None:
    write_ravdess(tmp_path / "voices")
    lines = write_lines(tmp_path / "lines")
    public = read_public(settings(replay=f"{tmp_path / 'voices'},folder={lines}"), like)
    assert public.group_names == ("ravdess", "lines")
    guards, own = np.concatenate(list(public.splits.values())), public.rows_of(0)
    assert not set(guards) & set(own)
    # By actors 19 and 20 a run steps back, and 21 to 24 judge it.
    voices, lined = {"choosing.ravdess": 2 * 8, "ravdess": 4 * 8}, {"choosing.lines": 24, "lines": 24}
    assert {name: len(rows) for name, rows in public.splits.items()} == voices | lined
    assert len(guards) == len(set(guards))
    # The default fusion learned from actors 1 to 18; of the lines' people every fifth guards.
    assert len(own) == 18 * 8 + 8 * 24
    assert not public.present["audio"][public.splits["lines"]].any()
    assert public.soft_labels is not None
    np.testing.assert_allclose(public.soft_labels.sum(1), 1, atol=1e-5)
    # Modalities as often as each other, whatever their sizes.
    of_voices = public.present["audio"][own]
    assert chances_of(public)[of_voices].sum() == pytest.approx(0.5)


def test_a_guard_alone_is_read_whole_where_nobody_is_held_out(
    settings: Callable[..., RunSettings], like: Cohort, tmp_path: Path
) -> None:
    lines, talk = write_lines(tmp_path / "lines"), tmp_path / "talk"
    write_meld(talk)
    public = read_public(settings(guard=[str(lines), f"meld={talk}"]), like)
    talked = {"choosing.meld": 10 * 7, "meld": 10 * 7}
    assert {name: len(rows) for name, rows in public.splits.items()} == {"choosing.lines": 120, "lines": 120, **talked}
    assert len(public.rows_of(0)) == 0


def test_what_public_data_was_rated_is_kept_and_the_rest_is_no_number(
    settings: Callable[..., RunSettings], like: Cohort, tmp_path: Path
) -> None:
    write_ravdess(tmp_path / "voices")
    lines = write_lines(tmp_path / "lines")
    rated = replace(like, rating_names=("valence", "intensity"), ratings=np.zeros((0, 2), np.float32))
    public = read_public(settings(replay=f"{tmp_path / 'voices'},folder={lines}"), rated)
    assert public.output_names == (*like.label_names, "valence", "intensity")
    assert public.ratings is not None
    # RAVDESS tells how strong seven of its eight emotions are; lines tell nothing.
    (valence, intensity), voices = np.isfinite(public.ratings).T, public.present["audio"]
    assert not valence.any()
    assert not intensity[~voices].any()
    assert 8 * intensity.sum() == 7 * voices.sum() > 0


def test_lines_that_guard_are_not_replayed_from_another_corpus(
    settings: Callable[..., RunSettings], like: Cohort, tmp_path: Path
) -> None:
    talk, own = tmp_path / "talk", tmp_path / "own"
    write_meld(talk)
    own.mkdir()
    (own / "lines.csv").write_text("text,label\nWhat a lovely day,joy\nso happy today,joy\n", encoding="utf-8")
    public = read_public(settings(replay=str(own), guard=f"meld={talk}"), like)
    assert len(public.rows_of(0)) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"guard": "no-such"}, "no folder no-such"),
        ({"guard": "revdess=."}, "did you mean 'ravdess'"),
        ({"guard": "{lines}", "modalities": "audio"}, "the run has audio; leave it out"),
        ({"replay": "{lines},folder={lines}"}, "is a second lines; give each corpus once"),
        ({"guard": "{lines}", "normalise": "client"}, "leave --normalise out"),
        ({"guard": "{lines}", "mode": "local-only"}, "leave --replay and --guard out"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(
    given: dict[str, Any], message: str, settings: Callable[..., RunSettings], like: Cohort, tmp_path: Path
) -> None:
    lines = write_lines(tmp_path / "lines")
    given = {name: value.format(lines=lines) for name, value in given.items()}
    with pytest.raises((ConfigError, DataError), match=message):
        read_public(settings(**given), like)


def test_other_encoders_than_the_runs_are_refused(
    settings: Callable[..., RunSettings], like: Cohort, tmp_path: Path
) -> None:
    other = replace(like, about={"encoder_keys": {"text": "of-another"}})
    with pytest.raises(ConfigError, match="the run's text encoder is not that of"):
        read_public(settings(guard=str(write_lines(tmp_path / "lines"))), other)


def test_a_run_without_either_reads_nothing(settings: Callable[..., RunSettings]) -> None:
    assert public_of(settings()) is None
    assert set(MARKS) < set(label_set("shared7").labels)
