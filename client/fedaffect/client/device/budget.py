"""A device's privacy budget: no number about its own examples leaves it that its lifetime's budget does not cover.

The server asks for rounds and names the noise. The device computes the cost itself, records it, and only then trains.
It keeps the update, so that a round that is asked for again (the answer was lost, or secure aggregation begins another
attempt) is answered with the same update at no further cost. Exact figures have no cost that could be charged: a
device that learns only with noise of its own refuses them. What it reports of a new bundle has noise and is charged
by `fedaffect.client.device.spending`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.spending import ledger_of
from fedaffect.client.layout import Values, as_array, like
from fedaffect.client.local_task import Evaluation, LocalTask
from fedaffect.client.privacy.ledger import BudgetError
from fedaffect.client.privacy.plan import private_plan
from fedaffect.client.privacy.settings import LOCAL, PrivacyConfig
from fedaffect.client.train_config import TrainConfig
from fedaffect.client.update import ClientState, Update
from fedaffect.edge.errors import RunError

_WEIGHTS: Final = "weights"
_STATE, _EXTRA = "state.", "extra."
_ABOUT: Final = "update"


# A server that chooses weights chooses what single precision rounds away. Models that learned are far below.
_LARGEST_WEIGHT = 100.0


class DeviceBudget:
    """Guards what one device answers; a `fedaffect.client.answering.Guard`.

    Parameters
    ----------
    folder : DeviceFolder
        Its settings say how much may be spent; its ledger, what was.
    """

    def __init__(self, folder: DeviceFolder) -> None:
        self._folder = folder

    def train(
        self,
        task: LocalTask,
        client: int,
        start: Values,
        config: TrainConfig,
        run: str,
        round: int,
        train: Callable[[], Update],
    ) -> Update:
        """Train, if the budget covers it; see `fedaffect.client.answering.Guard`.

        Raises
        ------
        BudgetError
            If it does not, or the device learns only with noise of its own and the run asks for none.
        """
        if (privacy := self._noise_of(config)) is None:
            return train()
        if not float(np.abs(as_array(start)).max()) <= _LARGEST_WEIGHT:
            raise BudgetError(
                "the run's parameters are beyond those of any model that learns; with such, rounding could carry more "
                "of an example than noise hides, so this device does not take part"
            )
        examples = len(task.cohort.rows_of(client))
        plan = private_plan(privacy, examples, config.batch_size, config.local_epochs, config.max_steps)
        ledger = ledger_of(self._folder)
        asked = _request(run, round, start, config)
        kept = ledger.answer(asked, run, round, plan.spending, lambda: _packed(train()))
        return _unpacked(kept, start)

    def require_room(self, task: LocalTask, client: int, config: TrainConfig) -> None:
        """Check that a round with these settings would be answered now; nothing is charged.

        Raises
        ------
        BudgetError
            As :meth:`train`.
        """
        if (privacy := self._noise_of(config)) is None:
            return
        examples = len(task.cohort.rows_of(client))
        plan = private_plan(privacy, examples, config.batch_size, config.local_epochs, config.max_steps)
        ledger_of(self._folder).require_room(plan.spending)

    def _noise_of(self, config: TrainConfig) -> PrivacyConfig | None:
        """The noise of its own that a round asks for; None where it asks for none, and the device allows that."""
        privacy = config.privacy
        if privacy is not None and privacy.kind == LOCAL and privacy.private:
            return privacy
        if self._folder.settings.only_private:
            raise BudgetError(
                "this device learns only with noise of its own, and the run asks for training without; "
                "run it with --dp local (fleet run: --set dp=local)"
            )
        return None

    def evaluate(self, evaluate: Callable[[], Evaluation]) -> Evaluation:
        """Figures on the device's own examples; see `fedaffect.client.answering.Guard`.

        Raises
        ------
        BudgetError
            If the device learns only with noise of its own: a server that chooses the parameters could ask until it
            knows every example.
        """
        if self._folder.settings.only_private:
            raise BudgetError(
                "this device gives no exact figures of its own examples; run the fleet with --evaluate server"
            )
        return evaluate()

    def paid(self, run: str, round: int) -> Mapping[str, int | float]:
        """The ledger's newest line for a round, as reported to the fleet; see `fedaffect.client.answering.Guard`."""
        if not self._folder.ledger_path.is_file():
            return {}
        ledger = ledger_of(self._folder)
        lines = [charge for charge in ledger.charges() if (charge.run, charge.round) == (run, round)]
        if not lines:
            return {}
        spent = lines[-1]
        return {
            "attempt": spent.attempt,
            "epsilon": spent.epsilon_after,
            "delta": ledger.budget[1],
            "noise-multiplier": spent.spending.noise_multiplier,
        }


def _request(run: str, round: int, start: Values, config: TrainConfig) -> str:
    """The same for the same question: run, round, parameters to begin with, and every setting of the training."""
    settings: Mapping[str, Any] = config.to_record()
    about = json.dumps([run, round, sorted(settings.items())]).encode()
    return hashlib.sha256(about + as_array(start).tobytes()).hexdigest()


def _packed(update: Update) -> bytes:
    arrays = {_WEIGHTS: _whole(update.weights)}
    arrays |= {_EXTRA + name: _whole(value) for name, value in update.extra.items()}
    kept = update.state
    if kept is not None:
        arrays |= {_STATE + name: _whole(value) for name, value in kept.tensors.items()}
    about = {
        "counts": dict(update.counts),
        "metrics": dict(update.metrics),
        "state_round": None if kept is None else kept.round,
    }
    return save(arrays, {_ABOUT: json.dumps(about)})


def _whole(values: Values) -> NDArray[np.float32]:
    return np.asarray(as_array(values), order="C")


def _unpacked(data: bytes, start: Values) -> Update:
    """The update, in what ``start`` is in: a tensor or an array."""
    # Copies, as those of the bytes could not be written to.
    values = {name: like(start, array.copy()) for name, array in load(data).items()}
    # The format: 8 bytes of length, then the header as JSON.
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    try:
        about = json.loads(header["__metadata__"][_ABOUT])
        weights = values[_WEIGHTS]
    except KeyError as error:
        raise RunError(f"an update that the privacy ledger kept lacks {error}; restore the ledger's file") from error
    state = {name.removeprefix(_STATE): value for name, value in values.items() if name.startswith(_STATE)}
    return Update(
        weights=weights,
        counts=about["counts"],
        metrics=about["metrics"],
        state=None if about["state_round"] is None else ClientState(about["state_round"], state),
        extra={name.removeprefix(_EXTRA): value for name, value in values.items() if name.startswith(_EXTRA)},
    )
