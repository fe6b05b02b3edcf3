"""EMOVO: six actors say fourteen Italian sentences in seven emotions; sound only."""

from __future__ import annotations

import re
from pathlib import Path
from re import Match
from types import MappingProxyType

from fedaffect.client.corpora.base import CorpusInfo
from fedaffect.client.corpora.named_clips import NamedClips, Told
from fedaffect.edge.errors import DataError

# b: short, l: long, n: nonsense, d: questions
_SENTENCES = {
    "b1": "Gli operai si alzano presto.",
    "b2": "I vigili sono muniti di pistola.",
    "b3": "La cascata fa molto rumore.",
    "l1": "L'autunno prossimo Tony partirà per la Spagna nella prima metà di ottobre.",
    "l2": "Ora prendo la felpa di là ed esco per fare una passeggiata.",
    "l3": "Un attimo dopo s'è incamminato ed è inciampato.",
    "l4": "Vorrei il numero telefonico del Signor Piatti.",
    "n1": "La casa forte vuole col pane.",
    "n2": "La forza trova il passo e l'aglio rosso.",
    "n3": "Il gatto sta scorrendo nella pera.",
    "n4": "Insalata pastasciutta coscia d'agnello limoncello.",
    "n5": "Uno quarantatré dieci mille cinquantasette venti.",
    "d1": "Sabato sera cosa farà?",
    "d2": "Porti con te quella cosa?",
}


class Emovo(NamedClips):
    """Costantini et al., EMOVO Corpus: an Italian Emotional Speech Database, LREC 2014.

    The layout is that of EMOVO.zip: a folder for each actor, beside ``documents/``. A client is an actor; there is no
    official split, so all is ``train`` and folds are made over actors. The same sentences are said in every emotion,
    so the text carries none.
    """

    info = CorpusInfo(
        name="emovo",
        title="EMOVO (Italian emotional speech)",
        modalities=("text", "audio"),
        label_set="shared7",
        label_sets=("shared7", "shared4"),
        licence="research",
        size="588 clips, 6 actors, 0.5 h; 0.4 GB",
        where="voice.fub.it/EMOVO (Fondazione Ugo Bordoni): EMOVO.zip",
        needs="f1/, f2/, f3/, m1/, m2/, m3/ with files named like f1/gio-f1-b1.wav",
        counts=MappingProxyType(
            {
                "train": 588,
                "clients": 6,
                **dict.fromkeys(
                    (f"label:{x}" for x in ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")), 84
                ),
            }
        ),
        client="actor",
        faces="none",
        citation="Costantini, Iaderola, Paoloni, Todisco: EMOVO Corpus, LREC 2014",
    )
    places = ("[fm][123]/*-*-*",)
    named = re.compile(r"(?P<folder>\w+)/(?P<id>(?P<emotion>[a-z]{3})-(?P<actor>[fm][123])-(?P<sentence>[bdln]\d))")
    such_as = "f1/gio-f1-b1.wav"
    together = ("f1", "f2", "f3", "m1", "m2", "m3")

    def told(self, match: Match[str], path: Path) -> Told:
        """Of emotion, actor and sentence."""
        actor, sentence = match["actor"], match["sentence"]
        if match["folder"] != actor:
            raise DataError(f"{path} is of actor {actor} by its name; move it to {actor}/")
        return Told(
            id=match["id"],
            emotion=match["emotion"],
            speaker=actor,
            text=_SENTENCES.get(sentence),
            attributes={"gender": "female" if actor[0] == "f" else "male", "sentence": sentence},
        )
