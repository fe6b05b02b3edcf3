"""``python -m fedaffect.server.models.bundling.population --data-dir DATA OUT``.

How the voices are spread that the shipped fusion learned from, so that a device can tell whether its user's is far from
all of them: RAVDESS's actors 1 to 18 and URDU's 23 training speakers, through the voice encoder of a bundle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
import numpy as np

from fedaffect.client.corpora.base import Corpus
from fedaffect.client.corpora.registry import open_corpus
from fedaffect.client.features.encoding import encode_corpus
from fedaffect.client.features.sequences import means
from fedaffect.edge.bundle import Bundle, default_bundle_path
from fedaffect.edge.bundle.population import Group, Population, write_populations
from fedaffect.edge.encoders.base import Encoder
from fedaffect.edge.labels import LabelSet, label_set
from fedaffect.edge.system.folders import cache_folder
from fedaffect.server.models.alignment.material import splits_of

_CORPORA: Final = ("ravdess", "urdu", "nemo")


def measure(corpus: Corpus, encoder: Encoder, labels: LabelSet) -> Group:
    """A corpus's training speakers as an encoder hears them.

    Parameters
    ----------
    corpus : Corpus
        With sound, and who speaks.
    encoder : Encoder
        Of sound.
    labels : LabelSet
        Clips with other labels are left out.
    """
    utterances = list(corpus)
    clips = means(encode_corpus(corpus, utterances, encoder.modality, encoder, cache_folder()).table)
    places = np.array([-1 if (at := labels.index(u.label)) is None else at for u in utterances])
    used = (splits_of(corpus.info.name, utterances) == "train") & (places >= 0) & clips.any(axis=1)
    _, owners = np.unique([u.speaker for u in utterances], return_inverse=True)
    return Group.measured(clips[used], places[used], owners[used], len(labels))


@click.command(help=__doc__)
@click.option("--data-dir", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--bundle", type=click.Path(path_type=Path, exists=True, file_okay=False), help="The one in the cache.")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
def main(data_dir: Path, bundle: Path | None, out: Path) -> None:
    """See the module's text."""
    opened = Bundle.load(bundle or default_bundle_path())
    encoder, labels = opened.encoder("audio"), label_set("shared7")
    groups = {name: measure(open_corpus(name, data_dir / name), encoder, labels) for name in _CORPORA}
    write_populations({"audio": Population(groups)}, out)
    click.echo(f"{out}: {', '.join(groups)}, {out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
