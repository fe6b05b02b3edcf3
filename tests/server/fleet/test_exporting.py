"""A finished run as a signed bundle that devices can run and be told of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.in_process_grid import InProcessGrid
from tests.support.small_cohorts import constructed_cohort

from fedaffect.edge.bundle import Bundle, BundleStore
from fedaffect.edge.errors import BundleError
from fedaffect.edge.runtime import EdgeRuntime
from fedaffect.edge.sample import Sample
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.fleet.runs.export import export_quietly, export_run
from fedaffect.server.fleet.setup.folder import FleetFolder, FleetSettings
from fedaffect.server.models.bundling.fusion import POPULATION
from fedaffect.server.registry import Registry, audit, bundles, models, runs

CLIENTS = 3


@pytest.fixture
def fleet(tmp_path: Path) -> FleetFolder:
    return FleetFolder.create(tmp_path / "fleet", FleetSettings(registry=f"sqlite:///{tmp_path / 'registry.db'}"))


@pytest.fixture
def registry(fleet: FleetFolder) -> Iterator[Registry]:
    with Registry.open(fleet.settings.registry) as opened:
        yield opened


@pytest.fixture
def finished(fleet: FleetFolder, registry: Registry, tiny_bundle: Path, tmp_path: Path) -> str:
    """A run over constructed tokens as wide as the tiny bundle's encoders make them."""
    widths = {m: e.width for m, e in Bundle.load(tiny_bundle, None).manifest.encoders.items()}
    cohort = constructed_cohort(tmp_path / "cohort", clients=CLIENTS, widths=widths, classes=4)
    config = RunSettings.of(
        dataset="synthetic",
        labels="synthetic4",
        model_options={"width": 16, "heads": 2, "feedforward": 32},
        rounds=2,
        local_epochs=1,
        clients_per_round=CLIENTS,
        out=fleet.runs,
        name="learned",
    )
    run_federation(InProcessGrid(CLIENTS), config, cohort, RunFolder.create(config))
    runs.create(registry, run_id="learned", config=config.to_dict(), data_statement="constructed tokens, no people")
    return "learned"


def test_a_finished_run_becomes_a_bundle_that_answers(
    fleet: FleetFolder, registry: Registry, finished: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    base = Path(shutil.copytree(tiny_bundle, tmp_path / "base"))
    (base / POPULATION).write_bytes(b"whom the fusion before it learned from")
    version = export_run(fleet, registry, finished, encoders=base)

    entry = next(found for found in bundles.every(registry) if found.version == version)
    store = BundleStore(tmp_path / "store")
    bundle = store.install(entry.path)
    assert bundle.version == version
    # Devices learn from voices as they are: nobody's may be taken relative to itself before this fusion.
    assert not (bundle.path / POPULATION).exists()
    assert bundle.populations() == {}
    assert set(EdgeRuntime.load(bundle.path).predict(Sample(id="s", text="sad")).probabilities) == {
        "anger",
        "joy",
        "neutral",
        "sadness",
    }
    model = models.get(registry, version)
    assert (model.run_id, model.round) == ("learned", RunFolder.open(fleet.runs / "learned").summary()["best_round"])
    assert model.data_statement == "constructed tokens, no people"
    assert "bundle.exported" in {entry.action for entry in audit.entries(registry)}


def test_a_run_that_fits_no_encoders_leaves_no_bundle_and_says_so(
    fleet: FleetFolder, registry: Registry, finished: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    with pytest.raises(BundleError):
        export_run(fleet, registry, finished, encoders=tmp_path / "no bundle here")
    assert models.every(registry) == []
    assert bundles.every(registry) == []
    assert not [path for path in (fleet.path / "bundles").rglob("*") if path.is_file()]
    export_quietly(fleet, registry, "no-such-run")
    (said,) = [entry for entry in audit.entries(registry) if entry.action == "bundle.not-exported"]
    assert said.subject == "no-such-run"
