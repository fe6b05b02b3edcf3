from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fedaffect.edge.bundle import Bundle, BundleStore, SigningKey, default_bundle_path, usual_bundle_path
from fedaffect.edge.bundle.archive import pack
from fedaffect.edge.bundle.signature import trust_key
from fedaffect.edge.errors import BundleError

MakeBundle = Callable[..., Path]
TOKENS = {"text": np.ones((3, 4), np.float32)}


def test_installed_from_a_folder_or_a_tar_and_rolled_back(make_bundle: MakeBundle, tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "store")
    assert store.current() is None
    assert store.versions() == []
    one = store.install(make_bundle("one", 1))
    two = store.install(pack(make_bundle("two", 2), tmp_path / "two.tar"))
    assert store.versions() == [two.version, one.version]
    current = store.current()
    assert current is not None
    assert (current.version, current.path.parent) == (two.version, one.path.parent)
    assert store.rollback().version == one.version
    assert store.versions() == [one.version, two.version]
    assert store.rollback().version == two.version
    assert sorted(p.name for p in (tmp_path / "store").iterdir()) == [".lock", "current.json", "versions"]


def test_before_the_first_one_installed_the_built_one_was_in_use(make_bundle: MakeBundle) -> None:
    store = BundleStore.default()
    with pytest.raises(BundleError, match="no earlier bundle"):
        store.rollback()
    one = store.install(make_bundle("one", 1))
    assert store.way_back == ""
    with pytest.raises(BundleError, match="no earlier bundle"):
        store.rollback()
    shutil.copytree(make_bundle("built", 2), default_bundle_path())
    assert "bundle rollback" in store.way_back
    built = Bundle.load(default_bundle_path()).version
    assert store.rollback().version == built
    assert store.versions() == [built, one.version]
    assert store.rollback().version == one.version


def test_only_the_last_three_stay_and_one_is_never_twice(make_bundle: MakeBundle, tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "store")
    folders = [make_bundle(f"b{seed}", seed) for seed in range(4)]
    versions = [store.install(folder).version for folder in folders]
    assert store.versions() == versions[:0:-1]
    assert {p.name for p in (store.folder / "versions").iterdir()} == set(versions[1:])
    store.install(folders[2], allow_older=True)
    assert store.versions() == [versions[2], versions[3], versions[1]]


def test_an_older_bundle_is_taken_only_on_purpose(make_bundle: MakeBundle, tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "store")
    one, two, three = (make_bundle(f"b{seed}", seed) for seed in (1, 2, 3))
    store.install(one)
    newest = store.install(three)
    for older in (one, two, pack(two, tmp_path / "two.tar")):
        with pytest.raises(BundleError, match="before the one in use") as refused:
            store.install(older)
        assert "--allow-older" in str(refused.value)
    assert store.current() == newest
    # The same again is not older.
    store.install(three)
    went_back = store.install(two, allow_older=True)
    assert store.current() == went_back
    with pytest.raises(BundleError, match="before the one in use"):
        store.install(one)
    store.install(three)


def test_after_a_rollback_what_came_between_is_not_older(make_bundle: MakeBundle, tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "store")
    folders = [make_bundle(f"b{seed}", seed) for seed in range(4)]
    store.install(folders[1])
    store.install(folders[3])
    assert store.rollback().version == store.versions()[0]
    with pytest.raises(BundleError, match="before the one in use"):
        store.install(folders[0])
    store.install(folders[2])


def test_signers_are_not_measured_by_each_other(make_bundle: MakeBundle, tmp_path: Path) -> None:
    mine, theirs = SigningKey.generate(), SigningKey.generate()
    for key in (mine, theirs):
        trust_key(key.public)
    store = BundleStore(tmp_path / "store")
    store.install(make_bundle("new", 3, theirs))
    store.install(make_bundle("mine", 2, mine))
    # Another signer's bundle came between, and theirs has not become younger by it.
    with pytest.raises(BundleError, match="before the one in use"):
        store.install(make_bundle("old", 1, theirs))


def test_commands_refuse_an_older_bundle_in_one_line(make_bundle: MakeBundle) -> None:
    from fedaffect.edge.cli.main import fedaffect as main

    older, newer = (str(make_bundle(f"b{seed}", seed)) for seed in (1, 2))
    assert CliRunner().invoke(main, ["bundle", "install", newer]).exit_code == 0
    refused = CliRunner().invoke(main, ["bundle", "install", older])
    assert isinstance(refused.exception, BundleError)
    assert len(str(refused.exception)) <= 160
    assert CliRunner().invoke(main, ["bundle", "install", older, "--allow-older"]).exit_code == 0
    assert CliRunner().invoke(main, ["bundle", "rollback"]).exit_code == 0


def test_what_is_refused_changes_nothing(make_bundle: MakeBundle, tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "store")
    one = store.install(make_bundle("one", 1))
    foreign, damaged = make_bundle("foreign", 2, SigningKey.generate()), make_bundle("damaged", 3)
    (damaged / "fusion.onnx").write_bytes(b"x")
    (tmp_path / "cut.tar").write_bytes(pack(foreign, tmp_path / "whole.tar").read_bytes()[:3000])
    for source in (foreign, damaged, tmp_path / "cut.tar", tmp_path / "nothing", tmp_path / "whole.tar"):
        with pytest.raises(BundleError):
            store.install(source)
    assert store.versions() == [one.version]
    assert [p.name for p in (store.folder / "versions").iterdir()] == [one.version]
    assert not list(store.folder.glob(".incoming*"))
    with pytest.raises(BundleError, match="no earlier bundle"):
        store.rollback()


def test_a_version_that_was_damaged_on_the_device_is_mended_by_installing_it_again(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    store = BundleStore(tmp_path / "store")
    source = make_bundle()
    installed = store.install(source)
    (installed.path / "fusion.onnx").write_bytes(b"rotten")
    with pytest.raises(BundleError, match="fusion"):
        store.current()
    store.install(source)
    assert store.current() is not None


def test_a_damaged_pointer_says_so(make_bundle: MakeBundle, tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "store")
    store.install(make_bundle())
    for content in ("{", "[]", '{"history": ["../../x"]}'):
        (store.folder / "current.json").write_text(content)
        with pytest.raises(BundleError, match="install the bundle again"):
            store.current()


def test_predictions_go_on_while_bundles_are_swapped(make_bundle: MakeBundle, tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "store")
    folders = [make_bundle(f"b{seed}", seed) for seed in range(6)]
    expected = {}
    for folder in folders:
        bundle = Bundle.load(folder)
        expected[bundle.version] = bundle.fusion()(TOKENS)
    store.install(folders[0])
    done, seen = threading.Event(), set()

    def predict() -> int:
        count = 0
        while not done.is_set() or count == 0:
            bundle = store.current()
            assert bundle is not None
            try:
                scores = bundle.fusion()(TOKENS)
            except BundleError:
                # Three installations came between opening the folder and the graph in it; a runtime looks again.
                continue
            np.testing.assert_array_equal(scores, expected[bundle.version])
            seen.add(bundle.version)
            count += 1
        return count

    with ThreadPoolExecutor(3) as pool:
        counts = [pool.submit(predict) for _ in range(3)]
        for place in range(12):
            store.install(folders[place % len(folders)], allow_older=True)
            if place % 5 == 4:
                store.rollback()
        done.set()
        assert all(count.result() >= 1 for count in counts)
    assert seen <= set(expected)


def test_installations_from_several_threads_queue(make_bundle: MakeBundle, tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "store")
    folders = [make_bundle(f"b{seed}", seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        versions = {bundle.version for bundle in pool.map(partial(store.install, allow_older=True), folders)}
    assert set(store.versions()) == versions


def test_what_is_installed_goes_before_what_was_built(make_bundle: MakeBundle) -> None:
    assert usual_bundle_path() == default_bundle_path()
    store = BundleStore.default()
    installed = store.install(make_bundle())
    assert usual_bundle_path() == installed.path
    assert usual_bundle_path("cloud") == default_bundle_path("cloud")
