import numpy as np
import pytest
from sklearn import metrics as reference

from fedaffect.client.metrics import per_class, spread, summarise
from fedaffect.edge.errors import DataError


@pytest.mark.parametrize("seed", range(5))
def test_figures_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 9))
    labels = rng.integers(0, classes, 200)
    answers = np.where(rng.random(200) < 0.5, labels, rng.integers(0, classes, 200))
    # One class that nobody shows, one that nobody is told.
    labels[labels == 0] = classes - 1
    answers[answers == classes - 1] = 0
    figures = summarise(reference.confusion_matrix(labels, answers, labels=range(classes)))
    recalls = reference.recall_score(labels, answers, labels=np.unique(labels), average=None, zero_division=0)
    assert figures["accuracy"] == pytest.approx(reference.accuracy_score(labels, answers))
    assert figures["uar"] == pytest.approx(recalls.mean())
    assert figures["macro_f1"] == pytest.approx(reference.f1_score(labels, answers, average="macro", zero_division=0))
    for key, score in (("macro_precision", reference.precision_score), ("macro_recall", reference.recall_score)):
        assert figures[key] == pytest.approx(score(labels, answers, average="macro", zero_division=0))
    assert figures["weighted_f1"] == pytest.approx(
        reference.f1_score(labels, answers, average="weighted", zero_division=0)
    )


def test_per_class_figures_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels, answers = rng.integers(0, 3, 60), rng.integers(0, 3, 60)
    confusion = reference.confusion_matrix(labels, answers, labels=range(3))
    expected = reference.precision_recall_fscore_support(labels, answers, labels=range(3))
    for place, (name, figures) in enumerate(per_class(confusion, ("a", "b", "c")).items()):
        assert name == "abc"[place]
        assert [figures[k] for k in ("precision", "recall", "f1", "support")] == pytest.approx(
            [column[place] for column in expected]
        )


def test_nothing_to_evaluate_is_an_error() -> None:
    with pytest.raises(DataError, match="no examples"):
        summarise(np.zeros((3, 3), dtype=np.int64))


def test_spread_takes_the_worst_tenth() -> None:
    # Twenty people with accuracies 0/20, 1/20 … 19/20, and one without any sample.
    people = {f"p{k}": np.array([[k, 20 - k], [0, 0]]) for k in range(20)}
    people["absent"] = np.zeros((2, 2), dtype=np.int64)
    result = spread(people)
    assert result["clients"] == 20
    assert result["accuracy_mean"] == pytest.approx(np.arange(20).mean() / 20)
    assert result["accuracy_worst_decile"] == pytest.approx((0 + 1) / 2 / 20)
    assert spread({}) == {"clients": 0, "each": []}
