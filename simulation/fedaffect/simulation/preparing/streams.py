"""Streams of features for a cohort: from a bundle's encoders or the corpus itself, normalised, with context."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np

from fedaffect.client.cohort import TokenTable
from fedaffect.client.corpora.base import Corpus
from fedaffect.client.features.context import past_utterances
from fedaffect.client.features.encoding import Encoded, encode_corpus, feature_key
from fedaffect.client.features.sequences import from_sequences, standardised_by_owner
from fedaffect.edge.bundle import MANIFEST, Bundle, default_bundle_path
from fedaffect.edge.encoders.base import Encoder
from fedaffect.edge.encoders.vision import VisionEncoder
from fedaffect.edge.errors import BundleError, ConfigError, DataError
from fedaffect.edge.system.folders import cache_folder
from fedaffect.server.models.bundling.recipe import is_outdated
from fedaffect.server.models.fine_tuning.limits import Limits
from fedaffect.simulation.preparing.columns import Columns
from fedaffect.simulation.preparing.degraded import Condition, Degraded, read_conditions
from fedaffect.simulation.preparing.landmarks import FacesWithLandmarks

CONTEXT = "context"
# How many landmarks --video-features asks for.
_LANDMARKS = {"encoder": 0, "landmarks5": 5, "landmarks68": 68}


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the features of each modality come from.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    modalities : tuple of str
        Those in use.
    encoders : mapping of str to Encoder
        Of each modality; empty where the corpus brings features.
    dtypes : mapping of str to numpy type
        As which features are kept, where not as float16.
    degraded : tuple of Condition
        How the test split is worse.
    """

    corpus: Corpus
    modalities: tuple[str, ...]
    encoders: Mapping[str, Encoder]
    dtypes: Mapping[str, type[np.generic]] = field(default_factory=dict)
    degraded: tuple[Condition, ...] = ()

    def keys(self) -> dict[str, str]:
        """Hash of what decides each modality's features."""
        if self.corpus.info.features_only:
            return {modality: self.corpus.fingerprint() for modality in self.modalities}
        return {m: feature_key(self.corpus, m, self.encoders[m]) for m in self.modalities}

    def encoded(self, columns: Columns, progress: bool) -> dict[str, Encoded]:
        """Features of every utterance, by modality.

        Raises
        ------
        DataError
            If no utterance has a modality that was asked for, or none of its clips can be used.
        """
        encoded = {m: self._encoded(columns, m, self.encoders.get(m), progress) for m in self.modalities}
        for modality, each in encoded.items():
            if len(each.table.tokens) == 0:
                why = next((f"; of its clips none can be used: {one}" for one in each.unusable.values()), "")
                raise DataError(
                    f"no utterance of {self.corpus.info.name} has {modality} here (expected {self.corpus.info.needs}); "
                    f"leave {modality} out of --modalities{why}"
                )
        return encoded

    def tested(self, columns: Columns, progress: bool) -> dict[str, Encoded]:
        """Features of every utterance under the conditions of the test split, by modality that is degraded."""
        worse = {}
        for modality in dict.fromkeys(each.modality for each in self.degraded):
            encoder = Degraded(self.encoders[modality], [c for c in self.degraded if c.modality == modality])
            worse[modality] = self._encoded(columns, modality, encoder, progress)
        return worse

    def _encoded(self, columns: Columns, modality: str, encoder: Encoder | None, progress: bool) -> Encoded:
        if encoder is not None:
            kept = self.dtypes.get(modality, np.float16)
            return encode_corpus(self.corpus, columns.utterances, modality, encoder, cache_folder(), progress, kept)
        given = [None if u.features is None else u.features.get(modality) for u in columns.utterances]
        width = next((sequence.shape[1] for sequence in given if sequence is not None), 1)
        return Encoded(from_sequences(given, width), {})


def open_sources(
    corpus: Corpus,
    modalities: Sequence[str],
    bundle: str | None,
    ensure_bundle: Callable[[], Path] | None,
    audio_features: str = "encoder",
    video_features: str = "encoder",
    degrade_test: Sequence[str] = (),
) -> Sources:
    """Encoders for the modalities in use.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    modalities : sequence of str
        Those in use.
    bundle : str, optional
        Folder of a bundle; without it, the edge bundle in the cache.
    ensure_bundle : callable, optional
        Called where that one is not there or of an older recipe, to build it; returns its folder.
    audio_features : {"encoder", "acoustic"}
        Where those of sound come from.
    video_features : {"encoder", "landmarks5", "landmarks68"}
        What those of faces are.
    degrade_test : sequence of str
        Conditions of the test split, see `read_conditions`.

    Raises
    ------
    ConfigError
        If the corpus does not have a modality, or there is no sound or no picture to make features of.
    BundleError
        If there is no bundle, only an outdated one and nothing to build it with, or no network of the landmarks.
    """
    _require_modalities(corpus, modalities)
    acoustic = audio_features == "acoustic"
    if acoustic and (corpus.info.features_only or "audio" not in modalities):
        raise ConfigError("--audio-features acoustic needs sound: a corpus with media, and audio among --modalities")
    landmarks = _LANDMARKS[video_features]
    if landmarks and (corpus.info.features_only or "video" not in modalities):
        raise ConfigError(
            f"--video-features {video_features} needs faces: a corpus with media, and video among --modalities"
        )
    degraded = read_conditions(degrade_test)
    for condition in degraded:
        if corpus.info.features_only or condition.modality not in modalities:
            raise ConfigError(
                f"--degrade-test {condition} needs {condition.modality}: a corpus with media, and "
                f"{condition.modality} among --modalities"
            )
    if corpus.info.features_only:
        return Sources(corpus, tuple(modalities), {})
    threads = max(1, (os.cpu_count() or 1) // 2)
    encoders: dict[str, Encoder] = {"audio": _acoustics(threads)} if acoustic else {}
    if others := [m for m in modalities if m not in encoders]:
        opened = Bundle.load(_bundle_folder(bundle, ensure_bundle))
        faces = "whole" if corpus.info.faces == "whole" else "detect"
        encoders |= {m: opened.encoder(m, faces=faces, threads=threads) for m in others}
        if landmarks:
            detector = opened.path / opened.manifest.encoders["video"].assets["face"].file
            encoders["video"] = FacesWithLandmarks(cast(VisionEncoder, encoders["video"]), detector, landmarks)
    return Sources(corpus, tuple(modalities), encoders, degraded=degraded)


def _acoustics(threads: int) -> Encoder:
    # Here, not above: scipy's signal processing takes a second to import.
    from fedaffect.simulation.preparing.acoustics import Acoustics

    return Acoustics(threads)


def open_media(corpus: Corpus, modalities: Sequence[str], networks: Mapping[str, str], limits: Limits) -> Sources:
    """What networks that learn take of a corpus: raw input instead of features.

    Parameters
    ----------
    corpus : Corpus
    modalities : sequence of str
        Those in use.
    networks : mapping of str to str
        Where each modality's network comes from.
    limits : Limits

    Raises
    ------
    ConfigError
        If the corpus does not have a modality, or brings features and no media.
    BundleError
        If a network cannot be had.
    """
    # Here, not above: transformers takes seconds to import.
    from fedaffect.server.models.fine_tuning.opening import open_inputs

    _require_modalities(corpus, modalities)
    if corpus.info.features_only:
        raise ConfigError(f"{corpus.info.name} is given out as features, which no encoder takes; use a corpus of media")
    inputs = {m: open_inputs(m, networks[m], limits, corpus.info.faces) for m in modalities}
    return Sources(corpus, tuple(modalities), inputs, {m: one.stored for m, one in inputs.items()})


def _require_modalities(corpus: Corpus, modalities: Sequence[str]) -> None:
    if strange := [m for m in modalities if m not in corpus.info.modalities]:
        known = ",".join(corpus.info.modalities)
        raise ConfigError(f"{corpus.info.name} has no {', '.join(strange)}; choose --modalities from {known}")


def _bundle_folder(bundle: str | None, ensure_bundle: Callable[[], Path] | None) -> Path:
    if bundle is not None:
        return Path(bundle).expanduser()
    usual = default_bundle_path("edge")
    outdated = is_outdated(usual)
    if (usual / MANIFEST).is_file() and not outdated:
        return usual
    if ensure_bundle is not None:
        return ensure_bundle()
    what = "an older recipe made the encoders" if outdated else "there are no encoders"
    raise BundleError(f"{what} at {usual}; make them with 'fedaffect bundle build --profile edge' or give --bundle")


def make_streams(
    tables: Mapping[str, TokenTable], columns: Columns, normalise: str, context: int
) -> dict[str, TokenTable]:
    """Normalise each modality, then add the stream of past utterances.

    Parameters
    ----------
    tables : mapping of str to TokenTable
        By modality, N rows each.
    columns : Columns
        Of the same rows.
    normalise : {"none", "client"}
        ``client``: see `standardised_by_owner`; a client is the natural owner, whatever the partition.
    context : int
        Past utterances; 0 for no such stream.

    Raises
    ------
    ConfigError
        If the corpus does not say who owns its rows, has no dialogues, or text is not among the modalities.
    """
    streams = dict(tables)
    if normalise == "client":
        if columns.rows.owner_kind == "image":
            raise ConfigError("nothing is known of who is on which picture; use --normalise none")
        streams = {name: standardised_by_owner(table, columns.rows.owners) for name, table in streams.items()}
    if context:
        if "text" not in streams:
            raise ConfigError("--context is made of past text; add text to --modalities")
        streams[CONTEXT] = past_utterances(streams["text"], columns.dialogues, columns.turns, columns.speakers, context)
    return streams


def has_tokens(table: TokenTable) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which rows have any token, shape (N,)."""
    there: np.ndarray[tuple[int], np.dtype[np.bool_]] = np.diff(table.offsets) > 0
    return there
