"""Whom a fusion learned from, and who is far from them all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.edge.bundle.conftest import MakeBundle

from fedaffect.edge.bundle import Bundle, FileEntry, Manifest
from fedaffect.edge.bundle.population import FAR, Group, Population, centred, read_populations, write_populations
from fedaffect.edge.errors import BundleError, DataError

WIDTH, CLASSES = 40, 4


def people(
    count: int, clips: int, seed: int, *, shift: float = 0.0, neutral: float = 0.25
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Constructed people: classes one apart, persons a half, clips a half; some of them all shifted alike."""
    means = np.random.default_rng(99).normal(size=(CLASSES, WIDTH))
    draw = np.random.default_rng(seed)
    owners = np.repeat(np.arange(count), clips)
    weights = np.r_[neutral, np.full(CLASSES - 1, (1 - neutral) / (CLASSES - 1))]
    labels = draw.choice(CLASSES, size=len(owners), p=weights)
    offsets = draw.normal(scale=0.5, size=(count, WIDTH)) + shift
    return means[labels] + offsets[owners] + draw.normal(scale=0.5, size=(len(owners), WIDTH)), labels, owners


@pytest.fixture(scope="module")
def population() -> Population:
    return Population({"them": Group.measured(*people(20, 40, 0), CLASSES)})


def shown(labels: np.ndarray) -> np.ndarray:
    return np.eye(CLASSES)[labels]


def test_people_like_those_are_about_one_away_and_others_far(population: Population) -> None:
    for count in (12, 40):
        near = [population.offset(clips, shown(labels)) for clips, labels, _ in (people(1, count, s) for s in range(9))]
        assert max(distance for distance, _ in near) < FAR
        assert all(offset is None for _, offset in near)
        far = [
            population.offset(clips, shown(labels))
            for clips, labels, _ in (people(1, count, s, shift=2.0) for s in range(9))
        ]
        assert min(distance for distance, _ in far) > FAR
    distance, offset = population.offset(*(lambda c, y, _: (c, shown(y)))(*people(1, 40, 3, shift=2.0)))
    assert offset is not None
    assert np.abs(offset.mean() - 2.0) < 0.3
    assert distance > FAR


def test_who_mostly_shows_one_emotion_is_not_taken_for_another_person(population: Population) -> None:
    balanced, skewed = (
        population.offset(clips, shown(labels))[1]
        for clips, labels, _ in (people(1, 200, 5, shift=2.0, neutral=share) for share in (0.25, 0.97))
    )
    assert balanced is not None
    assert skewed is not None
    assert np.abs(balanced - skewed).mean() < 0.15
    clips, labels, _ = people(1, 200, 5, neutral=1.0)
    assert population.offset(clips, shown(labels))[1] is None
    # Nor would it do to take everybody for showing everything alike.
    unsure = np.full((200, CLASSES), 1 / CLASSES)
    assert population.offset(clips, unsure)[0] > population.offset(clips, shown(labels))[0]


def test_the_nearest_of_several_groups_decides(population: Population) -> None:
    others = Group.measured(*people(20, 40, 1, shift=2.0), CLASSES)
    both = Population({**population.groups, "others": others})
    clips, labels, _ = people(1, 20, 7, shift=2.0)
    assert population.offset(clips, shown(labels))[1] is not None
    assert both.offset(clips, shown(labels))[1] is None


def test_few_clips_say_too_little(population: Population) -> None:
    for count in (1, 11):
        distance, offset = population.offset(np.full((count, WIDTH), 9.0), np.full((count, CLASSES), 1 / CLASSES))
        assert distance > FAR
        assert offset is None
    assert np.isnan(population.offset(np.zeros((0, WIDTH)), np.zeros((0, CLASSES)))[0])


def test_a_class_that_nobody_shows_is_the_mean_of_the_others() -> None:
    clips, labels, owners = people(5, 20, 0)
    group = Group.measured(clips, labels, owners, CLASSES + 1)
    assert group.class_means.shape == (CLASSES + 1, WIDTH)
    np.testing.assert_allclose(group.class_means[-1], group.class_means[:-1].mean(axis=0), atol=0.4)


@pytest.mark.parametrize("count", [0, 1])
def test_a_population_is_of_several_people(count: int) -> None:
    with pytest.raises(DataError, match="two people or more"):
        Group.measured(*people(count, 5, 0), CLASSES)


def test_what_is_written_is_read_and_what_is_damaged_refused(population: Population, tmp_path: Path) -> None:
    path = tmp_path / "population.npz"
    write_populations({"audio": population}, path)
    (group,) = read_populations(path)["audio"].groups.values()
    np.testing.assert_allclose(group.class_means, population.groups["them"].class_means, rtol=1e-3, atol=1e-4)
    whole = path.read_bytes()
    for damaged in (b"", b"PK", whole[: len(whole) // 2], b"\x93NUMPY" + bytes(90)):
        path.write_bytes(damaged)
        with pytest.raises(BundleError, match="build the bundle again"):
            read_populations(path)
    for arrays in ({"audio/x": np.ones(2)}, {"smell/a/within": np.ones(2)}, {"audio/a/within": np.ones(2)}):
        np.savez(path, **arrays)
        with pytest.raises(BundleError, match="build the bundle again"):
            read_populations(path)
    np.savez(path, **{f"audio/a/{part}": np.array([object()]) for part in ("class_means", "between", "within")})
    with pytest.raises(BundleError, match="build the bundle again"):
        read_populations(path)


def test_a_bundle_tells_only_of_its_own_features_and_labels(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    assert Bundle.load(folder, trust=None).populations() == {}
    manifest = Manifest.read(folder)
    assert manifest.fusion is not None
    width = manifest.fusion.widths["text"]
    for classes, wide, fits in ((CLASSES, width, True), (CLASSES + 1, width, False), (CLASSES, 3, False)):
        group = Group(np.zeros((classes, wide)), np.ones(wide), np.ones(wide))
        write_populations({"text": Population({"them": group})}, folder / "population.npz")
        fusion = replace(manifest.fusion, population=FileEntry.of(folder / "population.npz"))
        replace(manifest, fusion=fusion).write(folder)
        bundle = Bundle.load(folder, trust=None)
        if fits:
            assert bundle.populations()["text"].groups["them"].between.shape == (width,)
        else:
            with pytest.raises(BundleError, match="other features or labels"):
                bundle.populations()


def test_only_what_has_an_offset_is_changed() -> None:
    tokens = {"text": np.ones((2, 3), np.float32), "audio": np.ones((4, 2), np.float32)}
    made = centred(tokens, {"audio": np.array([1.0, 0.5], np.float32)})
    assert made["text"] is tokens["text"]
    np.testing.assert_array_equal(made["audio"], np.tile([0.0, 0.5], (4, 1)))
    assert centred(tokens, {}) is tokens
