"""Partitions: what each specification gives, that a seed decides it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.labels import label_set
from fedaffect.simulation.partition import Partition, Rows, partition
from fedaffect.simulation.preparing.columns import read_columns
from fedaffect.simulation.preparing.splits import assign_splits

RANDOM = ("iid:7", "dirichlet:0.5:7", "quantity:0.4:7", "shards:2:7")


def population(n: int = 700, classes: int = 4, owners: int = 9, kind: str = "speaker") -> Rows:
    rng = np.random.default_rng(5)
    # Labels in runs, as corpora have them: a partitioner that does not shuffle would show.
    return Rows(
        labels=np.sort(rng.integers(0, classes, n)),
        splits=np.where(np.arange(n) % 10 == 9, "test", "train"),
        owners=rng.integers(0, owners, n),
        owner_names=tuple(f"owner {k}" for k in range(owners)),
        owner_kind=kind,
        label_names=tuple("abcdefgh"[:classes]),
    )


def same(a: Partition, b: Partition) -> bool:
    return a.names == b.names and np.array_equal(a.offsets, b.offsets) and np.array_equal(a.rows, b.rows)


@pytest.mark.slow
@pytest.mark.parametrize("spec", [*RANDOM, "natural"])
def test_every_row_has_at_most_one_holder_and_only_training_rows_are_held(spec: str) -> None:
    rows = population()
    shares = partition(spec, rows, seed=1)
    assert len(np.unique(shares.rows)) == len(shares.rows)
    assert set(shares.rows) <= set(rows.training)
    assert shares.sizes.min() >= 1
    unheld = len(rows.training) - len(shares.rows)
    assert unheld < 14 if spec.startswith("shards") else unheld == 0
    assert all(np.all(np.diff(shares.rows_of(k)) > 0) for k in range(len(shares.names)))


@pytest.mark.parametrize("spec", RANDOM)
def test_the_seed_decides(spec: str) -> None:
    rows = population()
    assert same(partition(spec, rows, 3), partition(spec, rows, 3))
    assert not same(partition(spec, rows, 3), partition(spec, rows, 4))


def test_natural_clients_are_owners() -> None:
    rows = population()
    shares = partition("natural", rows, 0)
    assert shares.names == rows.owner_names
    assert all(set(rows.owners[shares.rows_of(k)]) == {k} for k in range(9))


def test_iid_shares_are_as_flwr_datasets_cuts_the_shuffled_rows() -> None:
    from datasets import Dataset
    from flwr_datasets.partitioner import IidPartitioner

    rows = population()
    shares = partition("iid:11", rows, 8)
    theirs = IidPartitioner(11)
    theirs.dataset = Dataset.from_dict({"row": np.random.default_rng(8).permutation(rows.training)})
    for k in range(11):
        assert sorted(theirs.load_partition(k)["row"]) == shares.rows_of(k).tolist()


def test_dirichlet_skews_labels_and_a_large_alpha_does_not() -> None:
    rows = population(4000)

    def spread(spec: str) -> float:
        shares = partition(spec, rows, 2)
        mixes = [np.bincount(rows.labels[shares.rows_of(k)], minlength=4) / shares.sizes[k] for k in range(10)]
        return float(np.std(mixes, axis=0).mean())

    assert spread("dirichlet:0.2:10") > 3 * spread("dirichlet:100:10")


def test_dirichlet_does_not_hand_out_runs_of_neighbours() -> None:
    rows = population(4000)
    held = partition("dirichlet:100:10", rows, 2).rows_of(0)
    assert (np.diff(held) > 20).any()
    assert np.diff(held).max() < 400


def test_quantity_skews_sizes_only() -> None:
    rows = population(4000)
    even, uneven = partition("quantity:1000:10", rows, 0).sizes, partition("quantity:0.2:10", rows, 0).sizes
    assert uneven.std() > 5 * even.std()
    assert uneven.min() >= 1
    assert uneven.sum() == len(rows.training)
    assert partition("quantity:0.0000001:600", rows, 0).sizes.min() == 1


def test_shards_leave_a_client_few_classes() -> None:
    rows = population(4000)
    shares = partition("shards:2:20", rows, 0)
    classes = [len(np.unique(rows.labels[shares.rows_of(k)])) for k in range(20)]
    assert max(classes) <= 4
    assert min(classes) <= 2
    assert np.mean(classes) < 3


def test_a_hundred_thousand_clients() -> None:
    rows = population(200_000)
    shares = partition("iid:100000", rows, 0)
    assert len(shares.names) == 100_000
    assert set(shares.sizes) == {1, 2}


@pytest.mark.parametrize(
    ("spec", "remedy"),
    [
        ("iid:701", "use 630 clients or fewer"),
        ("quantity:1:701", "use 630 clients or fewer"),
        ("dirichlet:0.001:300", "larger alpha"),
        ("shards:9:300", "shards:9:70 or fewer"),
        ("iid", "write iid:CLIENTS"),
        ("iid:0", "above 0"),
        ("iid:2.5", "a whole number"),
        ("dirichlet:nan:5", "above 0"),
        ("dirichlett:1:5", "dirichlet:ALPHA:CLIENTS"),
        ("fedmultimodal", "MELD"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(spec: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy) as caught:
        partition(spec, population(), 0)
    assert "\n" not in str(caught.value)


def test_pictures_of_unknown_people_have_no_natural_partition() -> None:
    with pytest.raises(ConfigError, match="dirichlet"):
        partition("natural", population(kind="image"), 0)


def test_a_users_own_partitioner_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_partitioner.py").write_text(
        "from fedaffect.simulation.partition import Partition, Partitioner\n"
        "def one(rows, seed, part):\n"
        "    held = rows.training[:: int(part)]\n"
        "    return Partition.numbered(held, held * 0, 1)\n"
        "ONE = Partitioner('one', one, (('part', int),), 'one:3')\n"
    )
    installed = tmp_path / "own_partitioner-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: own-partitioner\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[fedaffect.partitioners]\none = own_partitioner:ONE\n")
    monkeypatch.syspath_prepend(tmp_path)
    rows = population()
    assert partition("one:3", rows, 0).rows.tolist() == rows.training[::3].tolist()
    with pytest.raises(ConfigError, match="write one:PART"):
        partition("one", rows, 0)


def test_fedmultimodal_gives_the_published_counts(shared_data) -> None:  # type: ignore[no-untyped-def]
    from fedaffect.client.corpora.registry import open_corpus

    corpus = open_corpus("meld", shared_data("meld"))
    rows = assign_splits(read_columns(corpus, label_set("meld4")).rows, "meld", 0, None, False)
    shares = partition("fedmultimodal", rows, 0)
    left = {split: len(np.setdiff1d(rows.of_split(split), shares.excluded)) for split in ("dev", "test")}
    assert (len(shares.names), len(shares.rows), left) == (86, 7318, {"dev": 628, "test": 1774})
    assert shares.sizes.min() == 11
    seven = assign_splits(read_columns(corpus, label_set("meld7")).rows, "meld", 0, None, False)
    with pytest.raises(ConfigError, match="--labels meld4"):
        partition("fedmultimodal", seven, 0)
