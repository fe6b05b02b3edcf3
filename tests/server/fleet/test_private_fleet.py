"""Privacy of a fleet's runs: devices pay from their own ledgers, and the registry never knows of less."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.support.fleet_runs import CLIENTS, DeviceGrid, Fleet

from fedaffect.client.device.spending import ledger_of
from fedaffect.client.privacy.accounting import epsilon
from fedaffect.server.fleet.errors import NobodyLearned
from fedaffect.server.registry import devices, privacy

AFleet = Callable[..., Fleet]
LOCAL = {"dp": "local", "epsilon": 4.0, "rounds": 3, "clients_per_round": CLIENTS}


@pytest.mark.parametrize("more", [{}, {"secagg": True}, {"compression": "int8"}], ids=["plain", "masked", "int8"])
def test_a_devices_spending_is_in_the_registry_before_its_update_counts(
    more: dict[str, Any], a_fleet: AFleet, device_grid: DeviceGrid
) -> None:
    # One that may spend what two rounds cost, and then says no.
    fleet = a_fleet(**LOCAL, **more)
    poor = device_grid.devices[0]
    seen: list[float] = []

    class Watching:
        def started(self, *_: object) -> None: ...

        def finished(self, *_: object) -> None: ...

        def round_finished(self, record: Any) -> None:
            seen.append(ledger_of(poor).spent)
            if record.round == 1:
                poor.change(epsilon=seen[0] * 1.01)

    fleet.resume(device_grid, [Watching()])
    for partition, folder in device_grid.devices.items():
        known = devices.get(fleet.registry, f"d{partition}")
        (recorded,) = privacy.spent(fleet.registry, known.id)
        ledger = ledger_of(folder)
        assert (recorded.unit, recorded.delta) == ("example", 1e-5)
        assert recorded.epsilon >= ledger.spent > 0
        # What it was: charged once for each round that it trained in.
        assert ledger.spent == pytest.approx(epsilon([c.spending for c in ledger.charges()], 1e-5))
    assert [line["refusals"] for line in fleet.run_folder.metrics()] == [0, 1, 1]
    assert [line["failures"] for line in fleet.run_folder.metrics()] == [0, 0, 0]
    assert (fleet.who(2)["d0"], fleet.who(2)["d1"]) == ("refused", "answered")
    rich = ledger_of(device_grid.devices[1])
    assert len(rich.charges()) == 3
    said = fleet.run_folder.summary()["privacy"]
    # Devices choose themselves, so one may have been there every time.
    assert said["rounds_of_a_client"] == 3
    assert rich.spent <= said["epsilon"] * 1.001 <= 4.0 * 1.002


@pytest.mark.parametrize(
    "more",
    [{}, {"dp_mechanism": "ftrl"}, {"clipping": "adaptive"}, {"clipping": "adaptive", "secagg": True}],
    ids=lambda more: "-".join(map(str, more.values())) or "gaussian",
)
def test_noise_in_the_centre_is_accounted_without_amplification(
    more: dict[str, Any], a_fleet: AFleet, device_grid: DeviceGrid
) -> None:
    fleet = a_fleet(dp="central", epsilon=8.0, rounds=3, clients_per_round=4, **more)
    # Fewer than expected: the sum is divided by K all the same.
    device_grid.offline = {1, 2, 3}
    device_grid.devices[0].change(consent=False)
    fleet.resume(device_grid)
    said = fleet.run_folder.summary()["privacy"]
    assert (said["unit"], said["expected_clients"], said["private"]) == ("client", 4, True)
    assert said["sampling"] == "none that amplifies"
    (recorded,) = privacy.spent(fleet.registry, "", fleet.id)
    assert recorded.epsilon >= said["epsilon_by"]["rdp"] * 0.999
    charges = privacy.charges(fleet.registry, run_id=fleet.id, device_id="")
    assert [c.round for c in charges] == [1, 2, 3]
    assert [c.unit for c in charges] == ["client"] * 3
    assert [line["clients"] for line in fleet.run_folder.metrics()] == [2, 2, 2]
    assert [line["refusals"] for line in fleet.run_folder.metrics()] == [1, 1, 1]
    assert not (fleet.run_folder.path / "noise.key").exists()


def test_a_run_without_noise_says_why_nobody_takes_part(
    a_fleet: AFleet, device_grid: DeviceGrid, caplog: pytest.LogCaptureFixture
) -> None:
    for folder in device_grid.devices.values():
        folder.change(only_private=True)
    fleet = a_fleet(rounds=1, clients_per_round=CLIENTS)
    with pytest.raises(NobodyLearned, match=rf"\({CLIENTS} x this device learns only with noise"):
        fleet.resume(device_grid)
    (line,) = fleet.run_folder.metrics()
    assert (line["clients"], line["refusals"]) == (0, CLIENTS)
    assert [f"{CLIENTS} of {CLIENTS} clients refused" in r.getMessage() for r in caplog.records if "refused" in r.msg]
    assert "run it with --dp local" in caplog.text
