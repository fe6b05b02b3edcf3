"""Clips that were labelled elsewhere become examples of this device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fedaffect.edge.errors import DataError
from fedaffect.edge.examples_renewal import is_outdated, renew
from fedaffect.edge.labelled_clips import LabelledClip
from fedaffect.edge.runtime import EdgeRuntime
from fedaffect.edge.store import Journal


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of clips.

    Parameters
    ----------
    kept : int
        New examples.
    known : int
        Clips that were examples before; their label and consent are what was said last, and what other encoders had
        made of them is made again.
    relabelled : int
        Of those, how many had another label.
    refused : mapping of str to str
        Why clips could not be used, by their id.
    """

    kept: int
    known: int
    relabelled: int
    refused: Mapping[str, str]


def import_clips(
    runtime: EdgeRuntime,
    journal: Journal,
    clips: Iterable[LabelledClip],
    *,
    consent: bool,
    done: Callable[[int], None] = lambda _: None,
) -> Imported:
    """Keep each clip's features as an example with its label; the same clips are not kept twice.

    Parameters
    ----------
    runtime : EdgeRuntime
        Opened with the journal.
    journal : Journal
        With ``keep_examples``.
    clips : iterable of LabelledClip
    consent : bool
        Whether their user lets them be learned from.
    done : callable of int
        Called with 1 after each clip.

    Raises
    ------
    StoreError
        If an example cannot be written; those before it are kept.
    """
    before = {example.request_id: example for example in journal.examples.examples()}
    kept, known, relabelled, refused = 0, 0, 0, {}
    alike: Counter[str] = Counter()
    for clip in clips:
        content = _digest(clip)
        # Somebody may say the same words twice, and not mean the same.
        id = f"import-{content}-{alike[content]}"
        alike[content] += 1
        try:
            if (example := before.get(id)) is None:
                runtime.predict(clip.sample, request_id=id)
            elif is_outdated(example, runtime.bundle):
                renew(journal.examples, example.id, clip.sample, runtime)
            journal.examples.label(id, clip.label, consent)
        except DataError as error:
            refused[clip.sample.id] = str(error)
        else:
            known += id in before
            relabelled += example is not None and example.label not in (None, clip.label)
            kept += id not in before
        done(1)
    return Imported(kept, known, relabelled, refused)


def _digest(clip: LabelledClip) -> str:
    """The same for the same speaker, words and media, wherever they lie."""
    digest = sha256()
    media = {path for path in (clip.sample.audio, clip.sample.video) if isinstance(path, Path)}
    words = (clip.speaker.encode(), (clip.sample.text or "").encode())
    for part in (*words, *(path.read_bytes() for path in sorted(media))):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:32]
