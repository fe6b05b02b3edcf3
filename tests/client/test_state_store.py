from pathlib import Path

import pytest
import torch

from fedaffect.client.state_store import StateFolder
from fedaffect.client.update import ClientState
from fedaffect.edge.errors import RunError


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


def test_what_newer_rounds_displaced_is_not_taken_for_never_kept(tmp_path: Path) -> None:
    store = StateFolder(tmp_path / "states")

    def save(client: int, *rounds: int) -> None:
        for round in rounds:
            store.save(client, ClientState(round, {"control": torch.full((3,), float(round))}))

    save(1, 3, 8, 10)
    with pytest.raises(RunError, match="checkpoint of round 8 or a later one"):
        store.load(1, 8)
    with pytest.raises(RunError, match=r"1\.safetensors"):
        store.require(6)
    for round in (3, 9, 11):
        store.require(round)
    # Before its first round, and in it when that is repeated, a client has nothing.
    assert store.load(1, 3) is None
    save(2, 8)
    assert store.load(2, 8) is None
    assert store.load(2, 5) is None
    save(2, 8, 9, 12)
    with pytest.raises(RunError):
        store.load(2, 9)
    # Once repeated from the start, it is all there again.
    save(1, 3)
    state = store.load(1, 8)
    assert state is not None
    assert state.round == 3


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
