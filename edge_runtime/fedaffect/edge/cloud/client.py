"""What a device asks of the cloud, whichever way the question travels."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from numpy.typing import NDArray

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.sample import Sample

# Where the app gives no deadline: an answer later than this is of no use to anybody.
PREDICT_DEADLINE_MS: Final = 10_000.0
FEEDBACK_DEADLINE_MS: Final = 15_000.0
BUNDLE_DEADLINE_MS: Final = 900_000.0

# Told how many bytes are there, and how many there will be.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How the connection is secured.

    Parameters
    ----------
    authority : Path, optional
        PEM file of the authorities that may vouch for the cloud; the system's own where left out.
    certificate, key : Path, optional
        PEM files of the device's own certificate and private key, where the cloud asks for one (mutual TLS).
    """

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("mutual TLS needs both a certificate and its private key; give both or neither")
        for path in (self.authority, self.certificate, self.key):
            if path is not None and not (path.is_file() and os.access(path, os.R_OK)):
                raise ConfigError(f"the TLS file {path} does not exist or cannot be read; check the path")


class CloudClient(Protocol):
    """The cloud as a device sees it. Safe to call from several threads.

    Every call ends by its deadline with an answer or a `CloudError`. Retries happen within the deadline, and only of
    what the cloud takes once: predictions by their request id, feedback by its idempotency key.
    """

    def predict(
        self,
        sample: Sample | None,
        *,
        request_id: str,
        features: Mapping[str, NDArray[Any]] | None = None,
        encoder_keys: Mapping[str, str] | None = None,
        bundle_version: str = "",
        deadline_ms: float | None = None,
        transcribe: bool = False,
    ) -> Prediction:
        """Ask for the emotion of a sample, or of what the device's own encoders made of it.

        Parameters
        ----------
        sample : Sample, optional
            Media and words that leave the device; None where features do.
        request_id : str
            The caller's own; a repeated one is answered from the cloud's memory.
        features : mapping of str to float array, shape (T, W), optional
            By modality; sent as float16.
        encoder_keys : mapping of str to str, optional
            Keys of the encoders that made the features, by modality.
        bundle_version : str
            Of the bundle they belong to.
        deadline_ms : float, optional
            Time for everything, retries included; ``PREDICT_DEADLINE_MS`` where left out.
        transcribe : bool
            Whether the cloud shall find the words in the sound where no text is given.

        Returns
        -------
        Prediction
            With source ``cloud``, offload reason ``unsure``, and the round trip as its latency.

        Raises
        ------
        CloudError
            `CloudUnreachable`, `CloudTimeout`, `CloudRefused`, `CloudBusy` or `CloudGarbage`.
        ConfigError
            If neither or both of sample and features are given, or the features fit no encoder.
        DataError
            If the sample's media cannot be read.
        """
        ...

    def feedback(
        self,
        *,
        idempotency_key: str,
        request_id: str,
        label: str,
        consent: bool,
        model_version: str = "",
        features: Mapping[str, NDArray[Any]] | None = None,
        encoder_keys: Mapping[str, str] | None = None,
        deadline_ms: float | None = None,
    ) -> bool:
        """Say what the emotion really was.

        Parameters
        ----------
        idempotency_key : str
            Delivered as often as it takes; taken once.
        request_id : str
            Of the prediction that this is about.
        label : str
            What the user says, in the vocabulary's words.
        consent : bool
            Whether the user lets the example be learned from.
        model_version : str
            That had answered.
        features, encoder_keys
            Of the example; only where the user consents.
        deadline_ms : float, optional
            ``FEEDBACK_DEADLINE_MS`` where left out.

        Returns
        -------
        bool
            False where the same key was taken before.

        Raises
        ------
        CloudError
            As for `predict`.
        ConfigError
            If features come without consent.
        """
        ...

    def fetch_bundle(
        self, version: str, target: Path, *, deadline_ms: float | None = None, progress: Progress | None = None
    ) -> Path:
        """Download a bundle's tar; an interrupted download goes on where it stopped.

        Parameters
        ----------
        version : str
            Which; empty for the newest.
        target : Path
            The file to write. It appears whole, with its SHA-256 checked, or not at all; until then its beginning
            lies beside it as ``.part``.
        deadline_ms : float, optional
            ``BUNDLE_DEADLINE_MS`` where left out.
        progress : callable, optional
            Of the bytes that are there and of all, after each piece; maybe on another thread.

        Returns
        -------
        Path
            ``target``.

        Raises
        ------
        CloudError
            As for `predict`.
        """
        ...

    def close(self) -> None:
        """Give the connection back. Calls that are under way end with `CloudUnreachable`."""
        ...


def checked_key(api_key: str) -> str:
    """An API key, if it is one that a header may hold.

    Raises
    ------
    ConfigError
    """
    if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ConfigError("the API key holds spaces or characters that no key has; copy it again")
    return api_key
