from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.recorded import answers, recorded_run

from fedaffect.edge.errors import RunError
from fedaffect.simulation.comparison.compare import compare, sides_of
from fedaffect.simulation.recorded_run import SWEEP


def sweep(out: Path, name: str, seeds: range, **right: float) -> Path:
    folder = out / name
    for setting, share in right.items():
        for seed in seeds:
            recorded_run(folder, f"strategy={setting},seed={seed}", *answers(400, share, seed), seed=seed)
    (folder / SWEEP).write_text("{}")
    return folder


def test_a_clear_difference_is_called_one(tmp_path: Path) -> None:
    folder = sweep(tmp_path, "swept", range(4), fedavg=0.60, fedprox=0.75)
    (comparison,) = compare(sides_of(folder))
    assert (comparison.first, comparison.second) == ("strategy=fedavg", "strategy=fedprox")
    assert comparison.seeds["uar"].seeds == (0, 1, 2, 3)
    assert 0.10 < comparison.seeds["uar"].mean < 0.20
    assert not comparison.could_be_chance
    assert "is better than strategy=fedavg" in comparison.verdict()
    assert "hardly" in comparison.verdict()
    assert comparison.samples is not None
    assert comparison.samples.uar.difference == pytest.approx(comparison.seeds["uar"].mean)
    assert comparison.samples.uar_by_owner is not None


def test_luck_is_called_luck(tmp_path: Path) -> None:
    one = recorded_run(tmp_path, "one", *answers(200, 0.60, 1))
    other = recorded_run(tmp_path, "other", *answers(200, 0.61, 2))
    (comparison,) = compare([*sides_of(one), *sides_of(other)])
    assert comparison.could_be_chance
    assert "could be chance" in comparison.verdict()


def test_one_seed_says_so_even_if_samples_agree(tmp_path: Path) -> None:
    one = recorded_run(tmp_path, "one", *answers(500, 0.5, 1))
    other = recorded_run(tmp_path, "other", *answers(500, 0.8, 2))
    (comparison,) = compare([*sides_of(one), *sides_of(other)])
    assert not comparison.could_be_chance
    assert "of this one seed" in comparison.verdict()


def test_other_samples_are_compared_over_seeds_only(tmp_path: Path) -> None:
    one = recorded_run(tmp_path, "one", *answers(200, 0.6, 1))
    other = recorded_run(tmp_path, "other", *answers(100, 0.7, 2))
    (comparison,) = compare([*sides_of(one), *sides_of(other)])
    assert comparison.samples is None
    assert comparison.could_be_chance
    assert "more --seeds" in comparison.verdict()


def test_the_level_falls_with_the_number_of_comparisons(tmp_path: Path) -> None:
    folder = sweep(tmp_path, "swept", range(2), a=0.5, b=0.55, c=0.6)
    comparisons = compare(sides_of(folder))
    assert [c.alpha for c in comparisons] == [0.025, 0.025]
    assert comparisons[0].samples is not None
    assert comparisons[0].samples.uar.level == pytest.approx(0.975)


def test_folds_are_compared_over_all_their_samples(tmp_path: Path) -> None:
    for name, share in (("one", 0.5), ("other", 0.7)):
        top = recorded_run(tmp_path, name, *answers(300, share, 0))
        (top / "predictions.npz").unlink()
        for fold in (1, 2, 3):
            recorded_run(top, f"fold-{fold}", *answers(100, share, fold), owners=4)
    (comparison,) = compare([*sides_of(tmp_path / "one"), *sides_of(tmp_path / "other")])
    assert comparison.samples is not None
    assert comparison.samples.samples == 300


def test_what_cannot_be_compared_says_why(tmp_path: Path) -> None:
    one = recorded_run(tmp_path, "one", *answers(50, 0.6, 1), seed=1)
    two = recorded_run(tmp_path, "two", *answers(50, 0.6, 1), seed=2)
    with pytest.raises(RunError, match="different seeds, 1 and 2"):
        compare([*sides_of(one), *sides_of(two)])
    other = recorded_run(tmp_path, "other", *answers(50, 0.6, 1), seed=1, dataset="urdu")
    with pytest.raises(RunError, match="compare runs of one corpus and label set"):
        compare([*sides_of(one), *sides_of(other)])
    with pytest.raises(RunError, match="nothing to compare"):
        compare(sides_of(one))
    (one / "summary.json").unlink()
    with pytest.raises(RunError, match="--resume"):
        sides_of(one)
    with pytest.raises(RunError, match="neither a run nor a sweep"):
        sides_of(tmp_path)
