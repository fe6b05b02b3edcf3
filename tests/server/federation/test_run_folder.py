import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from fedaffect.edge.errors import RunError
from fedaffect.server.federation.checkpoint import Checkpoint, Checkpoints
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings


def checkpoint(number: int = 1) -> Checkpoint:
    arrays = {"head.bias": np.arange(3, dtype=np.float32) * number, "scalar": np.array(2.5, np.float32)}
    strided = np.arange(6, dtype=np.float32).reshape(2, 3).T
    state = {
        "strided": strided,
        "m_t/head.bias": np.array([1e-300, -0.0, np.pi]),
        "control/x": np.zeros((2, 0), np.float32),
    }
    shape = {"m_t": {"kind": "dict", "keys": ["head.bias"]}}
    return Checkpoint(number, arrays, state, shape, {"round": number, "dev": None})


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.latest() is None
    for number in (1, 2, 10):
        checkpoints.commit(checkpoint(number))
    assert checkpoints.rounds() == [1, 2, 10]
    back, original = checkpoints.latest(), checkpoint(10)
    assert back is not None
    assert back.round == 10
    assert back.record == original.record
    assert back.shape == original.shape
    for mine, theirs in ((back.arrays, original.arrays), (back.state, original.state)):
        assert set(mine) == set(theirs)
        for name, array in theirs.items():
            assert mine[name].tobytes() == array.tobytes()
            assert (mine[name].dtype, mine[name].shape) == (array.dtype, array.shape)


def test_a_round_without_its_json_was_never_committed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.commit(checkpoint(1))
    checkpoints.commit(checkpoint(2))
    (tmp_path / "round-00002.json").unlink()
    assert checkpoints.rounds() == [1]
    with pytest.raises(RunError, match=r"round 2 has no checkpoint in .*; it has rounds 1 to 1"):
        checkpoints.load(2)


def test_a_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('dataset = "meld"\nfold = 1\n')
    with pytest.raises(RunError, match="made by another version of fedaffect; run it again with --overwrite"):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_damage_is_noticed(tmp_path: Path, suffix: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.commit(checkpoint(1))
    path = tmp_path / f"round-00001.{suffix}"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(RunError, match=r"round 1 .* is damaged .*resume from the round before"):
        checkpoints.load(1)


def test_dropping_old_rounds(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for number in (1, 2, 3):
        checkpoints.commit(checkpoint(number))
    checkpoints.keep_only({1, 3})
    assert checkpoints.rounds() == [1, 3]
    assert len(list(tmp_path.iterdir())) == 4


def test_a_taken_name_is_not_overwritten_unless_asked(tmp_path: Path) -> None:
    config = RunSettings.of(out=tmp_path, name="mine")
    first = RunFolder.create(config)
    first.append_metrics({"round": 1})
    with pytest.raises(RunError, match=r"--resume .*--overwrite.*--name"):
        RunFolder.create(config)
    assert len(first.metrics()) == 1
    assert RunFolder.create(config, overwrite=True).metrics() == []


def test_overwriting_never_deletes_what_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    with pytest.raises(RunError, match="exists already"):
        RunFolder.create(RunSettings.of(out=tmp_path, name="thesis"), overwrite=True)
    assert (tmp_path / "thesis" / "chapter1.tex").exists()


def test_settings_come_back(tmp_path: Path) -> None:
    config = RunSettings.of(out=tmp_path, name="mine", dataset="meld", strategy_options={"mu": 0.5})
    RunFolder.create(config)
    assert RunFolder.open(tmp_path / "mine").config == config
    with pytest.raises(RunError, match="not a run folder"):
        RunFolder.open(tmp_path)


def test_lines_of_rounds_never_committed_are_dropped(tmp_path: Path) -> None:
    folder = RunFolder.create(RunSettings.of(out=tmp_path, name="mine"))
    for number in (1, 2, 3):
        folder.append_metrics({"round": number, "dev": {"uar": 0.5}})
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"round": 4, "de')
    assert [r["round"] for r in folder.metrics()] == [1, 2, 3]
    assert [r["round"] for r in folder.truncate_metrics(2)] == [1, 2]
    folder.append_metrics({"round": 3})
    lines = (folder.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in lines] == [1, 2, 3]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    folder = RunFolder.create(RunSettings.of(out=tmp_path, name="mine"))
    folder.append_metrics({"round": 1})
    with (folder.path / "metrics.jsonl").open("ab") as file:
        file.write(b"\xff\x00\n")
    with pytest.raises(RunError, match=r"metrics\.jsonl:2 is damaged"):
        folder.metrics()


def test_a_full_disk_leaves_no_half_line_and_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder.create(RunSettings.of(out=tmp_path, name="mine"))
    folder.append_metrics({"round": 1})
    write = os.write

    def nearly_full(descriptor: int, data: memoryview) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:10])

    monkeypatch.setattr(os, "write", nearly_full)
    for attempt in (
        lambda: folder.append_metrics({"round": 2, "train_loss": 0.123456789}),
        lambda: folder.write_summary({"dataset": "synthetic", "rounds": 2}),
        lambda: folder.checkpoints.commit(checkpoint()),
        lambda: RunFolder.create(RunSettings.of(out=tmp_path, name="other")),
    ):
        with pytest.raises(RunError, match=r"No space left.*--resume"):
            attempt()
    monkeypatch.undo()
    assert [r["round"] for r in folder.metrics()] == [1]
    assert sorted(p.name for p in folder.path.iterdir()) == ["checkpoints", "config.toml", "metrics.jsonl"]
    assert list(folder.checkpoints.folder.iterdir()) == []
    assert not (tmp_path / "other").exists()


def test_an_unfinished_run_has_no_summary(tmp_path: Path) -> None:
    folder = RunFolder.create(RunSettings.of(out=tmp_path, name="mine"))
    with pytest.raises(RunError, match=r"not finished; go on with --resume"):
        folder.summary()
    with pytest.raises(RunError, match="predictions"):
        folder.predictions()
    folder.write_summary({"rounds": 3})
    assert folder.summary() == {"rounds": 3}


@pytest.mark.parametrize("content", ["[]", "3", "null", '"run"', "{", ""])
def test_a_summary_that_is_no_table_is_damaged(tmp_path: Path, content: str) -> None:
    folder = RunFolder.create(RunSettings.of(out=tmp_path, name="run"))
    (folder.path / "summary.json").write_text(content)
    with pytest.raises(RunError, match=r"summary\.json is damaged .*--resume"):
        folder.summary()
