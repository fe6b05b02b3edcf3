"""A device whose user's voice is far from all whom the shared model learned from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.edge.conftest import LABELS, Maker
from tests.edge.store.test_commands import run

from fedaffect.edge import EdgeRuntime, Sample
from fedaffect.edge.bundle import Bundle, FileEntry, Manifest
from fedaffect.edge.bundle.population import FAR, Group, Population, write_populations
from fedaffect.edge.personal import start_anew
from fedaffect.edge.runtime.probes import spoken
from fedaffect.edge.sample import Waveform
from fedaffect.edge.store import Database, ExampleStore, Journal

CLIPS = 12


def with_population(folder: Path, mean: float, variance: float = 0.01) -> Path:
    """Says that the tiny bundle learned from people whose voices are all about so."""
    manifest = Manifest.read(folder)
    assert manifest.fusion is not None
    width = manifest.fusion.widths["audio"]
    group = Group(np.full((len(LABELS), width), mean), np.full(width, variance), np.full(width, variance))
    write_populations({"audio": Population({"them": group})}, folder / "population.npz")
    fusion = replace(manifest.fusion, population=FileEntry.of(folder / "population.npz"))
    replace(manifest, fusion=fusion).write(folder)
    return folder


def clip(number: int) -> Sample:
    """Constructed speech, each time with other noise."""
    sound = spoken()
    noise = np.random.default_rng(number).normal(scale=0.003 * (1 + number % 5), size=sound.samples.shape)
    return Sample(audio=Waveform((sound.samples + noise).astype(np.float32), sound.sample_rate_hz))


@pytest.fixture
def far(make_bundle: Maker) -> Path:
    return with_population(make_bundle(), 40.0)


@pytest.fixture
def runtime(far: Path) -> Iterator[EdgeRuntime]:
    journal = Journal(keep_examples=True)
    with EdgeRuntime.load(Bundle.load(far, trust=None), journal=journal, personal=True) as runtime:
        yield runtime


def relative(runtime: EdgeRuntime) -> bool:
    return any("personal: audio" in note for note in runtime.predict(clip(99)).notes)


def test_a_far_voice_is_taken_relative_to_itself_until_it_is_forgotten(runtime: EdgeRuntime) -> None:
    first = runtime.predict(clip(99))
    assert not any("personal" in note for note in first.notes)
    for number in range(CLIPS):
        runtime.predict(clip(number))
    after = runtime.predict(clip(99))
    assert any("personal: audio" in note for note in after.notes)
    assert after.probabilities != first.probabilities
    # Words have no such offset.
    assert not any("personal" in note for note in runtime.predict("you think so").notes)
    # What is kept is what the encoder made, not what was made of it.
    with Database() as database:
        kept = ExampleStore(database).features(1)["audio"]
        np.testing.assert_allclose(kept, runtime.features(clip(99))["audio"], atol=0.05, rtol=0.01)
        ExampleStore(database).forget([], everything=True)
    again = runtime.predict(clip(99))
    assert again.probabilities == first.probabilities
    assert again.notes == first.notes


def test_a_voice_like_theirs_is_read_as_theirs(make_bundle: Maker) -> None:
    bare = make_bundle()
    with EdgeRuntime.load(Bundle.load(bare, trust=None)) as plain:
        mean = float(np.mean([plain.features(clip(number))["audio"].mean() for number in range(CLIPS)]))
    folder = with_population(bare, mean, variance=100.0)
    journal = Journal(keep_examples=True)
    with EdgeRuntime.load(Bundle.load(folder, trust=None), journal=journal, personal=True) as runtime:
        for number in range(CLIPS):
            runtime.predict(clip(number))
        assert not relative(runtime)


def test_labels_that_say_otherwise_end_it(runtime: EdgeRuntime, far: Path) -> None:
    with EdgeRuntime.load(Bundle.load(far, trust=None)) as plain:
        shared = [plain.predict(clip(number)).label for number in range(CLIPS)]
    for number in range(CLIPS):
        runtime.predict(clip(number))
    assert relative(runtime)
    differing = 0
    for number in range(CLIPS):
        answer = runtime.predict(clip(number))
        differing += answer.label != shared[number]
        runtime.feedback(answer.request_id, shared[number], consent=True)
    assert differing
    assert not relative(runtime)


def test_it_is_off_unless_asked_for_and_begins_again_after_a_reset(runtime: EdgeRuntime, far: Path) -> None:
    for number in range(CLIPS):
        runtime.predict(clip(number))
    with EdgeRuntime.load(Bundle.load(far, trust=None)) as plain:
        assert not relative(plain)
    assert relative(runtime)
    with Database() as database:
        start_anew(database)
    assert not relative(runtime)


def test_people_see_how_far_they_are(runtime: EdgeRuntime, far: Path) -> None:
    show = ("personal", "show", "--bundle", str(far), "--allow-unsigned")
    assert "far" not in run(*show)
    for number in range(CLIPS):
        runtime.predict(clip(number))
    said = run(*show)
    assert f"by {CLIPS} clips you are" in said
    assert "relative to your own mean" in said
    facts = json.loads(run(*show, "--json"))
    assert facts["relative"] == ["audio"]
    assert facts["clips"] == CLIPS
    assert facts["distance"]["audio"] > FAR


def test_a_damaged_file_costs_no_answer(runtime: EdgeRuntime, far: Path) -> None:
    for number in range(CLIPS):
        runtime.predict(clip(number))
    (far / "population.npz").write_bytes(b"nothing")
    runtime.predict(clip(50))
    answer = runtime.predict(clip(51))
    assert any("nothing is personal" in note for note in answer.notes)
