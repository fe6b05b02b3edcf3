"""The full model behind our server, a plain FastAPI server and LitServe: the same load, one after the other.

    python -m benchmarks.serving [--profile cloud --profile cloud-embedded] [--data-dir DIR] [--quick]

Every server is a process of its own on this machine and is asked over real sockets: a face, some seconds of voice and
a line of text, as files in JSON, of corpora under ``--data-dir``, else constructed (in these no face and no voice is
found, so that faces are looked for in every turn and the sound is left out). All prepare them with the same code and
hold the same weights: of profile ``cloud`` ViT-B/16, wav2vec2-base and BERT-base at full size, never trained; of
``cloud-embedded`` the encoders that packages carry, behind a fusion that was never trained.

- Capacity: eight callers who ask again once answered.
- Latency: callers who come by chance (Poisson) at 80 % of the eager server's capacity, and at 1.3 times that.
- Overhead: one caller, in turns with the same calls without a server, in a process of their own.
- Fidelity: cosine of each encoder's tokens, and of the answers, to FP32 as transformers computes it.
- Overload: three times our capacity, and how long until an answer is as quick as before.

Prints one JSON object a line, then the table. GPU figures: --device cuda, ours alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import httpx
import numpy as np

from benchmarks.serving_peers import servers
from benchmarks.serving_peers.load import Measured, closed_loop, open_loop
from benchmarks.serving_peers.questions import Asked, questions
from benchmarks.serving_peers.turns import overhead

CALLERS = 8
LOAD = 0.8
OVERLOAD = 3.0
# Ray Serve with HAProxy in front, which must be installed, and its settings for throughput.
EAGER, LITSERVE, RAY_SERVE = "eager FastAPI", "LitServe", "Ray Serve"
_MARK = "figures: "
Server = Callable[[Path], AbstractContextManager[servers.Running]]


@click.command(help=__doc__)
@click.option("--profile", "profiles", multiple=True, default=("cloud", "cloud-embedded"), show_default=True)
@click.option("--precision", "precisions", multiple=True, default=("fp32", "bf16", "int8"), show_default=True)
@click.option("--seconds", default=30.0, show_default=True, help="Of each load.")
@click.option("--overload-seconds", default=60.0, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--peers/--no-peers", default=True, help="Measure the other servers too.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Ask with real faces, voices and lines: of fairface, ravdess and meld under it.",
)
@click.option("--quick", is_flag=True, help="Seconds instead of minutes: whether it works, not what is true.")
def main(
    profiles: tuple[str, ...],
    precisions: tuple[str, ...],
    seconds: float,
    overload_seconds: float,
    device: str,
    peers: bool,
    data_dir: Path | None,
    quick: bool,
) -> None:
    """Measure and print."""
    # The load would come from other machines; where this process may, it goes before the server's.
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    # Whoever stops this stops the servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if quick:
        seconds, overload_seconds = 4.0, 4.0
    asked = questions(16 if quick else 64, data_dir)
    for profile in profiles:
        rows: dict[str, dict[str, Any]] = {}
        candidates = _candidates(profile, precisions, device, peers and device == "cpu")
        reference = 0.0
        for name, start in candidates.items():
            with tempfile.TemporaryDirectory() as folder, start(Path(folder)) as running:
                row = asyncio.run(_measure(running, asked, seconds, reference))
                if name.startswith("ours"):
                    few = questions(16, data_dir)
                    rounds = 1 if quick else 4
                    in_turns = overhead(running.url, few, profile, name.split()[1], device, rounds, data_dir)
                    row |= {"overhead_p50_ms": in_turns.added_p50_ms, "bare_p50_ms": in_turns.bare_p50_ms}
                    row |= asyncio.run(_overload(running, asked, row["capacity_rps"], overload_seconds, seconds))
            reference = reference or row["capacity_rps"]
            rows[name] = row
            print(json.dumps({"profile": profile, "server": name, **row}), flush=True)
        for precision in precisions:
            bare = _in_process(profile, precision, device, 4 if quick else 16, data_dir)
            row = rows[f"ours {precision}"]
            row |= bare
            print(json.dumps({"profile": profile, "bare": precision, **bare}), flush=True)
        _table(profile, rows)


def _candidates(profile: str, precisions: tuple[str, ...], device: str, peers: bool) -> dict[str, Server]:
    found: dict[str, Server] = {}
    if peers:
        found[EAGER] = lambda folder: servers.peer("fastapi_eager", profile, folder)
        found[LITSERVE] = lambda folder: servers.peer("litserve_batched", profile, folder)
        fast = dict.fromkeys(("RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_THROUGHPUT_OPTIMIZED"), "1")
        # Its default of connections needs more open files than some machines allow.
        fast["RAY_SERVE_HAPROXY_MAXCONN"] = "4096"
        found[RAY_SERVE] = lambda folder: servers.peer("ray_serve", profile, folder, **fast)
    for precision in precisions:

        @contextmanager
        def ours(folder: Path, precision: str = precision) -> Iterator[servers.Running]:
            with servers.ours(profile, precision, device, folder) as running:
                yield running

        found[f"ours {precision}"] = ours
    return found


async def _measure(running: servers.Running, asked: list[Asked], seconds: float, reference: float) -> dict[str, Any]:
    await closed_loop(running.url, asked, CALLERS, min(seconds, 5.0))  # warm
    alone = await closed_loop(running.url, asked, 1, min(seconds, 15.0))
    full = await closed_loop(running.url, asked, CALLERS, seconds)
    base = LOAD * (reference or full.throughput)
    same = await open_loop(running.url, asked, base, seconds)
    more = await open_loop(running.url, asked, 1.3 * base, seconds)
    return {
        "alone_p50_ms": alone.percentile_ms(50),
        "alone_p99_ms": alone.percentile_ms(99),
        "capacity_rps": full.throughput,
        "load_rps": base,
        "p50_ms": same.percentile_ms(50),
        "p99_ms": same.percentile_ms(99),
        "refused": _share(same, 429),
        "p99_at_1.3_ms": more.percentile_ms(99),
        "refused_at_1.3": _share(more, 429),
        "failed": sum(n for status, n in (same.statuses + more.statuses).items() if status not in (200, 429)),
        "rss_mb": running.rss_mb(),
    }


async def _overload(
    running: servers.Running, asked: list[Asked], capacity: float, overload_s: float, seconds: float
) -> dict[str, Any]:
    calm = await open_loop(running.url, asked, LOAD * capacity, seconds, seed=1)
    usual_ms = calm.percentile_ms(99)
    before_mb = running.rss_mb()
    loaded = await open_loop(running.url, asked, OVERLOAD * capacity, overload_s, seed=2)
    ended_s, recovered_s = time.perf_counter(), float("nan")
    async with httpx.AsyncClient(timeout=60) as client:
        while time.perf_counter() - ended_s < 30:
            at_s = time.perf_counter()
            reply = await client.post(running.url, content=asked[0].body, headers={"content-type": "application/json"})
            if reply.status_code == 200 and (time.perf_counter() - at_s) * 1000 <= usual_ms:
                recovered_s = time.perf_counter() - ended_s
                break
    return {
        "p99_at_own_80_ms": usual_ms,
        "refused_at_own_80": _share(calm, 429),
        "overload_p99_ms": loaded.served_ms(99),
        "overload_p99_ratio": loaded.served_ms(99) / calm.served_ms(99),
        "overload_load_late_p99_ms": float(np.percentile(loaded.late_ms, 99)) if loaded.late_ms else float("nan"),
        "overload_refused": _share(loaded, 429),
        "overload_answered_rps": loaded.throughput,
        "overload_other": {str(s): n for s, n in loaded.statuses.items() if s not in (200, 429)},
        "overload_rss_growth_mb": running.rss_mb() - before_mb,
        "recovered_s": recovered_s,
    }


def _share(measured: Measured, status: int) -> float:
    total = sum(measured.statuses.values())
    return measured.statuses[status] / total if total else 0.0


def _in_process(profile: str, precision: str, device: str, count: int, data_dir: Path | None) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.serving_peers.bare", profile, precision, device, str(count)]
    command += [] if data_dir is None else [str(data_dir)]
    done = subprocess.run(command, cwd=servers.ROOT, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            figures: dict[str, Any] = json.loads(line.removeprefix(_MARK))
            return figures
    raise SystemExit(f"the bare model did not answer:\n{done.stderr[-2000:]}")


def _table(profile: str, rows: dict[str, dict[str, Any]]) -> None:
    print(f"\n{profile}: every server, the same load; x: ratio to the first row")
    heads = (("answers/s", 10), ("x", 6), ("p50 ms", 9), ("p99 ms", 9), ("x", 6), ("p99 at 1.3", 11), ("429", 7))
    print(" " * 16 + "".join(f"{head:>{wide}}" for head, wide in (*heads, ("alone p50", 10))))
    first = next(iter(rows.values()))
    for name, row in rows.items():
        print(
            f"{name:16}{row['capacity_rps']:10.2f}{row['capacity_rps'] / first['capacity_rps']:6.2f}"
            f"{row['p50_ms']:9.0f}{row['p99_ms']:9.0f}{row['p99_ms'] / first['p99_ms']:6.2f}"
            f"{row['p99_at_1.3_ms']:11.0f}{row['refused_at_1.3']:7.1%}{row['alone_p50_ms']:10.1f}"
        )
    for name, row in rows.items():
        if "bare_p50_ms" not in row:
            continue
        nearest = ", ".join(f"{m} {low:.5f}" for m, low in row["token_cosine_least"].items())
        print(
            f"{name}: overhead over the bare model {row['overhead_p50_ms']:+.1f} ms at p50; answers' least cosine to "
            f"FP32 {row['answer_cosine_least']:.6f}, tokens' {nearest}\n"
            f"{'':6}at three times its capacity: p99 of the accepted {row['overload_p99_ms']:.0f} ms, "
            f"{row['overload_p99_ratio']:.2f} x that at 80 % load; refused {row['overload_refused']:.0%}; "
            f"other {row['overload_other'] or 'none'}; memory {row['overload_rss_growth_mb']:+.0f} MB; "
            f"back after {row['recovered_s']:.1f} s"
        )
    if not np.isfinite([row["p99_ms"] for row in rows.values()]).all():
        print("a load was too short for an answer; give more --seconds")


if __name__ == "__main__":
    main()
