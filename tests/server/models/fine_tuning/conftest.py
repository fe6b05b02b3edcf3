"""Small networks of the very classes that users bring, and constructed rows of raw input for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.support.small_models import model_folders


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder saved by save_pretrained, by model type."""
    return model_folders(tmp_path_factory.mktemp("models"), layers=2, channels=16)
