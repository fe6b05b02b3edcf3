"""AVAFN: mutual cross-attention over two or three streams (equations 1 to 7), and the states of a dialogue (8 to 13).

With H_m = W_m x_m, for every modality m and every other one n that the sample has:

- zeta_m = mean_n softmax(Q_m K_n^T / sqrt(d)) V_n
- H_m^c = LN(H_m^LN + FFN(H_m^LN)),  H_m^LN = LN(H_m + zeta_m)
- H_WCA = sum_m alpha_m H_m^c, with alpha the softmax of a linear gate over [H_1^c; ...; H_M^c]
- u = W_u [H_WCA; H_1^r; ...; H_M^r],  H_m^r = LN(W_m^r H_m)

Attention looks at an utterance's frames, which are averaged behind it. The model of one stream attends to itself.
The gate stands for the paper's unnamed attention matrices alpha and beta, and a mean for two others at once. v of the
paper's equation 11 is the last stream's mean H_m^r, with ``video`` the face's.

:mod:`fedaffect.client.models.dialogue_states` has what follows over a dialogue's turns, causal or both ways; the answer
is softmax(W E_t + b). An utterance of no dialogue is one of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedaffect.client.dialogues import DIALOGUE, UTTERANCE, Turns
from fedaffect.client.models.by_length import by_length
from fedaffect.client.models.cmt import attention_mask
from fedaffect.client.models.dialogue_states import DialogueStates, Memory, StatesConfig, at_turns, backwards
from fedaffect.client.models.masked_mean import masked_mean
from fedaffect.client.models.options import read_options
from fedaffect.client.models.streams import every_stream
from fedaffect.edge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class AVAFNConfig:
    """Sizes, of which the paper gives none but the dropout, and its ablations.

    Parameters
    ----------
    width : int
        d, the width of every modality's projection, of one head.
    states : int
        h, the width of a dialogue's states (DialogueRNN's on MELD).
    dropout : float
        Probability in [0, 1).
    dialogue : bool
        Whether there are states at all; without, each utterance is judged alone.
    bidirectional : bool
        Whether the dialogue is read from its end too, which a live one has not got.
    acm, ssm, ilm : bool
        The paper's modules. Without attention over context (``acm``) u = W_u [mean H_1; ...; mean H_M] and ac_t = 0;
        without speaker states (``ssm``) there is no q_i; without listener states (``ilm``) no q_j.
    """

    width: int = 256
    states: int = 150
    dropout: float = 0.3
    dialogue: bool = True
    bidirectional: bool = False
    acm: bool = True
    ssm: bool = True
    ilm: bool = True

    def __post_init__(self) -> None:
        if self.width < 1 or self.states < 1 or not 0 <= self.dropout < 1:
            raise ConfigError("width and states are at least 1, and dropout is a probability in [0, 1)")
        if self.bidirectional and not self.dialogue:
            raise ConfigError("without a dialogue's states there is nothing to read both ways; leave bidirectional out")


class ModalityContext(nn.Module):
    """What one modality has of its own: projections, and what reads the others through them."""

    def __init__(self, encoder_width: int, config: AVAFNConfig) -> None:
        super().__init__()
        d = config.width
        self.dropout = config.dropout
        self.project = nn.Linear(encoder_width, d, bias=False)
        self.query_key_value = nn.Linear(d, 3 * d, bias=False)
        self.attention_norm = nn.LayerNorm(d)
        self.expand = nn.Linear(d, d)
        self.contract = nn.Linear(d, d)
        self.context_norm = nn.LayerNorm(d)
        self.residual = nn.Linear(d, d)
        self.residual_norm = nn.LayerNorm(d)

    def fused(self, own: Tensor, mixed: Tensor) -> Tensor:
        """H_m^c of H_m and zeta_m, all (B, T_m, d)."""
        normed = self.attention_norm(own + functional.dropout(mixed, self.dropout, self.training))
        fed: Tensor = self.contract(functional.relu(self.expand(normed)))
        context: Tensor = self.context_norm(normed + functional.dropout(fed, self.dropout, self.training))
        return context


class PlainModality(nn.Module):
    """What is left of it without attention."""

    def __init__(self, encoder_width: int, config: AVAFNConfig) -> None:
        super().__init__()
        self.project = nn.Linear(encoder_width, config.width, bias=False)


class AVAFN(nn.Module):
    """Mutual cross-attention, gated sum, residual features, states of the dialogue, linear head.

    Parameters
    ----------
    widths : mapping of str to int
        Width of each stream's tokens.
    num_classes : int
        C.
    config : AVAFNConfig

    Attributes
    ----------
    unit : str
        A batch has whole dialogues where there are states.
    """

    def __init__(self, widths: Mapping[str, int], num_classes: int, config: AVAFNConfig) -> None:
        super().__init__()
        d, M = config.width, len(widths)
        self.unit = DIALOGUE if config.dialogue else UTTERANCE
        self.widths = dict(widths)
        self.config = config
        kind = ModalityContext if config.acm else PlainModality
        self.modalities = nn.ModuleDict({stream: kind(w, config) for stream, w in widths.items()})
        if config.acm:
            self.gate = nn.Linear(M * d, M)
        self.join = nn.Linear((M + config.acm) * d, d)
        if config.dialogue:
            states = StatesConfig(d, config.states, attended=config.acm, speaker=config.ssm, listener=config.ilm)
            self.directions = nn.ModuleList(DialogueStates(states) for _ in range(1 + config.bidirectional))
        self.head = nn.Linear((1 + config.bidirectional) * config.states if config.dialogue else d, num_classes)

    def forward(
        self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor], turns: Turns | None = None
    ) -> Tensor:
        """Class scores of any subset of the streams.

        Parameters
        ----------
        tokens : mapping of str to Tensor, shape (U, T_m, W_m)
        present : mapping of str to Tensor of bool, shape (U, T_m)
        turns : Turns, optional
            Which utterances make which dialogue, and which B of them are asked about; if not given, each is one and
            all are.

        Returns
        -------
        Tensor, shape (B, C)
        """
        # A graph that is traced has no dialogue, and no lengths to look at.
        u, last = by_length(self._utterances, tokens, present) if turns else self._utterances(tokens, present)
        u = functional.dropout(u, self.config.dropout, self.training)
        if self.config.dialogue:
            passed = _of_turns(self.directions, u, last, turns) if turns else _alone(self.directions, u, last)
            u = functional.dropout(passed, self.config.dropout, self.training)
        scores: Tensor = self.head(u)
        return scores

    def with_context(
        self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor], turns: Turns
    ) -> tuple[Tensor, Tensor]:
        """Class scores, and which earlier turns a speaker's state attends to (equation 9).

        Parameters
        ----------
        tokens, present, turns
            As of :meth:`forward`.

        Returns
        -------
        scores : Tensor, shape (B, C)
        shares : Tensor, shape (D, L, L)
            Row t has a_k of every earlier turn k, read from the dialogue's beginning; rows sum to 1, the first to 0.

        Raises
        ------
        ConfigError
            If the model has no such attention.
        """
        if not self.attends_to_turns:
            raise ConfigError("avafn attends to earlier turns only with dialogue, acm and ssm")
        u, last = by_length(self._utterances, tokens, present)
        weights: list[Tensor] = []
        self.directions[0](at_turns(u, turns), at_turns(last, turns), turns.parties, weights)
        earlier = torch.cat(weights, dim=1).unsqueeze(1).expand(-1, len(weights), -1).tril(-1)  # (D, L, L)
        sums = earlier.sum(-1, keepdim=True)
        return self(tokens, present, turns), earlier / torch.where(sums > 0, sums, torch.ones_like(sums))

    @property
    def attends_to_turns(self) -> bool:
        """Whether there is the attention of equation 9, which :meth:`with_context` tells."""
        return self.config.dialogue and self.config.acm and self.config.ssm

    @property
    def remembers(self) -> bool:
        """Whether :meth:`turn` goes on with a dialogue turn by turn: one that is read both ways has to have ended."""
        return self.config.dialogue and not self.config.bidirectional

    @property
    def memory_width(self) -> int:
        """Of :meth:`turn`'s ``memory``: C, E, the attended sum, and its weight."""
        return 3 * self.config.states + 1

    def turn(
        self,
        tokens: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        memory: Tensor,
        parties: Tensor,
        speaks: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One more turn of one dialogue, from what is remembered of those before; plain arrays, as a graph takes them.

        Parameters
        ----------
        tokens, present
            As of :meth:`forward`, of one utterance.
        memory : Tensor, shape (1, 3h + 1)
            Zeros at first.
        parties : Tensor, shape (P, h)
            A row for each party that has spoken, and one of zeros for a new one that speaks now.
        speaks : Tensor of bool, shape (P,)
            Whose turn it is.

        Returns
        -------
        scores : Tensor, shape (1, C)
        memory, parties
            After it.
        """
        u, v = self._utterances(tokens, present)
        h = self.config.states
        context, emotion, attended, weight = memory[:, :h], memory[:, h : 2 * h], memory[:, 2 * h : -1], memory[:, -1:]
        before = Memory(context, emotion, attended, weight, parties[None], torch.ones_like(speaks)[None])
        states = cast(DialogueStates, self.directions[0])
        after = states.turn(u, v, speaks[None], before)
        kept = torch.cat([after.context, after.emotion, after.attended, after.weight], dim=-1)
        return self.head(after.emotion), kept, after.parties[0]

    def _utterances(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """U and v of each utterance, (U, d) each."""
        streams = list(every_stream(self.widths, tokens, present))
        return self._fused(streams) if self.config.acm else self._joined(streams)

    def _fused(self, streams: list[tuple[str, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """What each utterance is, u (U, d), and the last stream's residual features (U, d)."""
        masks = {stream: held for stream, _, held in streams}
        modalities = {stream: cast(ModalityContext, self.modalities[stream]) for stream in self.widths}
        own: dict[str, Tensor] = {stream: modalities[stream].project(x) for stream, x, _ in streams}  # (U, T_m, d)
        parts = {stream: modalities[stream].query_key_value(h).chunk(3, dim=-1) for stream, h in own.items()}
        contexts, residuals = [], []
        for stream, projected in own.items():
            here = masks[stream].unsqueeze(-1).to(projected.dtype)  # (U, T_m, 1)
            modality = modalities[stream]
            fused = modality.fused(projected, _from_others(stream, parts, masks))
            residual = modality.residual_norm(modality.residual(projected))
            contexts.append(masked_mean(fused, here))  # (U, d)
            residuals.append(masked_mean(residual, here))
        held = torch.stack([mask.any(dim=1) for mask in masks.values()], dim=1)  # (U, M)
        gates = self.gate(torch.cat(contexts, dim=-1))  # (U, M)
        shares = torch.where(held | ~held.any(dim=1, keepdim=True), gates, -torch.inf).softmax(-1)
        weighed = (shares.unsqueeze(-1) * torch.stack(contexts, dim=1)).sum(1)  # (U, d)
        return self.join(torch.cat([weighed, *residuals], dim=-1)), residuals[-1]

    def _joined(self, streams: list[tuple[str, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """The same without attention: projected means side by side."""
        means = []
        for stream, tokens, held in streams:
            projected = cast(PlainModality, self.modalities[stream]).project(tokens)
            means.append(masked_mean(projected, held.unsqueeze(-1).to(projected.dtype)))  # (U, d)
        return self.join(torch.cat(means, dim=-1)), means[-1]


def _of_turns(directions: nn.ModuleList, u: Tensor, last: Tensor, turns: Turns) -> Tensor:
    """Emotion states of what is asked about, (B, h) or (B, 2h)."""
    said, shown, parties = at_turns(u, turns), at_turns(last, turns), turns.parties
    states = [directions[0](said, shown, parties)]  # (D, L, h)
    for reverse in directions[1:]:
        turned = reverse(backwards(said, turns), backwards(shown, turns), backwards(parties, turns))
        states.append(backwards(turned, turns))
    return torch.cat(states, dim=-1).flatten(0, 1)[turns.asked]


def _alone(directions: nn.ModuleList, u: Tensor, last: Tensor) -> Tensor:
    """The same where every utterance is a dialogue of its own."""
    parties = torch.zeros_like(u[:, :1], dtype=torch.int64)
    states = [one(u.unsqueeze(1), last.unsqueeze(1), parties) for one in directions]
    return torch.cat(states, dim=-1).squeeze(1)


def _from_others(stream: str, parts: Mapping[str, tuple[Tensor, ...]], masks: Mapping[str, Tensor]) -> Tensor:
    """zeta_m: the mean, over the other modalities that a sample has, of what this one finds in them, (B, T_m, d)."""
    query = parts[stream][0]
    found, counts = torch.zeros_like(query), torch.zeros_like(query[:, :1, :1])
    for other in [name for name in parts if name != stream] or [stream]:
        _, key, value = parts[other]
        mask = attention_mask(masks[other])
        # One head: (B, 1, T, d)
        mixed = functional.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], attn_mask=mask)
        here = masks[other].any(dim=1)[:, None, None].to(query.dtype)  # (B, 1, 1)
        found, counts = found + here * mixed[:, 0], counts + here
    return found / counts.clamp(min=1)


def avafn(widths: Mapping[str, int], num_classes: int, **options: object) -> AVAFN:
    """Build the model from options by name; those of :class:`AVAFNConfig`."""
    return AVAFN(widths, num_classes, read_options("avafn", AVAFNConfig, options))
