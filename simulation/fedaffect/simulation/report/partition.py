"""Who holds what: labels of every client, as counts kept with the run and as a picture."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import Cohort
from fedaffect.edge.charts import svg
from fedaffect.edge.errors import RunError, at
from fedaffect.server.federation.checkpoint import write_atomically

WIDTH, HEIGHT = 1060.0, 400.0
MOST_CLIENTS = 400
PARTITION = "partition.json"


@dataclass(frozen=True)
class PartitionCounts:
    """Samples of each label that each client trains on.

    Parameters
    ----------
    clients : tuple of str
        Names of the clients shown, the largest first.
    labels : tuple of str
        Names of the classes.
    counts : int array, shape (clients, classes)
        Samples.
    total_clients : int
        How many there are; more than are shown where there are very many.
    """

    clients: tuple[str, ...]
    labels: tuple[str, ...]
    counts: NDArray[np.int64]
    total_clients: int

    def __post_init__(self) -> None:
        if self.counts.shape != (len(self.clients), len(self.labels)):
            raise RunError(
                f"counts of shape {self.counts.shape} do not fit {len(self.clients)} clients and "
                f"{len(self.labels)} labels; delete partition.json and run again"
            )

    @classmethod
    def of(cls, cohort: Cohort) -> PartitionCounts:
        """Count a cohort's training rows; of very many clients keep every so-manyth by size."""
        offsets, rows, classes = cohort.client_offsets, cohort.client_rows, len(cohort.label_names)
        sizes = np.diff(offsets)
        order = np.argsort(-sizes, kind="stable")
        if len(order) > MOST_CLIENTS:
            order = order[np.linspace(0, len(order) - 1, MOST_CLIENTS).round().astype(int)]
        counts = np.stack(
            [np.bincount(cohort.labels[rows[offsets[k] : offsets[k + 1]]], minlength=classes) for k in order]
        )
        names = tuple(cohort.client_names[k] for k in order)
        return cls(names, cohort.label_names, counts.astype(np.int64), len(sizes))

    def save(self, path: Path) -> None:
        """Write ``partition.json``."""
        stored = {
            "clients": list(self.clients),
            "labels": list(self.labels),
            "counts": self.counts.tolist(),
            "total_clients": self.total_clients,
        }
        write_atomically(path, json.dumps(stored).encode())

    @classmethod
    def load(cls, path: Path) -> PartitionCounts | None:
        """Read ``partition.json``; None where a run has none.

        Raises
        ------
        RunError
            If the file is damaged.
        """
        if not path.is_file():
            return None
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            shape = len(stored["clients"]), len(stored["labels"])
            counts = np.asarray(stored["counts"], dtype=np.int64).reshape(shape)
            return cls(tuple(stored["clients"]), tuple(stored["labels"]), counts, int(stored["total_clients"]))
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{at(path)} is damaged ({error}); delete it, the report does without") from error


def partition_figure(partition: PartitionCounts) -> str:
    """How much each client holds (above) and of what (below), the largest first; colours are labels."""
    sizes = partition.counts.sum(axis=1)
    x = svg.Scale(0, len(partition.clients), 58.0, WIDTH - 12)
    skewed = float(sizes.max()) > 20 * max(float(np.median(sizes)), 1.0)
    height = np.log10(np.maximum(sizes, 1)) + 0.15 if skewed else sizes.astype(np.float64)
    y = svg.Scale(0.0, float(height.max()) * 1.06 or 1.0, 160.0, 52.0)
    share = svg.Scale(0.0, 1.0, HEIGHT - 40, 186.0)
    slot = x(1) - x(0)
    gap = 0.0 if slot < 3 else min(0.2 * slot, 6.0)
    parts = [_legend(partition), _frame(x, y, share, partition, skewed)]
    for k, name in enumerate(partition.clients):
        held = [f"{label} {n}" for label, n in zip(partition.labels, partition.counts[k], strict=True) if n]
        words = f"{name}: {sizes[k]} samples ({', '.join(held)})"
        left, width = x(k) + gap / 2, slot - gap
        top = y(float(height[k]))
        bars = [svg.element("rect", x=left, y=top, width=width, height=y.start - top, class_="bar")]
        below = 0.0
        for i, n in enumerate(partition.counts[k] / max(int(sizes[k]), 1)):
            if n:
                top = share(below + float(n))
                bars.append(
                    svg.element("rect", x=left, y=top, width=width, height=share(below) - top, class_=f"label{i % 10}")
                )
                below += float(n)
        parts.append(svg.element("g", svg.tooltip(words) + "".join(bars)))
    present = (partition.counts > 0).sum(axis=1)
    description = (
        f"{partition.total_clients} clients hold {int(sizes.min())} to {int(sizes.max())} samples (median "
        f"{np.median(sizes):.0f}) of {int(present.min())} to {int(present.max())} labels each."
    )
    return svg.figure("partition", WIDTH, HEIGHT, "Training samples of each client", description, "".join(parts))


def _legend(partition: PartitionCounts) -> str:
    parts, at = [], 58.0
    for i, label in enumerate(partition.labels):
        parts.append(svg.element("rect", x=at, y=8, width=12, height=12, rx=3, class_=f"label{i % 10}"))
        parts.append(svg.text(at + 17, 18, label, class_="tick"))
        at += 7.2 * len(label) + 36
    return "".join(parts)


def _frame(x: svg.Scale, y: svg.Scale, share: svg.Scale, partition: PartitionCounts, skewed: bool) -> str:
    parts = [svg.text(6, 42, "samples, log scale" if skewed else "samples", class_="name")]
    ticks = (
        [(10.0**power, power + 0.15) for power in range(int(y.high) + 1)] if skewed else [(v, v) for v in y.ticks(3)]
    )
    lines = [(y(place), f"{value:,.0f}") for value, place in ticks]
    lines += [(share(v), f"{v:g}") for v in (0.0, 0.5, 1.0)]
    for height, words in lines:
        parts.append(svg.element("line", x1=x.start, x2=x.stop, y1=height, y2=height, class_="grid"))
        parts.append(svg.text(x.start - 8, height + 4, words, text_anchor="end", class_="tick"))
    shown = len(partition.clients)
    words = (
        f"{shown} {'client' if shown == 1 else 'clients, the largest first'}"
        if shown == partition.total_clients
        else f"{shown} of {partition.total_clients:,} clients, evenly by size, the largest first"
    )
    parts.append(svg.text((x.start + x.stop) / 2, share.start + 26, words, text_anchor="middle", class_="name"))
    return "".join(parts)
