"""What a client refuses: each of these requests would help a server to read a single update."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedaffect.client.secagg import protocol
from fedaffect.client.secagg.agreement import agree, new_private_key, public_key
from fedaffect.client.secagg.commitments import COMMITTED_BYTES
from fedaffect.client.secagg.errors import SecAggError
from fedaffect.client.secagg.masks import Words, add_masks
from fedaffect.client.secagg.memory import Memory
from fedaffect.client.secagg.packing import pack, pack_varied, unpack, unpack_varied
from fedaffect.client.secagg.protocol import ALIVE, DROPPED
from fedaffect.client.secagg.session import Session
from fedaffect.client.secagg.shamir import PRIME, combine, split
from fedaffect.client.secagg.signed_keys import SignedKeys

SESSION = Session("a run", 4, 7)
THRESHOLD = 3
IDS = (0, 2, 5, 6)


def after_shares(session: Session = SESSION) -> tuple[dict[int, Memory], dict[int, bytes]]:
    """Four clients who know each other, and what each is asked in ``masked``."""
    memories, keys = {}, {}
    for i in IDS:
        memories[i], keys[i] = protocol.advertise(None, session, i)
    inbox: dict[int, dict[int, bytes]] = {i: {} for i in IDS}
    for i in IDS:
        others = pack_varied({j: keys[j] for j in IDS if j != i})
        memories[i], answer = protocol.share(memories[i], session, i, THRESHOLD, others)
        end = (len(IDS) - 1) * (4 + protocol.SEALED_BYTES)
        committed = unpack(answer[end:], COMMITTED_BYTES)
        for receiver, sealed in unpack(answer[:end], protocol.SEALED_BYTES).items():
            inbox[receiver][i] = sealed + committed[receiver]
    return memories, {i: pack(dealt) for i, dealt in inbox.items()}


def masked(memory: Memory, session: Session, request: bytes, vector: Words) -> tuple[Memory, Words]:
    memory, accused = protocol.receive(memory, session, 0, request)
    assert not accused
    return protocol.mask(memory, session, 0, vector)


def after_masked() -> Memory:
    memories, requests = after_shares()
    return masked(memories[0], SESSION, requests[0], np.arange(5, dtype=np.uint32))[0]


def status(**said: bytes) -> bytes:
    return pack({0: ALIVE, 2: ALIVE, 5: ALIVE, 6: DROPPED, **{int(k[1:]): v for k, v in said.items()}})


def test_it_reveals_one_kind_of_share_of_each() -> None:
    memory = after_masked()
    held = memory.held
    done, answer = protocol.reveal(memory, SESSION, 0, status())
    revealed = unpack(answer, 33)
    assert revealed == {i: held[i].masking_key if i == 6 else held[i].own_mask for i in IDS}
    # And has nothing left to reveal.
    assert not done.held
    assert not done.masking
    assert not done.own_mask
    assert not done.sharing


def test_the_same_question_again_gets_the_same_answer_and_another_none() -> None:
    done, answer = protocol.reveal(after_masked(), SESSION, 0, status())
    stored = Memory.from_bytes(done.to_bytes())
    assert protocol.reveal(stored, SESSION, 0, status())[1] == answer
    # Client 2 dropped out after all: the second answer would hold the other kind of share of it.
    with pytest.raises(SecAggError, match="one request of an attempt once"):
        protocol.reveal(stored, SESSION, 0, status(c2=DROPPED))


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (pack({0: ALIVE, 2: ALIVE, 5: ALIVE}), "not those this client masked with"),
        (pack({0: ALIVE, 2: ALIVE, 5: ALIVE, 6: DROPPED, 9: ALIVE}), "not those this client masked with"),
        (pack({0: ALIVE, 2: ALIVE, 5: ALIVE, 6: b"\x02"}), "not those this client masked with"),
        (status(c0=DROPPED, c6=ALIVE), "called dropped"),
        (status(c5=DROPPED), "under the threshold of 3"),
        (b"\x00" * 7, "entries of 5"),
        (b"".join(pack({i: ALIVE}) for i in (0, 2, 2, 5, 6)), "twice"),
    ],
)
def test_it_refuses_to_unmask_on_an_inconsistent_request(request_: bytes, why: str) -> None:
    memory = after_masked()
    with pytest.raises(SecAggError, match=why):
        protocol.reveal(memory, SESSION, 0, request_)
    # The refusal costs the round nothing: the honest request is still answered.
    protocol.reveal(memory, SESSION, 0, status())


def test_it_takes_part_in_no_second_sum_of_a_round() -> None:
    done, _ = protocol.reveal(after_masked(), SESSION, 0, status())
    with pytest.raises(SecAggError, match="two sums"):
        protocol.advertise(done, replace(SESSION, attempt=8), 0)
    later, _ = protocol.advertise(done, Session("a run", 5, 8), 0)
    assert later.revealed_round == 4
    # Nor by way of a later round's attempt and back.
    with pytest.raises(SecAggError, match="over for this client"):
        protocol.advertise(later, Session("a run", 4, 9), 0)


def test_a_new_attempt_has_new_keys_and_the_old_one_cannot_go_on() -> None:
    memories, requests = after_shares()
    again, keys = protocol.advertise(memories[0], replace(SESSION, attempt=8), 0)
    assert again.own_mask != memories[0].own_mask
    assert keys != protocol._public(memories[0])
    with pytest.raises(SecAggError, match="not in attempt 7"):
        masked(again, SESSION, requests[0], np.zeros(5, np.uint32))
    with pytest.raises(SecAggError, match="is over"):
        protocol.advertise(again, SESSION, 0)


def test_a_repeated_masked_request_gives_the_same_bytes_and_never_others() -> None:
    memories, requests = after_shares()
    vector = np.arange(5, dtype=np.uint32)
    memory, first = masked(memories[0], SESSION, requests[0], vector.copy())
    assert np.array_equal(masked(memory, SESSION, requests[0], vector.copy())[1], first)
    with pytest.raises(SecAggError, match="otherwise"):
        masked(memory, SESSION, requests[0], vector + np.uint32(1))
    # Fewer neighbours, fewer masks: the difference of two answers would be a mask of one pair.
    fewer = dict(unpack(requests[0], protocol.DEALT_BYTES))
    del fewer[6]
    with pytest.raises(SecAggError, match="otherwise"):
        protocol.receive(memory, SESSION, 0, pack(fewer))


def test_it_masks_with_nobody_it_does_not_know_and_never_with_too_few() -> None:
    memories, requests = after_shares()
    dealt = unpack(requests[0], protocol.DEALT_BYTES)
    with pytest.raises(SecAggError, match="no neighbour"):
        protocol.receive(memories[0], SESSION, 0, pack({**dealt, 7: dealt[2]}))
    with pytest.raises(SecAggError, match="threshold of 3"):
        protocol.receive(memories[0], SESSION, 0, pack({2: dealt[2]}))
    with pytest.raises(SecAggError, match="before shares"):
        protocol.mask(memories[0], SESSION, 0, np.zeros(5, np.uint32))


def wrong_shares(dealt: dict[int, bytes]) -> dict[str, bytes]:
    """What client 2 might have dealt in place of its shares."""
    sealed = protocol.SEALED_BYTES
    return {
        "another's": dealt[5],
        "a flipped bit": bytes([dealt[2][0] ^ 1]) + dealt[2][1:],
        "another own mask than committed to": dealt[2][:sealed] + dealt[5][sealed:-32] + dealt[2][-32:],
        "another masking key than committed to": dealt[2][:-32] + dealt[5][-32:],
    }


@pytest.mark.parametrize("what", wrong_shares({2: bytes(200), 5: bytes(200)}))
def test_wrong_shares_are_named_and_nothing_is_masked_or_revealed_after(what: str) -> None:
    memories, requests = after_shares()
    dealt = unpack(requests[0], protocol.DEALT_BYTES)
    request = pack({**dealt, 2: wrong_shares(dealt)[what]})
    memory, accused = protocol.receive(memories[0], SESSION, 0, request)
    assert accused == pack({2: b""})
    # Its secrets of this attempt are gone; asked again it says the same, and it does not think better of it.
    assert (memory.own_mask, memory.masking, memory.sharing, memory.held) == (b"", b"", b"", {})
    memory = Memory.from_bytes(memory.to_bytes())
    assert protocol.receive(memory, SESSION, 0, request) == (memory, accused)
    with pytest.raises(SecAggError, match="otherwise"):
        protocol.receive(memory, SESSION, 0, requests[0])
    with pytest.raises(SecAggError, match="before shares"):
        protocol.mask(memory, SESSION, 0, np.zeros(5, np.uint32))
    with pytest.raises(SecAggError, match="before a masked update"):
        protocol.reveal(memory, SESSION, 0, status())
    # It takes part in the next.
    assert protocol.advertise(memory, replace(SESSION, attempt=8), 0)[0].own_mask


@pytest.mark.parametrize("threshold", [0, 1, 5])
def test_a_threshold_that_protects_nothing_is_refused(threshold: int) -> None:
    memory, _ = protocol.advertise(None, SESSION, 0)
    keys = {i: protocol.advertise(None, SESSION, i)[1] for i in (2, 5, 6)}
    with pytest.raises(SecAggError, match="no threshold"):
        protocol.share(memory, SESSION, 0, threshold, pack_varied(keys))


def test_sealed_shares_of_one_attempt_open_in_no_other() -> None:
    _, requests = after_shares()
    # The same keys throughout, only the attempt's number differs.
    memories, _ = after_shares()
    elsewhere = replace(memories[0], session=replace(SESSION, attempt=9), seen=memories[0].seen)
    accused = protocol.receive(elsewhere, replace(SESSION, attempt=9), 0, requests[0])[1]
    assert set(unpack(accused, 0)) == {2, 5, 6}


def test_a_share_request_asked_otherwise_is_refused_and_asked_again_answered_alike() -> None:
    memory, _ = protocol.advertise(None, SESSION, 0)
    keys = pack_varied({i: protocol.advertise(None, SESSION, i)[1] for i in (2, 5, 6)})
    memory, answer = protocol.share(memory, SESSION, 0, 3, keys)
    assert protocol.share(memory, SESSION, 0, 3, keys)[1] == answer
    # A second sealing with the same key would give the neighbours' shares away.
    with pytest.raises(SecAggError, match="otherwise"):
        protocol.share(memory, SESSION, 0, 2, keys)


def test_a_public_key_of_small_order_is_refused() -> None:
    with pytest.raises(SecAggError, match="public key"):
        agree(new_private_key(), bytes(32), b"info")
    assert agree(one := new_private_key(), public_key(other := new_private_key()), b"i") == agree(
        other, public_key(one), b"i"
    )
    assert agree(one, public_key(other), b"i") != agree(one, public_key(other), b"j")


def test_damaged_memory_is_an_error_with_a_remedy() -> None:
    with pytest.raises(SecAggError, match="delete it"):
        Memory.from_bytes(after_masked().to_bytes()[:-5])


@given(st.dictionaries(st.integers(0, 2**32 - 1), st.binary(max_size=300)), st.binary(max_size=100))
def test_entries_of_any_length_come_back_and_other_bytes_are_refused(entries: dict[int, bytes], any_: bytes) -> None:
    assert unpack_varied(pack_varied(entries)) == entries
    with suppress(SecAggError):
        assert pack_varied(unpack_varied(any_)) == any_


@given(st.binary(max_size=300))
def test_keys_with_anything_behind_them_are_read_as_they_are_written_or_refused(behind: bytes) -> None:
    with suppress(SecAggError):
        assert SignedKeys.from_bytes(bytes(96) + behind).to_bytes() == bytes(96) + behind
    with pytest.raises(SecAggError, match="96 bytes"):
        SignedKeys.from_bytes(bytes(95))


@given(st.binary(min_size=32, max_size=32), st.sets(st.integers(0, 10_000), min_size=2, max_size=12), st.data())
def test_enough_shares_give_the_secret(secret: bytes, holders: set[int], data: st.DataObject) -> None:
    threshold = data.draw(st.integers(2, len(holders)))
    shares = split(secret, threshold, holders)
    some = data.draw(st.permutations(sorted(holders)))[:threshold]
    assert combine({h: shares[h] for h in some}) == secret


def test_fewer_shares_than_the_threshold_fit_every_secret() -> None:
    # For any two shares and any secret there is a polynomial of degree two: find its third share and combine.
    shares = split(b"\x07" * 32, 3, (0, 1, 2))
    assert combine(shares) == b"\x07" * 32
    first, second = (int.from_bytes(shares[h], "big") for h in (0, 1))
    for other in (0, 1, 2**200):
        # f(3) = f(0) - 3 f(1) + 3 f(2) where f has degree two.
        third = (other - 3 * first + 3 * second) % PRIME
        forged = {0: shares[0], 1: shares[1], 2: third.to_bytes(33, "big")}
        assert int.from_bytes(combine(forged), "big") == other


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_a_mask_comes_off_and_covers_the_whole_ring(dtype: type) -> None:
    # Longer than one stretch of the key stream, and no multiple of it.
    vector = np.zeros(100_003, dtype)
    add_masks(vector, [(b"k" * 32, 1)])
    top = float(np.iinfo(dtype).max) + 1
    counts = np.histogram(vector, bins=16, range=(0, top))[0]
    assert counts.min() > 0.95 * len(vector) / 16
    # No stretch repeats another, and the last of them is masked too.
    assert not np.array_equal(vector[:16_384], vector[16_384:32_768])
    assert vector[-3:].any()
    if dtype == np.uint16:
        # Every value occurs, the ring's last included: 100 003 draws miss about a fifth of 65 536 values.
        assert vector.max() > 65_500
    before = vector.copy()
    # Others come and go, in whichever order.
    add_masks(vector, [(b"a" * 32, 1), (b"b" * 32, -1)])
    assert (vector != before).mean() > 0.99
    add_masks(vector, [(b"b" * 32, 1), (b"k" * 32, -1), (b"a" * 32, -1)])
    assert not vector.any()
