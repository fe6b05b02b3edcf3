"""Random bits that nobody can predict: the keystream of AES-256 under a key of the operating system's generator.

Counter mode, as NIST SP 800-90A builds its generators. It is taken through Galois/counter mode, whose tag nobody
asks for: the bits are plain counter mode's, and OpenSSL makes them more than twice as fast where a processor encrypts
several blocks in one instruction.
"""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.ciphers import AEADEncryptionContext, Cipher, algorithms, modes

# A nonce is good for 2^36 - 32 bytes.
_NONCE_BYTES = 1 << 35
# Ciphers want room for one more block than they write.
_BLOCK_BYTES = 16
_MOST_AT_ONCE = 1 << 20


class Keystream:
    """Bits under one key.

    Parameters
    ----------
    key : bytes, optional
        32 bytes; by default the operating system's, and a fresh one long before counter mode could be told from
        random bits. A given key gives the same bits again.
    stream : int
        Tells streams of one key apart, each of 2^67 bytes; 0..2^64 - 1.
    """

    def __init__(self, key: bytes | None = None, stream: int = 0) -> None:
        self._fixed = key
        self._stream = stream
        self._nonces = 0
        self._zeros = bytes(_MOST_AT_ONCE)
        self._open()

    def _open(self) -> None:
        nonce = self._stream.to_bytes(8, "big") + self._nonces.to_bytes(4, "big")
        key = os.urandom(32) if self._fixed is None else self._fixed
        self._cipher: AEADEncryptionContext = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
        self._nonces += 1
        self._left = _NONCE_BYTES

    def buffer(self, size: int) -> bytearray:
        """Memory for :meth:`fill` to write ``size`` bytes into, with the room that a cipher wants behind them."""
        return bytearray(size + _BLOCK_BYTES)

    def fill(self, buffer: bytearray, size: int) -> None:
        """Write the next ``size`` bytes to the beginning of a :meth:`buffer` of that size."""
        place = memoryview(buffer)
        for start in range(0, size, _MOST_AT_ONCE):
            count = min(_MOST_AT_ONCE, size - start)
            if count > self._left:
                self._open()
            self._left -= count
            zeros = self._zeros if count == _MOST_AT_ONCE else memoryview(self._zeros)[:count]
            self._cipher.update_into(zeros, place[start : start + count + _BLOCK_BYTES])
