"""A conversation turn by turn, against the whole of it at once through torch."""

from __future__ import annotations

from json import loads
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tests.support.learning_bundle import learning_bundle

from fedaffect.client.dialogues import Turns
from fedaffect.client.models.registry import build_model
from fedaffect.edge.bundle import Bundle
from fedaffect.edge.cli.edge import edge
from fedaffect.edge.errors import BundleError, DataError
from fedaffect.edge.runtime import EdgeRuntime
from fedaffect.edge.runtime.conversation import Conversation
from fedaffect.edge.sample import Sample, Waveform

RATINGS = ("valence", "arousal")
OPTIONS = {"width": 16, "states": 12, "dropout": 0.0}
SAID = (
    ("Ann", "i am so happy"),
    ("Bob", "you am sad"),
    ("Ann", "so sad today"),
    ("Cem", "i am so sad today"),
    ("Bob", "you happy"),
    ("Ann", "i am so happy"),
)


def avafn_state(widths: dict[str, int], classes: int) -> dict[str, torch.Tensor]:
    """Weights that half precision holds exactly, as a bundle stores them, and large enough to tell turns apart."""
    torch.manual_seed(3)
    state = build_model("avafn", widths, classes + len(RATINGS), OPTIONS).state_dict()
    return {name: (3 * tensor).half().float() for name, tensor in state.items()}


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    widths = {
        modality: entry.width for modality, entry in Bundle.load(tiny_bundle, trust=None).manifest.encoders.items()
    }
    folder = tmp_path_factory.mktemp("talk") / "bundle"
    state = avafn_state(widths, 7)
    return learning_bundle(tiny_bundle, folder, state=state, model="avafn", options=OPTIONS, ratings=RATINGS)


@pytest.fixture
def runtime(bundle: Path) -> EdgeRuntime:
    return EdgeRuntime.load(Bundle.load(bundle, trust=None))


def shares(conversation: Conversation, said: tuple[tuple[str, str], ...]) -> np.ndarray:
    return np.array([list(conversation.say(words, who).probabilities.values()) for who, words in said])


class Counted:
    """A network that counts how often it is run."""

    def __init__(self, session: Any) -> None:
        self.session, self.runs = session, 0

    def run(self, names: list[str], feed: dict[str, Any]) -> Any:
        self.runs += 1
        return self.session.run(names, feed)


def test_turn_by_turn_is_the_whole_dialogue_at_once(runtime: EdgeRuntime) -> None:
    features = [runtime.features(words) for _, words in SAID]
    widths = dict(runtime._current().fusion.widths)
    model = build_model("avafn", widths, len(runtime.labels) + len(RATINGS), OPTIONS).eval()
    model.load_state_dict(avafn_state(widths, len(runtime.labels)))
    longest, count = max(len(one["text"]) for one in features), len(SAID)
    tokens = {m: torch.zeros(count, longest if m == "text" else 1, width) for m, width in widths.items()}
    present = {m: torch.zeros(values.shape[:2], dtype=torch.bool) for m, values in tokens.items()}
    for row, one in enumerate(features):
        tokens["text"][row, : len(one["text"])] = torch.from_numpy(one["text"])
        present["text"][row, : len(one["text"])] = True
    names = list(dict.fromkeys(who for who, _ in SAID))
    parties = torch.tensor([[names.index(who) for who, _ in SAID]])
    with torch.inference_mode():
        answers = model(tokens, present, Turns(torch.arange(count)[None], parties, torch.arange(count)))
    scores, rated = answers[:, : len(runtime.labels)], answers[:, len(runtime.labels) :].numpy()
    temperature = runtime.bundle.manifest.calibration.temperature(("text",))
    expected = (scores / temperature).softmax(-1).numpy()
    conversation = runtime.conversation()
    said = [conversation.say(words, who) for who, words in SAID]
    np.testing.assert_allclose([list(each.probabilities.values()) for each in said], expected, atol=1e-4)
    np.testing.assert_allclose([[each.ratings[name] for name in RATINGS] for each in said], rated, atol=1e-4)
    assert conversation.speakers == ("Ann", "Bob", "Cem")
    # What was said before counts, and who said it.
    assert np.abs(expected[0] - expected[-1]).max() > 0.01
    assert np.abs(rated[0] - rated[-1]).max() > 0.01
    assert np.abs(shares(runtime.conversation(), tuple(("Ann", words) for _, words in SAID)) - expected).max() > 0.01


def test_an_answer_with_ratings_is_one_pass(runtime: EdgeRuntime) -> None:
    fusion = runtime._current().fusion
    counted = fusion._session = Counted(fusion._session)
    alone = runtime.predict(SAID[0][1])
    assert counted.runs == 1
    turn = runtime.conversation().say(SAID[0][1])
    assert counted.runs == 2
    sound = Waveform(np.zeros(32_000, np.float32), 16_000)
    windows = list(runtime.stream(audio=sound, text=SAID[0][1], window_s=1.0, hop_s=0.5))
    assert counted.runs == 2 + len(windows) > 3
    for answer in (alone, turn, *windows):
        assert tuple(answer.ratings) == RATINGS


def test_the_first_turn_is_what_a_sentence_alone_is(runtime: EdgeRuntime) -> None:
    alone = runtime.predict(SAID[0][1])
    first = runtime.conversation().say(SAID[0][1])
    assert first.probabilities == pytest.approx(alone.probabilities, abs=1e-6)
    assert first.ratings == pytest.approx(alone.ratings, abs=1e-6)
    assert (first.source, first.offload_reason, first.modalities) == ("edge", "conversation", ("text",))


def test_a_turn_of_nothing_leaves_the_conversation_as_it_was(runtime: EdgeRuntime) -> None:
    one, other = runtime.conversation(), runtime.conversation()
    before = shares(one, SAID[:2])
    assert np.array_equal(shares(other, SAID[:2]), before)
    with pytest.raises(DataError):
        one.say(Sample(id="x", audio=b"no sound"), "Dan")
    assert one.speakers == ("Ann", "Bob")
    np.testing.assert_array_equal(shares(one, SAID[2:]), shares(other, SAID[2:]))


def test_a_fusion_without_memory_says_what_to_build(tiny_bundle: Path, tmp_path: Path) -> None:
    made = learning_bundle(tiny_bundle, tmp_path / "cmt")
    with (
        EdgeRuntime.load(Bundle.load(made, trust=None)) as runtime,
        pytest.raises(BundleError, match="judges each utterance alone; build one whose model is avafn"),
    ):
        runtime.conversation()


def run(*arguments: str, stdin: str | None = None) -> tuple[int, str]:
    done = CliRunner().invoke(edge, list(arguments), input=stdin)
    return done.exit_code, done.output if done.exception is None else f"{done.output}{done.exception}"


def test_the_command_answers_turn_by_turn(bundle: Path, runtime: EdgeRuntime, tmp_path: Path) -> None:
    table = "speaker,text\n" + "".join(f'{who},"{words}"\n' for who, words in SAID)
    (tmp_path / "talk.csv").write_text(table)
    code, said = run("converse", "--bundle", str(bundle), "--allow-unsigned", "--json", str(tmp_path / "talk.csv"))
    assert code == 0, said
    answers = [loads(line) for line in said.splitlines()]
    assert [one["speaker"] for one in answers] == [who for who, _ in SAID]
    expected = shares(runtime.conversation(), SAID)
    np.testing.assert_allclose([list(one["probabilities"].values()) for one in answers], expected, atol=1e-9)
    code, said = run("converse", "--bundle", str(bundle), "--allow-unsigned", "-", stdin=table)
    assert code == 0, said
    assert [line.partition(":")[0] for line in said.splitlines()] == [who for who, _ in SAID]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("speaker,txt\nAnn,hello\n", "did you mean text?"),
        ("", "the first line names the columns"),
        ("speaker,text\nAnn,\n", "line 2 has neither words nor a file"),
    ],
)
def test_mistakes_in_a_table_are_said(bundle: Path, table: str, words: str) -> None:
    code, said = run("converse", "--bundle", str(bundle), "--allow-unsigned", "-", stdin=table)
    assert code == 1
    assert words in said
