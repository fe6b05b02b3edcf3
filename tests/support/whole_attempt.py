"""An attempt from its first message to its last, with real clients and lost answers, and no network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedaffect.client.secagg import protocol
from fedaffect.client.secagg.errors import SecAggError
from fedaffect.client.secagg.masks import Words
from fedaffect.client.secagg.memory import Memory
from fedaffect.client.secagg.session import Session
from fedaffect.server.federation.secagg.attempt import Attempt

SESSION = Session("a run", 3, 1)
Drops = Mapping[str, Collection[int]]


class Accused(Exception):
    """A client's answer in place of a masked vector."""

    def __init__(self, named: bytes) -> None:
        super().__init__(named)
        self.named = named


@dataclass
class Clients:
    """Everybody's memory, and everything that the server got to see."""

    values: Mapping[int, Words]
    session: Session = SESSION
    memories: dict[int, Memory] = field(default_factory=dict)
    seen_vectors: dict[int, Words] = field(default_factory=dict)

    def keys(self, client: int, request: bytes = b"") -> bytes:
        return self._keep(client, protocol.advertise(self.memories.get(client), self.session, client))

    def shares(self, client: int, request: bytes, threshold: int) -> bytes:
        return self._keep(client, protocol.share(self.memories[client], self.session, client, threshold, request))

    def masked(self, client: int, request: bytes) -> Words:
        memory, accused = protocol.receive(self.memories[client], self.session, client, request)
        if accused:
            self.memories[client] = self._stored(memory)
            raise Accused(accused)
        memory, masked = protocol.mask(memory, self.session, client, self.values[client].copy())
        self.memories[client] = self._stored(memory)
        self.seen_vectors[client] = masked
        return masked

    def unmask(self, client: int, request: bytes) -> bytes:
        return self._keep(client, protocol.reveal(self.memories[client], self.session, client, request))

    def _keep(self, client: int, answered: tuple[Memory, bytes]) -> bytes:
        self.memories[client] = self._stored(answered[0])
        return answered[1]

    @staticmethod
    def _stored(memory: Memory) -> Memory:
        # As a device keeps it from message to message.
        return Memory.from_bytes(memory.to_bytes())


def run_attempt(
    clients: Clients,
    drops: Drops,
    *,
    neighbours: int | None = None,
    threshold: int | None = None,
    length: int | None = None,
    dtype: type = np.uint32,
    attempt: Attempt | None = None,
) -> tuple[Attempt, Words]:
    """All four stages; ``drops`` says whose answer to which stage is lost on its way."""
    length = len(next(iter(clients.values.values()))) if length is None else length
    attempt = attempt or Attempt(clients.session, length, dtype, neighbours=neighbours, threshold=threshold)
    stage("keys", dict.fromkeys(clients.values, b""), clients.keys, attempt.take_keys, drops)
    requests = attempt.close_keys()
    stage("shares", requests, lambda c, r: clients.shares(c, r, attempt.threshold), attempt.take_shares, drops)
    stage("masked", attempt.close_shares(), clients.masked, attempt.take_masked, drops, attempt.take_accusation)
    stage("unmask", attempt.close_masked(), clients.unmask, attempt.take_unmask, drops)
    return attempt, attempt.finish()


def stage(
    name: str,
    requests: Mapping[int, bytes],
    answer: Callable[..., object],
    take: Callable[..., None],
    drops: Drops,
    take_accusation: Callable[[int, bytes], None] | None = None,
) -> None:
    """One stage; whose answer is refused has dropped out."""
    for client, request in requests.items():
        try:
            answered = answer(client, request)
        except Accused as accusation:
            assert take_accusation is not None
            take_accusation(client, accusation.named)
            continue
        if client not in drops.get(name, ()):
            with suppress(SecAggError):
                take(client, answered)


def values_of(
    clients: Sequence[int], length: int = 7, seed: int = 0, dtype: type[np.unsignedinteger[Any]] = np.uint32
) -> dict[int, Words]:
    generator = np.random.default_rng(seed)
    top = int(np.iinfo(dtype).max)
    return {c: generator.integers(0, top, size=length, dtype=dtype, endpoint=True) for c in clients}


def plain_sum(values: Mapping[int, Words], clients: Collection[int]) -> Words:
    total: Words = np.sum([values[c] for c in clients], axis=0, dtype=next(iter(values.values())).dtype)
    return total
