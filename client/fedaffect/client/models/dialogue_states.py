"""The recurrent states of AVAFN (equations 8 to 13): a dialogue's context, its speakers, its listeners, the emotion.

For turn t, said by party i, with u_t and v_t of :mod:`fedaffect.client.models.avafn`:

- C_t = GRU_C([u_t; q_{i,t-1}], C_{t-1})                                 context
- ac_t = sum_{k<t} a_k C_k,  a = softmax_k(tanh(w . C_k + b))            attention over it, zeros at first
- q_{i,t} = GRU_S([ac_t; u_t], q_{i,t-1})                                the speaker's state
- q_{j,t} = GRU_L([v_t; u_t], q_{j,t-1}) for every other party j         the listeners' states
- E_t = GRU_E([C_t; q_{i,t}; mean_j q_{j,t}], E_{t-1})                   emotion

The paper does not say who is there before they speak: here nobody is, so that no later turn changes an earlier state.
Parties begin at zero; without a listener the mean is zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fedaffect.client.dialogues import Turns


@dataclass(frozen=True, slots=True)
class StatesConfig:
    """Which states there are.

    Parameters
    ----------
    width : int
        Of u_t and v_t.
    states : int
        h, of every state.
    attended, speaker, listener : bool
        ac_t in the speaker's state; the speaker's states in C_t and E_t; the listeners' states.
    """

    width: int
    states: int
    attended: bool
    speaker: bool
    listener: bool


@dataclass(frozen=True, slots=True)
class Memory:
    """What is left of a dialogue after a turn: all that the next one needs.

    The attention over the context weighs each past C_k by exp(tanh(w . C_k + b)), which does not depend on the turn
    that asks: two running sums are as good as the whole past.

    Parameters
    ----------
    context, emotion : Tensor, shape (D, h)
        C_t and E_t.
    attended : Tensor, shape (D, h)
        Sum of the past C_k, weighed.
    weight : Tensor, shape (D, 1)
        Sum of their weights.
    parties : Tensor, shape (D, P, h)
        q of each party.
    known : Tensor of bool, shape (D, P)
        Who has spoken.
    """

    context: Tensor
    emotion: Tensor
    attended: Tensor
    weight: Tensor
    parties: Tensor
    known: Tensor

    @classmethod
    def empty(cls, like: Tensor, dialogues: int, parties: int, states: int) -> Memory:
        """Before anybody has spoken; on the device of ``like``."""
        nothing = like.new_zeros(dialogues, states)
        known = torch.zeros(dialogues, parties, dtype=torch.bool, device=like.device)
        held = like.new_zeros(dialogues, parties, states)
        return cls(nothing, nothing, nothing, like.new_zeros(dialogues, 1), held, known)


class DialogueStates(nn.Module):
    """One pass over dialogues, first turn to last.

    Parameters
    ----------
    config : StatesConfig
    """

    def __init__(self, config: StatesConfig) -> None:
        super().__init__()
        d, h = config.width, config.states
        self.config = config
        self.context = _gru(d + h * config.speaker, h)
        if config.speaker:
            self.speaker = _gru(d + h * config.attended, h)
        if config.speaker and config.attended:
            self.score = nn.Linear(h, 1)
        if config.listener:
            self.listener = _gru(2 * d, h)
        self.emotion = _gru(h + h * config.speaker + h * config.listener, h)

    def forward(self, u: Tensor, v: Tensor, parties: Tensor, weights: list[Tensor] | None = None) -> Tensor:
        """Emotion states.

        Parameters
        ----------
        u, v : Tensor, shape (D, L, d)
            Of the turns of D dialogues; what stands behind a dialogue's end changes nothing before it.
        parties : Tensor of int64, shape (D, L)
            Who speaks, 0..P-1.
        weights : list of Tensor, optional
            Takes what every C_t weighs with the turns after it, shape (D, 1) each.

        Returns
        -------
        Tensor, shape (D, L, h)
        """
        D, L = u.shape[0], u.shape[1]
        # Traced for one turn, a dialogue has one party.
        P = 1 if L == 1 else int(parties.max()) + 1
        memory = Memory.empty(u, D, P, self.config.states)
        emotions: list[Tensor] = []
        for t in range(L):
            speaks = parties[:, t : t + 1] == torch.arange(P, device=u.device)  # (D, P)
            before = memory.weight
            memory = self.turn(u[:, t], v[:, t], speaks, memory)
            if weights is not None:
                weights.append(memory.weight - before)
            emotions.append(memory.emotion)
        return torch.stack(emotions, dim=1)

    def turn(self, u: Tensor, v: Tensor, speaks: Tensor, memory: Memory) -> Memory:
        """The memory after one more turn.

        Parameters
        ----------
        u, v : Tensor, shape (D, d)
        speaks : Tensor of bool, shape (D, P)
            Who says it: one party a dialogue.
        memory : Memory
            Before it.
        """
        D, P, h = memory.parties.shape
        states = memory.parties
        before = (states * speaks.unsqueeze(-1)).sum(1)  # (D, h), q_{i,t-1}
        context = _step(self.context, [u, before] if self.config.speaker else [u], memory.context)
        own = self._speaks(u, memory, before) if self.config.speaker else before
        heard = states
        if self.config.listener:
            said = torch.cat([v, u], dim=-1)  # (D, 2d)
            each = said.unsqueeze(1).expand(-1, P, -1).reshape(D * P, said.shape[-1])
            heard = _step(self.listener, [each], states.reshape(D * P, h)).view(D, P, h)
        listens = (memory.known & ~speaks).unsqueeze(-1)  # (D, P, 1)
        states = torch.where(speaks.unsqueeze(-1), own.unsqueeze(1), torch.where(listens, heard, states))
        parts = [context]
        if self.config.speaker:
            parts.append(own)
        if self.config.listener:
            parts.append((states * listens).sum(1) / listens.sum(1).clamp(min=1))
        emotion = _step(self.emotion, parts, memory.emotion)
        attended, weight = memory.attended, memory.weight
        if self.config.speaker and self.config.attended:
            share = torch.tanh(self.score(context)).exp()  # (D, 1)
            attended, weight = attended + share * context, weight + share
        return Memory(context, emotion, attended, weight, states, memory.known | speaks)

    def _speaks(self, u: Tensor, memory: Memory, before: Tensor) -> Tensor:
        """q_{i,t} of u_t (D, d), what is remembered, and q_{i,t-1} (D, h)."""
        if not self.config.attended:
            return _step(self.speaker, [u], before)
        # A weight is at least 1 / e; at first there is none, and nothing attended to.
        return _step(self.speaker, [memory.attended / memory.weight.clamp(min=0.1), u], before)


def at_turns(rows: Tensor, turns: Turns) -> Tensor:
    """Rows (U, W) where they are said, (D, L, W); zeros behind a dialogue's end."""
    there = (turns.places >= 0).unsqueeze(-1)
    return rows[turns.places.clamp(min=0)] * there.to(rows.dtype)


def backwards(values: Tensor, turns: Turns) -> Tensor:
    """Each dialogue's values (D, L, ...) from its last turn to its first, what is behind the end left there.

    Done twice it gives the values themselves.
    """
    L = values.shape[1]
    steps = torch.arange(L, device=values.device)
    lengths = (turns.places >= 0).sum(dim=1, keepdim=True)  # (D, 1)
    turned = torch.where(steps < lengths, lengths - 1 - steps, steps)  # (D, L)
    shape = [*turned.shape, *[1] * (values.dim() - 2)]
    return values.gather(1, turned.view(shape).expand(values.shape))


def _gru(width: int, states: int) -> nn.GRU:
    return nn.GRU(width, states, batch_first=True)


def _step(gru: nn.Module, inputs: list[Tensor], state: Tensor) -> Tensor:
    """One step: inputs (B, ...) side by side, and the state before (B, h), to the state after."""
    after: Tensor = gru(torch.cat(inputs, dim=-1).unsqueeze(1), state.unsqueeze(0))[1][0]
    return after
