"""The circle over real sockets: what people say of answers becomes the bundle that answers them better."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.learning_bundle import learning_bundle
from tests.support.public_lines import knowing, write_lines
from tests.support.small_fleet import SmallFleet
from tests.support.without_extras import refusing

from fedaffect.client.device.folder import DeviceFolder
from fedaffect.edge.bundle import Bundle, BundleStore
from fedaffect.edge.bundle.archive import pack
from fedaffect.edge.runtime import EdgeRuntime
from fedaffect.edge.store import Journal, default_path
from fedaffect.server.fleet.api.operator_client import Operator
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, bundles
from fedaffect.server.registry.folder_hash import file_sha256

NAMES = ("phone", "tablet")
SAID = "you sad today"
OTHERS = ("i am so happy", "happy happy today", "so happy you am", "i am happy today so")


class Person:
    """Somebody with a device: folders of their own, and the bundle that the device runs now."""

    def __init__(self, fleet: SmallFleet, name: str, without: Collection[str] = ()) -> None:
        self.fleet, self.name = fleet, name
        home = fleet.folder / f"home-{name}"
        self.environment = {f"FEDAFFECT_{kind}": str(home / kind.lower()) for kind in ("CONFIG", "CACHE", "DATA")}
        if without:
            self.environment |= refusing(set(without), fleet.folder / f"without-{name}")

    def join(self) -> None:
        path = self.fleet.enroll(self.name, None, environment=self.environment)
        # No budget of privacy: noise that hides twelve examples of one person leaves nothing to see in a test.
        DeviceFolder(path).change(only_private=False)
        self.fleet.start(self.name, self.environment)

    def says(self, *arguments: str) -> str:
        return self.fleet.command(*arguments, environment=self.environment).stdout

    @property
    def version(self) -> str | None:
        with self._at_home():
            current = BundleStore.default().current(verify=False)
        return current.version if current else None

    def answer(self, text: str) -> str:
        """By the bundle alone: what the device makes of its own labels would change the answer without any fleet."""
        with self._at_home(), EdgeRuntime.load(BundleStore.default().current()) as runtime:
            return runtime.predict(text).label

    def labels(self, said: dict[str, str]) -> None:
        """Ask and correct, as an app does through the runtime."""
        with self._at_home():
            journal = Journal(default_path(), keep_examples=True)
            with EdgeRuntime.load(BundleStore.default().current(), journal=journal) as runtime:
                for text, label in said.items():
                    prediction = runtime.predict(text)
                    journal.feedback(prediction.request_id, label, consent=True)

    @contextmanager
    def _at_home(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            yield


@pytest.fixture
def fleet(tiny_bundle: Path, tmp_path: Path) -> Iterator[SmallFleet]:
    with SmallFleet(tmp_path / "at-work", tmp_path) as fleet:
        folder = FleetFolder.open(fleet.path)
        with Registry.open(folder.settings.registry) as registry:
            fresh = learning_bundle(tiny_bundle, tmp_path / "fresh")
            state = knowing(write_lines(tmp_path / "lines"), fresh, folder, registry, tmp_path)
            tar = pack(learning_bundle(tiny_bundle, tmp_path / "base", step=True, state=state), tmp_path / "base.tar")
            version = Bundle.load(tmp_path / "base").version
            bundles.add(registry, version=version, path=tar, sha256=file_sha256(tar), size_bytes=tar.stat().st_size)
            bundles.offer(registry, version)
        yield fleet


def test_what_two_people_say_of_an_answer_changes_the_next_one(fleet: SmallFleet, tmp_path: Path) -> None:
    base = Bundle.load(tmp_path / "base").version
    # The tablet has no torch, and learns by the training step of its bundle.
    people = [Person(fleet, NAMES[0]), Person(fleet, NAMES[1], {"torch", "opacus", "scipy"})]
    for person in people:
        person.join()
    for person in people:
        fleet.wait_for(lambda person=person: person.version == base, "the fleet's bundle")  # type: ignore[misc]

    one, other = people
    before = one.answer(SAID)
    meant = "fear" if before != "fear" else "joy"
    # One of them by the commands that a person types.
    one.says("edge", "predict", "--text", SAID, "--keep")
    assert f"labelled {meant}, may be learned from" in one.says("edge", "feedback", "--last", meant, "--consent")
    for person in people:
        sad = {f"{SAID} {word}": meant for word in ("you", "sad", "today", "am", "i", "so")}
        person.labels(
            {**sad, SAID: meant, **dict.fromkeys(OTHERS, "surprise"), **{f"{t} so": "surprise" for t in OTHERS}}
        )

    run = (
        *("fleet", "run", "--fleet", str(fleet.path), "--rounds", "2", "--wait", "--set", "dp=none"),
        *("--set", "lr=0.02", "--set", "local-epochs=15", "--set", "gather-s=5"),
    )
    # What these two people mean costs others: by default that is no bundle.
    costly = fleet.command(*run, "--guard", str(tmp_path / "lines"), check=False)
    assert costly.returncode != 0
    assert re.search(r"loses \d+\.\d points on lines .*--guard-loss allows 1", costly.stdout + costly.stderr)
    assert {person.version for person in people} == {base}

    done = fleet.command(*run)
    assert "devices learn from their own examples" in done.stdout
    assert "2 of 2 rounds" in done.stdout
    assert "goes to 100 % of devices" in done.stdout
    for person in people:
        fleet.wait_for(lambda person=person: person.version not in (None, base), "the new bundle")  # type: ignore[misc]
    assert one.answer(SAID) == other.answer(SAID) == meant

    with Operator.of(FleetFolder.open(fleet.path)) as operator:
        fleet.wait_for(
            lambda: operator.post("/v1/status")["rollouts"][0]["reports"] == len(NAMES), "the devices' figures"
        )
        status = operator.post("/v1/status")
    assert [run["state"] for run in status["runs"]] == ["failed", "finished"]
    assert len(status["rollouts"]) == 1
    assert status["rollouts"][0]["change"] > 0
    assert (status["rollouts"][0]["better"], status["rollouts"][0]["worse"]) == (len(NAMES), 0)
    shown = json.loads(one.says("device", "status", "--device", str(fleet.folder / one.name), "--json"))
    assert shown["bundle"]["version"] == status["rollouts"][0]["version"] == one.version
    assert [entry["what"] for entry in shown["shared"]] == ["update"] * 4 + ["report"]
    assert shown["refusal"] is None
    engines = [json.loads(p.says("device", "status", "--device", str(fleet.folder / p.name), "--json")) for p in people]
    assert [said["engine"] for said in engines] == ["torch", "onnx"]
