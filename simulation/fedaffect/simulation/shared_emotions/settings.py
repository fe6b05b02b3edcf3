"""What decides the shared federation: corpora, who is held out, how rows are weighed, how clients train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedaffect.edge.errors import ConfigError, unknown_name
from fedaffect.server.models.alignment.material import CORPORA
from fedaffect.server.models.bundling.licences import PERMISSIVE
from fedaffect.server.models.encoders.words.rows import teachers_of


def corpora_of(licence: str) -> tuple[str, ...]:
    """Corpora that teach a fusion of ``permissive`` or ``non-commercial`` licence.

    The permissive one learns from those that taught the encoder before it. EmoryNLP's licence would do too; left out,
    it says how both do on dialogue that nobody learned from.
    """
    return tuple(name for name in CORPORA if licence != PERMISSIVE or name in teachers_of(licence))


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedConfig:
    """Settings of the shared federation.

    Parameters
    ----------
    corpora : tuple of str
        Those that clients train on.
    voice_copies, face_copies : int
        Constructed copies of each clip and face, heard and seen otherwise.
    speakers_a_client : mapping of str to int
        By corpus of voices; one where not given. A speaker of few clips, alone, would be learned by heart.
    rows_a_client : int
        Training rows of one modality that a client's sampling aims at; a round is one pass over them.
    times_rows : mapping of str to float
        That many times as many, by modality: words come from six corpora.
    evenness : float
        0 keeps the classes of a corpus as they fall, 1 repeats rare ones until all are as frequent.
    most_repeats : float
        How often one row may be repeated at most.
    mixed_share : float
        Constructed pairs and triples of one client's own rows with equal labels, as a share of its other rows.
    most_tokens : mapping of str to int
        Of a training row, by modality: a batch is as long as its longest row.
    smoothing : mapping of str to float
        Mass of a label that is spread over all classes, by corpus.
    seed : int
        Of all draws.
    """

    corpora: tuple[str, ...] = tuple(CORPORA)
    voice_copies: int = 4
    face_copies: int = 1
    speakers_a_client: Mapping[str, int] = field(default_factory=lambda: {"urdu": 8})
    rows_a_client: int = 320
    times_rows: Mapping[str, float] = field(default_factory=lambda: {"text": 2.0})
    evenness: float = 0.7
    most_repeats: float = 4.0
    mixed_share: float = 0.4
    most_tokens: Mapping[str, int] = field(default_factory=lambda: {"text": 24, "audio": 10, "video": 4})
    smoothing: Mapping[str, float] = field(default_factory=lambda: {**dict.fromkeys(CORPORA, 0.1), "ferplus": 0.05})
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.corpora:
            if name not in CORPORA:
                raise unknown_name("corpus of the shared federation", name, CORPORA)
        if not self.corpora:
            raise ConfigError(f"clients need something to train on; choose from {', '.join(CORPORA)}")
        if not 0 <= self.evenness <= 1 or self.mixed_share < 0 or self.most_repeats < 1 or self.rows_a_client < 8:
            raise ConfigError("evenness is in [0, 1], mixed share at least 0, repeats at least 1, rows at least 8")
