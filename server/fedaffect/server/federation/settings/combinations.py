"""Settings that are right alone and wrong together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedaffect.client.targets import rating_names
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.settings.corpus_defaults import OWN_EXAMPLES
from fedaffect.server.federation.settings.federation import ASYNC
from fedaffect.server.federation.settings.fine_tuning import FINE_TUNED, FineTuning

if TYPE_CHECKING:
    from fedaffect.server.federation.settings.run_settings import RunSettings


def check_combinations(config: RunSettings) -> None:
    """Refuse settings that contradict one another.

    Raises
    ------
    ConfigError
        Naming the flags and what to do about them.
    """
    _check_folds(config)
    _check_patience(config)
    _check_fine_tuning(config)
    _check_attack(config)
    _check_secure_aggregation(config)
    _check_time(config)
    _check_engine(config)
    _check_retention(config)
    _check_targets(config)
    if config.federation.compression != "none":
        # Here, not above: codecs want torch, and a run without one should not.
        from fedaffect.client.compression.soundness import require_sound

        require_sound(config.federation.compression, dp=config.privacy.dp, secagg=config.secagg.secagg, algorithm="")
    if config.privacy.dp is None:
        if config.privacy.epsilon is not None:
            raise ConfigError("--epsilon says how much privacy, not which; add --dp local or --dp central")
        return
    from fedaffect.server.federation.privacy.checks import check_privacy

    check_privacy(config)


def _check_folds(config: RunSettings) -> None:
    folds, fold = config.evaluation.folds, config.evaluation.fold
    if folds == 1:
        raise ConfigError("--folds 1 leaves nothing to train on; use 2 or more, or 0 for the official split")
    if fold is not None and not folds:
        raise ConfigError("--fold needs to know how many folds there are; add --folds, such as --folds 5")
    if config.evaluation.folds_over == "samples" and not folds:
        raise ConfigError("--folds-over samples needs to know how many folds there are; add --folds, such as --folds 5")
    if fold is not None and not 1 <= fold <= folds:
        raise ConfigError(f"--fold {fold} does not exist; --folds {folds} has folds 1 to {folds}")


def _check_patience(config: RunSettings) -> None:
    if not config.evaluation.patience:
        return
    if config.federation.mode == "local-only":
        raise ConfigError("--local-only chooses nothing on the development split; leave --patience out")
    if config.retention.replay or config.retention.guard:
        raise ConfigError("--guard and --replay step back in the last of --rounds; leave --patience out")


def _check_fine_tuning(config: RunSettings) -> None:
    if config.federation.mode != FINE_TUNED:
        if config.fine_tuning != FineTuning():
            raise ConfigError("networks that learn too, and how, are settings of fedaffect train; leave them out")
        return
    others = {
        "--start-from": config.model.start_from is not None,
        "--context": config.data.context > 0,
        "--normalise": config.data.normalise != "none",
        "--bundle": config.data.bundle is not None,
        "--audio-features": config.data.audio_features != "encoder",
        "--video-features": config.data.video_features != "encoder",
        "--degrade-test": bool(config.data.degrade_test),
        "--optimizer": config.training.optimizer != "adamw",
        "--lr-schedule": config.training.lr_schedule != "linear",
        "--max-steps": config.training.max_steps is not None,
        "--replay": bool(config.retention.replay or config.retention.guard),
        "--dp": config.privacy.dp is not None,
        "--secagg": config.secagg.secagg,
        "--attack": config.robustness.attack is not None,
        "--evaluate": config.evaluation.evaluate != "server",
    }
    if given := [flag for flag, is_given in others.items() if is_given]:
        raise ConfigError(f"fedaffect train takes no {', '.join(given)}: encoders learn in one place; leave it out")


def _check_targets(config: RunSettings) -> None:
    names = rating_names(config.data.targets)
    if config.evaluation.select_by == "ccc" and not names:
        raise ConfigError("--select-by ccc is of ratings, and none are learned; add --targets class,va")
    if names and config.evaluation.evaluate == "clients":
        raise ConfigError("clients' own figures are of classes alone; use --evaluate server with --targets")
    if names and (config.engine.cohort_size or 1) > 1:
        raise ConfigError("ratings are learned one client at a time; leave --cohort-size or --targets out")
    if names and config.data.dataset == OWN_EXAMPLES:
        raise ConfigError("devices' examples have labels and no ratings; leave --targets out")


def _check_attack(config: RunSettings) -> None:
    robustness, mode = config.robustness, config.federation.mode
    if robustness.attack is None and (robustness.attackers is not None or robustness.attack_options):
        raise ConfigError("--attackers and --attack-option say how to attack; add --attack, such as sign-flip")
    if robustness.attack is not None and mode in ("centralized", "local-only"):
        raise ConfigError(f"--attack is on a federation, and --{mode} is none; leave one out")


def _check_secure_aggregation(config: RunSettings) -> None:
    if not config.secagg.secagg:
        return
    mode = config.federation.mode
    if mode != "federated" or config.evaluation.evaluate == "clients":
        what = f"--{mode}" if mode != "federated" else "--evaluate clients"
        raise ConfigError(f"--secagg hides single clients from the server, and {what} shows them; leave one out")
    if config.robustness.norm_bound:
        raise ConfigError(
            "--norm-bound measures single updates, and --secagg hides them from the server; leave one out "
            "(--secagg-clip bounds what honest clients send)"
        )
    if _plans_for_late_clients(config) or config.time.trace is not None:
        raise ConfigError("--secagg recovers those who are late itself; leave out what plans rounds without them")


def _check_time(config: RunSettings) -> None:
    time, mode = config.time, config.federation.mode
    late = _plans_for_late_clients(config)
    if mode in ("centralized", "local-only") and (late or time.trace is not None):
        raise ConfigError(f"--{mode} waits for nobody; leave --over-selection, --deadline-s and --trace out")
    if mode == ASYNC and (time.over_selection > 1 or config.privacy.dp is not None):
        other = "--over-selection" if time.over_selection > 1 else "--dp"
        raise ConfigError(f"{other} needs rounds, and --mode async has none; leave one out")
    if mode != ASYNC and time.concurrency is not None:
        raise ConfigError("--concurrency is of --mode async; rounds have --clients-per-round")
    if config.privacy.dp is not None and (late or time.trace is not None):
        raise ConfigError(
            "--dp is accounted for clients that are sampled, and --over-selection, --deadline-s and --trace let "
            "their speed decide who counts; leave one out"
        )


def _check_engine(config: RunSettings) -> None:
    engine = config.engine
    if engine.engine == "flower" and engine.gpus_per_actor:
        raise ConfigError("--gpus-per-actor needs --engine ray: with --engine flower clients compute on the CPU")
    if engine.engine == "flower" and (engine.cohort_size or 1) > 1:
        raise ConfigError("--cohort-size needs --engine ray: with --engine flower clients train one by one")
    if engine.regions is None:
        return
    if config.federation.mode != "federated":
        raise ConfigError(f"--regions sum the updates of rounds, and --mode {config.federation.mode} has none")
    if config.time.over_selection > 1 and config.time.trace is None:
        raise ConfigError(
            "--over-selection takes the first who answer, and --regions pass up sums of all; leave one out, or add "
            "--trace"
        )


def _check_retention(config: RunSettings) -> None:
    if not (config.retention.replay or config.retention.guard):
        return
    if config.federation.mode == "local-only":
        raise ConfigError("--local-only has no model that all share; leave --replay and --guard out")
    if config.data.normalise != "none":
        raise ConfigError("--replay and --guard are read as a device reads clips; leave --normalise out")


def _plans_for_late_clients(config: RunSettings) -> bool:
    return config.time.over_selection > 1 or config.time.deadline_s is not None
