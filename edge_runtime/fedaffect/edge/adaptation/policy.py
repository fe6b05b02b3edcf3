"""The policy file: which states are told apart, and how an app answers to each."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from fedaffect.edge.errors import ConfigError, unknown_name
from fedaffect.edge.labels import VOCABULARY
from fedaffect.edge.system.toml_files import parse_toml, read_toml

PLAIN: Final = "plain"
_COLOUR: Final = re.compile(r"#[0-9a-f]{6}")
_COLOURS: Final = frozenset({"background", "text", "accent"})


@dataclass(frozen=True, slots=True)
class When:
    """When a state begins and ends; shares are of probability.

    Parameters
    ----------
    begin, end, lead : float
        A state begins at the share ``begin``, ends below ``end``, and gives way to one that leads by ``lead``.
    dwell_s : float
        It stays this long.
    average_s : float
        Time constant of the average over answers; 0 for none.
    """

    begin: float
    end: float
    lead: float
    dwell_s: float
    average_s: float

    def __post_init__(self) -> None:
        if not 0 < self.end <= self.begin <= 1:
            raise ConfigError(f"when: 0 < end <= begin <= 1, not end {self.end:g} and begin {self.begin:g}")
        for name in ("lead", "dwell_s", "average_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"when.{name} is 0 or more, not {value:g}")


@dataclass(frozen=True, slots=True)
class State:
    """What a person may be in.

    Parameters
    ----------
    emotions : tuple of str
        Of the vocabulary; their probabilities add up to the state's share.
    response : str
        How an app answers to it.
    may_try : tuple of str
        Other responses that may be tried, where what helps is learned.
    stress : mapping of str to float
        ``arousal`` and ``valence``: where both are rated and beyond, what no state claims counts as this one.
    """

    emotions: tuple[str, ...]
    response: str
    may_try: tuple[str, ...] = ()
    stress: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """What an app does: names of a theme, a tone and a pace, and keys of cues."""

    theme: str
    tone: str
    pace: str
    cues: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Words:
    """Texts in one language.

    Parameters
    ----------
    language : str
    tones : mapping of str to str
        How to write in each tone, for people and for language models.
    cues : mapping of str to str
        By key.
    """

    language: str
    tones: Mapping[str, str]
    cues: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Policy:
    """How an app answers to what a person shows; see ``policy.toml``, which explains itself.

    Parameters
    ----------
    version : str
    when : When
    states : mapping of str to State
    responses : mapping of str to Response
        With one named ``plain``, which holds where no state does.
    paces : mapping of str to float
        Speed as a share of the usual one.
    themes : mapping of str to mapping
        Colours ``background``, ``text`` and ``accent`` under ``light`` and ``dark``.
    """

    version: str
    when: When
    states: Mapping[str, State]
    responses: Mapping[str, Response]
    paces: Mapping[str, float]
    themes: Mapping[str, Mapping[str, Mapping[str, str]]]

    def __post_init__(self) -> None:
        if PLAIN not in self.responses:
            raise ConfigError("a policy needs the response 'plain' for when nothing is sure; add [responses.plain]")
        claimed: dict[str, str] = {}
        for name, state in self.states.items():
            for emotion in state.emotions:
                if emotion not in VOCABULARY:
                    raise unknown_name(f"emotion in state {name!r}", emotion, VOCABULARY)
                if emotion in claimed:
                    raise ConfigError(f"{emotion!r} is in the states {claimed[emotion]!r} and {name!r}; keep one")
                claimed[emotion] = name
            for response in (state.response, *state.may_try):
                if response not in self.responses:
                    raise unknown_name(f"response of state {name!r}", response, self.responses)
            if state.stress is not None and set(state.stress) != {"arousal", "valence"}:
                raise ConfigError(f"stress of state {name!r} needs arousal and valence")
        for name, answer in self.responses.items():
            for what, value, known in (("theme", answer.theme, self.themes), ("pace", answer.pace, self.paces)):
                if value not in known:
                    raise unknown_name(f"{what} of response {name!r}", value, known)
        for name, pace in self.paces.items():
            if not (math.isfinite(pace) and pace > 0):
                raise ConfigError(f"the pace {name!r} is a positive number, not {pace:g}")
        for name, theme in self.themes.items():
            _check_theme(name, theme)

    @classmethod
    def read(cls, path: Path | str | None = None) -> Policy:
        """The policy in a file; the project's own if none is given.

        Raises
        ------
        ConfigError
            If it cannot be read, is not TOML, or something in it does not fit.
        """
        if path is None:
            return _own()
        try:
            return cls.of(read_toml(Path(path)))
        except ConfigError as error:
            raise error if str(path) in str(error) else ConfigError(f"{path}: {error}") from None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Policy:
        """A policy out of a policy file's values.

        Raises
        ------
        ConfigError
            If one is missing, unknown or of the wrong kind.
        """
        known = ("version", "when", "states", "responses", "paces", "themes")
        for name in values:
            if name not in known:
                raise unknown_name("table of a policy", name, known)
        for name in known:
            if not isinstance(values.get(name), str if name == "version" else Mapping):
                raise ConfigError(f"a policy needs {name}; start from a copy of the project's policy.toml")
        return cls(
            values["version"],
            _made(When, "when", {name: _number(f"when.{name}", value) for name, value in values["when"].items()}),
            {name: _made(State, f"states.{name}", _tuples(table)) for name, table in values["states"].items()},
            {name: _made(Response, f"responses.{name}", _tuples(table)) for name, table in values["responses"].items()},
            {name: _number(f"paces.{name}", value) for name, value in values["paces"].items()},
            values["themes"],
        )


@cache
def languages() -> tuple[str, ...]:
    """Those in which the project has words for tones and cues."""
    return tuple(sorted(Path(file.name).stem for file in (files(__package__) / "words").iterdir()))


def words(language: str = "en") -> Words:
    """The project's words for tones and cues.

    Parameters
    ----------
    language : str
        Such as ``en``; of ``de-AT`` the first part counts.

    Raises
    ------
    ConfigError
        If there are none in that language.
    """
    language = language.replace("_", "-").lower().partition("-")[0]
    if language not in languages():
        raise unknown_name("language", language[:20], languages())
    return _words(language)


@cache
def _words(language: str) -> Words:
    """Kept by the language alone: what callers write after it would fill memory."""
    values = parse_toml((files(__package__) / "words" / f"{language}.toml").read_bytes(), f"{language}.toml")
    return Words(language, values["tones"], values["cues"])


@cache
def _own() -> Policy:
    return Policy.of(parse_toml((files(__package__) / "policy.toml").read_bytes(), "policy.toml"))


def _made(kind: type[Any], where: str, values: Mapping[str, Any]) -> Any:
    try:
        return kind(**values)
    except TypeError as error:
        known = ", ".join(kind.__dataclass_fields__)
        given = ", ".join(values) or "nothing"
        raise ConfigError(f"[{where}] has {known}; given: {given}") from error


def _tuples(table: Any) -> dict[str, Any]:
    if not isinstance(table, Mapping):
        raise ConfigError(f"a table was wanted, not {table!r}; start from a copy of the project's policy.toml")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}


def _number(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{where} is a number, not {value!r}")
    return float(value)


def _check_theme(name: str, theme: Any) -> None:
    if not isinstance(theme, Mapping) or set(theme) != {"light", "dark"}:
        raise ConfigError(f"the theme {name!r} needs light and dark")
    for page, colours in theme.items():
        if not isinstance(colours, Mapping) or set(colours) != _COLOURS:
            raise ConfigError(f"themes.{name}.{page} needs background, text and accent")
        for what, colour in colours.items():
            if not isinstance(colour, str) or _COLOUR.fullmatch(colour) is None:
                raise ConfigError(f"themes.{name}.{page}.{what} is a colour such as #1f2328, not {colour!r}")
        for what in ("text", "accent"):
            ratio = contrast(colours[what], colours["background"])
            if ratio < 4.5:
                raise ConfigError(
                    f"themes.{name}.{page}.{what} has a contrast of {ratio:.1f} to its background; 4.5 is needed"
                )


def contrast(one: str, other: str) -> float:
    """Contrast of two colours, 1 to 21 (WCAG 2.2, 1.4.3)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
