"""A fleet of real processes: SuperLink with TLS and node authentication, service, three devices, over sockets."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest
from flwr.app import Message, MessageType
from flwr.supercore.inflatable.inflatable_object import get_object_type_from_object_content
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from tests.support.constructed_cohort import constructed_cohort
from tests.support.in_process_grid import InProcessGrid
from tests.support.small_fleet import SmallFleet
from tests.support.whole_systems import takes_minutes

from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.spending import ledger_of
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.client.wire import ABOUT, MASKED, SECAGG
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, audit, devices, keys, privacy, rounds

DEVICES = 3
SETTINGS = {
    "model_options": {"width": 16, "heads": 2, "feedforward": 32},
    "lr": 0.05,
    "clients_per_round": DEVICES,
    # Nothing here waits for it, unless somebody does not answer.
    "round_timeout_s": 300.0,
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallFleet]:
    folder = tmp_path_factory.mktemp("fleet")
    cohort = constructed_cohort(
        folder / "cohort", clients=DEVICES, examples=(8, 12), tokens={"text": 2, "audio": 2}, width=12
    )
    with SmallFleet(folder / "at-work", cohort) as fleet:
        for k in range(DEVICES):
            fleet.enroll(f"d{k}", k)
            fleet.start(f"d{k}")
        fleet.online(DEVICES)
        yield fleet


def arrays(folder: Path, number: int) -> dict[str, bytes]:
    return {name: a.tobytes() for name, a in RunFolder.open(folder).checkpoints.load(number).arrays.items()}


def test_devices_learn_to_the_arrays_of_the_simulation_through_a_killed_serverapp(
    fleet: SmallFleet, tmp_path: Path
) -> None:
    fleet.submit("learn", 4, **SETTINGS)
    fleet.wait_for(lambda: len(fleet.rounds("learn")) >= 1, "a round")
    assert fleet.kill("flwr-serverapp")
    lines = fleet.wait("learn")
    assert [line["round"] for line in lines] == [1, 2, 3, 4]
    config = RunSettings.of(dataset="synthetic", rounds=4, out=tmp_path, name="beside", **SETTINGS)  # type: ignore[arg-type]
    beside = RunFolder.create(config)
    run_federation(InProcessGrid(DEVICES), config, fleet.cohort, beside)
    for number in (1, 2, 3, 4):
        assert arrays(fleet.path / "runs" / "learn", number) == arrays(beside.path, number), number
    with Registry.open(FleetFolder.open(fleet.path).settings.registry) as registry:
        committed = [r.round for r in rounds.of_run(registry, "learn") if r.state == "committed"]
        audit.verify(registry)
    assert committed == [1, 2, 3, 4]
    assert len(fleet.run_state("learn")["flower_runs"]) >= 2


@pytest.fixture
def heard(fleet: SmallFleet) -> Iterator[Callable[[int], list[Message]]]:
    """What arrived at the SuperLink from devices in a Flower run, kept by a trigger of its own database."""
    with closing(sqlite3.connect(fleet.path / "superlink.db", timeout=30)) as database:
        database.execute("CREATE TABLE heard (object_id TEXT PRIMARY KEY, content BLOB)")
        database.execute(
            "CREATE TRIGGER hear AFTER UPDATE OF content ON objects WHEN length(NEW.content) > 0 "
            "BEGIN INSERT OR IGNORE INTO heard VALUES (NEW.object_id, NEW.content); END"
        )
        # What is there already is not stored again.
        database.execute("INSERT INTO heard SELECT object_id, content FROM objects WHERE length(content) > 0")
        database.commit()

        def messages(flower_run: int) -> list[Message]:
            kept = dict(database.execute("SELECT object_id, content FROM heard"))
            found = [
                inflate_object_from_contents(each, kept, keep_object_contents=True)
                for each, content in kept.items()
                if get_object_type_from_object_content(content) == "Message"
            ]
            # The server's own are questions, and answer nothing.
            return [m for m in found if m.metadata.run_id == flower_run and m.metadata.reply_to_message_id]

        yield messages
        database.execute("DROP TRIGGER hear")
        database.execute("DROP TABLE heard")
        database.commit()


def test_masked_and_private_rounds_of_real_devices(
    fleet: SmallFleet, heard: Callable[[int], list[Message]], tmp_path: Path
) -> None:
    private = {**SETTINGS, "epsilon": 8.0}
    poor = DeviceFolder(fleet.folder / "d2")
    poor.change(epsilon=0.01)
    # Without Adam, which makes steps of its own length out of gradients that are nothing but rounding.
    plainly = {**SETTINGS, "optimizer": "sgd"}
    # Four runs at once: devices answer all of them, one message after the other.
    fleet.submit("masked", 2, **plainly, secagg=True)
    fleet.submit("local", 2, **private, dp="local")
    fleet.submit("central", 2, **private, dp="central", clipping="adaptive", secagg=True)
    fleet.submit("tree", 2, **private, dp="central", dp_mechanism="ftrl")
    lines = {name: fleet.wait(name) for name in ("masked", "local", "central", "tree")}
    assert {name: [line["clients"] for line in run] for name, run in lines.items()} == {
        "masked": [3, 3], "local": [2, 2], "central": [3, 3], "tree": [3, 3],
    }  # fmt: skip
    assert [line["refusals"] for line in lines["local"]] == [1, 1]
    config = RunSettings.of(dataset="synthetic", rounds=2, out=tmp_path, name="plain", **plainly)  # type: ignore[arg-type]
    plain = RunFolder.create(config)
    run_federation(InProcessGrid(DEVICES), config, fleet.cohort, plain)
    for number in (1, 2):
        ours = RunFolder.open(fleet.path / "runs" / "masked").checkpoints.load(number).arrays
        for name, array in plain.checkpoints.load(number).arrays.items():
            np.testing.assert_allclose(ours[name], array, rtol=0, atol=1e-5, err_msg=name)
    for name in ("masked", "central"):
        replies = heard(int(fleet.run_state(name)["flower_runs"][0]))
        trained = [m for m in replies if m.has_content() and m.metadata.message_type == MessageType.TRAIN]
        # Two rounds of four stages, three devices.
        assert len(trained) == 24
        words = [m for m in trained if m.content.array_records]
        assert len(words) == 6
        assert all(set(m.content) == {MASKED, ABOUT} for m in words)
        assert {array.dtype for m in words for array in m.content.array_records[MASKED].values()} == {"uint32"}
        assert all(set(m.content) == {SECAGG} for m in trained if not m.content.array_records)
    with Registry.open(FleetFolder.open(fleet.path).settings.registry) as registry:
        everybody = tuple(sorted(device.id for device in devices.every(registry) if device.status == "enrolled"))
        for name in ("masked", "central"):
            assert [r.unmasked for r in rounds.of_run(registry, name)] == [everybody, everybody]
        for k in (0, 1):
            folder = DeviceFolder(fleet.folder / f"d{k}")
            (recorded,) = privacy.spent(registry, folder.settings.id, "local")
            assert recorded.epsilon >= ledger_of(folder).spent > 0
            assert len(ledger_of(folder).charges()) == 2
            assert all(path.stat().st_mode & 0o077 == 0 for path in folder.sums.iterdir())
        assert ledger_of(poor).charges() == []
        for name in ("central", "tree"):
            said = RunFolder.open(fleet.path / "runs" / name).summary()["privacy"]
            assert (said["expected_clients"], said["sampling"]) == (DEVICES, "none that amplifies")
            (recorded,) = privacy.spent(registry, "", name)
            assert recorded.epsilon >= said["epsilon_by"]["rdp"] * 0.999
        audit.verify(registry)


def test_an_unregistered_node_and_a_second_use_of_a_token_are_refused(fleet: SmallFleet, tmp_path: Path) -> None:
    stranger = fleet.folder / "stranger"
    stranger.mkdir()
    DeviceKey.make(stranger / "device.key")
    (stranger / "authority.pem").write_bytes((fleet.path / "authority" / "ca.pem").read_bytes())
    fleet.start_plain("stranger", 0)
    status = fleet.exit_status("stranger")
    assert status != 0
    assert "SuperNode" in (fleet.folder / "stranger.out").read_text()
    token = fleet.token()
    for name, code in (("once", 0), ("twice", 2)):
        done = fleet.command(
            *("device", "enroll", "--device", str(tmp_path / name), "--name", name, "--token", token),
            *("--server", f"https://localhost:{fleet.service_port}", "--ca", str(fleet.path / "authority" / "ca.pem")),
            check=False,
        )
        assert done.returncode == code, done.stderr
    assert "was used" in done.stderr
    assert done.stderr.count("\n") == 1


def test_only_the_operators_address_reaches_flowers_control_api(fleet: SmallFleet) -> None:
    context = ssl.create_default_context(cafile=str(fleet.path / "authority" / "ca.pem"))
    url = f"https://localhost:{fleet.superlink_port}"
    # 127.0.0.2 is this machine too, and no operator's address.
    with httpx.Client(
        verify=context, transport=httpx.HTTPTransport(verify=context, local_address="127.0.0.2")
    ) as other:
        for path in ("/v1/control/start-run", "/v1/control/register-node", "/v1/runtime/acquire-task", "/docs"):
            assert other.post(f"{url}{path}", content=b"").status_code == 403, path
        big = other.post(f"{url}/v1/fleet/push-object", content=b"0" * 70_000_000)
        assert (big.status_code, b"oversized" in big.content) == (413, True)
        # A device's own path is open, and wants the device's key.
        assert other.post(f"{url}/v1/fleet/pull-messages", content=b"").status_code in (400, 401, 415, 422)
    with Registry.open(FleetFolder.open(fleet.path).settings.registry) as registry:
        fleet.wait_for(
            lambda: _refusals(registry) >= {"not an operator's address", "oversized: 70000000 bytes"}, "audit"
        )


def _refusals(registry: Registry) -> set[str]:
    return {str(json.loads(e.details)["why"]) for e in audit.entries(registry, action="superlink.refused")}


@takes_minutes
def test_a_certificate_and_a_devices_key_are_changed_while_devices_stay_at_work(fleet: SmallFleet) -> None:
    def serial() -> str:
        context = ssl.create_default_context(cafile=str(fleet.path / "authority" / "ca.pem"))
        with (
            socket.create_connection(("localhost", fleet.superlink_port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            return str((secure.getpeercert() or {})["serialNumber"])

    before = serial()
    fleet.command("fleet", "rotate", "--fleet", str(fleet.path), "--certificate")
    fleet.wait_for(lambda: serial() != before, "the new certificate")
    device = DeviceFolder(fleet.folder / "d0")
    said = fleet.command("device", "rotate", "--device", str(device.path))
    assert "d0 has a new key" in said.stdout
    with Registry.open(FleetFolder.open(fleet.path).settings.registry) as registry:
        node = devices.get(registry, "d0").node_id
        assert len(keys.of(registry, "device", device.settings.id)) == 1
        fleet.online(DEVICES)
        # All insist on neighbours whose keys are signed; the new key was certified when it came.
        for k in range(DEVICES):
            DeviceFolder(fleet.folder / f"d{k}").change(only_secagg=True)
        fleet.submit("renewed", 1, **SETTINGS, secagg=True)
        assert fleet.wait("renewed")[0]["clients"] == DEVICES
        for k in range(DEVICES):
            DeviceFolder(fleet.folder / f"d{k}").change(only_secagg=False)
        assert devices.get(registry, "d0").node_id == node


@takes_minutes
def test_a_run_that_somebody_ends_with_flowers_own_command_stays_ended(fleet: SmallFleet) -> None:
    fleet.submit("stopped", 500, **SETTINGS)
    fleet.wait_for(lambda: bool(fleet.rounds("stopped")), "a round")
    (number,) = fleet.run_state("stopped")["flower_runs"]
    flwr = str(Path(sys.executable).with_name("flwr"))
    home = {**os.environ, "FLWR_HOME": str(fleet.path / "flwr")}
    subprocess.run((flwr, "stop", number), env=home, check=True, capture_output=True)
    fleet.wait_for(lambda: fleet.run_state("stopped")["state"] != "open", "the end")
    ended = fleet.run_state("stopped")
    assert (ended["state"], ended["reason"]) == ("cancelled", "it was stopped with flwr stop")
    assert ended["flower_runs"] == [number]


def test_flowers_own_node_works_beside_and_a_revoked_one_never_again(fleet: SmallFleet) -> None:
    # Last: it takes device d1 away.
    assert fleet.stop("d1") == 0
    fleet.start_plain("d1", 1)
    fleet.online(DEVICES)
    fleet.submit("beside", 1, **SETTINGS)
    assert fleet.wait("beside")[0]["clients"] == DEVICES
    fleet.command("fleet", "revoke", "d1", "--fleet", str(fleet.path), "--reason", "sold")
    fleet.submit("after", 2, **{**SETTINGS, "clients_per_round": 1})
    lines = fleet.wait("after")
    assert [line["clients"] for line in lines] == [1, 1]
    with Registry.open(FleetFolder.open(fleet.path).settings.registry) as registry:
        revoked = DeviceFolder(fleet.folder / "d1").settings.id
        assert all(revoked not in r.selected for r in rounds.of_run(registry, "after"))
    # Flower itself lets its key in no more.
    fleet.exit_status("d1")
    fleet.start_plain("d1", 1)
    assert fleet.exit_status("d1") != 0
    started = fleet.command("device", "start", "--device", str(fleet.folder / "d1"), check=False)
    assert started.returncode == 2
    assert "sold" in started.stderr
    np.testing.assert_equal(fleet.rounds("after")[1]["failures"], 0)
