from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedaffect.edge.cloud import CloudRefused, connect
from fedaffect.edge.errors import BundleError, ConfigError
from fedaffect.server.errors import InvalidRequest, NotFound, Overloaded, ServingError, Unavailable
from fedaffect.server.registry import Registry, deployments, models
from fedaffect.server.serving.app import background
from fedaffect.server.serving.engines.deployment_watch import DeploymentWatch
from fedaffect.server.serving.engines.engine import Answer, ModelInfo, Request
from fedaffect.server.serving.engines.following import Follower, WholeWindows
from fedaffect.server.serving.engines.split import choose_version
from fedaffect.server.serving.engines.versions import VersionedEngine


class TinyEngine:
    """A whole engine whose model is its folder's name; it takes its time, and refuses once closed."""

    def __init__(self, folder: Path) -> None:
        values = json.loads((folder / "model.json").read_text())
        self.info = ModelInfo(
            version=values["version"],
            profile=values["profile"],
            label_set=values["label_set"],
            labels=("joy", "anger"),
            modalities=("text",),
            share=1.0,
        )
        self.inside = 0
        self.closed = False
        self.refuses_s: float | None = None
        self.most_inside = 0
        self.hold = asyncio.Event()
        self.hold.set()

    def follow(self, client: str, window_s: float) -> Follower:
        return WholeWindows(self, client, window_s)

    def check_room(self, client: str) -> None:
        if self.refuses_s is not None:
            raise Overloaded("full", self.refuses_s)

    async def predict(self, request: Request) -> Answer:
        if self.closed:
            raise Unavailable("closed")
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            await asyncio.sleep(0)
            await self.hold.wait()
            if self.closed:
                raise Unavailable("closed while a request was inside")
        finally:
            self.inside -= 1
        version = self.info.version
        return Answer(
            label="joy", probabilities={"joy": 1.0}, confidence=1.0, modalities=("text",), model_version=version
        )

    def models(self) -> tuple[ModelInfo, ...]:
        return (self.info,)

    def ready(self) -> bool:
        return not self.closed

    async def close(self, drain_s: float) -> None:
        self.closed = True
        self.hold.set()


class Opener:
    def __init__(self) -> None:
        self.opened: list[TinyEngine] = []

    async def __call__(self, folder: Path) -> TinyEngine:
        await asyncio.sleep(0.001)
        if (folder / "broken").exists():
            raise BundleError(f"{folder} is broken; make it again")
        engine = TinyEngine(folder)
        self.opened.append(engine)
        return engine


def model_folder(parent: Path, version: str, profile: str = "cloud") -> Path:
    folder = parent / version
    folder.mkdir()
    described = {"version": version, "profile": profile, "label_set": "shared7", "labels": ["joy", "anger"]}
    (folder / "model.json").write_text(json.dumps(described))
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return {version: model_folder(tmp_path, version) for version in ("v1", "v2", "v3")}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as opened:
        yield opened


async def _ask(engine: VersionedEngine, ids: range) -> Counter[str]:
    answers = await asyncio.gather(*(engine.predict(Request(id=f"request {n}")) for n in ids))
    return Counter(answer.model_version for answer in answers)


def _within_binomial_bounds(counts: Counter[str], shares: dict[str, float]) -> bool:
    total = counts.total()
    # Five standard deviations: once in two million draws.
    return all(
        abs(counts[version] - total * share) <= 5 * sqrt(total * share * (1 - share)) + 1
        for version, share in shares.items()
    )


def test_versions_swap_under_load_and_nothing_is_dropped(folders: dict[str, Path]) -> None:
    async def scenario() -> None:
        opener = Opener()
        engine = VersionedEngine(opener)
        await engine.load(folders["v1"])
        answered: Counter[str] = Counter()
        stop = asyncio.Event()

        async def caller(number: int) -> None:
            turn = 0
            while not stop.is_set():
                answer = await engine.predict(Request(id=f"{number} {turn}"))
                answered[answer.model_version] += 1
                turn += 1

        async with asyncio.TaskGroup() as callers:  # one failure anywhere fails the test
            for number in range(16):
                callers.create_task(caller(number))
            for share in (0.1, 0.5, 1.0):
                await engine.load(folders["v2"], share)
                await asyncio.sleep(0.02)
            await engine.load(folders["v3"])
            await asyncio.sleep(0.02)
            await engine.rollback()
            await asyncio.sleep(0.02)
            await engine.apply(folders, {"v2": 1.0})
            stop.set()
        assert all(answered[version] > 100 for version in folders), answered
        await engine.close(5)
        assert all(tiny.closed and tiny.inside == 0 and tiny.most_inside for tiny in opener.opened)

    asyncio.run(scenario())


@pytest.mark.slow
def test_shares_are_kept_and_an_id_keeps_its_version(folders: dict[str, Path]) -> None:
    async def scenario() -> None:
        engine = VersionedEngine(Opener())
        for shares in ({"v1": 0.9, "v2": 0.1}, {"v1": 0.25, "v2": 0.25, "v3": 0.5}, {"v3": 1.0}):
            await engine.apply(folders, shares)
            counts = await _ask(engine, range(2000))
            assert _within_binomial_bounds(counts, shares), counts
            assert counts == await _ask(engine, range(2000))
            assert {info.version: info.share for info in engine.models()} == shares
        await engine.close(1)

    asyncio.run(scenario())


def test_who_had_the_canary_keeps_it_when_its_share_grows() -> None:
    before, after = ({"v1": 1 - share, "v2": share} for share in (0.1, 0.3))
    ids = [str(number) for number in range(3000)]
    had = {i for i in ids if choose_version(i, before) == "v2"}
    has = {i for i in ids if choose_version(i, after) == "v2"}
    assert had < has


@settings(deadline=None, max_examples=50)
@given(
    request_id=st.text(),
    shares=st.dictionaries(st.text(min_size=1), st.floats(0, 1), max_size=5),
)
def test_only_versions_with_a_share_are_chosen_whatever_their_order(request_id: str, shares: dict[str, float]) -> None:
    chosen = choose_version(request_id, shares)
    assert chosen == choose_version(request_id, dict(reversed(shares.items())))
    if any(share > 1e-12 for share in shares.values()):
        assert chosen is not None
        assert shares[chosen] > 0


def test_a_version_with_no_share_answers_by_name_and_is_there_to_go_back_to(folders: dict[str, Path]) -> None:
    async def scenario() -> None:
        opener = Opener()
        engine = VersionedEngine(opener)
        await engine.apply(folders, {"v1": 1.0, "v2": 0.0})
        assert await _ask(engine, range(50)) == {"v1": 50}
        assert (await engine.predict(Request(id="1", model_version="v2"))).model_version == "v2"
        await engine.apply(folders, {"v1": 0.0, "v2": 1.0})
        assert await engine.rollback() == {"v1": 1.0, "v2": 0.0}
        assert len(opener.opened) == 2
        with pytest.raises(NotFound, match=r"'v3' is not served here; served: v1, v2"):
            await engine.predict(Request(id="1", model_version="v3"))
        await engine.close(1)

    asyncio.run(scenario())


def test_a_request_is_turned_away_early_only_where_every_version_would(folders: dict[str, Path]) -> None:
    async def scenario() -> None:
        opener = Opener()
        engine = VersionedEngine(opener)
        engine.check_room("ana")
        await engine.load(folders["v1"])
        await engine.load(folders["v2"], share=0.5)
        first, second = opener.opened
        first.refuses_s = 3.0
        engine.check_room("ana")
        second.refuses_s = 2.0
        with pytest.raises(Overloaded) as refused:
            engine.check_room("ana")
        assert refused.value.retry_after_s == 2.0
        await engine.close(0)

    asyncio.run(scenario())


def test_rollback_loads_what_was_drained(folders: dict[str, Path]) -> None:
    async def scenario() -> None:
        opener = Opener()
        engine = VersionedEngine(opener)
        with pytest.raises(NotFound, match="no earlier split"):
            await engine.rollback()
        await engine.load(folders["v1"])
        await engine.load(folders["v2"], 0.2)
        await engine.load(folders["v2"])
        assert await _ask(engine, range(20)) == {"v2": 20}
        await engine.rollback()
        assert engine.shares == pytest.approx({"v1": 0.8, "v2": 0.2})
        assert set(await _ask(engine, range(200))) == {"v1", "v2"}
        await engine.rollback()
        assert await _ask(engine, range(20)) == {"v1": 20}
        await engine.close(1)

    asyncio.run(scenario())


def test_a_version_left_out_finishes_what_it_has(folders: dict[str, Path]) -> None:
    async def scenario() -> None:
        opener = Opener()
        engine = VersionedEngine(opener, drain_s=30)
        await engine.load(folders["v1"])
        old = opener.opened[0]
        old.hold.clear()
        waiting = asyncio.create_task(engine.predict(Request(id="slow")))
        while not old.inside:
            await asyncio.sleep(0)
        await engine.load(folders["v2"])
        assert await _ask(engine, range(20)) == {"v2": 20}
        assert not old.closed
        old.hold.set()
        assert (await waiting).model_version == "v1"
        while not old.closed:
            await asyncio.sleep(0.001)
        await engine.close(1)

    asyncio.run(scenario())


def test_a_request_that_never_ends_does_not_keep_a_version_for_ever(folders: dict[str, Path]) -> None:
    async def scenario() -> None:
        opener = Opener()
        engine = VersionedEngine(opener, drain_s=0.01)
        await engine.load(folders["v1"])
        opener.opened[0].hold.clear()
        waiting = asyncio.create_task(engine.predict(Request(id="stuck")))
        while not opener.opened[0].inside:
            await asyncio.sleep(0)
        await engine.load(folders["v2"])
        with pytest.raises(Unavailable):
            await waiting
        await engine.close(1)

    asyncio.run(scenario())


def test_what_cannot_be_served_changes_nothing(folders: dict[str, Path], tmp_path: Path) -> None:
    async def scenario() -> None:
        opener = Opener()
        engine = VersionedEngine(opener)
        await engine.load(folders["v1"])
        (folders["v3"] / "broken").touch()
        (tmp_path / "renamed").mkdir()
        (tmp_path / "renamed" / "model.json").write_text((folders["v2"] / "model.json").read_text())
        renamed = {"v9": tmp_path / "renamed"}
        with pytest.raises(BundleError, match="broken"):
            await engine.apply(folders, {"v2": 0.5, "v3": 0.5})
        assert opener.opened[-1].info.version == "v2"
        assert opener.opened[-1].closed
        with pytest.raises(BundleError, match=r"has no model\.json"):
            await engine.load(tmp_path / "nowhere")
        with pytest.raises(ConfigError, match="'v2' instead of 'v9'"):
            await engine.apply(renamed, {"v9": 1.0})
        with pytest.raises(ConfigError, match="add up to 1"):
            await engine.apply(folders, {"v1": 0.7})
        with pytest.raises(NotFound, match="load its folder first"):
            await engine.apply({"v1": folders["v1"]}, {"v2": 1.0})
        assert await _ask(engine, range(20)) == {"v1": 20}
        with pytest.raises(NotFound):
            await engine.rollback()
        await engine.close(1)

    asyncio.run(scenario())


def test_features_go_to_the_versions_that_take_them(folders: dict[str, Path], tmp_path: Path) -> None:
    features = {"audio": np.zeros((2, 4), np.float16)}

    async def scenario() -> None:
        engine = VersionedEngine(Opener())
        for request in (Request(id="1"), Request(id="1", features=features)):
            with pytest.raises(Unavailable, match="no model is loaded"):
                await engine.predict(request)
        await engine.load(folders["v1"])
        with pytest.raises(InvalidRequest, match="takes features; send the sample itself"):
            await engine.predict(Request(id="1", features=features))
        await engine.apply({"small": model_folder(tmp_path, "small", "edge-features")}, {"small": 1.0})
        with pytest.raises(InvalidRequest, match="takes media; send features"):
            await engine.predict(Request(id="1"))
        await engine.load(folders["v1"])
        await engine.load(folders["v2"], 0.5)
        assert engine.shares == {"v1": 0.5, "v2": 0.5, "small": 1.0}
        for number in range(20):
            answer = await engine.predict(Request(id=f"{number}", features=features))
            assert answer.model_version == "small"
        assert set(await _ask(engine, range(100))) == {"v1", "v2"}
        await engine.close(1)

    asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_a_device_takes_features_that_nobody_wants_for_its_own_fault(transport: str, folders: dict[str, Path]) -> None:
    engine = VersionedEngine(Opener())
    asyncio.run(engine.load(folders["v1"]))
    with background(engine) as server:
        device = connect(server.rest_url if transport == "rest" else f"grpc://{server.grpc_target}")
        features = {"audio": np.zeros((2, 4), np.float16)}
        with pytest.raises(CloudRefused, match="no model that is served here takes features") as refused:
            device.predict(None, request_id="1", features=features, encoder_keys={"audio": "k"}, deadline_ms=60_000)
        device.close()
    assert (refused.value.status, refused.value.for_good) == (422, True)


def test_closing_finishes_what_is_inside_and_takes_nothing_new(folders: dict[str, Path]) -> None:
    async def scenario() -> None:
        opener = Opener()
        engine = VersionedEngine(opener)
        assert not engine.ready()
        await engine.load(folders["v1"])
        assert engine.ready()
        tiny = opener.opened[0]
        tiny.hold.clear()
        waiting = asyncio.create_task(engine.predict(Request(id="1")))
        while not tiny.inside:
            await asyncio.sleep(0)
        closing = asyncio.create_task(engine.close(10))
        await asyncio.sleep(0)
        assert not engine.ready()
        with pytest.raises(Unavailable, match="stopping"):
            await engine.predict(Request(id="2"))
        with pytest.raises(Unavailable, match="stopping"):
            await engine.load(folders["v2"])
        tiny.hold.set()
        assert (await waiting).model_version == "v1"
        await closing
        assert tiny.closed

    asyncio.run(scenario())


def _register(registry: Registry, folders: dict[str, Path]) -> None:
    for version, path in folders.items():
        models.add(
            registry, version=version, profile="cloud", path=path, label_set="shared7", sha256=version.ljust(64, "0")
        )


def test_a_running_server_follows_the_registry(folders: dict[str, Path], registry: Registry) -> None:
    _register(registry, folders)

    async def scenario() -> None:
        engine = VersionedEngine(Opener())
        watch = DeploymentWatch(registry, engine, interval_s=0.01)
        await watch.start()
        assert not engine.ready()
        shares = {"v1": 0.9, "v2": 0.1}
        await asyncio.to_thread(deployments.share, registry, shares)
        async with asyncio.timeout(300):
            while engine.shares != shares:
                await asyncio.sleep(0.01)
        assert _within_binomial_bounds(await _ask(engine, range(1000)), shares)
        await asyncio.to_thread(deployments.share, registry, {"v3": 1.0})
        await asyncio.to_thread(deployments.rollback, registry)
        async with asyncio.timeout(300):
            while engine.shares != shares or "v3" in {info.version for info in engine.models()}:
                await asyncio.sleep(0.01)
        await watch.stop()
        await engine.close(1)

    asyncio.run(scenario())


def test_a_split_that_cannot_be_served_leaves_the_one_before(folders: dict[str, Path], registry: Registry) -> None:
    _register(registry, folders)
    deployments.share(registry, {"v1": 1.0})

    async def scenario() -> None:
        opener = Opener()
        engine = VersionedEngine(opener)
        watch = DeploymentWatch(registry, engine, interval_s=60, retry_s=0)
        await watch.start()
        assert not await watch.look()
        (folders["v2"] / "broken").touch()
        deployments.share(registry, {"v1": 0.5, "v2": 0.5})
        assert not await watch.look()
        assert engine.shares == {"v1": 1.0}
        (folders["v2"] / "broken").unlink()
        assert await watch.look()
        assert engine.shares == {"v1": 0.5, "v2": 0.5}
        await watch.stop()
        await engine.close(1)

    asyncio.run(scenario())


def test_a_server_does_not_start_with_a_split_that_it_cannot_serve(
    folders: dict[str, Path], registry: Registry
) -> None:
    _register(registry, folders)
    deployments.share(registry, {"v1": 1.0})
    (folders["v1"] / "model.json").write_text("{")

    async def scenario() -> None:
        watch = DeploymentWatch(registry, VersionedEngine(Opener()))
        with pytest.raises((BundleError, ServingError), match=r"model\.json"):
            await watch.start()

    asyncio.run(scenario())


def test_a_registry_that_is_away_changes_nothing(folders: dict[str, Path], registry: Registry) -> None:
    _register(registry, folders)
    deployments.share(registry, {"v1": 1.0})

    async def scenario() -> None:
        engine = VersionedEngine(Opener())
        watch = DeploymentWatch(registry, engine, interval_s=60)
        await watch.start()
        path = Path(registry.name.removeprefix("sqlite:///"))
        registry.close()
        moved = path.rename(path.with_suffix(".moved"))
        path.mkdir()  # the database's place is taken by something that cannot be opened
        assert not await watch.look()
        assert await _ask(engine, range(5)) == {"v1": 5}
        path.rmdir()
        moved.rename(path)
        deployments.share(registry, {"v2": 1.0})
        assert await watch.look()
        await watch.stop()
        await engine.close(1)

    asyncio.run(scenario())
