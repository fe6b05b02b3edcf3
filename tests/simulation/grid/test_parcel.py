from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fedaffect.client.cohort import Cohort
from fedaffect.client.update import ClientState
from fedaffect.edge.errors import DataError
from fedaffect.edge.system.folders import cache_folder
from fedaffect.simulation.grid import parcel
from fedaffect.simulation.grid.greeting import signature_of
from fedaffect.simulation.grid.kept import KeptFolders


def test_a_cohort_arrives_as_it_was_sent_and_once(
    connected: None, cohort_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A table of several chunks.
    monkeypatch.setattr(parcel, "_CHUNK_BYTES", 1000)
    sent = parcel.pack(cohort_folder)
    arrived = parcel.unpack(sent)
    assert arrived.is_relative_to(cache_folder())
    assert {p.name: p.read_bytes() for p in arrived.iterdir()} == {
        p.name: p.read_bytes() for p in cohort_folder.iterdir()
    }
    here, there = Cohort.load(cohort_folder), Cohort.load(arrived)
    np.testing.assert_array_equal(here.tables["text"].tokens, there.tables["text"].tokens)
    before = signature_of(arrived)
    assert parcel.unpack(sent) == arrived
    assert signature_of(arrived) == before


def test_folders_within_stay_where_they_are(connected: None, tmp_path: Path) -> None:
    (tmp_path / "network" / "1_Pooling").mkdir(parents=True)
    (tmp_path / "network" / "config.json").write_text("{}")
    arrived = parcel.unpack(parcel.pack(tmp_path / "network"))
    assert [path.name for path in arrived.iterdir()] == ["config.json"]


def test_a_parcel_that_is_not_what_was_sent_leaves_nothing(connected: None, cohort_folder: Path) -> None:
    sent = parcel.pack(cohort_folder)
    with pytest.raises(DataError, match="not the one that was sent"):
        parcel.unpack(replace(sent, files=sent.files[1:]))
    assert not [path for path in (cache_folder() / "cohorts-from-elsewhere").iterdir() if path.is_dir()]


def test_a_folder_is_seen_where_nothing_of_it_differs(cohort_folder: Path, tmp_path: Path) -> None:
    seen = signature_of(cohort_folder)
    assert seen == signature_of(cohort_folder)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in cohort_folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert signature_of(copy) != seen
    assert signature_of(tmp_path / "nowhere") == ()


def test_what_a_client_keeps_goes_and_comes_back(tmp_path: Path) -> None:
    here, there = KeptFolders.at(tmp_path / "states"), KeptFolders.at(tmp_path / "elsewhere")
    there.states.folder.mkdir()
    here.states.save(3, ClientState(1, {"control": torch.arange(3.0)}))
    here.secrets.save(3, b"secret")
    assert here.read([2, 3]).keys() == {3}
    there.write(here.read([2, 3]))
    there.states.save(3, ClientState(2, {"control": torch.ones(3)}))
    files = there.take(3)
    assert files is not None
    assert (there.take(3), there.secrets.load(3)) == (None, None)
    here.write({3: files})
    first, second = (here.states.load(3, number) for number in (2, 3))
    assert first is not None
    assert second is not None
    assert torch.equal(first.tensors["control"], torch.arange(3.0))
    assert torch.equal(second.tensors["control"], torch.ones(3))
    assert (tmp_path / "states-secagg" / "3.json").stat().st_mode & 0o777 == 0o600
