"""What privacy costs a client: Opacus, its ghost clipping, plain vmap, ours, and no privacy, side by side.

    python -m benchmarks.dp_training --repeats 15

A client of 32 examples takes two steps of 16 on the cross-modal transformer of 1.1 M parameters, three tokens a
sample, on one core (pin it: ``taskset -c 0``). Ways take turns, so that a busy moment meets all of them. Constructed
data. Batches are the same for all ways, of 16 exactly; all but the last draw noise, ours from the operating system's
generator, the others from torch's, which anybody can draw again.

Two references: Opacus's hooks on a model and an optimiser that are kept from client to client, as our own are, and
`PrivacyEngine.make_private` for each client, as Flower's example with Opacus calls it. The kept one is what the goal
is measured against; the table has both ratios.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from benchmarks.workload import Workload
from fedaffect.client.cohort import Batch, Cohort
from fedaffect.client.models.registry import build_model
from fedaffect.client.privacy.local_training import PrivateGradients
from fedaffect.client.privacy.plan import PrivatePlan
from fedaffect.client.privacy.settings import PrivacyConfig
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig

CLIP, NOISE, LR, BATCH = 1.0, 1.0, 0.05, 16
KEPT, EACH = "Opacus, hooks", "Opacus, make_private each"


class Setting:
    """One client's batches and a fresh model for each way."""

    def __init__(self, folder: Path, workload: Workload) -> None:
        self.cohort = Cohort.load(folder)
        self.workload = workload
        rows = self.cohort.rows_of(0)
        self.batches = [self.cohort.gather(rows[place : place + BATCH], train=True) for place in (0, BATCH)]

    def model(self) -> torch.nn.Module:
        torch.manual_seed(0)
        options = self.workload.model_options
        return build_model("cmt", self.cohort.widths, len(self.cohort.label_names), options).train()


def _stepping(setting: Setting, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """A client's steps in the usual loop; what is private about them is the optimiser's."""

    def client() -> None:
        for batch in setting.batches:
            optimizer.zero_grad()
            functional.cross_entropy(model(batch.tokens, batch.present), batch.labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return client


def opacus_hooks(setting: Setting, clipping: str = "flat") -> Callable[[], None]:
    """Opacus as its tutorial has it: one wrapped model and optimiser, kept from client to client."""
    from opacus.grad_sample import GradSampleModule
    from opacus.optimizers import DPOptimizer

    model = GradSampleModule(setting.model(), loss_reduction="mean")
    plain = torch.optim.SGD(model.parameters(), lr=LR)
    optimizer = DPOptimizer(plain, noise_multiplier=NOISE, max_grad_norm=CLIP, expected_batch_size=BATCH)

    return _stepping(setting, model, optimizer)


def opacus_each_client(setting: Setting) -> Callable[[], None]:
    """As Flower's example with Opacus: a model of its own for each client, made private with optimiser and loader.

    The example samples batches by Poisson; here they are of 16 as everywhere else. Its model is built for each
    client; here one is copied, which is cheaper.
    """
    from opacus import PrivacyEngine

    built = setting.model()
    rows = setting.cohort.rows_of(0)[: BATCH * len(setting.batches)]

    def gathered(chosen: list[Any]) -> Batch:
        return setting.cohort.gather(np.array(chosen), train=True)

    def client() -> None:
        model = copy.deepcopy(built)
        loader = torch.utils.data.DataLoader(rows.tolist(), batch_size=BATCH, collate_fn=gathered)
        private, optimizer, loader = PrivacyEngine().make_private(
            module=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=LR),
            data_loader=loader,
            noise_multiplier=NOISE,
            max_grad_norm=CLIP,
            poisson_sampling=False,
        )
        for batch in loader:
            optimizer.zero_grad()
            functional.cross_entropy(private(batch.tokens, batch.present), batch.labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return client


def opacus_ghost(setting: Setting) -> Callable[[], None]:
    """Opacus's ghost clipping: two backward passes, no per-example gradients."""
    from opacus.grad_sample import GradSampleModuleFastGradientClipping
    from opacus.optimizers import DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

    model = GradSampleModuleFastGradientClipping(setting.model(), max_grad_norm=CLIP, use_ghost_clipping=True)
    optimizer = DPOptimizerFastGradientClipping(
        torch.optim.SGD(model.parameters(), lr=LR),
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        expected_batch_size=BATCH,
    )
    loss_of = DPLossFastGradientClipping(model, optimizer, torch.nn.CrossEntropyLoss())

    def client() -> None:
        for batch in setting.batches:
            optimizer.zero_grad()
            loss_of(model(batch.tokens, batch.present), batch.labels).backward()
            optimizer.step()

    return client


def plain_vmap(setting: Setting) -> Callable[[], None]:
    """Per-example gradients by ``torch.func``, clipped and summed."""
    model = setting.model()
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(
        weights: dict[str, Tensor], tokens: dict[str, Tensor], present: dict[str, Tensor], label: Tensor
    ) -> Tensor:
        one = {k: v.unsqueeze(0) for k, v in tokens.items()}, {k: v.unsqueeze(0) for k, v in present.items()}
        return functional.cross_entropy(functional_call(model, weights, one), label.unsqueeze(0))

    each = vmap(grad(loss), in_dims=(None, 0, 0, 0), randomness="different")

    def client() -> None:
        for batch in setting.batches:
            # Whether a mask is needed depends on the data, which vmap cannot ask; an export always takes the mask.
            with mock.patch("torch.onnx.is_in_onnx_export", return_value=True):
                gradients = each(parameters, dict(batch.tokens), dict(batch.present), batch.labels)
            norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients.values()]).norm(dim=0)
            factors = (CLIP / (norms + 1e-6)).clamp(max=1.0)
            for name, parameter in parameters.items():
                total = torch.einsum("b,b...->...", factors, gradients[name])
                total += torch.randn_like(total).mul_(NOISE * CLIP)
                parameter.sub_(total, alpha=LR / BATCH)

    return client


def ours(setting: Setting, clipping: str = "flat", noise: float = NOISE) -> Callable[[], None]:
    """What ``--dp local`` runs."""
    model = setting.model()
    private = PrivateGradients(model, PrivacyConfig(clip_norm=CLIP, clipping=clipping))
    plan = PrivatePlan(0.5, 2, noise, BATCH)
    parameters: list[Tensor] = list(model.parameters())

    def losses(batch: Batch) -> Tensor:
        return functional.cross_entropy(model(batch.tokens, batch.present), batch.labels, reduction="none")

    @torch.no_grad()
    def step() -> None:
        torch._foreach_add_(parameters, [p.grad for p in parameters if p.grad is not None], alpha=-LR)
        for parameter in parameters:
            parameter.grad = None

    def client() -> None:
        for batch in setting.batches:
            private.gradient(partial(losses, batch), plan)
            step()

    return client


def without(setting: Setting) -> Callable[[], None]:
    """The same steps without privacy."""
    model = setting.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)

    return _stepping(setting, model, optimizer)


def whole_updates(folder: Path, workload: Workload) -> dict[str, Callable[[], Any]]:
    """Whole client updates as RayGrid computes them, loading and returning parameters included."""
    task = ClientTask(folder, "cmt", workload.model_options)
    weights = task.initial_weights(0)
    privacy = PrivacyConfig(clip_norm=CLIP, noise_multiplier=NOISE)

    def update(privacy: PrivacyConfig | None) -> Callable[[], Any]:
        config = TrainConfig(lr=LR, batch_size=BATCH, privacy=privacy)
        return lambda: task.train(weights, config, 0, 1, 0, copy=False)

    return {"an update with --dp local": update(privacy), "an update without privacy": update(None)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--tokens", type=int, choices=(3, 50), default=3, help="tokens of a sample")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    workload = Workload(tokens=args.tokens, clients=4, clients_a_round=4)
    with tempfile.TemporaryDirectory() as scratch:
        folder = workload.write_cohort(Path(scratch) / "cohort")
        setting = Setting(folder, workload)
        ways = {
            KEPT: opacus_hooks(setting),
            EACH: opacus_each_client(setting),
            "Opacus, ghost": opacus_ghost(setting),
            "vmap": plain_vmap(setting),
            "ours, flat": ours(setting),
            "ours, per-layer": ours(setting, "per-layer"),
            "ours, flat, sums only": ours(setting, noise=0.0),
            "without privacy": without(setting),
            **whole_updates(folder, workload),
        }
        seconds = measure(ways, args.repeats)
    size = sum(p.numel() for p in setting.model().parameters())
    report(seconds, size, args.json)


def measure(ways: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each way, in turns, after one warming turn."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, client in ways.items():
            began = time.perf_counter()
            client()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def report(seconds: dict[str, list[float]], size: int, as_json: bool) -> None:
    """Medians, least, and how many times faster than either reference."""
    medians = {name: 1e3 * statistics.median(values) for name, values in seconds.items()}
    # Ratios turn by turn: what else the machine does meets both.
    ratios = {
        reference: {
            name: float(np.median(np.array(seconds[reference]) / np.array(values))) for name, values in seconds.items()
        }
        for reference in (KEPT, EACH)
    }
    if as_json:
        times = {"times_opacus": ratios[KEPT], "times_make_private": ratios[EACH]}
        print(json.dumps({"parameters": size, "median_ms": medians, **times}))
        return
    print(
        f"{size:,} parameters, two steps of {BATCH}, one core; ms a client; times Opacus kept, made private each time"
    )
    for name, median in medians.items():
        least = 1e3 * min(seconds[name])
        kept, each = (ratios[reference][name] for reference in (KEPT, EACH))
        print(f"{name:28s} median {median:7.1f}   least {least:7.1f}   x {kept:5.2f}   x {each:5.2f}")


if __name__ == "__main__":
    main()
