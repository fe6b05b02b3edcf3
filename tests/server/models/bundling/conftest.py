"""Real models as small as they come, and bundles of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.small_models import model_folders

from fedaffect.server.models.bundling.build import BuildConfig, build_bundle


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder saved by save_pretrained, by model type."""
    return model_folders(tmp_path_factory.mktemp("models"), layers=3, channels=16)


@pytest.fixture(scope="session")
def small_models(model_folder: Callable[[str], Path]) -> BuildConfig:
    """What builds a bundle of such models."""
    kinds = {"text": "bert", "speech": "hubert", "vision": "vit"}
    models = {flag: str(model_folder(kind)) for flag, kind in kinds.items()}
    return BuildConfig(profile="cloud", quantise=False, **models)


@pytest.fixture(scope="session")
def _built(small_models: BuildConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built-once") / "cloud"
    build_bundle(small_models, folder)
    return folder


@pytest.fixture
def built_at(_built: Path) -> Callable[[Path], Path]:
    """Puts a bundle of such models somewhere, as if it had been built there."""

    def put(folder: Path) -> Path:
        return Path(shutil.copytree(_built, folder))

    return put
