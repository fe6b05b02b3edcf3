"""One app in three roles that adapts to whom it talks to: python examples/adaptive_app.py [ROLE] [BUNDLE].

ROLE is tutor, customer-service or companion. It reads lines from standard input, or its own sample talk if that is a
terminal, answers each in the manner that the adaptation names, and waits as long as its pace says. After each answer a
line of "+" or "-" says whether it helped; the device learns from that.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fedaffect import EdgeRuntime
from fedaffect.edge.adaptation import Adaptation

# What each role says, whatever the person's mood; the adaptation says how.
_SAYS: Final = {
    "tutor": {
        "plain": "Here is the next exercise.",
        "brighten": "Well done! Ready for a harder one?",
        "support": "Let us look at the last step together once more.",
        "calm": "We leave the exercise for now and look at an easier one.",
    },
    "customer-service": {
        "plain": "What is your order number?",
        "brighten": "Glad to hear it! Is there anything else?",
        "support": "I am sorry about that. I stay with you until it is solved.",
        "calm": "I see the problem. First I refund you; then we talk about the rest.",
    },
    "companion": {
        "plain": "What are you up to today?",
        "brighten": "Tell me all of it!",
        "support": "I am listening. Is there somebody whom you could call?",
        "calm": "There is no hurry. Shall we go for a walk?",
    },
}
_TALK: Final = ("hello", "I am so happy, it worked!", "now all is lost and I cry", "-", "leave me alone, damn it!")
_PAUSE_S: Final = 0.4


def main(role: str = "tutor", bundle: str | None = None) -> None:
    """Talk until the lines end."""
    says, last = _SAYS[role], ""
    with EdgeRuntime.load(None if bundle is None else Path(bundle), adapt_learns=True) as runtime:
        for line in _lines():
            if line in ("+", "-"):
                if last:
                    runtime.reward(last, "helped", float(line == "+"))
                continue
            answer = runtime.predict(line)
            if answer.adaptation is not None:
                last = _say(role, says, answer.adaptation)


def _say(role: str, says: dict[str, str], adaptation: Adaptation) -> str:
    """Answer in the manner of the adaptation; the decision that a reward belongs to."""
    time.sleep(_PAUSE_S / adaptation.speed)
    said = " ".join((*adaptation.cues, says[adaptation.response]))
    print(f"{role} [{adaptation.theme}, {adaptation.tone}, {adaptation.pace}]: {said}")
    return adaptation.decision


def _lines() -> Iterator[str]:
    lines = _TALK if sys.stdin.isatty() else sys.stdin
    for line in lines:
        if text := line.strip():
            print(f"> {text}")
            yield text


if __name__ == "__main__":
    main(*sys.argv[1:])
