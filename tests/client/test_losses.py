import pytest
import torch

from fedaffect.client.losses import LOSSES, loss_function
from fedaffect.edge.errors import ConfigError

SCORES = torch.tensor([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3], [-1.0, 3.0, 0.0], [0.0, 0.0, 1.0]])
LABELS = torch.tensor([0, 2, 1, 1])


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_hard_labels_equal_votes_that_all_agree(name: str) -> None:
    votes = torch.nn.functional.one_hot(LABELS, 3).float()
    counts = torch.tensor([5.0, 5.0, 5.0])
    torch.testing.assert_close(LOSSES[name](SCORES, LABELS, counts), LOSSES[name](SCORES, votes, counts))


@pytest.mark.parametrize("name", ["weighted", "balanced"])
def test_equal_classes_give_plain_cross_entropy(name: str) -> None:
    counts = torch.tensor([7.0, 7.0, 7.0])
    torch.testing.assert_close(LOSSES[name](SCORES, LABELS, counts), torch.nn.functional.cross_entropy(SCORES, LABELS))


def test_balanced_pushes_a_rare_class_harder() -> None:
    scores = torch.zeros(1, 3, requires_grad=True)
    common, rare = torch.tensor([100.0, 1.0, 1.0]), torch.tensor([1.0, 100.0, 100.0])
    pull = [
        torch.autograd.grad(LOSSES["balanced"](scores, torch.tensor([0]), counts), scores)[0][0, 0].abs()
        for counts in (common, rare)
    ]
    assert pull[1] > 5 * pull[0]


def test_focal_counts_easy_examples_less() -> None:
    easy, hard = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    label, counts = torch.tensor([0]), torch.ones(2)
    ratio = LOSSES["focal"](easy, label, counts) / LOSSES["focal"](hard, label, counts)
    plain = LOSSES["cross-entropy"](easy, label, counts) / LOSSES["cross-entropy"](hard, label, counts)
    assert ratio < plain / 10


def test_unknown_losses_list_the_known() -> None:
    with pytest.raises(ConfigError, match="did you mean 'focal'"):
        loss_function("focall")


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_of_several_answers_the_first_counts_as_much_as_the_mean_of_the_others(name: str) -> None:
    counts = torch.tensor([5.0, 1.0, 9.0])
    answers = torch.stack([SCORES, 2 * SCORES, -SCORES])
    one, two, three = [LOSSES[name](answer, LABELS, counts) for answer in answers]
    torch.testing.assert_close(LOSSES[name](answers, LABELS, counts), one + (two + three) / 2)
    torch.testing.assert_close(LOSSES[name](answers[:1], LABELS, counts), one)
