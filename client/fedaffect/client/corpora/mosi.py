"""CMU-MOSI as aligned features of one vector an utterance: negative or positive opinion in film reviews."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.corpora.base import CorpusInfo, FolderCorpus, Utterance
from fedaffect.client.corpora.tables import vocabulary
from fedaffect.edge.errors import DataError
from fedaffect.edge.sample import MODALITIES, Sample

_FILE = "mosi_aligned.npz"
_WIDTHS = {"text": 100, "audio": 73, "video": 100}
_CLASSES = ("negative", "positive")
_DEV_ONE_IN = 6


class Mosi(FolderCorpus):
    """Zadeh et al., MOSI: Multimodal Corpus of Sentiment Intensity, arXiv 1606.06259.

    A client is a video, and no video is in both official splits. There is no official development split
    in this file, and its text features look fitted on the training part, so one training video in six,
    drawn by ``seed``, is held out whole as ``dev``.

    Parameters
    ----------
    data_dir : Path
        Holds ``mosi_aligned.npz``.
    seed : int
        Which videos are held out.
    """

    info = CorpusInfo(
        name="mosi",
        title="CMU-MOSI (aligned utterance features)",
        modalities=("text", "audio", "video"),
        label_set="mosi2",
        label_sets=("mosi2",),
        licence="none stated",
        size="2,199 utterances, 93 videos; 3 MB of features",
        where=(
            "features: A2Zadeh/CMU-MultimodalSDK on GitHub, aligned to utterances and saved as one npz without pickles"
        ),
        needs=(
            "mosi_aligned.npz with train_ and test_ arrays: text (N, 100), audio (N, 73), video (N, 100), "
            "label in {0, 1}, utt as video_segment, and transcript if you have it"
        ),
        counts=MappingProxyType(
            {"train+dev": 1447, "test": 752, "clients": 93, "label:negative": 1023, "label:positive": 1176}
        ),
        client="video",
        faces="none",
        citation="Zadeh, Zellers, Pincus, Morency: MOSI, arXiv 1606.06259, 2016",
        features_only=True,
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the archive of features is there."""
        return (folder / _FILE).is_file()

    def files(self) -> Iterator[Path]:
        """The archive of features."""
        yield self.data_dir / _FILE

    def choices(self) -> str:
        """The seed that holds videos out."""
        return str(self.seed)

    @cached_property
    def _arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """All arrays, checked to belong together; 3 MB."""
        path = self.data_dir / _FILE
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            raise DataError(f"{path} cannot be read ({error}); download it again") from error
        for split in ("train", "test"):
            lacking = [f"{split}_{x}" for x in (*_WIDTHS, "label", "utt") if f"{split}_{x}" not in arrays]
            if lacking:
                raise DataError(f"{path} has no array {', '.join(lacking)}; expected {self.info.needs}")
            count = len(arrays[f"{split}_label"])
            for name, width in _WIDTHS.items():
                shape = arrays[f"{split}_{name}"].shape
                if shape != (count, width):
                    raise DataError(f"{path}: {split}_{name} has shape {shape}, expected {(count, width)}")
                if not np.isfinite(arrays[f"{split}_{name}"]).all():
                    raise DataError(f"{path}: {split}_{name} holds values that are not numbers; download it again")
            if len(arrays[f"{split}_utt"]) != count:
                raise DataError(f"{path}: {split}_utt and {split}_label differ in length; download it again")
        return arrays

    def __iter__(self) -> Iterator[Utterance]:
        held_out = self._held_out()
        for split in ("train", "test"):
            names = [str(name) for name in self._arrays[f"{split}_utt"]]
            for row, name in enumerate(names):
                video = _video(name)
                yield self._utterance(split, row, name, "dev" if split == "train" and video in held_out else split)

    def _utterance(self, part: str, row: int, name: str, split: str) -> Utterance:
        video = _video(name)
        segment = name.rpartition("_")[2]
        where = f"{self.data_dir / _FILE}!{part}_label[{row}]"
        label = int(self._arrays[f"{part}_label"][row])
        transcripts = self._arrays.get(f"{part}_transcript")
        return Utterance(
            sample=Sample(id=name, text=None if transcripts is None else str(transcripts[row])),
            label=vocabulary("mosi", _CLASSES[label] if label in (0, 1) else str(label), where),
            split=split,
            speaker=video,
            client=video,
            dialogue=video,
            turn=int(segment) if segment.isdigit() else 0,
            features={m: self._arrays[f"{part}_{m}"][row : row + 1].astype(np.float32) for m in MODALITIES},
        )

    def _held_out(self) -> set[str]:
        videos = sorted({_video(str(name)) for name in self._arrays["train_utt"]})
        order = np.random.default_rng([self.seed, len(videos)]).permutation(len(videos))
        return {videos[i] for i in order[::_DEV_ONE_IN]}


def _video(name: str) -> str:
    return name.rpartition("_")[0]
