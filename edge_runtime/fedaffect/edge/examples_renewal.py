"""Examples of other encoders than the bundle's: encoded again where their media were kept."""

from __future__ import annotations

from dataclasses import dataclass

from fedaffect.edge.bundle import Bundle
from fedaffect.edge.errors import DataError
from fedaffect.edge.runtime import EdgeRuntime
from fedaffect.edge.sample import Sample
from fedaffect.edge.store import Example, ExampleStore


@dataclass(frozen=True, slots=True)
class Renewal:
    """What became of examples of other encoders.

    Parameters
    ----------
    renewed : int
        Encoded again by the bundle's.
    left : int
        Whose media were not kept, or cannot be used: nothing is learned from them with this bundle.
    """

    renewed: int
    left: int

    def __str__(self) -> str:
        if not (self.renewed or self.left):
            return "all examples are of this bundle's encoders"
        said = f"{self.renewed} examples of other encoders were encoded again"
        lacking = f"; {self.left} cannot be, as their media were not kept: import those clips again"
        return said + (lacking if self.left else "")


def renew_examples(store: ExampleStore, bundle: Bundle) -> Renewal:
    """Encode again what other encoders than the bundle's made, where the media lie beside it.

    Labels and consent stay. Nothing is opened where all examples are of the bundle's encoders.

    Parameters
    ----------
    store : ExampleStore
    bundle : Bundle
        With a fusion.

    Raises
    ------
    BundleError
        If the bundle cannot be run.
    StoreError
        If an example cannot be written; those before it are renewed.
    """
    outdated = [example for example in store.examples() if is_outdated(example, bundle)]
    with_media = [example for example in outdated if example.has_media]
    renewed = 0
    if with_media:
        with EdgeRuntime.load(bundle) as runtime:
            for example in with_media:
                media = store.media(example.id)
                words = media.get("text")
                sample = Sample(
                    text=None if words is None else words.decode(), audio=media.get("audio"), video=media.get("video")
                )
                renewed += renew(store, example.id, sample, runtime)
    return Renewal(renewed, len(outdated) - renewed)


def is_outdated(example: Example, bundle: Bundle) -> bool:
    """Whether some features of an example are of another encoder than the bundle opens here."""
    known = bundle.manifest.encoders
    return any(key != bundle.encoder_key(m) for m, key in example.encoder_keys.items() if m in known)


def renew(store: ExampleStore, id: int, sample: Sample, runtime: EdgeRuntime) -> bool:
    """Replace an example's features by what the runtime's encoders make of a sample; False where it cannot be used."""
    try:
        features = runtime.features(sample)
    except DataError:
        return False
    store.renew(id, features, {modality: runtime.bundle.encoder_key(modality) for modality in features})
    return True
