"""Sentences of the synthetic corpus: templates that often, but not always, give the emotion away."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

_OPENINGS = ("", "", "", "Well, ", "You know, ", "Listen, ", "Look, ", "Okay, ")

_PLACES = ("the office", "the station", "my sister's house", "the market", "school", "the clinic", "the library")
_THINGS = ("the report", "the package", "the ticket", "my bag", "the key", "the letter", "the phone")
_PEOPLE = ("my brother", "Anna", "the neighbour", "my boss", "Tom", "our teacher", "the driver")

_PLAIN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "anger": (
            "I am so sick of {person} ruining everything.",
            "How dare {person} talk to me like that!",
            "Stop lying to me about {thing} right now!",
            "This is outrageous, {person} broke {thing} again.",
            "I hate it when {person} ignores me at {place}.",
            "Get out of {place}, I have had enough of you!",
        ),
        "joy": (
            "I am so happy that {person} came to {place}!",
            "We won, and {person} is celebrating at {place}!",
            "This is the best day, {person} loved {thing}!",
            "What a wonderful surprise to find {thing}!",
            "I love laughing with {person} at {place}.",
            "Fantastic news, {person} got the job!",
        ),
        "sadness": (
            "I miss {person} so much that I cannot stop crying.",
            "I feel so alone since {person} left {place}.",
            "It breaks my heart that {thing} is gone forever.",
            "I am sorry, we lost {person} last night.",
            "Nothing matters any more, not even {thing}.",
            "I cried all evening at {place}.",
        ),
        "neutral": (
            "I will leave {thing} at {place} around noon.",
            "{person} usually takes the bus to {place}.",
            "The form for {thing} has two pages.",
            "The meeting at {place} starts at four.",
            "{person} put {thing} on the second shelf.",
            "There is a copy of {thing} at {place}.",
        ),
    }
)

# What anyone may say in any mood.
_UNTELLING = (
    "{person} called about {thing} this morning.",
    "I was at {place} when {person} came in.",
    "So {person} finally told me about {thing}.",
    "I just heard what happened at {place}.",
    "Did you see {person} with {thing}?",
    "I cannot believe that {person} did that.",
    "We have to talk about {thing}.",
    "That is what {person} said at {place}.",
)

# The words of one emotion meant as another; voice and face do not join in.
_SARCASTIC: Mapping[str, str] = MappingProxyType({"anger": "joy", "sadness": "joy", "joy": "anger", "neutral": "joy"})


def sentence(emotion: str, told: float, sarcastic: float, rng: np.random.Generator) -> str:
    """A sentence said in an emotion.

    Parameters
    ----------
    emotion : str
        One of ``synthetic4``.
    told : float
        Probability that the words say it.
    sarcastic : float
        Probability that they say another; otherwise they could be said in any mood.
    rng : Generator
        Where chance comes from.
    """
    draw = rng.random()
    if draw < told:
        templates = _PLAIN[emotion]
    elif draw < told + sarcastic:
        templates = _PLAIN[_SARCASTIC[emotion]]
    else:
        templates = _UNTELLING
    opening = _OPENINGS[rng.integers(len(_OPENINGS))]
    words = templates[rng.integers(len(templates))].format(
        person=_PEOPLE[rng.integers(len(_PEOPLE))],
        place=_PLACES[rng.integers(len(_PLACES))],
        thing=_THINGS[rng.integers(len(_THINGS))],
    )
    if not opening:
        return words[0].upper() + words[1:]
    # "Listen, did you": only names and "I" keep their capital.
    proper = words.startswith(("I ", "Anna ", "Tom "))
    return opening + (words if proper else words[0].lower() + words[1:])
