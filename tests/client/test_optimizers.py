import pytest
import torch
from torch import nn

from fedaffect.client.optimizers import ResidentOptimizer
from fedaffect.client.train_config import TrainConfig

CONFIGS = [
    TrainConfig(lr=0.1),
    TrainConfig(lr=0.1, momentum=0.9, weight_decay=0.05),
    TrainConfig(lr=0.01, optimizer="adamw", weight_decay=0.1),
]


def parameters() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(5, 4)), nn.Parameter(torch.randn(7)), nn.Parameter(torch.randn(3))]


def give_gradients(chosen: list[nn.Parameter], step: int) -> None:
    torch.manual_seed(100 + step)
    for parameter in chosen[:2]:
        parameter.grad = torch.randn_like(parameter)


def reference(chosen: list[nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimizer == "adamw":
        return torch.optim.AdamW(chosen, config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(chosen, config.lr, momentum=config.momentum, weight_decay=config.weight_decay)


@pytest.mark.parametrize("config", CONFIGS, ids=["sgd", "momentum", "adamw"])
def test_steps_are_those_of_torch_optim(config: TrainConfig) -> None:
    ours, theirs = parameters(), parameters()
    resident, optimizer = ResidentOptimizer(ours, config), reference(theirs, config)
    resident.restart({})
    for step in range(5):
        give_gradients(ours, step)
        give_gradients(theirs, step)
        resident.step(0.0)
        optimizer.step()
        optimizer.zero_grad()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-5)
    assert torch.equal(ours[2], parameters()[2]), "a parameter without a gradient stays"


@pytest.mark.parametrize("config", CONFIGS, ids=["sgd", "momentum", "adamw"])
def test_kept_state_goes_on_as_if_it_had_never_stopped(config: TrainConfig) -> None:
    through, halted = parameters(), parameters()
    steady, first = ResidentOptimizer(through, config), ResidentOptimizer(halted, config)
    steady.restart({})
    first.restart({})
    for step in range(6):
        if step == 3:
            kept = first.state()
            first = ResidentOptimizer(halted, config)
            first.restart(kept)
        for chosen, optimizer in ((through, steady), (halted, first)):
            give_gradients(chosen, step)
            optimizer.step(0.0)
    assert all(torch.equal(a, b) for a, b in zip(through, halted, strict=True))


def test_a_restart_forgets_the_client_before() -> None:
    chosen = parameters()
    optimizer = ResidentOptimizer(chosen, CONFIGS[2])
    optimizer.restart({})
    give_gradients(chosen, 0)
    optimizer.step(0.0)
    optimizer.restart({})
    assert optimizer.state() == {}
    assert all(parameter.grad is None for parameter in chosen)


def test_clipping_bounds_the_whole_gradient() -> None:
    chosen = parameters()
    before = [parameter.detach().clone() for parameter in chosen]
    optimizer = ResidentOptimizer(chosen, TrainConfig(lr=1.0))
    optimizer.restart({})
    give_gradients(chosen, 0)
    optimizer.step(0.5)
    moved = torch.cat([(a - b).reshape(-1) for a, b in zip(chosen, before, strict=True)])
    torch.testing.assert_close(moved.norm(), torch.tensor(0.5))
