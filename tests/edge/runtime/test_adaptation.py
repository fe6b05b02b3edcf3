"""Adaptations in what a runtime answers: alone, in a stream and in a conversation; and off by one switch."""

from __future__ import annotations

from json import loads
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedaffect.edge import EdgeRuntime
from fedaffect.edge.adaptation import Adapter, Policy
from fedaffect.edge.bundle import Bundle
from fedaffect.edge.cli.edge import edge
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.runtime.probes import spoken
from fedaffect.edge.store import StoreError
from fedaffect.edge.store.decisions import Decisions


@pytest.fixture
def eager(tmp_path: Path) -> Path:
    """A policy that begins a state on nearly anything, as untrained encoders are sure of nothing."""
    text = CliRunner().invoke(edge, ["adaptation", "policy"]).output
    text = text.replace("begin = 0.5", "begin = 0.05").replace("end = 0.35", "end = 0.05")
    path = tmp_path / "eager.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_runtime_says_how_to_adapt(answering_bundle: Bundle, eager: Path) -> None:
    policy = Policy.read(eager)
    with EdgeRuntime.load(answering_bundle, adapt=policy, language="de") as runtime:
        answer = runtime.predict("i am so happy")
        assert answer.adaptation == Adapter(policy, "de")(answer)
        assert answer.adaptation.state in policy.states
        assert answer.to_json()["adaptation"]["manner"] == answer.adaptation.manner
        answers = list(runtime.stream(audio=spoken(5.0)))
    follow = Adapter(policy, "de")
    for place, answer in enumerate(answers):
        assert answer.adaptation == follow(answer, 3.0 + 0.5 * place)


def test_one_switch_turns_it_off(answering_bundle: Bundle) -> None:
    with EdgeRuntime.load(answering_bundle, adapt=False) as runtime:
        answer = runtime.predict("i am so happy")
        assert answer.adaptation is None
        assert "adaptation" not in answer.to_json()
        assert {answer.adaptation for answer in runtime.stream(audio=spoken(4.0))} == {None}


def test_a_language_without_words_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'xx'"):
        EdgeRuntime.load(tmp_path / "no-bundle", language="xx")


def test_commands(answering_bundle: Bundle, eager: Path, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        done = CliRunner().invoke(edge, list(words))
        assert done.exit_code == 0, done.output
        return done.output

    ask = ("predict", "--bundle", str(answering_bundle.path), "--allow-unsigned", "--text", "so sad")
    assert loads(run(*ask, "--json", "--adapt", str(eager)))["adaptation"]["state"] in Policy.read().states
    assert "adaptation" not in loads(run(*ask, "--json", "--adapt", "off"))
    assert "pace" in run(*ask)
    copy = tmp_path / "mine.toml"
    run("adaptation", "policy", str(copy))
    assert Policy.read(copy) == Policy.read()
    assert "Möchtest du Hilfe?" in run("adaptation", "check", str(copy), "--language", "de").replace("\n", " ")
    again = CliRunner().invoke(edge, ["adaptation", "policy", str(copy)])
    assert isinstance(again.exception, ConfigError)
    assert "exists" in str(again.exception)
    nowhere = CliRunner().invoke(edge, ["adaptation", "policy", str(tmp_path / "nowhere" / "mine.toml")])
    assert "choose another path" in str(nowhere.exception)


def test_what_helps_is_learned_and_shown(
    answering_bundle: Bundle, eager: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDAFFECT_DATA", str(tmp_path / "data"))

    def run(*words: str) -> str:
        done = CliRunner().invoke(edge, list(words), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    ask = ("predict", "--bundle", str(answering_bundle.path), "--allow-unsigned", "--text", "so sad", "--json")
    assert loads(run(*ask, "--adapt", str(eager)))["adaptation"]["decision"] == ""
    made = loads(run(*ask, "--adapt", str(eager), "--adapt-learns"))["adaptation"]
    assert made["decision"]
    assert "1 responses have a reward" in run("adaptation", "reward", "--last", "--helped", "--completed")
    run("adaptation", "reward", made["decision"], "--no-help")
    shown = loads(run("adaptation", "learned", "--json"))
    assert shown["decisions"] == shown["rewarded"] == 1
    # No help counts three, completed two.
    assert shown["responses"][0]["mean"] == pytest.approx(0.4)
    assert "0.40" in run("adaptation", "learned")
    run("adaptation", "export", str(tmp_path / "log.json"))
    (logged,) = loads((tmp_path / "log.json").read_text(encoding="utf-8"))
    assert logged["propensities"][made["response"]] > 0
    assert "1 responses are erased" in run("adaptation", "reset", "--yes")
    assert loads(run("adaptation", "learned", "--json"))["decisions"] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("reward", "--last"), "say what came of it"),
        (("reward", "--helped"), "DECISION or --last"),
        (("reward", "--last", "--helped"), "no response was logged"),
        (("reward", "x", "--helped"), "no decision 'x'"),
    ],
)
def test_rewards_that_say_nothing(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDAFFECT_DATA", str(tmp_path / "data"))
    done = CliRunner().invoke(edge, ["adaptation", *words])
    assert said in str(done.exception)


def test_a_full_disk_costs_no_answer(answering_bundle: Bundle, eager: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> str:
        raise StoreError("the disk is full; free space on it")

    with EdgeRuntime.load(answering_bundle, adapt=Policy.read(eager), adapt_learns=True) as runtime:
        monkeypatch.setattr(Decisions, "add", full)
        answer = runtime.predict("i am so happy")
    assert answer.adaptation is not None
    assert answer.adaptation.note == "what helps is not learned: the disk is full; free space on it"
    assert answer.adaptation.response == Adapter(Policy.read(eager))(answer).response


def test_a_runtime_that_does_not_learn_says_so(runtime: EdgeRuntime) -> None:
    with pytest.raises(ConfigError, match="adapt_learns=True"):
        runtime.reward("x", "helped", 1.0)
