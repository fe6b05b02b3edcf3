"""The small head: what it computes."""

from pathlib import Path

import torch
from tests.support.small_cohorts import constructed_cohort

from fedaffect.client.cohort import Cohort
from fedaffect.client.models.head import BIAS_FEATURE
from fedaffect.client.models.registry import build_model


def test_features_have_norm_one_and_the_head_starts_at_zero(tmp_path: Path) -> None:
    cohort = Cohort.load(constructed_cohort(tmp_path / "c"))
    model = build_model("head", cohort.widths, 3, {})
    batch = cohort.gather(cohort.rows_of(0)[:8], train=True)
    assert torch.equal(model(batch.tokens, batch.present), torch.zeros(8, 3))
    torch.nn.init.eye_(model.head.weight)
    scores = model({k: 5 * v for k, v in batch.tokens.items()}, batch.present)
    torch.testing.assert_close(scores, model(batch.tokens, batch.present))
    assert float(scores.detach().norm(dim=1).max()) <= (1 + BIAS_FEATURE**2) ** 0.5 + 1e-6
    missing = {k: torch.zeros_like(v) for k, v in batch.present.items()}
    assert torch.isfinite(model(batch.tokens, missing)).all()
