"""From answers to adaptations: never on an unsure answer, and without flicker."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedaffect.edge.adaptation import Adapter, Policy
from fedaffect.edge.adaptation.adapter import shares_of
from fedaffect.edge.prediction import Prediction

_LABELS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")


def answer(ratings: dict[str, float] | None = None, **shares: float) -> Prediction:
    rest = (1 - sum(shares.values())) / (len(_LABELS) - len(shares))
    probabilities = {label: shares.get(label, rest) for label in _LABELS}
    label = max(probabilities, key=lambda name: probabilities[name])
    return Prediction(
        label, probabilities, probabilities[label], "edge", ("text",), 1.0, "v", "sure", ratings=ratings or {}
    )


def test_a_sure_answer_begins_a_state_at_once() -> None:
    made = Adapter()(answer(anger=0.9), 0.0)
    assert (made.state, made.response, made.theme, made.pace) == ("tense", "calm", "quiet", "slow")
    assert made.speed == 0.75
    assert made.cues == ("Let us slow down for a moment.", "One step at a time.")
    assert made.share == pytest.approx(0.9)
    assert made.policy == "1"


def test_emotions_of_one_state_count_together() -> None:
    # Neither is likely alone; that the person is low is.
    assert Adapter()(answer(sadness=0.35, fear=0.3), 0.0).state == "low"


@pytest.mark.parametrize("label", ["neutral", "disgust"])
def test_what_no_state_names_changes_nothing(label: str) -> None:
    made = Adapter()(answer(None, **{label: 0.95}), 0.0)
    assert (made.state, made.response, made.cues) == ("plain", "plain", ())


def test_a_state_stays_and_then_gives_way() -> None:
    adapter = Adapter()
    assert adapter(answer(anger=0.9), 0.0).state == "tense"
    assert adapter(answer(joy=0.9), 1.0).state == "tense"
    assert adapter(answer(joy=0.9), 3.9).state == "tense"
    assert adapter(answer(joy=0.9), 4.1).state == "glad"


def test_a_state_ends_where_nothing_is_sure() -> None:
    adapter = Adapter()
    adapter(answer(joy=0.9), 0.0)
    # Between the shares for ending and beginning, it stays.
    assert adapter(answer(joy=0.35, surprise=0.08, neutral=0.5), 50.0).state == "glad"
    assert adapter(answer(neutral=0.9), 100.0).state == "plain"


def test_never_on_low_confidence_and_never_faster_than_the_dwell_time() -> None:
    policy = Policy.read()
    rng = np.random.default_rng(0)
    for _ in range(50):
        adapter, before, changed_s = Adapter(policy), "plain", -np.inf
        for time_s in np.cumsum(rng.exponential(0.5, 80)):
            shares = rng.dirichlet(np.full(len(_LABELS), 0.4))
            probabilities = dict(zip(_LABELS, shares.tolist(), strict=True))
            made = adapter(replace(answer(joy=0.5), probabilities=probabilities), float(time_s))
            if made.state != before:
                assert time_s - changed_s >= policy.when.dwell_s
                assert made.state == "plain" or made.share >= policy.when.begin
                before, changed_s = made.state, time_s
        unsure = dict.fromkeys(_LABELS, 1 / len(_LABELS))
        for late_s in range(1, 40):
            made = adapter(replace(answer(joy=0.5), probabilities=unsure), float(time_s) + late_s)
        assert made.state == "plain"


def test_a_clock_that_goes_back_does_no_harm() -> None:
    adapter = Adapter()
    adapter(answer(anger=0.9), 10.0)
    assert adapter(answer(joy=0.9), 2.0).state == "tense"


def test_stress_is_what_ratings_show() -> None:
    policy = Policy.read()
    tense = answer({"arousal": 0.6, "valence": -0.5}, neutral=0.8)
    assert shares_of(policy, tense.probabilities, tense.ratings)["tense"] > 0.8
    assert Adapter()(tense, 0.0).response == "calm"
    assert Adapter()(answer({"arousal": 0.6, "valence": 0.5}, neutral=0.8), 0.0).state == "plain"
    assert Adapter()(answer(neutral=0.8), 0.0).state == "plain"


def test_shares_are_of_probability() -> None:
    policy = Policy.read()
    rng = np.random.default_rng(1)
    for _ in range(200):
        probabilities = dict(zip(_LABELS, rng.dirichlet(np.ones(7)).tolist(), strict=True))
        ratings = {"arousal": rng.uniform(-1, 1), "valence": rng.uniform(-1, 1)}
        shares = shares_of(policy, probabilities, ratings)
        assert all(0 <= share <= 1 + 1e-9 for share in shares.values())
        assert sum(shares.values()) <= 1 + 1e-9


def test_as_json() -> None:
    values = Adapter(language="de")(answer(sadness=0.9), 0.0).to_json()
    assert values["tone"] == "supportive"
    assert values["cues"][1] == "Möchtest du Hilfe?"
    assert set(values) >= {"theme", "tone", "pace", "cues", "manner", "speed", "policy"}
