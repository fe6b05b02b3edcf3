"""How rounds travel in Flower's records.

Train request: ``arrays`` (one array a parameter, by name), ``config``, and ``control`` where a strategy sends one.
Train reply: ``arrays``, ``metrics``, and whatever the algorithm sends beside. A grid that aggregates
partially replaces the arrays of several clients by ``sums`` in the reply of one of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord
from numpy.typing import NDArray

from fedaffect.client.layout import TRUNK, ArrayLayout, Values
from fedaffect.client.update import Update
from fedaffect.edge.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from fedaffect.client.task import ClientTask

ARRAYS = "arrays"
CONTROL = "control"
CONFIG = "config"
METRICS = "metrics"
SUMS = "sums"
CONTROL_SUMS = "control_sums"
# Of secure aggregation: a message's record for its client alone, and the masked update in place of arrays.
SECAGG, MASKED = "secagg", "masked"
# Of compression: its name in a request, and in a reply what stands in place of arrays.
COMPRESSION, COMPRESSED = "compression", "compressed"

NUM_EXAMPLES = "num-examples"
COHORT = "cohort"
MODEL = "model"
MODEL_OPTIONS = "model-options"
SEED = "seed"
SERVER_ROUND = "server-round"
# Whether the grid is to answer with sums over clients instead of their updates.
PARTIAL_AGGREGATION = "partial-aggregation"
SPLIT = "split"
# In a request to evaluate: the local algorithm whose personal layers clients evaluate with too, and in the reply what
# the names of their figures begin with.
ALGORITHM, OWN = "algorithm", "personal-"
# In a fleet: our run, the attempt at the round, the label set, and the hash of the arrays that the round starts from.
RUN, ATTEMPT, LABELS, BASE = "run", "attempt", "labels", "base"
# In a fleet that writes traces: the trace of the attempt, as W3C's traceparent.
TRACE = "traceparent"
# In a run over devices' own examples: keys of the encoders that it learns on, as JSON by modality, and the layout.
ENCODERS, LAYOUT = "encoders", "layout"
# In a question whether a device would train now: whether updates would be masked.
MASKING = "masking"
# The one array of a packed record.
PACKED = "packed"
# In a reply: which run, round, attempt and arrays it answers, so that no other round counts it.
ABOUT = "about"
# In a reply too: the line of the device's privacy ledger that paid for it.
PAID = "paid"

# Code of an error reply that must stop the run: the loss or the parameters are not numbers any more.
DIVERGED = 901
# Code of an error reply of a device that does not learn now: its right, and no failure.
REFUSED = 902


def task_key(config: Mapping[str, Any]) -> tuple[str, str, str]:
    """What a resident task is made for: cohort folder, model, its options as JSON."""
    try:
        return str(config[COHORT]), str(config[MODEL]), str(config[MODEL_OPTIONS])
    except KeyError as error:
        raise ConfigError(f"the message's config lacks {error}; it is not from a fedaffect server") from error


def open_task(key: tuple[str, str, str], device: str = "cpu") -> ClientTask:
    """A resident task for :func:`task_key`."""
    from fedaffect.client.task import ClientTask

    cohort, model, options = key
    return ClientTask(Path(cohort), model, json.loads(options), device)


def to_record(layout: ArrayLayout, flat: Values) -> ArrayRecord:
    """Parameters (P,) as one array a name."""
    return named_to_record(layout.unflatten(flat))


def named_to_record(arrays: Mapping[str, NDArray[Any]]) -> ArrayRecord:
    """Named arrays as a record."""
    return ArrayRecord({name: Array(np.ascontiguousarray(array)) for name, array in arrays.items()})


def pack(record: ArrayRecord) -> ArrayRecord:
    """All arrays of a record as one, in their order; a record of one array, or of other than float32, as it is.

    Flower fetches every array by requests of its own, on every hop: a hundred small arrays take longer than the
    training between nodes and SuperLink.
    """
    arrays = [array.numpy() for array in record.values()]
    if len(arrays) < 2 or any(array.dtype != np.float32 for array in arrays):
        return record
    return ArrayRecord({PACKED: Array(np.concatenate([array.reshape(-1) for array in arrays]))})


def from_record(layout: ArrayLayout, record: ArrayRecord) -> Tensor:
    """Parameters (P,) from a record, packed or not; ConfigError where it does not fit."""
    import torch

    return torch.from_numpy(vector_of(layout, {name: array.numpy() for name, array in record.items()}))


def vector_of(layout: ArrayLayout, named: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Parameters (P,) from named arrays, packed or not; ConfigError where they do not fit."""
    if list(named) == [PACKED]:
        vector = named[PACKED]
        if vector.shape != (layout.size,):
            raise ConfigError(f"packed arrays have shape {vector.shape}, this model wants {(layout.size,)}")
        named = layout.unflatten(np.array(vector, dtype=np.float32))
    return layout.vector(named)


def update_metrics(update: Update) -> MetricRecord:
    """Counts and metrics of an update."""
    counts = {f"{NUM_EXAMPLES}.{g}" if g != TRUNK else NUM_EXAMPLES: int(n) for g, n in update.counts.items()}
    return MetricRecord({**counts, **{name: float(value) for name, value in update.metrics.items()}})


def request_config(
    cohort: Path, model: str, model_options: Mapping[str, Any], seed: int, settings: Mapping[str, Any]
) -> ConfigRecord:
    """The config record of a round's messages."""
    return ConfigRecord(
        {
            # Whoever opens it may stand in another working directory.
            COHORT: str(cohort.resolve()),
            MODEL: model,
            MODEL_OPTIONS: json.dumps(dict(model_options), sort_keys=True),
            SEED: seed,
            **settings,
        }
    )
