"""A federation of devices with and without torch: together they learn what devices with torch learn alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.server.fleet.test_own_runs import OwnDevices, Submit, carry, submit
from tests.support.fleet_runs import enrol
from tests.support.learning_bundle import learning_bundle

from fedaffect.client.device.spending import ledger_of
from fedaffect.edge.bundle import Bundle, BundleStore
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.fleet.errors import TooFewDevices
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, bundles
from fedaffect.server.starting_point import bundle_at, of_bundle

__all__ = ["submit"]

pytestmark = pytest.mark.slow


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    store = BundleStore(tmp_path / "installed")
    monkeypatch.setattr(BundleStore, "default", classmethod(lambda cls, profile="edge": store))
    return store.install(learning_bundle(tiny_bundle, tmp_path / "bundle", step=True))


@pytest.fixture
def devices(registry: Registry, bundle: Bundle, tmp_path: Path) -> OwnDevices:
    grid = OwnDevices(tmp_path, bundle)
    enrol(registry, grid, tmp_path)
    return grid


Learned = Callable[..., dict[str, np.ndarray]]


@pytest.fixture
def learned(devices: OwnDevices, submit: Submit, registry: Registry, fleet_folder: FleetFolder) -> Learned:
    """The arrays of a run's last round, from what devices with these engines learned."""

    def run(name: str, engines: str, **settings: Any) -> dict[str, np.ndarray]:
        for device, engine in zip(devices.devices.values(), engines.split(), strict=True):
            device.change(engine=engine)
        # All from the same bundle.
        carry(devices, registry, submit(name=name, rollout=0.0, **settings))
        return dict(RunFolder.open(fleet_folder.runs / name).checkpoints.load(2).arrays)

    return run


def far(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> float:
    return float(np.sqrt(sum(((one[name] - other[name]) ** 2).sum() for name in one)))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "adamw", "lr": 0.01, "keep_optimizer": True},
        {"compression": "int8"},
        {"strategy": "fedprox"},
        {"modality_dropout": 0.5, "loss": "balanced"},
    ],
    ids=lambda settings: "-".join(settings) or "plain",
)
def test_both_kinds_together_learn_what_torch_learns_alone(
    settings: dict[str, Any], learned: Learned, bundle: Bundle
) -> None:
    start = {name: tensor.numpy() for name, tensor in of_bundle(bundle).fusion.state.items()}
    alone = learned("alone", "torch torch torch", local_epochs=3, **settings)
    both = learned("both", "torch onnx onnx", local_epochs=3, **settings)
    assert far(both, alone) < 1e-3 * far(alone, start)


def test_masked_and_private_rounds_of_both_kinds(devices: OwnDevices, learned: Learned, registry: Registry) -> None:
    masked = learned("masked", "torch onnx onnx", secagg=True)
    plain = learned("plain", "torch onnx onnx")
    for name, array in plain.items():
        np.testing.assert_allclose(masked[name], array, atol=1e-5)
    learned("noisy", "torch onnx onnx", dp="local", epsilon=2.0)
    for device in devices.devices.values():
        assert 1.0 < ledger_of(device).spent <= 2.0
    with bundle_at(bundles.every(registry)[0].path) as made:
        fusion = made.manifest.fusion
        assert fusion is not None
        assert fusion.step is not None


def test_what_a_device_without_torch_cannot_learn_it_refuses_with_the_remedy(
    devices: OwnDevices, submit: Submit, registry: Registry, tiny_bundle: Path, tmp_path: Path
) -> None:
    for device in devices.devices.values():
        device.change(engine="onnx")
    with pytest.raises(TooFewDevices, match=r"scaffold is learned with torch alone.*pip install"):
        carry(devices, registry, submit(strategy="scaffold", timeout_s=0.2))
    with pytest.raises(TooFewDevices, match="learns another model than the training step"):
        carry(devices, registry, submit(model_options={"width": 8, "heads": 2}, start_from="", timeout_s=0.2))
    BundleStore.default().install(learning_bundle(tiny_bundle, tmp_path / "older"))
    with pytest.raises(TooFewDevices, match="carries no training step"):
        carry(devices, registry, submit(name="older", timeout_s=0.2))
