"""eNTERFACE'05: people of fourteen nations say five English sentences an emotion, six emotions; films with sound."""

from __future__ import annotations

import re
from pathlib import Path
from re import Match
from types import MappingProxyType

from fedaffect.client.corpora.base import CorpusInfo
from fedaffect.client.corpora.named_clips import NamedClips, Told


class Enterface(NamedClips):
    """Martin et al., The eNTERFACE'05 Audio-Visual Emotion Database, ICDE Workshops 2006.

    The layout is that of ``enterface database/`` in the authors' archive. Label and subject are the folders': names of
    files err (subject 11's say ``s12``, subject 3's ``s_3``, one ends in ``avi.avi``). The paper counts 1,166 films of
    42 subjects, the archive holds 1,293 of 44. Subject 6 is not cut: one film an emotion, all five sentences in it,
    whose attribute ``sentence`` is empty; subject 23 lacks three films of happiness. There is no neutral. Each emotion
    has sentences of its own, so a transcript would give it away, and this corpus has no text. A client is a subject;
    there is no official split, so all is ``train`` and folds are made over subjects.
    """

    info = CorpusInfo(
        name="enterface",
        title="eNTERFACE'05 audio-visual emotion database",
        modalities=("audio", "video"),
        label_set="enterface6",
        label_sets=("enterface6", "shared4", "shared7"),
        licence="research",
        size="1,293 films, 44 subjects, 1.1 h; 0.8 GB",
        where="enterface.net/enterface05, project 2: the emotion database",
        needs="subject 1/ to subject 44/ with films like subject 1/anger/sentence 1/s1_an_1.avi",
        counts=MappingProxyType(
            {
                "train": 1293,
                "clients": 44,
                "label:joy": 213,
                **dict.fromkeys((f"label:{x}" for x in ("anger", "disgust", "fear", "sadness", "surprise")), 216),
            }
        ),
        client="speaker",
        faces="detect",
        citation="Martin, Kotsia, Macq, Pitas: The eNTERFACE'05 Audio-Visual Emotion Database, ICDE Workshops 2006",
    )
    places = ("subject */*/*", "subject */*/sentence */*")
    named = re.compile(r"(?P<subject>subject \d+)/(?P<emotion>\w+)/(?:sentence (?P<sentence>\d)/)?[^/]+")
    such_as = "subject 1/anger/sentence 1/s1_an_1.avi"

    def told(self, match: Match[str], path: Path) -> Told:
        """Of the folders; names differ too much to be believed, and only make ids."""
        return Told(
            id=match[0],
            emotion=match["emotion"],
            speaker=match["subject"],
            attributes={"sentence": match["sentence"] or ""},
        )
