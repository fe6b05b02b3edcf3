"""Settings under which the privacy guarantee would not hold, refused with the bound that they break.

The server asks when a run is set up, and each client again before it trains: it trusts nobody's configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedaffect.client.loss_names import EXAMPLE_LOSS_NAMES
from fedaffect.client.privacy.settings import LOCAL
from fedaffect.edge.errors import ConfigError

# The stream of past utterances.
CONTEXT = "context"


def require_bounded_training(kind: str, loss: str, algorithm: str, keep_optimizer: bool) -> None:
    """Refuse local training whose bound does not hold.

    Parameters
    ----------
    kind : {"local", "central"}
    loss, algorithm : str
        By their names.
    keep_optimizer : bool

    Raises
    ------
    ConfigError
        Saying which bound breaks.
    """
    if kind == LOCAL:
        if loss not in EXAMPLE_LOSS_NAMES:
            raise ConfigError(
                f"--loss {loss} weighs by the class counts of all of a client's examples, so that one example changes "
                f"every other's gradient: the bound of one example's part in a clipped sum breaks; "
                f"use --loss {' or '.join(EXAMPLE_LOSS_NAMES)}"
            )
        if algorithm == "fedrs":
            raise ConfigError(
                "fedrs restricts the softmax by which classes a client has, so that one example changes every other's "
                "gradient: the bound of one example's part in a clipped sum breaks; use --strategy fedavg or fedprox"
            )
        return
    if algorithm == "scaffold":
        raise ConfigError(
            "scaffold sends a control variate beside the update: the bound of one client's part in the sum covers one "
            "vector, not two; use --strategy fedavg, fedavgm, fedadam, fedyogi or fedprox"
        )
    if keep_optimizer:
        raise ConfigError(
            "--keep-optimizer carries what a client saw in earlier rounds into its next update: accounting by round "
            "counts each round's data once; use --fresh-optimizer"
        )


def require_own_utterances(
    context: int, streams: Mapping[str, Any] | tuple[str, ...], whole_dialogues: bool = False
) -> None:
    """Refuse inputs that hold what other people said.

    Parameters
    ----------
    context : int
        Past utterances that each example comes with.
    streams : mapping or tuple of str
        What the cohort has.
    whole_dialogues : bool
        Whether the model hears whole dialogues.

    Raises
    ------
    ConfigError
        If a client would train on its neighbours' utterances.
    """
    if context or CONTEXT in streams:
        raise ConfigError(
            "--context lets a client train on what others in the dialogue said: one utterance would be in many "
            "examples and in many clients, and neither bound holds; under --dp use --context 0"
        )
    if whole_dialogues:
        raise ConfigError(
            "this model hears whole dialogues, others' utterances among them: neither bound of --dp holds; "
            "take another --model, or --model-option dialogue=false"
        )


def require_own_features(kind: str, normalise: str, natural: bool) -> None:
    """Refuse features that mix what the unit of privacy keeps apart.

    Parameters
    ----------
    kind : {"local", "central"}
    normalise : {"none", "client"}
    natural : bool
        Whether each client is one natural owner.

    Raises
    ------
    ConfigError
        If one utterance (local) or one client (central) changes others' features.
    """
    if normalise == "none":
        return
    if kind == LOCAL:
        raise ConfigError(
            "--normalise client standardises each utterance by all others of its owner, so that one utterance changes "
            "every other's gradient: the bound of one example's part breaks; use --normalise none, or --dp central"
        )
    if not natural:
        raise ConfigError(
            "--normalise client standardises by natural owners, who are spread over clients by this partition: one "
            "client's data would change others' updates; use --partition natural, or --normalise none"
        )
