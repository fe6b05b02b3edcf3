"""The words' encoder: which lines teach it, that frozen layers stay, and that what is written can be read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from tests.client.corpora.conftest import WRITERS, put
from tokenizers import Tokenizer
from transformers import AutoModel

from fedaffect.edge.encoders.text import unreadable
from fedaffect.edge.errors import BundleError, ConfigError, DataError
from fedaffect.edge.labels import label_set
from fedaffect.edge.system.onnx_session import open_session
from fedaffect.server.cli.encoders import encoders
from fedaffect.server.models.bundling.packages import MINILM
from fedaffect.server.models.bundling.text import draft_text
from fedaffect.server.models.encoders.words.emoji import emoji, said_by
from fedaffect.server.models.encoders.words.figures import linear_on_features, own_answers
from fedaffect.server.models.encoders.words.network import TaughtWords, Tokens
from fedaffect.server.models.encoders.words.rows import FINER, LABELS, Lines, read_judged, read_taught, teachers_of
from fedaffect.server.models.encoders.words.training import WordsConfig, teach
from fedaffect.server.models.encoders.words.weights import taught_words, untaught_words, words_source
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.loading import open_encoder
from fedaffect.server.models.full_model.profiles import profile as profile_named
from fedaffect.simulation.shared_emotions.sentences import SENTENCES

LINE = "I really did not expect that 😂 from you!"
CORPORA = ("goemotions", "xed", "isear", "dailydialog", "emobank", "meld", "emorynlp")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A few lines of each corpus, in its official layout."""
    for name in CORPORA:
        WRITERS[name](tmp_path / "data" / name)
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def constructed() -> Lines:
    """Sentences of this project, as voted by one person."""
    labels = label_set(LABELS).labels
    rows = [(text, labels.index(emotion)) for emotion, texts in SENTENCES.items() for text in texts]
    return Lines(
        tuple(text for text, _ in rows),
        np.array(["constructed"] * len(rows)),
        np.eye(len(labels), dtype=np.float32)[[label for _, label in rows]],
        np.full((len(rows), len(FINER)), np.nan, np.float32),
        np.full((len(rows), 2), np.nan, np.float32),
    )


def test_lines_are_read_with_all_that_is_known_of_them(data_dir: Path) -> None:
    lines = read_taught(data_dir)
    of = {name: np.flatnonzero(lines.corpora == name) for name in CORPORA}
    assert {name: len(rows) for name, rows in of.items() if len(rows)} == {
        "goemotions": 2,
        "xed": 5,
        "isear": 3,
        "dailydialog": 2,
        "emobank": 1,
    }
    praise, stop = of["goemotions"]
    assert lines.votes[stop] == pytest.approx([1 / 3, 0, 0, 0, 0, 0, 2 / 3])
    assert lines.finer[praise].sum() == 1
    assert lines.finer[praise, FINER.index("admiration")] == 1
    assert np.isnan(lines.finer[of["xed"]]).all()
    assert lines.ratings[of["emobank"][0]] == pytest.approx([0, 0.1])
    # Ratings and no emotion; "other" in words.
    assert lines.groups()[of["emobank"]].tolist() == [7]
    assert lines.groups()[of["xed"]].tolist() == [0, 7, 2, 4, 4]


def test_what_is_judged_on_never_teaches(data_dir: Path) -> None:
    put(
        data_dir / "xed" / "neu_en.txt",
        "9\toh my god, he’s LOST it\n9\tCoffee.\n9\tIt is Tuesday!\n9\tTwo pair , two .\n",
    )
    put(
        data_dir / "isear" / "isear.csv",
        "ID|Field1|MYKEY|SIT|STATE|\n1|joy|1|Two pair, two.|1|\n1|joy|2|Two pair, two|1|\n",
    )
    texts = read_taught(data_dir).texts
    # MELD's line, with other signs; GoEmotions' development line; what one corpus says twice.
    assert not any("LOST" in text or "Tuesday" in text for text in texts)
    assert sum(text.startswith("Two pair, two") for text in texts) == 2
    # Short lines are anybody's.
    assert "Coffee." in texts


def test_a_corpus_left_out_teaches_nothing_even_where_others_repeat_it(data_dir: Path) -> None:
    put(data_dir / "xed" / "neu_en.txt", "9\tWhen we met and especially later !\n")
    lines = read_taught(data_dir, "isear")
    assert "isear" not in lines.corpora
    assert not any("especially later" in text for text in lines.texts)
    with pytest.raises(ConfigError, match="meld does not teach the encoder of words; choose from goemotions"):
        read_taught(data_dir, "meld")


def test_permissive_corpora_alone_teach_what_an_app_may_ship(data_dir: Path, tmp_path: Path) -> None:
    lines = read_taught(data_dir, teachers=teachers_of("permissive"))
    assert {*lines.corpora.tolist()} == {"goemotions", "xed", "emobank"}
    with pytest.raises(ConfigError, match="isear does not teach the encoder of words; choose from goemotions, xed"):
        read_taught(data_dir, "isear", teachers_of("permissive"))
    # Nobody else's folder is needed.
    for name in ("isear", "dailydialog"):
        shutil.rmtree(data_dir / name)
    upper, out = tmp_path / "upper.safetensors", tmp_path / "out"
    given = ["train", "words", "--data", str(data_dir), "--out", str(out), "--epochs", "1", "--export", str(upper)]
    done = CliRunner().invoke(encoders, [*given, "--licence", "permissive"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert words_source(upper).licence == "CC BY-SA 4.0"
    card = (out / "README.md").read_text()
    assert "CC BY-SA 4.0" in card
    assert "NC" not in card


def test_a_folder_may_have_another_name_and_a_missing_one_is_named(data_dir: Path) -> None:
    (data_dir / "dailydialog").rename(data_dir / "dailydialog_reccon")
    assert len(read_judged("dailydialog", data_dir, ("dev",))) == 2
    (data_dir / "dailydialog_reccon").rename(data_dir.parent / "elsewhere")
    with pytest.raises(DataError, match="holds no folder of dailydialog; see 'fedaffect data list dailydialog'"):
        read_taught(data_dir)


def test_layers_computed_once_give_what_the_whole_network_gives() -> None:
    model = TaughtWords(3, 7, len(FINER), 2).eval()
    texts = ["Yeah.", "I really did not expect to see you here today!"]
    tokens = Tokens(model, texts)
    states, present = tokens.batch(np.array([0, 1]))
    whole = AutoModel.from_pretrained(str(MINILM.file("model"))).eval()
    with torch.no_grad():
        given = model.upper(states, present)
        for row, text in enumerate(texts):
            wanted = whole(**model.tokenizer(text, return_tensors="pt")).last_hidden_state[0]
            assert int(present[row].sum()) == len(wanted)
            assert torch.allclose(given[row, : len(wanted)], wanted, atol=0.02)


def test_an_emoji_is_one_token_that_begins_as_its_words(tmp_path: Path) -> None:
    model = TaughtWords(3, 7, len(FINER), 2)
    assert len(emoji()) == len(set(emoji())) > 150
    assert [said_by(each) for each in "😂💔😡"] == ["tears joy", "broken heart", "furious anger"]
    # With the selector that asks for colours, and between letters.
    assert model.tokenizer.tokenize("no😂😂 \u2764\ufe0f!") == ["no", "😂", "😂", "❤", "!"]
    weights = model.encoder.embeddings.word_embeddings.weight
    row = model.tokenizer.convert_tokens_to_ids("😂")
    ids = model.tokenizer("tears joy", add_special_tokens=False)["input_ids"]
    assert torch.equal(weights[row], weights[ids].mean(dim=0))
    model.tokenizer.save_pretrained(tmp_path)
    on_device = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert not unreadable(on_device, "😡😡")
    assert unreadable(on_device, "🚗🚗") == "most of the text is unknown to its encoder"


@torch.no_grad()
def test_bundles_and_the_full_model_read_words_with_the_layers_that_were_taught(tmp_path: Path) -> None:
    draft = draft_text(None, tmp_path)
    cloud = open_encoder("text", profile_named("cloud-embedded"), Compute("cpu"))
    model, tokenizer = taught_words()
    ids = tokenizer(LINE, return_tensors="pt")["input_ids"]
    wanted = model(ids).last_hidden_state[0]
    untaught = untaught_words()[0](ids).last_hidden_state[0]
    device = open_session(draft.network).run(None, {"input_ids": ids.numpy()})[0][0]
    for found in (device, cloud.encode([cloud.prepare(LINE)])[0]):
        last = torch.from_numpy(found)[:, -wanted.shape[1] :]
        assert torch.allclose(last, wanted, atol=1e-3)
        assert not torch.allclose(last, untaught, atol=0.1)
    assert "non-commercial" in draft.source.licence
    assert Tokenizer.from_file(str(draft.assets["tokenizer"])).encode("😂").tokens == ["[CLS]", "😂", "[SEP]"]


def test_layers_that_are_missing_damaged_or_of_another_network_are_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.safetensors cannot be read .*install fedaffect again"):
        taught_words(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x08")
    with pytest.raises(BundleError, match=r"cut\.safetensors cannot be read"):
        taught_words(tmp_path / "cut.safetensors")
    save_file({"encoder.layer.7.output.dense.bias": torch.zeros(4)}, tmp_path / "other.safetensors")
    with pytest.raises(BundleError, match=r"other\.safetensors does not fit MiniLM"):
        taught_words(tmp_path / "other.safetensors")


def test_upper_layers_learn_and_frozen_ones_stay() -> None:
    lines = constructed()
    before = TaughtWords(3, 7, len(FINER), 2)
    steps = []
    config = WordsConfig(epochs=5, batch_size=8, lr=3e-4, head_lr=1e-2)
    model = teach(lines, config, lambda step, of, loss: steps.append((step, of, loss)))
    assert steps[-1][:2] == (len(steps), 25)
    unchanged = [
        torch.equal(a, b) for a, b in zip(before.encoder.parameters(), model.encoder.parameters(), strict=True)
    ]
    below = len([*before.encoder.embeddings.parameters(), *before.encoder.encoder.layer[:3].parameters()])
    assert all(unchanged[:below])
    assert not any(
        torch.equal(a, b)
        for a, b in zip(
            before.encoder.encoder.layer[3:].parameters(), model.encoder.encoder.layer[3:].parameters(), strict=True
        )
    )
    found = own_answers(model, lines)
    assert (found.rows, found.classes) == (len(lines), 7)
    assert found.uar > 0.8
    assert linear_on_features(model, lines, lines).uar > 0.8


def test_the_command_writes_an_encoder_with_its_card(data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ["train", "words", "--data", str(data_dir), "--out", str(out), "--epochs", "1", "--leave-out", "isear"]
    given[-2:-2] = ["--export", str(tmp_path / "upper.safetensors"), "--version", "tried"]
    done = CliRunner().invoke(encoders, given, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "isear, left out, all lines" in " ".join(done.output.split())
    told = json.loads((out / "figures.json").read_text())
    assert (told["left_out"], told["lines"], told["settings"]["epochs"]) == ("isear", 10, 1)
    card = (out / "README.md").read_text()
    assert "GoEmotions" in card
    assert "| isear | ISEAR" not in card
    assert AutoModel.from_pretrained(out).config.num_hidden_layers == 6
    # The layers alone, on MiniLM of the package, are that encoder again.
    model, tokenizer = taught_words(tmp_path / "upper.safetensors")
    for name, wanted in AutoModel.from_pretrained(out).state_dict().items():
        assert torch.allclose(model.state_dict()[name], wanted, atol=1e-3), name
    assert "😂" in tokenizer.get_vocab()
    source = words_source(tmp_path / "upper.safetensors")
    assert source.version == f"tried on {MINILM.distribution} {MINILM.source().version}"
    assert "non-commercial" in source.licence
    rated = [*given[:-1], "emobank", "--out", str(tmp_path / "other")]
    refused = CliRunner().invoke(encoders, rated)
    assert isinstance(refused.exception, ConfigError)
    assert "nobody named emotions in emobank, left out" in str(refused.exception)
    again = CliRunner().invoke(encoders, given)
    assert isinstance(again.exception, ConfigError)
    assert "holds files already; give --out another folder" in str(again.exception)
