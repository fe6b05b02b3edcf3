"""The full model: encoders of a profile, and the fusion over their tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from fedaffect.client.models.registry import build_model
from fedaffect.edge.attention import Attention
from fedaffect.edge.errors import BundleError
from fedaffect.edge.labels import label_set
from fedaffect.edge.sample import MODALITIES
from fedaffect.server.models.full_model.card import FUSION, ModelCard
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.encoder import CloudEncoder
from fedaffect.server.models.full_model.loading import open_encoders
from fedaffect.server.models.full_model.padding import bucket, pad, rows_for
from fedaffect.server.models.full_model.profiles import Profile

RANDOM_WEIGHTS: str = "random weights: this model was never trained, its answers mean nothing"
_STEP = 8


class FullModel:
    """What one version of the cloud computes with; stateless between calls, safe to call from several threads.

    Parameters
    ----------
    card : ModelCard
    encoders : mapping of str to CloudEncoder
        By modality; empty for a model that answers on features.
    fusion : nn.Module
        Of `fedaffect.client.models.registry`.
    compute : Compute
        Where the fusion runs.
    """

    def __init__(
        self, card: ModelCard, encoders: Mapping[str, CloudEncoder], fusion: nn.Module, compute: Compute
    ) -> None:
        self.card = card
        self.encoders = dict(encoders)
        self.compute = compute
        self._fusion = fusion.eval().requires_grad_(False).float().to(compute.device)

    @classmethod
    def load(cls, folder: Path, compute: Compute | None = None, *, random_init: bool = False) -> FullModel:
        """Open a model folder.

        Parameters
        ----------
        folder : Path
            Holds ``model.json``, and ``fusion.safetensors`` unless its weights are random.
        compute : Compute, optional
            One processor, FP32, if not given.
        random_init : bool
            Weights that were never trained, whatever the folder holds.

        Raises
        ------
        BundleError
            If it is damaged, its encoders cannot be had, or they are not those that it was fitted behind.
        """
        compute = compute or Compute()
        card = ModelCard.read(folder)
        if card.random_init or random_init:
            return cls.random(card.profile, compute, labels=card.label_set, version=card.version)
        encoders = open_encoders(card.resolved_profile, compute)
        for modality, encoder in encoders.items():
            if card.widths.get(modality, encoder.width) != encoder.width:
                raise BundleError(
                    f"{folder} wants {modality} tokens of width {card.widths[modality]}, its encoder gives "
                    f"{encoder.width}; align it again with: fedaffect server align"
                )
            if card.encoder_keys.get(modality, encoder.key) != encoder.key:
                raise BundleError(
                    f"{folder} was fitted behind another {modality} encoder than the one found here; "
                    f"install the packages it names, or align it again with: fedaffect server align"
                )
        return cls(card, encoders, load_fusion(folder, card), compute)

    @classmethod
    def random(
        cls, profile_name: str, compute: Compute, *, labels: str = "shared7", version: str = "random"
    ) -> FullModel:
        """A model of full size that was never trained, for benchmarks; every answer says so.

        Parameters
        ----------
        profile_name : str
            ``cloud``: random encoders too. ``cloud-embedded``: only the fusion is random.
        compute : Compute
        labels : str
            Label set.
        version : str
        """
        names = label_set(labels).labels
        card = ModelCard(version=version, profile=profile_name, label_set=labels, labels=names, random_init=True)
        encoders = open_encoders(card.resolved_profile, compute, random_init=True)
        widths = {modality: encoder.width for modality, encoder in encoders.items()}
        card = ModelCard(
            version=version, profile=profile_name, label_set=labels, labels=names, widths=widths, random_init=True
        )
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            fusion = build_model(card.model, widths, len(names), {})
        return cls(card, encoders, fusion, compute)

    @property
    def labels(self) -> tuple[str, ...]:
        """What the probabilities stand for."""
        return self.card.labels

    @property
    def profile(self) -> Profile:
        """Which encoders it has."""
        return self.card.resolved_profile

    @property
    def modalities(self) -> tuple[str, ...]:
        """That it can use."""
        return tuple(modality for modality in MODALITIES if modality in self.card.widths)

    @property
    def tells_attention(self) -> bool:
        """Whether :meth:`attention` has an answer."""
        return hasattr(self._fusion, "with_attention")

    def fuse(self, batch: Sequence[Mapping[str, NDArray[np.float32]]]) -> NDArray[np.float32]:
        """Calibrated probabilities of samples with any subset of the modalities.

        Parameters
        ----------
        batch : sequence of mapping of str to float32 array, shape (T_m, W_m)
            Tokens by modality; each sample has at least one.

        Returns
        -------
        float32 array, shape (B, C)
        """
        return self.rate(batch)[0]

    def rate(
        self, batch: Sequence[Mapping[str, NDArray[np.float32]]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """As `fuse`, with what the fusion learned beside the class: shapes (B, C) and (B, R); none of nothing."""
        if not batch:
            return np.zeros((0, len(self.labels)), np.float32), np.zeros((0, len(self.card.ratings)), np.float32)
        repeats = self.compute.repeats_shapes
        rows = rows_for(len(batch), repeats)
        tokens, present = {}, {}
        for modality, width in self.card.widths.items():
            nothing = np.zeros((0, width), np.float32)
            each = [np.asarray(sample.get(modality, nothing), np.float32).T for sample in batch]  # (W, T_i)
            longest = bucket(max(1, *(one.shape[1] for one in each)), _STEP if repeats else 1)
            counts = np.array([one.shape[1] for one in each] + [0] * (rows - len(batch)))
            padded = np.ascontiguousarray(pad(each, longest, rows).transpose(0, 2, 1))  # (B, T, W)
            tokens[modality] = torch.from_numpy(padded).to(self.compute.device)
            present[modality] = torch.from_numpy(np.arange(longest) < counts[:, None]).to(self.compute.device)
        heat = [self.card.temperature(tuple(sample)) for sample in batch] + [1.0] * (rows - len(batch))
        with torch.inference_mode():
            made = self._fusion(tokens, present)
            scores = made[:, : len(self.labels)] / torch.tensor(heat, device=self.compute.device)[:, None]
            probabilities: NDArray[np.float32] = scores.softmax(dim=-1)[: len(batch)].cpu().numpy()
            ratings: NDArray[np.float32] = made[: len(batch), len(self.labels) :].cpu().numpy()
        return probabilities, ratings

    def attention(self, sample: Mapping[str, NDArray[np.float32]]) -> Attention:
        """Which tokens of one sample attend to which in the fusion.

        Parameters
        ----------
        sample : mapping of str to float32 array, shape (T_m, W_m)
            Tokens by modality, at least one.

        Raises
        ------
        BundleError
            If the fusion does not tell it.
        """
        if not self.tells_attention:
            raise BundleError(f"model {self.card.model!r} does not tell its attention; cmt and cmt-paper do")
        told: Any = self._fusion.with_attention
        counts = {m: len(sample.get(m, ())) for m in self.card.widths}
        tokens, present = {}, {}
        for m, width in self.card.widths.items():
            given = sample[m] if counts[m] else np.zeros((1, width), np.float32)
            tokens[m] = torch.from_numpy(np.asarray(given, np.float32))[None].to(self.compute.device)
            present[m] = torch.full(tokens[m].shape[:2], counts[m] > 0, device=self.compute.device)
        with torch.inference_mode():
            shares = told(tokens, present)[1][0].cpu().numpy()  # (L, heads, T, T)
        return Attention.of(shares, counts, bool(self._fusion.attends_by_token))


def load_fusion(folder: Path, card: ModelCard) -> nn.Module:
    """Adapters, trunk and head of a model folder, in FP32.

    Parameters
    ----------
    folder : Path
    card : ModelCard
        The folder's.

    Raises
    ------
    BundleError
        If the folder does not hold weights of that shape, or they are not numbers.
    """
    path = folder / FUSION
    rated = len(card.ratings)
    fusion = build_model(card.model, card.widths, len(card.labels) + rated, card.options, rated)
    try:
        state = {name: tensor.float() for name, tensor in load_file(path).items()}
        fusion.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as error:
        first = str(error).strip().partition("\n")[0]
        raise BundleError(f"{path} does not hold this model's weights ({first}); make the folder again") from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
        raise BundleError(f"{path} holds weights that are not numbers; make the folder again")
    return fusion
