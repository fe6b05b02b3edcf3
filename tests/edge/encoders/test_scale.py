from pathlib import Path

import numpy as np
import pytest

from fedaffect.edge.encoders.scale import Scale
from fedaffect.edge.errors import BundleError


def test_what_it_was_measured_on_comes_out_standardised_and_a_constant_feature_stays_finite() -> None:
    tokens = np.random.default_rng(0).normal(3.0, [0.01, 1.0, 50.0], (500, 3)).astype(np.float32)
    tokens = np.concatenate([tokens, np.full((500, 1), 7.0, np.float32)], axis=1)
    scaled = Scale.of(tokens)(tokens)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-2)
    np.testing.assert_allclose(scaled[:, :3].std(0), 1, atol=1e-3)
    assert np.isfinite(scaled).all()


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    tokens = np.random.default_rng(1).normal(size=(20, 5)).astype(np.float32)
    scale = Scale.of(tokens)
    scale.save(tmp_path / "audio.scale.npy")
    np.testing.assert_array_equal(Scale.load(tmp_path / "audio.scale.npy", 5)(tokens), scale(tokens))


@pytest.mark.parametrize("harm", ["width", "bytes", "spread"])
def test_a_scale_that_does_not_fit_is_refused(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "audio.scale.npy"
    both = np.ones((2, 4), np.float32)
    if harm == "spread":
        both[1, 2] = 0
    np.save(path, both)
    if harm == "bytes":
        path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(BundleError, match="build the bundle again"):
        Scale.load(path, 5 if harm == "width" else 4)
