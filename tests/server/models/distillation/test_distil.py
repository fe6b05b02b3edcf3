from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from fedaffect.edge.errors import ConfigError
from fedaffect.server.models.bundling.text import HiddenStates
from fedaffect.server.models.bundling.whisper import WhisperLayers
from fedaffect.server.models.distillation.distil import DistilConfig, distil
from fedaffect.server.models.distillation.examples import Examples
from fedaffect.server.models.distillation.students import drop_layers


def _text(layers: int = 4) -> HiddenStates:
    torch.manual_seed(1)
    # Weights large enough that a layer left out is missed.
    config = BertConfig(
        vocab_size=60,
        hidden_size=24,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.4,
    )
    return HiddenStates(BertModel(config, add_pooling_layer=False).eval(), (2, 4))


def _sentences(count: int, seed: int) -> Examples:
    """Constructed: the class is which half of the vocabulary the words come from."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    inputs = tuple(rng.integers(0, 30, rng.integers(4, 9)) + 30 * label for label in labels)
    return Examples(inputs, labels.astype(np.int64), 2)


def test_a_student_has_the_layers_it_was_left_and_the_teachers_shapes() -> None:
    teacher = _text()
    student = drop_layers(teacher, (1, 3))
    ids = torch.arange(6)[None]
    assert student(ids).shape == teacher(ids).shape == (1, 6, 48)
    kept, whole = sum(p.numel() for p in student.parameters()), sum(p.numel() for p in teacher.parameters())
    assert kept < whole
    assert len(teacher.model.encoder.layer) == 4


def test_a_whisper_student_keeps_its_shapes() -> None:
    config = WhisperConfig(
        d_model=16, encoder_layers=3, encoder_attention_heads=2, encoder_ffn_dim=16, max_source_positions=100
    )
    config._attn_implementation = "eager"
    teacher = WhisperLayers(WhisperEncoder(config).eval(), (2, 3))
    spectrum = torch.randn(1, 80, 40)
    assert drop_layers(teacher, (1, 2))(spectrum).shape == teacher(spectrum).shape == (1, 20, 32)


@pytest.mark.parametrize("keep", [(), (0, 1), (3, 1), (1, 2, 3, 4), (5,)])
def test_layers_that_make_no_sense_are_refused(keep: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError):
        drop_layers(_text(), keep)


def test_distilling_brings_a_student_nearer_to_its_teacher() -> None:
    teacher, train, dev = _text(), _sentences(160, 2), _sentences(40, 3)
    student = drop_layers(teacher, (1, 2))
    with torch.no_grad():
        before = np.mean(
            [
                float(torch.nn.functional.cosine_similarity(student(i), teacher(i), dim=-1).mean())
                for i, _ in dev.batches(8)
            ]
        )
    result = distil(teacher, student, train, dev, DistilConfig(epochs=6, lr=1e-3))
    assert result.cosine > before
    assert result.student_accuracy > 0.6


def test_batches_hold_every_example_once_and_pad_nothing() -> None:
    examples = _sentences(50, 4)
    rows = [(inputs, labels) for inputs, labels in examples.batches(8, np.random.default_rng(0))]
    assert sum(len(labels) for _, labels in rows) == 50
    assert all(inputs.shape[1] >= 4 for inputs, _ in rows)
