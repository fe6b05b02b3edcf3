"""What clients learn: a small CNN, and images that are constructed, not photographs of anything."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CLASSES = 10
# Each class has a pattern of colour, and an image is its class's pattern under noise.
_NOISE = 1.5


class Net(nn.Module):
    """Two convolutions and three linear layers, 62,006 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.head = nn.Sequential(
            nn.Linear(16 * 5 * 5, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, CLASSES)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Class scores, (B, 10), of images, (B, 3, 32, 32)."""
        return self.head(self.features(images).flatten(1))


def constructed_images(examples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images, (N, 3, 32, 32), and their classes, (N,); the same for the same seed."""
    patterns = torch.randn(CLASSES, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    draw = torch.Generator().manual_seed(1 + seed)
    classes = torch.randint(CLASSES, (examples,), generator=draw)
    return patterns[classes] + _NOISE * torch.randn(examples, 3, 32, 32, generator=draw), classes


def train(net: Net, data: tuple[Tensor, Tensor], epochs: int, batch_size: int, lr: float, seed: int) -> float:
    """SGD with momentum; returns the mean loss."""
    images, classes = data
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    order = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    net.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(images), generator=order).split(batch_size):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(images[batch]), classes[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return sum(losses) / len(losses)


def evaluate(net: Net, data: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Loss and accuracy."""
    images, classes = data
    net.eval()
    with torch.no_grad():
        scores = net(images)
    loss = nn.functional.cross_entropy(scores, classes).item()
    return loss, (scores.argmax(1) == classes).float().mean().item()
