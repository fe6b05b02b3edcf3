"""Who signed a request to the Fleet API, as Flower's SuperNodes sign: the time, with the node's key."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_HEADER, TIMESTAMP_TOLERANCE
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import verify_signature

NODE_KEY_HEADER: Final = str(FLEET_HTTP_PUBLIC_KEY_HEADER)


def signing_key(headers: Mapping[str, str]) -> str | None:
    """The public key that signed a request just now.

    Parameters
    ----------
    headers : mapping of str to str
        Names in lower case.

    Returns
    -------
    str or None
        In OpenSSH's form; None where a header is missing, the signature does not hold, or its time is off by more
        than Flower allows.
    """
    try:
        key = serialization.load_pem_public_key(b64decode(headers[FLEET_HTTP_PUBLIC_KEY_HEADER], validate=True))
        signature = b64decode(headers[FLEET_HTTP_SIGNATURE_HEADER], validate=True)
        timestamp = headers[TIMESTAMP_HEADER]
        age_s = (now() - datetime.fromisoformat(timestamp)).total_seconds()
        signed = timestamp.encode("ascii")
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return None
        # Not of a curve that OpenSSH does not have.
        name = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    except (KeyError, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if not -SYSTEM_TIME_TOLERANCE < age_s < TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE:
        return None
    return name if verify_signature(key, signed, signature) else None
