"""Examples outlive the encoders that made them: they are encoded again, or it is said that they cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.edge.conftest import Maker
from tests.edge.store.test_commands import run

from fedaffect.edge.bundle import Bundle
from fedaffect.edge.runtime import EdgeRuntime
from fedaffect.edge.store import Database, ExampleStore, Journal

OLDER = {"text": "another encoder's"}


def age(store: ExampleStore) -> None:
    """As if another bundle's encoder had made all features."""
    for example in store.examples():
        store.renew(example.id, {"text": np.ones((2, 9))}, OLDER)


def test_what_other_encoders_made_is_made_again_where_the_media_were_kept(make_bundle: Maker) -> None:
    bundle = Bundle.load(make_bundle(), trust=None)
    for keep_media, words in ((True, "i am so happy"), (False, "you think so")):
        with EdgeRuntime.load(bundle, journal=Journal(keep_examples=True, keep_media=keep_media)) as runtime:
            runtime.feedback(runtime.predict(words).request_id, "joy", consent=True)
    options = ("--bundle", str(bundle.path), "--allow-unsigned")
    with Database() as database:
        store = ExampleStore(database)
        assert "all examples are of this bundle's encoders" in run("examples", "renew", *options)
        before = store.features(1)["text"]
        age(store)
        assert "1 examples of other encoders were encoded again; 1 cannot be" in run("examples", "renew", *options)
        kept, gone = store.examples()
        assert kept.encoder_keys == {"text": bundle.encoder_key("text")}
        assert np.array_equal(store.features(1)["text"], before)
        assert (kept.label, kept.consent) == ("joy", True)
        assert gone.encoder_keys == OLDER
        assert "0 examples of other encoders were encoded again; 1 cannot be" in run("examples", "renew", *options)


def test_clips_that_are_imported_again_are_encoded_by_the_bundle_in_use(make_bundle: Maker, tmp_path: Path) -> None:
    bundle = Bundle.load(make_bundle(), trust=None)
    table = tmp_path / "clips.csv"
    table.write_text("text,label\nyou think so,anger\ni am so happy,power\n", encoding="utf-8")
    ask = ("examples", "import", str(table), "--bundle", str(bundle.path), "--allow-unsigned")
    # Its label is none of the bundle's.
    assert "'power' is kept, and nothing is learned from it" in run(*ask)
    with Database() as database:
        store = ExampleStore(database)
        age(store)
        assert "2 were there already" in run(*ask)
        assert {example.encoder_keys["text"] for example in store.examples()} == {bundle.encoder_key("text")}
        with EdgeRuntime.load(bundle, journal=Journal(keep_examples=True)) as runtime:
            request_id = store.examples()[0].request_id
            assert "nothing is learned from it" in runtime.feedback(request_id, "power").notes[0]
            assert runtime.feedback(request_id, "joy").notes == ()
