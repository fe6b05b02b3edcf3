"""The full model on a Ray cluster of two machines: a face, a voice and a line of text, over real sockets.

    python -m benchmarks.ray_serving [--profile cloud] [--seconds 20] [--data-dir DIR]

The machines are namespaces of this one, each with its own network, processes, memory of Ray and one processor that Ray
may give away, so two deployments of four lie on each (wants root). What is asked is that of `benchmarks.serving`; the
weights were never trained (profile ``cloud``: ViT-B/16, wav2vec2-base and BERT-base at full size). Beside it, one after
the other on the first machine, the engine that computes in the server's own process.

- Alone: one caller. Capacity: eight callers who ask again once answered.
- Latency: callers who come by chance at 80 % of that capacity. Overload: at three times.

Prints one JSON object a line. Both machines share this one's processors: what it shows is that a cluster carries the
full model, and what the way over machines costs, not what a second machine would add.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

import click
from tests.support.hosts import HEAD, PORT, Host, network, start_ray

from benchmarks.serving_peers.load import Measured, closed_loop, open_loop
from benchmarks.serving_peers.questions import questions

CALLERS: Final = 8
LOAD, OVERLOAD = 0.8, 3.0
_REST_PORT: Final = 8080
_MARK: Final = "figures: "
_COMMAND: Final = ("-c", "from fedaffect.edge.cli.main import main; main()", "server", "serve")
# Four of them on two machines of one processor each.
_SHARE: Final = 0.4


@click.command(help=__doc__)
@click.option("--profile", default="cloud", show_default=True)
@click.option("--seconds", default=20.0, show_default=True, help="Of each load.")
@click.option("--data-dir", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Of real questions.")
@click.option("--load", "url", hidden=True)
def main(profile: str, seconds: float, data_dir: Path | None, url: str | None) -> None:
    """Measure and print; with --load, within the first machine."""
    if url is not None:
        click.echo(_MARK + json.dumps(asyncio.run(_measure(url, seconds, data_dir))))
        return
    with tempfile.TemporaryDirectory() as made:
        _write_model(Path(made), profile)
        # What runs on a machine ends with it.
        with network() as machines:
            first = machines.hosts[0]
            first.copy(Path(made), "/tmp/model")
            _row("in the server's process", first, seconds, data_dir, ("--engine", "local"), (first,))
        with network() as machines:
            first, second = machines.hosts[0], machines.host()
            for host in (first, second):
                host.copy(Path(made), "/tmp/model")
            start_ray(first, *HEAD)
            start_ray(second, f"--address={first.address}:{PORT}")
            ray = ("--engine", "ray", "--ray-settings", "/tmp/model/ray.json")
            _row("Ray, two machines", first, seconds, data_dir, ray, (first, second))


def _write_model(folder: Path, profile: str) -> None:
    from fedaffect.edge.labels import label_set
    from fedaffect.server.models.full_model import ModelCard

    labels = label_set("shared7").labels
    ModelCard(version=profile, profile=profile, label_set="shared7", labels=labels, random_init=True).write(folder)
    parts = {part: {"cpus": _SHARE, "max_replicas": 1} for part in ("text", "audio", "video", "fusion")}
    settings = {"address": f"10.77.0.1:{PORT}", "parts": parts, "start_s": 1200}
    (folder / "ray.json").write_text(json.dumps(settings), encoding="utf-8")


def _row(
    name: str, host: Host, seconds: float, data_dir: Path | None, engine: tuple[str, ...], hosts: tuple[Host, ...]
) -> None:
    began = time.monotonic()
    listen = ("--rest-port", str(_REST_PORT), "--grpc-port", "0", "--database", "sqlite:////tmp/registry.db")
    server = host.start(*_COMMAND, "--model", "/tmp/model", *listen, "--deadline-ms", "600000", *engine)
    for line in server.stdout or ():
        if '"event": "serving"' in line or '"event":"serving"' in line:
            break
        sys.stderr.write(line)
    else:
        raise SystemExit(f"{name}: the server did not start")
    ready_s = time.monotonic() - began
    # A pipe that nobody reads would stop it in the end.
    threading.Thread(target=lambda: [None for _ in server.stdout or ()], daemon=True).start()
    words = ("--load", f"http://127.0.0.1:{_REST_PORT}/v1/predict", "--seconds", str(seconds))
    where = () if data_dir is None else ("--data-dir", str(data_dir.resolve()))
    load = host.start("-m", "benchmarks.ray_serving", *words, *where)
    said, _ = load.communicate()
    figures = next((line for line in said.splitlines() if line.startswith(_MARK)), None)
    if figures is None:
        raise SystemExit(f"{name}: the load ended without figures:\n{said[-2000:]}")
    row = json.loads(figures.removeprefix(_MARK))
    replicas = [_lines(each, "ps", "-eo", "args").count("ray::ServeReplica") for each in hosts]
    rss = [_rss_mb(each) for each in hosts]
    click.echo(json.dumps({"server": name, "ready_s": ready_s, **row, "replicas": replicas, "rss_mb": rss}))


async def _measure(url: str, seconds: float, data_dir: Path | None) -> dict[str, Any]:
    asked = questions(32, data_dir)
    await closed_loop(url, asked, CALLERS, min(seconds, 5.0))  # warm
    alone = await closed_loop(url, asked, 1, min(seconds, 15.0))
    full = await closed_loop(url, asked, CALLERS, seconds)
    calm = await open_loop(url, asked, LOAD * full.throughput, seconds)
    much = await open_loop(url, asked, OVERLOAD * full.throughput, seconds, seed=1)
    after = await closed_loop(url, asked, 1, 5.0)
    return {
        "alone_p50_ms": alone.percentile_ms(50),
        "capacity_rps": full.throughput,
        "p50_ms": calm.percentile_ms(50),
        "p99_ms": calm.percentile_ms(99),
        "overload_p99_ms": much.served_ms(99),
        "overload_refused": _share(much, 429),
        "after_p50_ms": after.percentile_ms(50),
        "failed": sum(_failed(each) for each in (alone, full, calm, much, after)),
        "answered": sum(len(each.latencies_ms) for each in (alone, full, calm, much, after)),
    }


def _share(measured: Measured, status: int) -> float:
    return measured.statuses[status] / max(1, sum(measured.statuses.values()))


def _failed(measured: Measured) -> int:
    return sum(count for status, count in measured.statuses.items() if status not in (200, 429))


def _lines(host: Host, *command: str) -> str:
    return subprocess.run(host.inside(*command), capture_output=True, text=True, check=True).stdout


def _rss_mb(host: Host) -> int:
    return sum(map(int, _lines(host, "ps", "-eo", "rss=").split())) // 1024


if __name__ == "__main__":
    main()
