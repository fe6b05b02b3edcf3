"""What a device learns: corpora, fusion models, local training. Needs torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedaffect.edge.lazy_names import lazy_names

if TYPE_CHECKING:
    from fedaffect.client.algorithms.base import LocalAlgorithm, LocalRun
    from fedaffect.client.corpora.base import Corpus, CorpusInfo, FolderCorpus, Utterance

__all__ = ["Corpus", "CorpusInfo", "FolderCorpus", "LocalAlgorithm", "LocalRun", "Utterance"]

# Loaded when asked for: most who import a part of this room need no torch for it.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "fedaffect.client.algorithms.base": ("LocalAlgorithm", "LocalRun"),
        "fedaffect.client.corpora.base": ("Corpus", "CorpusInfo", "FolderCorpus", "Utterance"),
    },
)
