"""What a client remembers between the messages of an attempt, and from round to round."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from fedaffect.client.secagg.errors import SecAggError
from fedaffect.client.secagg.session import Session


@dataclass(frozen=True, slots=True)
class Peer:
    """A neighbour's public keys.

    Parameters
    ----------
    sharing, masking : bytes
        32 bytes each: for encrypting shares, and for pairwise masks.
    """

    sharing: bytes
    masking: bytes


@dataclass(frozen=True, slots=True)
class Shares:
    """One client's secrets, as far as another holds them.

    Parameters
    ----------
    own_mask, masking_key : bytes
        33 bytes each: of the seed of its own mask, and of the private key of its pairwise masks. Whoever had
        enough of both could read its update.
    """

    own_mask: bytes
    masking_key: bytes


@dataclass(frozen=True, slots=True)
class Memory:
    """A client's place in an attempt. Secrets are gone from it once the client has revealed shares.

    Parameters
    ----------
    session : Session
        The newest attempt that this client took part in.
    revealed_round : int
        The newest round of the run in which it answered ``unmask``; it joins no other attempt of that round.
    threshold : int
        Shares that give a secret.
    sharing, masking, own_mask : bytes
        Private keys and the seed of the mask of its own.
    peers : mapping of int to Peer
        Neighbours that were named in ``shares``.
    held : mapping of int to Shares
        What it holds of others, and of itself.
    seen : mapping of str to str
        Digests of the requests answered in this attempt, by stage, and of the vector that was masked.
    answers : mapping of str to bytes
        Replies that a repeated request gets again, where they cannot be made again.
    forgotten : bool
        Whether its secrets are gone: the attempt took too long, or is over.
    """

    session: Session
    revealed_round: int = 0
    threshold: int = 0
    sharing: bytes = b""
    masking: bytes = b""
    own_mask: bytes = b""
    peers: Mapping[int, Peer] = field(default_factory=dict)
    held: Mapping[int, Shares] = field(default_factory=dict)
    seen: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, bytes] = field(default_factory=dict)
    forgotten: bool = False

    def without_secrets(self) -> Memory:
        """What must outlive an attempt: which it was, and which round was unmasked, so that neither is joined again."""
        return Memory(session=self.session, revealed_round=self.revealed_round, forgotten=True)

    def to_bytes(self) -> bytes:
        """As bytes that :meth:`from_bytes` reads; they hold secrets and stay on the device."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return json.dumps(
            {
                **plain,
                **{name: plain[name].hex() for name in ("sharing", "masking", "own_mask")},
                "session": [self.session.run, self.session.round, self.session.attempt],
                "peers": {i: [p.sharing.hex(), p.masking.hex()] for i, p in self.peers.items()},
                "held": {i: [s.own_mask.hex(), s.masking_key.hex()] for i, s in self.held.items()},
                "seen": dict(self.seen),
                "answers": {stage: answer.hex() for stage, answer in self.answers.items()},
            }
        ).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Memory:
        """Read back what :meth:`to_bytes` wrote.

        Raises
        ------
        SecAggError
            If it is damaged.
        """
        try:
            plain: dict[str, Any] = json.loads(data)
            return cls(
                session=Session(*plain["session"]),
                revealed_round=int(plain["revealed_round"]),
                threshold=int(plain["threshold"]),
                sharing=bytes.fromhex(plain["sharing"]),
                masking=bytes.fromhex(plain["masking"]),
                own_mask=bytes.fromhex(plain["own_mask"]),
                peers={int(i): Peer(*map(bytes.fromhex, keys)) for i, keys in plain["peers"].items()},
                held={int(i): Shares(*map(bytes.fromhex, pair)) for i, pair in plain["held"].items()},
                seen=dict(plain["seen"]),
                answers={stage: bytes.fromhex(answer) for stage, answer in plain["answers"].items()},
                forgotten=bool(plain.get("forgotten", False)),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise SecAggError(
                f"what this client remembers of secure aggregation is damaged ({error}); delete it, it then joins "
                f"the next round"
            ) from error
