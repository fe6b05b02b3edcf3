"""Constructed people, whose voices differ more than what they feel. Not real data."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.small_cohorts import constructed_cohort

from fedaffect.client.cohort import Cohort, TokenTable
from fedaffect.client.privacy.noise import SeededNoise
from fedaffect.simulation.privacy_curve.probe import STREAM, Projected, Public, centred, projected, with_features
from fedaffect.simulation.privacy_curve.training import Point, train

WIDTH = 8


@pytest.fixture
def people(tmp_path: Path) -> Cohort:
    cohort = Cohort.load(
        constructed_cohort(
            tmp_path / "cohort", clients=12, examples=20, widths={"audio": WIDTH}, tokens=1, ragged=False
        )
    )
    random = np.random.default_rng(0)
    # Held-out rows are of people who do not train.
    groups = cohort.groups.copy()
    for place, rows in enumerate(cohort.splits.values()):
        groups[rows] = 12 + 2 * place + np.arange(len(rows)) % 2
    voices = 4.0 * random.normal(size=(16, WIDTH))
    features = np.asarray(cohort.tables["audio"].tokens, np.float32) + voices[groups]
    names = tuple(f"person{k}" for k in range(16))
    return with_features(replace(cohort, groups=groups, group_names=names), features.astype(np.float32))


def test_taking_the_mean_off_lets_a_head_see_what_strangers_feel(people: Cohort) -> None:
    point = Point("utterance", math.inf, WIDTH, rounds=20, lr=8.0)
    plain = train(Projected(people), point, 0)
    without_voices = train(Projected(people, np.ones(WIDTH, np.float32)), point, 0)
    assert without_voices["test"] > plain["test"] + 0.15


def test_training_clients_pay_for_their_mean_and_held_out_owners_have_it_exactly(people: Cohort) -> None:
    made = Projected(people, np.full(WIDTH, 1.0, np.float32))
    exact, noisy = (centred(made, z, SeededNoise(0)) for z in (0.0, 5.0))
    held_out = np.concatenate(list(people.splits.values()))
    same = np.isin(np.arange(len(people.labels)), held_out)
    values = [np.asarray(c.tables[STREAM].tokens) for c in (exact, noisy)]
    assert np.array_equal(values[0][same], values[1][same])
    # One draw for all of a client's rows, and another for each client.
    offsets = [(values[1] - values[0])[people.rows_of(client)] for client in range(people.num_clients)]
    for offset in offsets:
        assert offset == pytest.approx(np.broadcast_to(offset[0], offset.shape), abs=1e-6)
        assert float(np.abs(offset).max()) > 1e-3
    assert not np.allclose(offsets[0][0], offsets[1][0])
    owner = people.groups[held_out[0]]
    rows = held_out[people.groups[held_out] == owner]
    assert values[0][rows].mean(axis=0) == pytest.approx(np.zeros(WIDTH), abs=1e-6)


def test_the_mean_is_in_the_epsilon_that_is_stated(people: Cohort) -> None:
    point = Point("utterance", 4.0, WIDTH, rounds=2, lr=8.0, clip_norm=0.5)
    paid = train(Projected(people, np.ones(WIDTH, np.float32)), point, 0)
    unpaid = train(Projected(people), point, 0)
    assert 0.98 * 4.0 < paid["epsilon"] <= 4.0
    # What the mean takes, the steps have not.
    assert paid["noise_multiplier"] > 1.05 * unpaid["noise_multiplier"]


def test_directions_for_centred_clients_are_what_varies_within_public_owners(people: Cohort) -> None:
    random = np.random.default_rng(3)
    owners = np.repeat(np.arange(10), 20)
    features = random.normal(size=(200, WIDTH)).astype(np.float32)
    # The first feature tells owners apart and nothing else; the second is what each of them varies most.
    features[:, 0] = owners
    features[:, 1:] *= 0.3
    features[:, 2:] += 0.5 * random.normal(size=10)[owners, None].astype(np.float32)
    public = Public(TokenTable(np.repeat(features, 2, axis=0), 2 * np.arange(len(features) + 1)), owners)
    made = projected(people, public, 3, centre=True)
    assert made.cohort.tables[STREAM].width == 3
    assert made.between is not None
    assert made.between.shape == (3,)
    moved = np.asarray(people.tables[STREAM].tokens).copy()
    moved[:, 0] += 5.0
    again = projected(with_features(people, moved), public, 3, centre=True)
    assert np.asarray(again.cohort.tables[STREAM].tokens) == pytest.approx(
        np.asarray(made.cohort.tables[STREAM].tokens), abs=1e-3
    )
