"""The networks that are trained: rows of raw input to a sequence of features.

They are those that the cloud serves (`fedaffect.server.models.full_model`), by their last hidden layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fedaffect.edge.encoders.vision import VisionSettings
from fedaffect.server.models.full_model.speech import PaddedWaveform, PaddedWhisper, window_means
from fedaffect.server.models.full_model.text import WordStates


class MediaEncoder(nn.Module):
    """From rows of raw input to features.

    Attributes
    ----------
    width : int
        W', of the features.
    layers : tuple of int
        Hidden layers that they are; none of a network that has only one output.
    """

    width: int
    layers: tuple[int, ...] = ()

    def forward(self, rows: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
        """Features of samples of different lengths.

        Parameters
        ----------
        rows : Tensor, shape (B, T, W)
        held : Tensor of bool, shape (B, T)
            False for padding.

        Returns
        -------
        Tensor of shape (B, T', W'), Tensor of bool of shape (B, T')
        """
        raise NotImplementedError

    def tokens(self, features: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
        """What a fusion model takes, at the rate at which the cloud's encoders give it."""
        return features, held


class WordEncoder(MediaEncoder):
    """A BERT-family network.

    Parameters
    ----------
    model : PreTrainedModel
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.states = WordStates(model, (int(model.config.num_hidden_layers),))
        self.layers = self.states.layers
        self.width = int(model.config.hidden_size)

    def forward(self, rows: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
        """Ids (B, T, 1) to hidden states (B, T, W')."""
        return self.states(rows[..., 0].long(), None if bool(held.all()) else held), held


class _VoiceEncoder(MediaEncoder):
    """What networks of waveforms and of spectrograms share: frames that become tokens by window means."""

    def __init__(self, network: PaddedWaveform | PaddedWhisper, rate_hz: float, token_rate_hz: float) -> None:
        super().__init__()
        self.network = network
        self.width = network.width
        self.layers = network.wanted
        self._rates = rate_hz, token_rate_hz
        self._frames = network.frame_counter()

    def _held(self, lengths: Tensor, longest: int) -> Tensor:
        counts = torch.tensor([self._frames(int(length)) for length in lengths], device=lengths.device)
        return torch.arange(longest, device=lengths.device) < counts[:, None]

    def tokens(self, features: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
        """Window means, 2.5 a second."""
        means = [torch.from_numpy(window_means(int(n), *self._rates)) for n in held.sum(dim=1)]
        most = max(len(one) for one in means)
        windows = features.new_zeros(len(means), most, features.shape[1])  # (B, N, T')
        for row, one in enumerate(means):
            windows[row, : one.shape[0], : one.shape[1]] = one.to(features)
        counts = torch.tensor([len(one) for one in means], device=features.device)
        there = torch.arange(most, device=features.device) < counts[:, None]
        return windows @ features, there


class WaveformEncoder(_VoiceEncoder):
    """Wav2Vec2, HuBERT or WavLM."""

    def forward(self, rows: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (B, T, 320), of a clip's last row some that are no numbers, to hidden states (B, T', W')."""
        samples = rows.flatten(1)  # (B, T 320)
        real = held.repeat_interleave(rows.shape[2], dim=1) & ~samples.isnan()
        longest = int(real.sum(dim=1).max())
        samples, real = samples[:, :longest].nan_to_num(), real[:, :longest]
        features = self.network(samples, None if bool(real.all()) else real)
        return features, self._held(real.sum(dim=1), features.shape[1])


class SpectrumEncoder(_VoiceEncoder):
    """A Whisper encoder."""

    def forward(self, rows: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel (B, T, bands) to hidden states (B, T', W')."""
        features = self.network(rows.transpose(1, 2), None if bool(held.all()) else held)
        return features, self._held(held.sum(dim=1), features.shape[1])


class PictureEncoder(MediaEncoder):
    """A network of single pictures over the frames of all samples at once.

    Parameters
    ----------
    network : nn.Module
        From pixels (n, 3, S, S) to features (n, W'), with an attribute ``width``.
    settings : VisionSettings
    """

    def __init__(self, network: Any, settings: VisionSettings) -> None:
        super().__init__()
        self.network = network
        self.width = int(network.width)
        self._size = settings.size
        self._mean: Tensor
        self._deviation: Tensor
        self.register_buffer("_mean", torch.tensor(settings.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_deviation", torch.tensor(settings.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, rows: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (B, T, S S 3) in 0..255 to features (B, T, W')."""
        pictures = rows[held].view(-1, self._size, self._size, 3).permute(0, 3, 1, 2)  # (n, 3, S, S)
        made = self.network((pictures - self._mean) / self._deviation)  # (n, W')
        features = made.new_zeros(*held.shape, self.width)
        features[held] = made
        return features, held
