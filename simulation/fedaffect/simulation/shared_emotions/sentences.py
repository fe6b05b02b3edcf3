"""Plainly emotional sentences, constructed for this project: a look at what no corpus's figures show."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# For development only: nothing is trained on them, and no published figure is made of them.
SENTENCES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "anger": (
            "How dare you talk to me like that!",
            "I am so angry with you right now.",
            "Get out of my house and never come back!",
            "This is outrageous, they lied to us again.",
            "Stop it! I have had enough of your excuses!",
            "He stole my money and I hate him for it.",
        ),
        "disgust": (
            "Ew, that is absolutely disgusting.",
            "The smell in that kitchen made me sick.",
            "There was a hair in my soup, gross.",
            "What a revolting thing to say.",
            "I cannot even look at that rotten meat, yuck.",
        ),
        "fear": (
            "I am terrified of what might happen tonight.",
            "Please don't leave me alone, I'm scared.",
            "Oh no, somebody is following us!",
            "My hands are shaking, I'm so nervous about the surgery.",
            "Help! There is someone in the house!",
            "I'm worried that we will never find him.",
        ),
        "joy": (
            "I'm so happy for you, congratulations!",
            "This is the best day of my life!",
            "We won! We actually won!",
            "I love you so much, thank you.",
            "What a wonderful surprise party, I had so much fun.",
            "Yay, holidays at last!",
        ),
        "neutral": (
            "The meeting is on Tuesday at ten.",
            "I put the keys on the table.",
            "He works in an office near the station.",
            "Can you pass me the salt?",
            "The report has twelve pages.",
            "We take the second street on the left.",
        ),
        "sadness": (
            "I miss her so much since she died.",
            "I feel so lonely and empty.",
            "I'm sorry, I just can't stop crying.",
            "My dog passed away this morning.",
            "Nobody remembered my birthday, it really hurts.",
            "He broke my heart and I don't know how to go on.",
        ),
        "surprise": (
            "Oh my God, I can't believe it!",
            "Wow, I never expected to see you here!",
            "What? You are getting married?",
            "Really? When did that happen?",
            "No way! Are you serious?",
        ),
    }
)
# One word, and far more words than a line has.
