"""The load model's arithmetic: what was put in is found, and what saturates first is named."""

from __future__ import annotations

import click
import pytest
from benchmarks.capacity import PARTS, Constants, Cost, Shape, fitted, loads, report

TRUE = {
    "gate": Cost(0.02, 0.03, 0.01),
    "superlink": Cost(0.05, 0.04, 0.02),
    "serverapp": Cost(0.2, 0.01, 0.03),
    "service": Cost(0.01, 0.002, 0.0),
}


def _line(devices: int, update_mb: float) -> dict[str, object]:
    seconds = {part: cost.of(devices, update_mb) for part, cost in TRUE.items()}
    return {"devices": devices, "bytes_up_a_device": int(update_mb * 1e6), "processor_s_a_round": seconds}


def test_costs_are_found_again_from_three_rounds() -> None:
    found = fitted([_line(2, 2.5), _line(5, 2.5), _line(5, 0.5)])
    for part in PARTS:
        assert (found[part].fixed, found[part].device, found[part].mb) == pytest.approx(
            (TRUE[part].fixed, TRUE[part].device, TRUE[part].mb), abs=1e-9
        )


def test_rounds_of_one_kind_are_too_few() -> None:
    with pytest.raises(click.ClickException, match="two numbers of devices, and two widths"):
        fitted([_line(2, 2.5), _line(5, 2.5)])


def test_no_cost_is_below_zero() -> None:
    falling = [
        {**_line(devices, mb), "processor_s_a_round": {"gate": 1.0 / devices}}
        for devices, mb in ((2, 2.5), (5, 2.5), (5, 0.5))
    ]
    cost = fitted(falling)["gate"]
    assert min(cost.fixed, cost.device, cost.mb) >= 0


def test_the_busiest_part_is_named_and_regions_share_its_work() -> None:
    constants = Constants(parts=TRUE, registry_s=0.001, registry_bytes=1000, wire=1.0)
    one = Shape(devices=10_000, update_mb=2.5, round_s=600)
    assert loads(constants, one)["superlink"] == pytest.approx((0.05 + 10_000 * 0.09) / 600)
    said = report(constants, one, 1.0, 0.04, 0.05)
    assert any(line.startswith("first to saturate: superlink") for line in said)
    assert any("--regions 3" in line for line in said)
    shared = Shape(devices=10_000, update_mb=2.5, round_s=600, regions=3)
    assert max(loads(constants, shared).values()) < 0.7
    assert "centre" in loads(constants, shared)


def test_secure_sums_cost_the_server_a_mask_and_three_messages_a_device() -> None:
    constants = Constants(parts=TRUE, mask_s_mb=0.001)
    plain, secure = (
        loads(constants, Shape(devices=100, update_mb=2.0, round_s=10, neighbours=n))["serverapp"] for n in (0, 20)
    )
    # And three messages more of each device.
    assert secure - plain == pytest.approx(100 * (2.0 * 0.001 + 3 * TRUE["serverapp"].device) / 10)
