from pathlib import Path

import pytest
import torch

from client.state_store import StateFolder
from client.task import ClientState
from edge_runtime.errors import RunError


def test_a_round_never_starts_from_its_own_result(tmp_path: Path) -> None:
    store = StateFolder(tmp_path / "states")
    assert store.load(5, 1) is None
    for round in (1, 2, 2, 4):
        store.save(5, ClientState(round, {"control": torch.full((3,), float(round))}))
    for asked, left_by in ((5, 4), (4, 2)):
        state = store.load(5, asked)
        assert state is not None
        assert state.round == left_by
        assert torch.equal(state.tensors["control"], torch.full((3,), float(left_by)))
    assert store.load(6, 9) is None
    assert len(list((tmp_path / "states").iterdir())) == 1


def test_a_deleted_run_does_not_come_back(tmp_path: Path) -> None:
    store = StateFolder(tmp_path / "run" / "states")
    with pytest.raises(FileNotFoundError):
        store.save(1, ClientState(1, {"control": torch.zeros(2)}))
    assert not (tmp_path / "run").exists()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    store = StateFolder(tmp_path)
    store.save(1, ClientState(1, {"control": torch.zeros(2)}))
    (tmp_path / "1.safetensors").write_bytes(b"half")
    with pytest.raises(RunError, match="damaged"):
        store.load(1, 2)
