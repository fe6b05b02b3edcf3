"""How much each modality attends to each, on average over a run's test samples."""

from __future__ import annotations

import numpy as np
import torch

from fedaffect.client.cohort import Cohort
from fedaffect.edge.attention import Attention
from fedaffect.edge.charts import svg
from fedaffect.server.federation.evaluation import TEST, has_rows
from fedaffect.server.federation.settings import FINE_TUNED
from fedaffect.simulation.prepare import prepare
from fedaffect.simulation.recorded_run import RecordedRun
from fedaffect.simulation.reproducing.heat_map import CELL, heat_map

_SAMPLES = 100
_LEFT, _TOP = 90.0, 40.0


def attention_figure(run: RecordedRun) -> str:
    """A map of the first layer's attention; empty where a model does not tell, has one stream, or is fine-tuned.

    Parameters
    ----------
    run : RecordedRun
        Finished; of one model.
    """
    widths = (run.summary or {}).get("widths") or {}
    if run.config.federation.mode == FINE_TUNED:
        # What its fusion sees are no rows of a cohort.
        return ""
    model = run.model()
    told = getattr(model, "with_attention", None)
    if told is None or len(widths) < 2:
        return ""
    cohort = Cohort.load(prepare(run.config, progress=False))
    if not has_rows(cohort, TEST):
        return ""
    rows = cohort.splits[TEST]
    rows = rows[np.all([cohort.present[stream][rows] for stream in widths], axis=0)][:_SAMPLES]
    maps = []
    for row in rows:
        batch = cohort.gather(np.array([row]), train=False)
        with torch.inference_mode():
            shares = told(batch.tokens, batch.present)[1][0].numpy()  # (L, heads, T, T)
        counts = {stream: int(batch.present[stream].sum()) for stream in widths}
        maps.append(Attention.of(shares, counts, bool(model.attends_by_token)).between())
    return _drawn(list(widths), np.mean(maps, axis=0), len(maps)) if maps else ""


def _drawn(streams: list[str], shares: np.ndarray[tuple[int, int], np.dtype[np.float64]], samples: int) -> str:
    said = [
        [f"{one} looks at {other}: {shares[i, j]:.3f}" for j, other in enumerate(streams)]
        for i, one in enumerate(streams)
    ]
    parts = [svg.text(8, _TOP - 22, "looks ↓   looked at →", class_="name")]
    for place, stream in enumerate(streams):
        middle = (place + 0.5) * CELL
        parts.append(svg.text(_LEFT + middle, _TOP - 6, stream, text_anchor="middle", class_="tick"))
        parts.append(svg.text(_LEFT - 8, _TOP + middle + 4, stream, text_anchor="end", class_="tick"))
    parts.append(heat_map(shares, _LEFT, _TOP, said))
    words = "; ".join(cell for row in said for cell in row)
    return svg.figure(
        "attention",
        _LEFT + CELL * len(streams) + 90,
        _TOP + CELL * len(streams) + 10,
        f"Attention between modalities, mean over {samples} test samples",
        f"{words}.",
        "".join(parts),
    )
