"""The policy file: what it says, and what is refused in it."""

from __future__ import annotations

import copy
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from fedaffect.edge.adaptation import Adapter, Policy
from fedaffect.edge.adaptation.policy import contrast, languages, words
from fedaffect.edge.errors import ConfigError


@pytest.fixture
def values() -> dict[str, Any]:
    return tomllib.loads((files("fedaffect.edge.adaptation") / "policy.toml").read_text(encoding="utf-8"))


def test_the_papers_answers() -> None:
    # Brighter for joy and surprise; supportive for sadness and fear; calmer and slower for anger and stress.
    policy = Policy.read()
    by_emotion = {e: policy.responses[s.response] for s in policy.states.values() for e in s.emotions}
    assert by_emotion["joy"].theme == by_emotion["surprise"].theme == "bright"
    assert by_emotion["sadness"].tone == by_emotion["fear"].tone == "supportive"
    assert by_emotion["sadness"].cues
    assert by_emotion["anger"].tone == "calm"
    assert policy.paces[by_emotion["anger"].pace] < policy.paces["steady"]
    assert policy.states["tense"].stress is not None


def test_every_language_has_every_word() -> None:
    assert {"en", "de", "fr", "es", "pl"} <= set(languages())
    for language in languages():
        Adapter(language=language)
        assert set(words(language).tones) == set(words("en").tones)
        assert set(words(language).cues) == set(words("en").cues)
    assert words("de_AT").language == "de"
    # One object, whatever a caller writes after the language.
    assert words("de-AT-x") is words("de")


def test_an_unknown_language() -> None:
    with pytest.raises(ConfigError, match="known: de, en"):
        Adapter(language="tlh")
    with pytest.raises(ConfigError) as refused:
        words("t" * 10_000)
    assert len(str(refused.value)) < 160


def test_contrast_is_wcags() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize(
    ("change", "words_of_it"),
    [
        (lambda v: v.pop("responses"), ("responses", "policy.toml")),
        (lambda v: v.update(stages={}), ("'stages'", "did you mean 'states'?")),
        (lambda v: v["responses"].pop("plain"), ("'plain'",)),
        (lambda v: v["states"]["glad"].update(response="brigten"), ("'brigten'", "did you mean 'brighten'?")),
        (lambda v: v["states"]["low"].update(may_try=["x"]), ("'x'", "known")),
        (lambda v: v["states"]["glad"].update(emotions=["happiness"]), ("'happiness'", "joy")),
        (lambda v: v["states"]["low"]["emotions"].append("joy"), ("'joy'", "'glad'", "'low'")),
        (lambda v: v["states"]["glad"].update(colour="red"), ("states.glad", "emotions", "colour")),
        (lambda v: v["states"].update(glad=1), ("policy.toml",)),
        (lambda v: v["responses"]["calm"].update(theme="blue"), ("'blue'", "quiet")),
        (lambda v: v["responses"]["calm"].update(pace="slwo"), ("did you mean 'slow'?",)),
        (lambda v: v["when"].update(begin=0.2), ("end <= begin",)),
        (lambda v: v["when"].update(dwell_s=-1.0), ("dwell_s",)),
        (lambda v: v["when"].update(lead=float("nan")), ("lead",)),
        (lambda v: v["when"].update(begin="often"), ("when.begin", "'often'")),
        (lambda v: v["paces"].update(slow=0), ("slow", "positive")),
        (lambda v: v["themes"]["plain"].pop("dark"), ("plain", "dark")),
        (lambda v: v["themes"]["plain"]["light"].update(text="#cccccc"), ("contrast", "4.5")),
        (lambda v: v["themes"]["plain"]["light"].update(text="red"), ("'red'", "#1f2328")),
    ],
)
def test_what_does_not_fit(values: dict[str, Any], change: Any, words_of_it: tuple[str, ...]) -> None:
    changed = copy.deepcopy(values)
    change(changed)
    with pytest.raises(ConfigError) as refused:
        Policy.of(changed)
    for word in words_of_it:
        assert word in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_of_ones_own(tmp_path: Path, values: dict[str, Any]) -> None:
    import tomli_w

    values["version"] = "mine"
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    assert Policy.read(path).version == "mine"
    path.write_text("version = 1", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.toml"):
        Policy.read(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        Policy.read(tmp_path / "none.toml")


def test_a_policy_whose_cue_has_no_words(values: dict[str, Any]) -> None:
    values["responses"]["calm"]["cues"] = ["sing"]
    with pytest.raises(ConfigError, match="no words in 'en' for sing"):
        Adapter(Policy.of(values))
