"""A fleet of real processes, of which one device is cut off again and again and one is slow in all it does."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.support.constructed_cohort import constructed_cohort
from tests.support.cutting_proxy import CuttingProxy, Link, cutting
from tests.support.slowed import slowed
from tests.support.small_fleet import SmallFleet
from tests.support.whole_systems import takes_minutes

from fedaffect.client.device.folder import DeviceFolder
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, audit, devices, participations, rounds

DEVICES = 3
SETTINGS = {
    "model_options": {"width": 16, "heads": 2, "feedforward": 32},
    "lr": 0.05,
    "clients_per_round": DEVICES,
    "gather_s": 5.0,
}


def behind(fleet: SmallFleet, name: str, partition: int, proxies: list[CuttingProxy], *more: str) -> None:
    """Enrol a device that reaches SuperLink and service through proxies."""
    superlink, service = proxies
    folder = fleet.enroll(name, partition, "--server", f"https://localhost:{service.port}", *more)
    DeviceFolder(folder).change(superlink=f"localhost:{superlink.port}")


def outcomes(fleet: SmallFleet, name: str) -> tuple[list[int], dict[str, Counter[str]]]:
    """The rounds that committed, and how often each device ended a round in which way."""
    with Registry.open(FleetFolder.open(fleet.path).settings.registry) as registry:
        audit.verify(registry)
        names = {device.id: device.name for device in devices.every(registry)}
        found: dict[str, Counter[str]] = {known: Counter() for known in names.values()}
        committed = [r for r in rounds.of_run(registry, name) if r.state == "committed"]
        for r in committed:
            for one in participations.of_round(registry, name, r.round, r.attempt):
                found[names[one.slot.device_id]][one.state] += 1
        return [r.round for r in committed], found


@takes_minutes
def test_every_round_commits_while_a_device_is_cut_off_and_another_is_slow(tmp_path: Path) -> None:
    cohort = constructed_cohort(
        tmp_path / "cohort", clients=DEVICES, examples=(8, 12), tokens={"text": 2, "audio": 2}, width=12
    )
    bad, slow = Link(), Link(delay_s=0.05)
    with SmallFleet(tmp_path / "links", cohort) as fleet:
        ports = (fleet.superlink_port, fleet.service_port)
        with cutting(bad, *ports) as cut, cutting(slow, *ports) as delayed:
            fleet.enroll("steady", 0)
            behind(fleet, "cut", 1, cut)
            key = fleet.command("fleet", "token", "--fleet", str(fleet.path), "--approval").stdout.strip()
            behind(fleet, "slow", 2, delayed, "--token", key)
            for name in ("steady", "cut", "slow"):
                fleet.start(name)
            fleet.online(2)
            # It was started, and takes part once the operator approves it.
            assert {d["name"]: d["status"] for d in fleet.status()["devices"]}["slow"] == "waiting"
            fleet.command("fleet", "devices", "approve", "--fleet", str(fleet.path), "slow")
            fleet.online(DEVICES)

            bad.cut_after, bad.away_s = (10_000, 60_000), 1.0
            with slowed(lambda: fleet.processes(str(fleet.folder / "slow")), times=4):
                # Rounds wait for the device that is cut off, and it is away for most of them.
                fleet.submit("links", 2, **SETTINGS, round_timeout_s=30.0)
                fleet.wait("links")
            committed, found = outcomes(fleet, "links")
            assert committed == [1, 2]
            assert found["steady"] == {"answered": 2}
            assert found["slow"]["answered"] >= 1
            assert cut[0].cuts > 0
            assert all(fleet.lives(name) for name in ("steady", "cut", "slow"))

            # The link is good again, and so is the device behind it.
            bad.cut_after = None
            fleet.online(DEVICES)
            fleet.submit("after", 1, **SETTINGS, round_timeout_s=300.0)
            fleet.wait("after")
            committed, found = outcomes(fleet, "after")
            assert committed == [1]
            assert found["cut"]["answered"] >= 1
