from pathlib import Path

import numpy as np
import pytest
from tests.support.small_cohorts import constructed_cohort

from fedaffect.client.cohort import Cohort, TokenTable
from fedaffect.edge.errors import DataError


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    cohort = Cohort.load(constructed_cohort(tmp_path / "c"))
    assert cohort.num_clients == 4
    assert cohort.widths == {"text": 12, "audio": 8, "video": 10}
    assert not list(tmp_path.glob(".c*")), "a part was left behind"


def test_gather_pads_and_masks_each_sample_by_its_own_length(tmp_path: Path) -> None:
    cohort = Cohort.load(constructed_cohort(tmp_path / "c"))
    rows = np.array([5, 0, 17])
    batch = cohort.gather(rows, train=False)
    for stream, table in cohort.tables.items():
        for place, row in enumerate(rows):
            own = table.tokens[table.offsets[row] : table.offsets[row + 1]].astype(np.float32)
            mask = batch.present[stream][place].numpy()
            if cohort.present[stream][row]:
                assert mask.sum() == len(own)
                np.testing.assert_array_equal(batch.tokens[stream][place].numpy()[mask], own)
            else:
                assert not mask.any()
            assert (batch.tokens[stream][place].numpy()[~mask] == 0).all()


def test_a_sample_without_a_single_token_can_be_gathered() -> None:
    table = TokenTable(np.zeros((0, 3), np.float16), np.zeros(3, np.int64))
    tokens, present = table.padded(np.array([0, 1]))
    assert tokens.shape == (2, 1, 3)
    assert not present.any()


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    folder = constructed_cohort(tmp_path / "c")
    (folder / "labels.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match="damaged"):
        Cohort.load(folder)


def test_a_second_writer_of_the_same_folder_loses_quietly(tmp_path: Path) -> None:
    folder = constructed_cohort(tmp_path / "c")
    before = (folder / "labels.npy").read_bytes()
    constructed_cohort(tmp_path / "c", seed=1)
    assert (folder / "labels.npy").read_bytes() == before


def test_arrays_of_different_length_are_refused(tmp_path: Path) -> None:
    cohort = Cohort.load(constructed_cohort(tmp_path / "c"))
    with pytest.raises(DataError, match="disagree"):
        Cohort(**{f: getattr(cohort, f) for f in cohort.__slots__} | {"groups": cohort.groups[:-1]})
