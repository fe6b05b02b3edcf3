from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedaffect.edge.calibration import Curve, choose_threshold, offload_curve
from fedaffect.edge.calibration.joint import joint_places
from fedaffect.edge.errors import ConfigError, DataError

requests = st.lists(
    st.tuples(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0])), st.booleans(), st.booleans()),
    min_size=1,
    max_size=60,
)


def _arrays(rows):
    confidence, edge, cloud = zip(*rows, strict=True)
    return np.array(confidence), np.array(edge), np.array(cloud)


@settings(deadline=None, max_examples=200)
@given(requests)
def test_ends_are_edge_and_cloud_and_every_point_is_what_its_threshold_gives(rows) -> None:
    confidence, edge, cloud = _arrays(rows)
    curve = offload_curve(confidence, edge, cloud)
    assert curve.edge_accuracy == edge.mean()
    assert curve.cloud_accuracy == cloud.mean()
    assert curve.shares[0] == 0
    assert curve.shares[-1] == 1
    assert (np.diff(curve.shares) > 0).all()
    assert (np.diff(curve.thresholds) > 0).all()
    for threshold, share, accuracy in zip(curve.thresholds, curve.shares, curve.accuracies, strict=True):
        sent = confidence < threshold
        assert share == sent.mean()
        assert accuracy == pytest.approx(np.where(sent, cloud, edge).mean())


@settings(deadline=None, max_examples=200)
@given(requests, st.one_of(st.none(), st.floats(0, 1)), st.one_of(st.none(), st.floats(0, 1)))
def test_a_choice_keeps_its_bounds_or_says_that_it_does_not(rows, max_offloaded, keep) -> None:
    curve = offload_curve(*_arrays(rows))
    if max_offloaded is None and keep is None:
        with pytest.raises(ConfigError, match="target"):
            choose_threshold(curve)
        return
    choice = choose_threshold(curve, max_offloaded=max_offloaded, keep=keep)
    assert 0 <= choice.threshold <= 1
    if max_offloaded is not None:
        assert choice.share <= max_offloaded + 1e-9
    if keep is not None and curve.gap > 0:
        reaches = curve.accuracies >= curve.edge_accuracy + keep * curve.gap - 1e-9
        possible = reaches & (curve.shares <= (1 if max_offloaded is None else max_offloaded) + 1e-12)
        assert choice.met == possible.any()
        if choice.met:
            assert choice.share == curve.shares[possible][0]
    if keep is None:
        assert choice.met
        assert choice.share == min(curve.shares[curve.within(max_offloaded)], curve.shares[curve.accuracies.argmax()])


def _constructed(n: int = 4000, seed: int = 0):
    """An edge that is right as often as it says; a cloud that is right in 85 of 100."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.2, 1, n)
    return confidence, rng.random(n) < confidence, rng.random(n) < 0.85


def test_asking_about_the_least_sure_beats_asking_by_chance() -> None:
    curve = offload_curve(*_constructed())
    assert curve.gap == pytest.approx(0.25, abs=0.03)
    assert curve.area > curve.random_area + 0.05
    within = choose_threshold(curve, max_offloaded=0.35)
    assert within.accuracy > within.random_accuracy + 0.08
    enough = choose_threshold(curve, keep=0.9)
    assert enough.met
    assert enough.recovered >= 0.9
    assert enough.share < 0.6


def test_a_target_out_of_reach_is_said_to_be() -> None:
    choice = choose_threshold(offload_curve(*_constructed()), max_offloaded=0.05, keep=0.9)
    assert not choice.met
    assert choice.share <= 0.05


def test_a_cloud_that_is_no_better_is_not_asked() -> None:
    confidence, edge, _ = _constructed()
    curve = offload_curve(confidence, edge, np.zeros(len(edge), bool))
    choice = choose_threshold(curve, keep=0.9)
    assert (choice.threshold, choice.share, choice.met) == (0, 0, True)
    assert math.isnan(choice.recovered)
    assert curve.first_to_recover(0.9) is None


def test_equal_confidence_goes_together() -> None:
    curve = offload_curve(np.full(10, 0.5), np.zeros(10), np.ones(10))
    np.testing.assert_array_equal(curve.shares, [0, 1])
    assert choose_threshold(curve, max_offloaded=0.9).share == 0


def test_neighbouring_floats_are_parted() -> None:
    low = 0.5
    high = np.nextafter(low, 1)
    curve = offload_curve(np.array([low, high]), np.zeros(2), np.ones(2))
    assert curve.shares.tolist() == [0, 0.5, 1]
    assert (np.array([low, high]) < curve.thresholds[1]).tolist() == [True, False]


@pytest.mark.parametrize(
    ("confidence", "edge", "what"),
    [
        (np.zeros(0), np.zeros(0), "no requests"),
        (np.array([math.nan]), np.ones(1), "not a number"),
        (np.ones(2), np.ones(3), "differ"),
    ],
)
def test_what_gives_no_curve_is_refused(confidence, edge, what: str) -> None:
    with pytest.raises(DataError, match=what):
        offload_curve(confidence, edge, edge)


@pytest.mark.parametrize("target", [{"max_offloaded": 1.2}, {"keep": -0.1}])
def test_targets_out_of_range_are_refused(target) -> None:
    with pytest.raises(ConfigError, match=r"lies in \[0, 1\]"):
        choose_threshold(offload_curve(*_constructed(20)), **target)


def _mixed(samples: int, worth: float, seed: int) -> Curve:
    """Constructed: where the edge is unsure the cloud is right more often, by ``worth`` at confidence 0."""
    rng = np.random.default_rng(seed)
    confidence = rng.random(samples)
    edge = rng.random(samples) < 0.4 + 0.5 * confidence
    cloud = rng.random(samples) < 0.4 + 0.5 * confidence + worth * (1 - confidence)
    return offload_curve(confidence, edge, cloud)


def test_jointly_the_cloud_is_asked_where_it_gains_most() -> None:
    curves = {"text": _mixed(3000, 0.5, 0), "video": _mixed(3000, 0.1, 1)}
    places = joint_places(curves, 0.35)
    share = {name: float(curve.shares[places[name]]) for name, curve in curves.items()}
    assert sum(share.values()) / 2 <= 0.35 + 1e-9
    assert share["text"] > 2 * share["video"]
    gained = sum(curve.accuracies[places[name]] - curve.edge_accuracy for name, curve in curves.items())
    each = sum(curve.accuracies[curve.within(0.35)] - curve.edge_accuracy for curve in curves.values())
    assert gained > each


def test_jointly_nothing_is_asked_that_gains_nothing() -> None:
    curves = {"text": _mixed(2000, -0.3, 0), "video": _mixed(2000, 0.3, 1)}
    places = joint_places(curves, 1.0)
    assert curves["text"].shares[places["text"]] < 0.05
    assert curves["video"].shares[places["video"]] > 0.5
    assert joint_places(curves, 0.0) == {"text": 0, "video": 0}


@pytest.mark.parametrize("bound", [0.1, 0.35, 0.8])
def test_one_subset_alone_fills_the_bound(bound: float) -> None:
    curve = _mixed(4000, 0.4, 2)
    place = joint_places({"audio": curve}, bound)["audio"]
    assert curve.shares[place] == pytest.approx(bound, abs=1e-3)
