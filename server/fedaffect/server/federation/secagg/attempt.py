"""One attempt at one sum, as the server sees it: a state machine without any input or output.

Stages follow each other once: clients answer, the stage is closed, and what is left of them is asked for the
next. There is one running sum, closed when unmasking begins; no way leads from here to a sum over other clients.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from itertools import islice

import numpy as np

from fedaffect.client.secagg.agreement import KEY_BYTES, agree, new_private_key, public_key
from fedaffect.client.secagg.commitments import COMMITTED_BYTES, masking_key_commitment, own_mask_commitment
from fedaffect.client.secagg.errors import SecAggError
from fedaffect.client.secagg.masks import Words, add_masks
from fedaffect.client.secagg.packing import ID_BYTES, pack, pack_varied, unpack
from fedaffect.client.secagg.protocol import (
    ALIVE,
    DROPPED,
    KEYS,
    MASKED,
    SEALED_BYTES,
    SHARES,
    STAGES,
    UNMASK,
    commitment_part,
    masking_part,
    own_mask_key,
    pair_key,
    pair_sign,
    seed_commitment,
)
from fedaffect.client.secagg.session import Session
from fedaffect.client.secagg.shamir import SHARE_BYTES, combine
from fedaffect.client.secagg.signed_keys import SignedKeys
from fedaffect.server.federation.secagg.accusations import accused_by_many
from fedaffect.server.federation.secagg.errors import AttemptFailedError, RoundAbandonedError
from fedaffect.server.federation.secagg.graph import neighbours_of, plan_for

_OVER = "over"


class Attempt:
    """Collects a stage's answers, and closes it.

    Parameters
    ----------
    session : Session
    length : int
        V, words of each client's vector.
    dtype : numpy dtype
        uint32 or uint16.
    neighbours, threshold : int, optional
        As :func:`fedaffect.server.federation.secagg.graph.plan_for` takes them.
    """

    def __init__(
        self,
        session: Session,
        length: int,
        dtype: type[np.uint32] | type[np.uint16] = np.uint32,
        *,
        neighbours: int | None = None,
        threshold: int | None = None,
    ) -> None:
        self.session = session
        self.length, self.dtype = length, dtype
        self.stage = KEYS
        self.threshold = 0
        self._wanted = neighbours, threshold
        self._keys: dict[int, SignedKeys] = {}
        self._left_out: dict[int, str] = {}
        self._neighbours: Mapping[int, Set[int]] = {}
        # By receiver, then by sender: sealed shares and the commitments to them.
        self._dealt: dict[int, dict[int, bytes]] = {}
        # By dealer, then by holder.
        self._committed: dict[int, dict[int, bytes]] = {}
        self._sharing: set[int] = set()
        self._accusations: dict[int, frozenset[int]] = {}
        self._liars: dict[int, str] = {}
        self._masked: set[int] = set()
        self._total: Words = np.zeros(length, dtype)
        self._own_masks: dict[int, dict[int, bytes]] = {}
        self._masking_keys: dict[int, dict[int, bytes]] = {}
        self._revealing: set[int] = set()

    @property
    def survivors(self) -> frozenset[int]:
        """Clients whose vectors are in the sum."""
        return frozenset(self._masked)

    @property
    def left_out(self) -> Mapping[int, str]:
        """Clients that sent keys and take no further part, each with the reason."""
        return self._left_out

    @property
    def accusations(self) -> Mapping[int, frozenset[int]]:
        """Whom each client names whose neighbours' shares it could not use; see `accusations`."""
        return self._accusations

    @property
    def liars(self) -> Mapping[int, str]:
        """Clients that a contradiction in what they sent themselves proves to lie, each with what it was."""
        return self._liars

    def take_keys(self, client: int, answer: bytes) -> None:
        """A client's public keys.

        Raises
        ------
        SecAggError
            On this and on every other answer that is malformed, out of turn, or the second of its client; the
            client then counts as dropped out.
        """
        self._expect(KEYS, client, client in self._keys)
        signed = SignedKeys.from_bytes(answer)
        for key in (signed.keys[:KEY_BYTES], masking_part(signed.keys)):
            # Neighbours would refuse the whole attempt for it.
            agree(new_private_key(), key, b"")
        self._keys[client] = signed

    def close_keys(self) -> dict[int, bytes]:
        """Draw the graph; what each client is asked in ``shares``.

        Raises
        ------
        AttemptFailedError
            If too few sent keys.
        """
        self._close(KEYS)
        self._leave_unsigned_out()
        if len(self._keys) < 2:
            raise AttemptFailedError(f"{self._named()}: {len(self._keys)} clients sent keys, and a sum hides nothing")
        plan = plan_for(len(self._keys), *self._wanted)
        self.threshold = plan.threshold
        neighbours = neighbours_of(sorted(self._keys), plan.neighbours)
        self._neighbours = {client: frozenset(others) for client, others in neighbours.items()}
        return {
            client: pack_varied({other: self._keys[other].to_bytes() for other in others})
            for client, others in neighbours.items()
        }

    def _leave_unsigned_out(self) -> None:
        """Begin without those who have not signed, where others insist on it and they are no more than the signed.

        Neighbours of theirs who insist would refuse, and the sum would lose these instead. Where most have not signed,
        it is those who insist that are lost.
        """
        unsigned = [client for client, signed in self._keys.items() if not signed.signature]
        insisting = sum(signed.insists for signed in self._keys.values())
        if not insisting or len(unsigned) > len(self._keys) - len(unsigned):
            return
        for client in unsigned:
            del self._keys[client]
            self._left_out[client] = (
                f"left out: its keys are not signed, and {insisting} clients insist on it; have it run "
                f"fedaffect device start, which gets it a certificate"
            )

    def take_shares(self, client: int, answer: bytes) -> None:
        """A client's sealed shares, for its neighbours, and what it commits to about them."""
        self._expect(SHARES, client, client in self._sharing, self._keys.keys())
        named = self._neighbours[client]
        end = len(named) * (ID_BYTES + SEALED_BYTES)
        sealed, committed = unpack(answer[:end], SEALED_BYTES), unpack(answer[end:], COMMITTED_BYTES)
        if sealed.keys() != named or committed.keys() != named | {client}:
            raise SecAggError("shares are not for exactly the neighbours that were named")
        for receiver, ciphertext in sealed.items():
            self._dealt.setdefault(receiver, {})[client] = ciphertext + committed[receiver]
        self._committed[client] = committed
        self._sharing.add(client)

    def close_shares(self) -> dict[int, bytes]:
        """What each client is asked in ``masked``: the shares that came for it.

        Raises
        ------
        AttemptFailedError
            If a client has fewer neighbours left than can unmask it. Clients would refuse, too.
        """
        self._close(SHARES)
        self._require(self._sharing, self._sharing, AttemptFailedError)
        return {client: pack(self._dealt.get(client, {})) for client in self._sharing}

    def check_masked(self, client: int, vector: Words) -> None:
        """Raise what :meth:`take_masked` would; for who must note an answer down before it becomes part of the sum."""
        self._expect(MASKED, client, client in self._masked or client in self._accusations, self._sharing)
        if vector.shape != self._total.shape or vector.dtype != self._total.dtype:
            raise SecAggError(
                f"a masked update has {self._total.shape[0]} words of {self._total.dtype}, "
                f"not {vector.shape} of {vector.dtype}"
            )

    def take_masked(self, client: int, vector: Words) -> None:
        """A client's masked vector; it becomes part of the sum and is not kept."""
        self.check_masked(client, vector)
        np.add(self._total, vector, out=self._total)
        self._masked.add(client)

    def take_accusation(self, client: int, answer: bytes) -> None:
        """A client's answer in place of a masked vector: whose shares it cannot use. It has dropped out."""
        self._expect(MASKED, client, client in self._masked or client in self._accusations, self._sharing)
        accused = frozenset(unpack(answer, 0))
        if not accused or not accused <= self._dealt.get(client, {}).keys():
            raise SecAggError("it accuses nobody, or others than those whose shares it was sent")
        self._accusations[client] = accused

    def require_undisputed(self) -> None:
        """End the attempt where it is better begun again without some; see `accusations`.

        Raises
        ------
        AttemptFailedError
            If two or more clients accuse the same one.
        """
        if suspects := accused_by_many(self._accusations):
            raise AttemptFailedError(
                f"{self._named()}: more than one client said that the shares of client "
                f"{', '.join(map(str, suspects))} are wrong"
            )

    def close_masked(self) -> dict[int, bytes]:
        """Close the sum; what each survivor is asked in ``unmask``. From here the round commits or is abandoned.

        Raises
        ------
        AttemptFailedError
            If a client has fewer neighbours left than can unmask it.
        """
        self._close(MASKED)
        self._require(self._masked, self._sharing, AttemptFailedError)
        return {
            client: pack(
                {
                    other: ALIVE if other in self._masked else DROPPED
                    for other in (client, *(self._neighbours[client] & self._sharing))
                }
            )
            for client in self._masked
        }

    def take_unmask(self, client: int, answer: bytes) -> None:
        """Shares that a survivor reveals: of own masks of survivors, of keys of those who dropped out."""
        self._expect(UNMASK, client, client in self._revealing, self._masked)
        revealed = unpack(answer, SHARE_BYTES)
        if revealed.keys() != (self._neighbours[client] & self._sharing) | {client}:
            raise SecAggError("shares revealed are not of exactly the clients that were named")
        for other, share in revealed.items():
            if not self._is_committed(share, other, client):
                self._liars[client] = f"it revealed a share that is not the one that client {other} gave it"
                raise SecAggError(f"{self._liars[client]}; a liar, and none of its shares is used")
        for other, share in revealed.items():
            kept = self._own_masks if other in self._masked else self._masking_keys
            kept.setdefault(other, {})[client] = share
        self._revealing.add(client)

    def finish(self) -> Words:
        """Take all masks off.

        Returns
        -------
        uint32 or uint16 array, shape (V,)
            The sum of the survivors' vectors, modulo the ring's size.

        Raises
        ------
        RoundAbandonedError
            If too few shares came, or a client dealt shares of no secret; it is one of :attr:`liars` then.
        """
        self._close(UNMASK)
        self._require(self._revealing, self._sharing, RoundAbandonedError)
        # All secrets before the first mask comes off: a round that is abandoned leaves nothing half unmasked.
        secrets = {client: secret for client in self._sharing if (secret := self._secret_of(client)) is not None}
        if dealers := sorted(self._sharing - secrets.keys()):
            self._liars |= dict.fromkeys(dealers, "it dealt shares that do not belong together")
            raise RoundAbandonedError(
                f"{self._named()}: the shares that client {', '.join(map(str, dealers))} dealt do not belong together; "
                f"the round is given up, and the run goes on without the liar"
            )
        masks: list[tuple[bytes, int]] = []
        for client, secret in secrets.items():
            if client in self._masked:
                masks.append((own_mask_key(secret, self.session, client), -1))
                continue
            # What the dropped client would have added, its neighbours had subtracted, and the other way round.
            for other in self._neighbours[client] & self._masked:
                key = pair_key(secret, masking_part(self._keys[other].keys), self.session, client, other)
                masks.append((key, pair_sign(client, other)))
        add_masks(self._total, masks)
        return self._total

    def _is_committed(self, share: bytes, dealer: int, holder: int) -> bool:
        committed = self._committed[dealer][holder]
        if dealer in self._masked:
            return own_mask_commitment(share, self.session, dealer, holder) == committed[:KEY_BYTES]
        return masking_key_commitment(share, self.session, dealer, holder) == committed[KEY_BYTES:]

    def _secret_of(self, client: int) -> bytes | None:
        """A survivor's seed or a dropout's masking key; None if what the client dealt gives neither.

        Each share is the one that the client committed to, so any that are enough must give it.
        """
        masked = client in self._masked
        shares = (self._own_masks if masked else self._masking_keys)[client]
        try:
            secret = combine(dict(islice(sorted(shares.items()), self.threshold)))
        except SecAggError:
            return None
        keys = self._keys[client].keys
        if masked:
            return secret if seed_commitment(secret, self.session) == commitment_part(keys) else None
        return secret if public_key(secret) == masking_part(keys) else None

    def _expect(
        self, stage: str, client: int, twice: bool, among: Set[int] | Mapping[int, object] | None = None
    ) -> None:
        if self.stage != stage:
            raise SecAggError(f"an answer to {stage!r} came in stage {self.stage!r}; it is not counted")
        if twice:
            raise SecAggError(f"client {client} answered {stage!r} twice; the second is not counted")
        if among is not None and client not in among:
            raise SecAggError(f"client {client} was not asked for {stage!r}; its answer is not counted")

    def _close(self, stage: str) -> None:
        if self.stage != stage:
            raise SecAggError(
                f"stage {stage!r} cannot be closed in stage {self.stage!r}; stages follow each other once"
            )
        self.stage = (*STAGES, _OVER)[STAGES.index(stage) + 1]

    def _require(self, present: Set[int], of: Set[int], error: type[AttemptFailedError | RoundAbandonedError]) -> None:
        """Every client of ``of`` must have enough holders of its shares among ``present``."""
        for client in sorted(of):
            holders = len((self._neighbours[client] | {client}) & present)
            if holders < self.threshold:
                raise error(
                    f"{self._named()}: {holders} of the holders of client {client}'s shares are left and it takes "
                    f"{self.threshold}; lower --secagg-threshold or raise --clients-per-round"
                )
        if len(present) < 2:
            raise error(f"{self._named()}: {len(present)} clients are left, and a sum over them hides nothing")

    def _named(self) -> str:
        return f"secure aggregation of round {self.session.round}, attempt {self.session.attempt}"
