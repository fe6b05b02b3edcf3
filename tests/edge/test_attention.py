import numpy as np

from fedaffect.edge.attention import Attention


def test_what_stands_for_a_missing_modality_is_left_out() -> None:
    shares = np.zeros((1, 1, 4, 4), np.float32)
    shares[..., 0], shares[..., 1], shares[..., 3] = 0.2, 0.3, 0.5
    told = Attention.of(shares, {"text": 2, "audio": 0, "video": 1}, by_token=True)
    assert told.tokens == {"text": 2, "video": 1}
    np.testing.assert_allclose(told.between(), [[0.5, 0.5], [0.5, 0.5]])
    assert told.to_json() == {"tokens": {"text": 2, "video": 1}, "shares": [[[[0.2, 0.3, 0.5]] * 3]]}


def test_of_one_vector_a_modality_lengths_do_not_matter() -> None:
    shares = np.array([[[[0.25, 0.0, 0.75], [1.0, 0.0, 0.0], [0.5, 0.0, 0.5]]]], np.float32)
    told = Attention.of(shares, {"text": 3, "audio": 0, "video": 7}, by_token=False)
    assert told.tokens == {"text": 1, "video": 1}
    np.testing.assert_allclose(told.between(), [[0.25, 0.75], [0.5, 0.5]])
