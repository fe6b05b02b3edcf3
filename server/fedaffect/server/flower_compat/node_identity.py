"""Who signed a request to the Fleet API, as Flower's SuperNodes sign: the time, with the node's key."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import Final

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
    except (KeyError, ValueError, TypeError):
        return None
    if not -SYSTEM_TIME_TOLERANCE < age_s < TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE:
        return None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not verify_signature(key, signed, signature):
        return None
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
