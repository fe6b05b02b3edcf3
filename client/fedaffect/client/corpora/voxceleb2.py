"""VoxCeleb2: celebrities in interviews, sound and faces, without any emotion label."""

from __future__ import annotations

import re
from pathlib import Path
from re import Match
from types import MappingProxyType

from fedaffect.client.corpora.base import CorpusInfo
from fedaffect.client.corpora.named_clips import NamedClips, Told


class VoxCeleb2(NamedClips):
    """Chung, Nagrani and Zisserman, VoxCeleb2: Deep Speaker Recognition, Interspeech 2018.

    **Nobody labelled emotions in it.** It serves pretraining alone, self-supervised or with another model's answers as
    labels; wherever labels are learned from it is refused. The layout is that of the authors' archives, unpacked side
    by side: ``dev/mp4/id00012/21Uxsk56VDQ/00001.mp4`` and, for sound, ``dev/aac/…/00001.m4a``; without the latter,
    sound is read from the film. A client is a speaker. Films are cropped to the speaking face.
    """

    info = CorpusInfo(
        name="voxceleb2",
        title="VoxCeleb2 (no emotion labels: for pretraining alone)",
        modalities=("audio", "video"),
        label_set="",
        label_sets=(),
        licence="CC BY-SA 4.0",
        size="1,128,246 clips, 6,112 speakers, 2,400 h; 300 GB",
        where="www.robots.ox.ac.uk/~vgg/data/voxceleb/vox2.html: apply, then vox2_dev_mp4 and vox2_dev_aac",
        needs="dev/ and test/ with mp4/ and aac/ in them, and films like dev/mp4/id00012/21Uxsk56VDQ/00001.mp4",
        counts=MappingProxyType({"train": 1092009, "test": 36237, "clients": 6112}),
        client="speaker",
        faces="whole",
        citation="Chung, Nagrani, Zisserman: VoxCeleb2, Interspeech 2018",
    )
    places = ("dev/mp4/id*/*/*", "dev/aac/id*/*/*", "test/mp4/id*/*/*", "test/aac/id*/*/*")
    named = re.compile(r"(?P<part>dev|test)/\w+/(?P<id>(?P<speaker>id\d+)/(?P<video>[^/]+)/\d+)")
    such_as = "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4"

    def told(self, match: Match[str], path: Path) -> Told:
        """Of the folders."""
        split = "train" if match["part"] == "dev" else "test"
        return Told(
            id=match["id"], emotion="", speaker=match["speaker"], split=split, attributes={"video": match["video"]}
        )
