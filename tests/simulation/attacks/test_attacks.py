"""Each attack does what it says, to whom it says, and a mean of all updates gives way to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Message
from tests.support.in_process_grid import InProcessGrid
from tests.support.small_cohorts import constructed_cohort

from fedaffect.client.cohort import Cohort
from fedaffect.client.wire import ARRAYS, PARTIAL_AGGREGATION, from_record
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.grid import GridCapabilities
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.attacks.backdoor import BACKDOOR_VIEW
from fedaffect.simulation.attacks.poisoning import poisoned
from fedaffect.simulation.attacks.registry import Campaign
from fedaffect.simulation.engines import Simulation

CLIENTS, CLASSES = 10, 3
SMALL = {"model_options": {"width": 16, "heads": 2, "feedforward": 32}, "clients_per_round": CLIENTS}
SMALL |= {"rounds": 6, "batch_size": 8, "optimizer": "adamw", "lr": 5e-3, "lr_schedule": "constant"}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return constructed_cohort(tmp_path_factory.mktemp("attacked") / "cohort", clients=CLIENTS, classes=CLASSES)


def under(out: Path, attack: str | None, **settings: Any) -> RunSettings:
    return RunSettings.of(**{**SMALL, "attack": attack, "out": out, **settings})


def summary_of(clean: Path, config: RunSettings) -> dict[str, Any]:
    torch.set_num_threads(1)
    return Simulation(config, poisoned(clean, config), RunFolder.create(config)).over(InProcessGrid(CLIENTS))


def test_who_is_malicious_is_drawn_from_the_seed_and_recorded(clean: Path, tmp_path: Path) -> None:
    draws = {
        under(tmp_path, "scale", seed=seed).federation.seed: Campaign.of(under(tmp_path, "scale", seed=seed))
        for seed in range(20)
    }
    chosen = {seed: campaign.malicious(CLIENTS) for seed, campaign in draws.items() if campaign}
    assert {len(clients) for clients in chosen.values()} == {2}
    assert len(set(chosen.values())) > 10
    summary = summary_of(clean, under(tmp_path, "scale", rounds=1, seed=3))
    assert tuple(summary["attack"]["clients"]) == chosen[3]
    assert summary["attack"]["client_names"] == [f"person{client}" for client in chosen[3]]
    assert (summary["attack"]["name"], summary["attack"]["attackers"]) == ("scale", 0.2)


@pytest.mark.parametrize(("attack", "ratio"), [("sign-flip", -4.0), ("scale", 20.0)])
def test_only_malicious_updates_are_changed_and_by_the_factor(
    clean: Path, tmp_path: Path, attack: str, ratio: float
) -> None:
    def changes(attack: str | None) -> dict[int, torch.Tensor]:
        seen: dict[int, torch.Tensor] = {}
        config = under(tmp_path / str(attack), attack, rounds=1, strategy="fedmedian")
        simulation = Simulation(config, clean, RunFolder.create(config))

        class Watched(InProcessGrid):
            pass

        from fedaffect.server.federation import aggregation

        take = aggregation.RoundReplies.take

        def watching(self: Any, reply: Message, client: int) -> None:
            seen[client] = from_record(self._layout, reply.content.array_records[ARRAYS]) - self._validator.start
            take(self, reply, client)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(aggregation.RoundReplies, "take", watching)
            simulation.over(Watched(CLIENTS))
        return seen

    campaign = Campaign.of(under(tmp_path, attack))
    assert campaign is not None
    honest, attacked = changes(None), changes(attack)
    for client in range(CLIENTS):
        expected = honest[client] * (ratio if client in campaign.malicious(CLIENTS) else 1.0)
        torch.testing.assert_close(attacked[client], expected, rtol=1e-3, atol=1e-5)


def test_malicious_clients_are_never_summed_with_honest_ones(clean: Path, tmp_path: Path) -> None:
    class Summing(InProcessGrid):
        capabilities = GridCapabilities(partial_aggregation=True)

    config = under(tmp_path, "sign-flip", rounds=1)
    grid = Summing(CLIENTS)
    Simulation(config, clean, RunFolder.create(config)).over(grid)
    campaign = Campaign.of(config)
    assert campaign is not None
    sent = [m for m in grid.pushed if m.metadata.message_type == "train"]
    alone = {
        grid.nodes[m.metadata.dst_node_id] for m in sent if not m.content.config_records["config"][PARTIAL_AGGREGATION]
    }
    assert alone == set(campaign.malicious(CLIENTS))


def test_flipped_labels_are_those_of_malicious_clients_and_nobody_elses(clean: Path, tmp_path: Path) -> None:
    config = under(tmp_path, "label-flip")
    before, after = Cohort.load(clean), Cohort.load(poisoned(clean, config))
    campaign = Campaign.of(config)
    assert campaign is not None
    malicious = set(campaign.malicious(CLIENTS))
    for client in range(CLIENTS):
        rows = before.rows_of(client)
        changed = before.train_labels[rows] != after.train_labels[rows]
        assert changed.all() if client in malicious else not changed.any()
    assert set(after.train_labels) <= set(range(CLASSES))
    np.testing.assert_array_equal(before.labels, after.labels)


def test_a_backdoor_changes_marked_examples_only_and_brings_a_view_of_its_own(clean: Path, tmp_path: Path) -> None:
    config = under(tmp_path, "backdoor", attack_options={"share": 0.5, "target": 1})
    before, after = Cohort.load(clean), Cohort.load(poisoned(clean, config))
    campaign = Campaign.of(config)
    assert campaign is not None
    count = len(before.labels)
    malicious = np.concatenate([before.rows_of(c) for c in campaign.malicious(CLIENTS)])
    view = after.splits[BACKDOOR_VIEW]
    test = before.splits["test"]
    assert len(view) == int((before.labels[test] != 1).sum())
    assert set(after.labels[view]) == {1}
    for name, table in before.tables.items():
        other = after.tables[name]
        differs = [
            row
            for row in range(count)
            if not np.array_equal(
                table.tokens[table.offsets[row] : table.offsets[row + 1]],
                other.tokens[other.offsets[row] : other.offsets[row + 1]],
            )
        ]
        assert len(differs) == len(malicious) // 2
        assert set(differs) <= set(malicious.tolist())
        assert set(after.train_labels[differs]) == {1}
    np.testing.assert_array_equal(np.delete(after.labels, view), before.labels)


def test_one_boosted_backdoor_takes_a_mean_over_and_not_a_median(clean: Path, tmp_path: Path) -> None:
    options = {"factor": 5.0, "strength": 10.0, "share": 1.0}

    def success(strategy: str, share: float) -> float:
        config = under(
            tmp_path / f"{strategy}{share}", "backdoor", strategy=strategy, attackers=share, attack_options=options
        )
        return float(summary_of(clean, config)["attack"]["success"])

    without, mean, median = success("fedavg", 0.0), success("fedavg", 0.2), success("fedmedian", 0.2)
    assert mean > 0.8
    assert without < mean - 0.3
    assert median < mean - 0.2


ROBUST = [
    ("fedmedian", {}),
    ("fedtrimmedavg", {"trim": 0.2}),
    ("krum", {"malicious": 2}),
    ("multikrum", {"malicious": 2, "select": 6}),
    ("bulyan", {"malicious": 2}),
    ("centred-clipping", {}),
]


def test_robust_strategies_learn_where_a_mean_of_all_does_not(tmp_path: Path) -> None:
    # As many as Bulyan needs against two.
    clients = 11
    cohort = constructed_cohort(tmp_path / "cohort", clients=clients, examples=16, widths={"text": 10}, tokens=2)

    def reached(strategy: str, options: dict[str, float]) -> float:
        torch.set_num_threads(1)
        settings = {"clients_per_round": clients, "rounds": 5, "strategy_options": options, "modality_dropout": 0.0}
        config = under(tmp_path / strategy, "sign-flip", strategy=strategy, **settings)
        summary = Simulation(config, cohort, RunFolder.create(config)).over(InProcessGrid(clients))
        assert len(summary["attack"]["clients"]) == 2
        return float(summary["test"]["uar"])

    mean = reached("fedavg", {})
    for strategy, options in ROBUST:
        assert reached(strategy, options) > mean + 0.15, strategy


def test_wrong_attacks_are_refused_with_their_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'sign-flip'"):
        Campaign.of(under(tmp_path, "signflip"))
    with pytest.raises(ConfigError, match="'factr'"):
        Campaign.of(under(tmp_path, "scale", attack_options={"factr": 2}))
    for share in (1.0, -0.1, float("nan")):
        with pytest.raises(ConfigError, match="--attackers must be 0 or more and below 1"):
            under(tmp_path, "scale", attackers=share)
    with pytest.raises(ConfigError, match="add --attack"):
        under(tmp_path, None, attackers=0.2)
    with pytest.raises(ConfigError, match="masked"):
        Campaign.of(under(tmp_path, "sign-flip", secagg=True))
    with pytest.raises(ConfigError, match="--local-only"):
        under(tmp_path, "scale", mode="local-only")
