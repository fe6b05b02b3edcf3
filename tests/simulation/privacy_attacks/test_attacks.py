"""The attacks get what they should from bare training, and no more than is claimed from private training."""

import json
import math

import numpy as np
import pytest
from click.testing import CliRunner

from fedaffect.client.privacy.settings import PrivacyConfig
from fedaffect.edge.errors import ConfigError
from fedaffect.simulation.cli.audit_privacy import RefutedClaimError, privacy
from fedaffect.simulation.privacy_attacks.inversion import invert_updates
from fedaffect.simulation.privacy_attacks.membership import attack_membership, tpr_at, training
from fedaffect.simulation.privacy_attacks.one_run import audit_one_run, chance_of_guesses, epsilon_lower_bound

SMALL = {"canaries": 160, "guesses": 60, "rounds": 2, "confidence": 0.95, "seed": 0}


def test_without_noise_the_canaries_prove_that_there_is_no_privacy() -> None:
    result = audit_one_run(math.inf, **SMALL)  # type: ignore[arg-type]
    assert result.lower_bound > 1
    assert result.right >= 58


@pytest.mark.parametrize("claim", [1.0, 4.0])
@pytest.mark.parametrize("noise", ["seeded", "secure"])
def test_what_the_canaries_prove_never_exceeds_the_claim(claim: float, noise: str) -> None:
    result = audit_one_run(claim, noise=noise, **SMALL)  # type: ignore[arg-type]
    assert result.lower_bound <= claim
    assert not result.refuted


def test_training_with_too_little_noise_is_found_out() -> None:
    """An audit that could not fail would be worth nothing."""
    result = audit_one_run(0.5, understate=0.05, **SMALL)  # type: ignore[arg-type]
    assert result.refuted


def test_the_bound_follows_the_theorem() -> None:
    # Without delta it is a binomial tail of randomised response.
    assert chance_of_guesses(100, 10, 10, 0.0, 0.0) == pytest.approx(0.5**10)
    assert chance_of_guesses(100, 10, 10, math.log(3), 0.0) == pytest.approx(0.75**10)
    assert chance_of_guesses(100, 10, 10, 1.0, 1e-3) > chance_of_guesses(100, 10, 10, 1.0, 0.0)
    assert epsilon_lower_bound(100, 100, 100, 1e-5, 0.95) == pytest.approx(3.48, abs=0.02)
    assert epsilon_lower_bound(100, 100, 55, 1e-5, 0.95) == 0.0
    bounds = [epsilon_lower_bound(400, 100, right, 1e-5, 0.95) for right in (60, 75, 90, 100)]
    assert bounds == sorted(bounds)
    with pytest.raises(ConfigError, match="raise --canaries"):
        audit_one_run(1.0, canaries=10, guesses=20)


def test_chance_guesses_rarely_prove_anything() -> None:
    rng = np.random.default_rng(0)
    proven = [epsilon_lower_bound(200, 100, int(rng.binomial(100, 0.5)), 1e-5, 0.95) > 0 for _ in range(400)]
    assert np.mean(proven) <= 0.05 + 0.03


def test_members_stand_out_without_privacy_and_not_with_it() -> None:
    bare = attack_membership(training(None), examples=400, models=16)
    assert bare.train_accuracy > bare.held_out_accuracy + 0.05, "nothing was learned by heart"
    assert bare.lira_auc > 0.75
    assert bare.lira_tpr > 0.1
    private = attack_membership(training(1.0), examples=400, models=16)
    assert private.lira_auc < 0.65 < bare.lira_auc
    assert private.lira_tpr < 0.02
    # (epsilon, delta) bounds every attack: TPR <= e^epsilon FPR + delta, here with room for chance.
    assert private.loss_tpr <= math.e * 1e-3 + 1e-5 + 0.01


def test_the_threshold_lets_one_in_a_thousand_through() -> None:
    members = np.arange(4000) % 2 == 0
    scores = np.random.default_rng(1).normal(size=4000)
    assert tpr_at(scores, members) < 0.01
    assert tpr_at(scores + 100 * members, members) == 1.0
    # Two non-members of two thousand may pass.
    scores = np.where(members, 1.0, 0.0)
    scores[np.flatnonzero(~members)[:2]] = 2.0
    assert tpr_at(scores, members) == 1.0
    scores[np.flatnonzero(~members)[2]] = 2.0
    assert tpr_at(scores, members) == 0.0


@pytest.mark.parametrize("tokens", [1, 4])
def test_a_bare_update_gives_its_tokens_away_and_a_private_one_does_not(tokens: int) -> None:
    bare = invert_updates(None, examples=2, tokens=tokens)
    assert bare.recovered > 0.99
    assert bare.cosine is None or bare.cosine > 0.99
    private = invert_updates(PrivacyConfig(epsilon=8.0), examples=2, tokens=tokens)
    assert private.recovered < 5 * private.chance + 0.02
    assert private.cosine is None or abs(private.cosine) < 0.3


def test_clipping_alone_hides_nothing() -> None:
    assert invert_updates(PrivacyConfig(epsilon=math.inf), examples=2).recovered > 0.99


def test_the_command_prints_all_attacks_and_refutes_a_false_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--canaries", "80", "--guesses", "30", "--skip", "membership", "--skip", "inversion", "--json"]
    made = CliRunner().invoke(privacy, arguments, catch_exceptions=False)
    found = json.loads(made.output)["one_run"]
    assert found["claimed"]["lower_bound"] <= 2.0 < 1 + found["without noise"]["lower_bound"]

    import fedaffect.simulation.privacy_attacks.one_run as one_run

    honest = one_run.audit_one_run
    monkeypatch.setattr(one_run, "audit_one_run", lambda claim, **more: honest(claim, understate=0.01, **more))
    with pytest.raises(RefutedClaimError, match="than the claimed"):
        CliRunner().invoke(privacy, ["--epsilon", "0.5", *arguments], catch_exceptions=False)


def test_the_command_shows_tables() -> None:
    arguments = ["--canaries", "60", "--guesses", "20", "--models", "4", "--skip", "membership"]
    made = CliRunner().invoke(privacy, arguments, catch_exceptions=False)
    assert made.exit_code == 0
    assert "Canaries in one run" in made.output
    assert "Gradient inversion" in made.output
