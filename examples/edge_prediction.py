"""What a device says, and what it says about it: python examples/edge_prediction.py [BUNDLE].

Without a bundle it opens the one that ``fedaffect bundle build`` makes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from fedaffect import EdgeRuntime, FedAffectError, Sample
from fedaffect.edge import Waveform


def main(bundle: Path | None = None) -> None:
    """Ask about words, about words beside a silent microphone, and about silence alone."""
    silence = Waveform(np.zeros(16_000, np.float32), 16_000)
    with EdgeRuntime.load(bundle) as runtime:
        for sample in (Sample(text="I am so happy for you"), Sample(text="leave me alone", audio=silence)):
            answer = runtime.predict(sample)
            print(f"{answer.label} ({answer.confidence:.0%}) from {', '.join(answer.modalities)}")
            for note in answer.notes:
                print(f"  note: {note}")
        try:
            runtime.predict(Sample(audio=silence))
        except FedAffectError as error:
            print(f"nothing to go by: {error}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
