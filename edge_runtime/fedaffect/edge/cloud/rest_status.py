"""What HTTP's status codes and headers mean for a device."""

from __future__ import annotations

import json
import re
import ssl
from typing import Final

import httpx

from fedaffect.edge.cloud.client import TlsSettings
from fedaffect.edge.cloud.errors import CloudBusy, CloudGarbage, CloudRefused, CloudTimeout, CloudUnreachable
from fedaffect.edge.cloud.reply import said
from fedaffect.edge.cloud.retry import seconds_of
from fedaffect.edge.errors import ConfigError

_RANGE: Final = re.compile(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15})")


def check_status(response: httpx.Response, body: bytes) -> None:
    """Raise what a status that is no success means.

    Parameters
    ----------
    response : httpx.Response
    body : bytes
        Of the response.

    Raises
    ------
    CloudError
    """
    status, why = response.status_code, _message(body)
    if status == 429:
        raise CloudBusy(f"the cloud is busy ({why}); ask later", seconds_of(response.headers.get("retry-after", "")))
    if status in (408, 504):
        raise CloudTimeout(f"the cloud did not answer in time ({why}); allow more, or stay local")
    if 400 <= status < 500:
        raise CloudRefused(f"the cloud refuses the request: {why}", status)
    if status in (502, 503):
        raise CloudUnreachable(f"the cloud is not ready ({status}: {why}); try again later")
    raise CloudGarbage(f"the cloud failed ({status}: {why}); look into its log, or check the address")


def content_range(response: httpx.Response, asked: int) -> tuple[int, int]:
    """Where a body begins in the whole, and how large the whole is.

    Parameters
    ----------
    response : httpx.Response
        With status 200 for the whole, 206 for what was asked.
    asked : int
        The offset that was asked for.

    Raises
    ------
    CloudGarbage
        If its headers do not say, or say something else than was asked.
    """
    if response.status_code == 206:
        match = _RANGE.fullmatch(response.headers.get("content-range", ""))
        if match is None or int(match[1]) != asked:
            raise CloudGarbage("the cloud sends another part of the bundle than was asked for; ask again")
        return asked, int(match[2])
    length = response.headers.get("content-length", "")
    if response.status_code != 200 or not (length.isascii() and length.isdigit() and len(length) < 16):
        raise CloudGarbage(f"the cloud sends a bundle without its size (status {response.status_code}); update it")
    return 0, int(length)


def ssl_context(tls: TlsSettings | None) -> ssl.SSLContext:
    """The system's authorities, or those given; the device's certificate, where there is one.

    Raises
    ------
    ConfigError
        If a file is not PEM, or the key does not fit the certificate.
    """
    try:
        context = ssl.create_default_context(cafile=str(tls.authority) if tls and tls.authority else None)
        if tls and tls.certificate and tls.key:
            context.load_cert_chain(tls.certificate, tls.key)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"a TLS file cannot be used ({error}); give PEM files, and the certificate's own key"
        ) from error
    return context


def _message(body: bytes) -> str:
    """The error's message, from a body of ours or of whatever stands in between."""
    try:
        return said(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return said(body[:200].decode("utf-8", "replace"))
