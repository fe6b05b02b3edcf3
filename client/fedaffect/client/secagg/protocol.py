"""The four answers of a client, each a pure function of what it remembers and what it is asked.

A request that comes twice gets the same answer twice; one that differs from the first of its stage is refused.
Two different answers could let a server subtract one from the other.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace

from fedaffect.client.secagg.agreement import (
    KEY_BYTES,
    TAG_BYTES,
    agree,
    derive,
    new_private_key,
    public_key,
    seal,
    unseal,
)
from fedaffect.client.secagg.commitments import COMMITTED_BYTES, commitments
from fedaffect.client.secagg.errors import SecAggError
from fedaffect.client.secagg.masks import Words, add_masks
from fedaffect.client.secagg.memory import Memory, Peer, Shares
from fedaffect.client.secagg.packing import pack, unpack, unpack_varied
from fedaffect.client.secagg.session import Session
from fedaffect.client.secagg.shamir import SHARE_BYTES, split
from fedaffect.client.secagg.signed_keys import Credentials, NoCredentials, SignedKeys

KEYS, SHARES, MASKED, UNMASK = STAGES = ("keys", "shares", "masked", "unmask")

SEALED_BYTES = 2 * SHARE_BYTES + TAG_BYTES
# What a client gets of each neighbour: sealed shares, and what their dealer committed to.
DEALT_BYTES = SEALED_BYTES + COMMITTED_BYTES
# One share would be the secret itself.
LEAST_THRESHOLD = 2
ALIVE, DROPPED = b"\x01", b"\x00"
_VECTOR = "vector"
_ANYBODY = NoCredentials()


def advertise(
    memory: Memory | None, session: Session, client: int, credentials: Credentials = _ANYBODY
) -> tuple[Memory, bytes]:
    """Stage ``keys``: make fresh keys for this attempt, forgetting those of any other.

    Parameters
    ----------
    memory : Memory, optional
    session : Session
    client : int
        Its own id.
    credentials : Credentials, optional
        Sign the keys.

    Returns
    -------
    memory : Memory
    keys : bytes
        :class:`fedaffect.client.secagg.signed_keys.SignedKeys`.

    Raises
    ------
    SecAggError
        If the attempt is an old one, or of a round that this client already helped to unmask: its update would
        be part of two sums.
    """
    revealed = 0
    if memory is not None and memory.session.run == session.run:
        if session == memory.session and not memory.forgotten and not set(memory.seen) - {KEYS}:
            return memory, memory.answers[KEYS]
        if session <= memory.session:
            raise SecAggError(
                f"attempt {session.attempt} of round {session.round} is over for this client; begin another"
            )
        revealed = memory.revealed_round
        if session.round <= revealed:
            raise SecAggError(
                f"this client helped to unmask round {revealed}; another attempt of round {session.round} could put "
                f"its update into two sums, go on with round {revealed + 1}"
            )
    fresh = Memory(
        session=session,
        revealed_round=revealed,
        sharing=new_private_key(),
        masking=new_private_key(),
        own_mask=secrets.token_bytes(KEY_BYTES),
    )
    answer = credentials.sign(session, client, _public(fresh)).to_bytes()
    return replace(fresh, answers={KEYS: answer}), answer


def share(
    memory: Memory | None,
    session: Session,
    client: int,
    threshold: int,
    request: bytes,
    credentials: Credentials = _ANYBODY,
) -> tuple[Memory, bytes]:
    """Stage ``shares``: split the secrets of this attempt among the neighbours.

    Parameters
    ----------
    memory : Memory, optional
    session : Session
    client : int
        Its own id.
    threshold : int
        t: so many shares give a secret.
    request : bytes
        Packed answers of its neighbours to ``keys``.
    credentials : Credentials, optional
        Judge whose they are.

    Returns
    -------
    memory : Memory
    dealt : bytes
        Packed ciphertexts, one for each neighbour; then packed commitments, one for each holder, itself among them.

    Raises
    ------
    SecAggError
        If too few neighbours are named for that threshold, it is no threshold at all, or a neighbour's keys are not
        its own as far as this client can tell.
    """
    memory = _in(memory, session)
    digest = _digest(threshold.to_bytes(4, "big"), request)
    if SHARES in memory.seen:
        _same(memory, SHARES, digest)
        return memory, memory.answers[SHARES]
    named = {i: SignedKeys.from_bytes(answer) for i, answer in unpack_varied(request).items()}
    peers = {i: Peer(said.keys[:KEY_BYTES], masking_part(said.keys)) for i, said in named.items()}
    if client in peers:
        raise SecAggError("this client is named as its own neighbour; the attempt is refused")
    if not LEAST_THRESHOLD <= threshold <= len(peers) + 1:
        raise SecAggError(
            f"{threshold} of {len(peers) + 1} shares are no threshold; it lies between {LEAST_THRESHOLD} and the "
            f"number of holders"
        )
    for i, said in named.items():
        credentials.require(session, i, said)
    everybody = [client, *peers]
    seeds = split(memory.own_mask, threshold, everybody)
    keys = split(memory.masking, threshold, everybody)
    shares = {i: Shares(seeds[i], keys[i]) for i in everybody}
    sealed: dict[int, bytes] = {}
    for i, peer in peers.items():
        about = session.context("shares", client, i)
        sealed[i] = seal(agree(memory.sharing, peer.sharing, about), seeds[i] + keys[i], about)
    answer = pack(sealed) + pack({i: commitments(shares[i], session, client, i) for i in everybody})
    memory = replace(
        memory,
        threshold=threshold,
        peers=peers,
        held={client: shares[client]},
        seen={**memory.seen, SHARES: digest},
        answers={SHARES: answer},
    )
    return memory, answer


def receive(memory: Memory | None, session: Session, client: int, request: bytes) -> tuple[Memory, bytes]:
    """Stage ``masked``, first part: take the neighbours' shares, before anything is learned.

    Parameters
    ----------
    memory : Memory, optional
    session : Session
    client : int
        Its own id.
    request : bytes
        Packed :data:`DEALT_BYTES` of its neighbours.

    Returns
    -------
    memory : Memory
    accused : bytes
        Nothing; or the answer of this client, which then masks nothing and has no secret of this attempt left: the
        packed ids of neighbours whose shares do not open, or are not those that they committed to. It gives no
        proof away, as that would be a share: the server has to believe it or not
        (:mod:`fedaffect.server.federation.secagg.accusations`).

    Raises
    ------
    SecAggError
        If shares are missing or of outsiders, or if it was asked otherwise before.
    """
    memory = _in(memory, session)
    if SHARES not in memory.seen:
        raise SecAggError("asked for a masked update before shares; the attempt is refused")
    digest = _digest(request)
    if MASKED in memory.seen:
        _same(memory, MASKED, digest)
        return memory, memory.answers.get(MASKED, b"")
    received = _open_shares(memory, session, client, request)
    seen = {**memory.seen, MASKED: digest}
    if accused := pack({i: b"" for i, shares in received.items() if shares is None}):
        said = Memory(session=session, revealed_round=memory.revealed_round, seen=seen, answers={MASKED: accused})
        return said, accused
    opened = {i: shares for i, shares in received.items() if shares is not None}
    return replace(memory, held={**memory.held, **opened}, seen=seen, answers={}), b""


def mask(memory: Memory | None, session: Session, client: int, vector: Words) -> tuple[Memory, Words]:
    r"""Stage ``masked``, second part: hide a vector from everybody.

    .. math:: y_i = x_i + PRG(b_i) + \sum_{i<j} PRG(s_{ij}) - \sum_{i>j} PRG(s_{ij}) \pmod{2^r}

    over the neighbours j whose shares arrived (Bonawitz et al. 2017, section 4).

    Parameters
    ----------
    memory : Memory, optional
    session : Session
    client : int
        Its own id.
    vector : uint32 or uint16 array, shape (V,)
        Masked in place.

    Raises
    ------
    SecAggError
        If it took no shares, or masked another vector before.
    """
    memory = _in(memory, session)
    if client not in memory.held or MASKED not in memory.seen:
        raise SecAggError("asked for a masked update before shares; the attempt is refused")
    digest = _digest(vector.tobytes())
    if _VECTOR in memory.seen:
        _same(memory, _VECTOR, digest)
    memory = replace(memory, seen={**memory.seen, _VECTOR: digest})
    masks = [(own_mask_key(memory.own_mask, session, client), 1)]
    for i in memory.held:
        if i != client:
            key = pair_key(memory.masking, memory.peers[i].masking, session, client, i)
            masks.append((key, pair_sign(client, i)))
    add_masks(vector, masks)
    return memory, vector


def rounding_secret(memory: Memory | None, session: Session) -> bytes:
    """32 bytes that only this client knows, for rounding its vector at random, and alike when asked again.

    Raises
    ------
    SecAggError
        If it is not in this attempt: asked before training, which takes longest.
    """
    return derive(_in(memory, session).own_mask, session.context("rounding"))


def reveal(memory: Memory | None, session: Session, client: int, request: bytes) -> tuple[Memory, bytes]:
    """Stage ``unmask``: of those who sent a masked vector, the share of their own mask; of the others, of their key.

    Never both of one client, and never for another set of survivors than the first that was named. Afterwards
    this client forgets all secrets of the attempt, and joins no further attempt of the round.

    Parameters
    ----------
    memory : Memory, optional
    session : Session
    client : int
        Its own id.
    request : bytes
        Packed :data:`ALIVE` or :data:`DROPPED`, for each of the clients whose shares it holds.

    Returns
    -------
    memory : Memory
    shares : bytes
        Packed, one of each of them.

    Raises
    ------
    SecAggError
        If the request differs from the first, leaves somebody out, calls this client dropped, or names fewer
        survivors than the threshold.
    """
    memory = _in(memory, session)
    digest = _digest(request)
    if UNMASK in memory.seen:
        _same(memory, UNMASK, digest)
        return memory, memory.answers[UNMASK]
    if _VECTOR not in memory.seen:
        raise SecAggError("asked for shares before a masked update; the attempt is refused")
    status = unpack(request, 1)
    if set(status) != set(memory.held) or not set(status.values()) <= {ALIVE, DROPPED}:
        raise SecAggError("the survivors named are not those this client masked with; no share is revealed")
    if status[client] != ALIVE:
        raise SecAggError("this client is called dropped, but it answered; no share is revealed")
    survivors = sum(said == ALIVE for said in status.values())
    if survivors < memory.threshold:
        raise SecAggError(
            f"a sum over {survivors} of this client's neighbours is under the threshold of {memory.threshold}; "
            f"no share is revealed"
        )
    answer = pack(
        {i: memory.held[i].own_mask if said == ALIVE else memory.held[i].masking_key for i, said in status.items()}
    )
    done = Memory(
        session=session,
        revealed_round=session.round,
        seen={UNMASK: digest},
        answers={UNMASK: answer},
    )
    return done, answer


def pair_key(private: bytes, public: bytes, session: Session, one: int, other: int) -> bytes:
    """The key of the mask that two clients share."""
    return agree(private, public, session.context("pair mask", min(one, other), max(one, other)))


def pair_sign(client: int, other: int) -> int:
    """1 where ``client`` adds the mask of the pair, -1 where it subtracts it."""
    return 1 if client < other else -1


def own_mask_key(seed: bytes, session: Session, client: int) -> bytes:
    """The key of the mask that a client has for itself."""
    return derive(seed, session.context("own mask", client))


def seed_commitment(seed: bytes, session: Session) -> bytes:
    """32 bytes that tell a right seed from a wrong one, and nothing else about 256 random bits."""
    return derive(seed, session.context("commitment"))


def masking_part(keys: bytes) -> bytes:
    """The public key of pairwise masks, among a client's keys."""
    return keys[KEY_BYTES : 2 * KEY_BYTES]


def commitment_part(keys: bytes) -> bytes:
    """The commitment to the seed of its own mask, among a client's keys."""
    return keys[2 * KEY_BYTES :]


def _in(memory: Memory | None, session: Session) -> Memory:
    if memory is None or memory.session != session:
        raise SecAggError(
            f"this client is not in attempt {session.attempt} of round {session.round}; it joins another from its start"
        )
    if memory.forgotten:
        raise SecAggError(
            f"this client has forgotten what it knew of attempt {session.attempt} of round {session.round}, which took "
            f"too long; it joins another from its start"
        )
    return memory


def _public(memory: Memory) -> bytes:
    commitment = seed_commitment(memory.own_mask, memory.session)
    return public_key(memory.sharing) + public_key(memory.masking) + commitment


def _open_shares(memory: Memory, session: Session, client: int, request: bytes) -> dict[int, Shares | None]:
    """Shares by dealer; None where they are not those that it committed to."""
    dealt = unpack(request, DEALT_BYTES)
    if outsiders := set(dealt) - set(memory.peers):
        raise SecAggError(f"shares came from client {min(outsiders)}, who is no neighbour; the attempt is refused")
    if len(dealt) + 1 < memory.threshold:
        raise SecAggError(
            f"{len(dealt)} neighbours are left, with this client fewer than the threshold of {memory.threshold}"
        )
    opened: dict[int, Shares | None] = {}
    for i, entry in dealt.items():
        about = session.context("shares", i, client)
        both = unseal(agree(memory.sharing, memory.peers[i].sharing, about), entry[:SEALED_BYTES], about)
        shares = None if both is None else Shares(both[:SHARE_BYTES], both[SHARE_BYTES:])
        committed = shares is not None and commitments(shares, session, i, client) == entry[SEALED_BYTES:]
        opened[i] = shares if committed else None
    return opened


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _same(memory: Memory, what: str, digest: str) -> None:
    if memory.seen[what] != digest:
        raise SecAggError(
            f"this client was already asked for {what!r} in attempt {memory.session.attempt}, and otherwise; "
            f"it answers one request of an attempt once"
        )
