from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread
from time import perf_counter, sleep

import numpy as np
import pytest

from fedaffect.edge import EdgeRuntime, Prediction, Sample
from fedaffect.edge.bundle import Bundle, SigningKey, sign
from fedaffect.edge.errors import BundleError, ConfigError, DataError
from fedaffect.edge.runtime.probes import probe_sample
from fedaffect.edge.sample import MODALITIES, Frames


def test_a_prediction_says_everything_it_promises(runtime: EdgeRuntime) -> None:
    answer = runtime.predict(probe_sample())
    assert answer.modalities == MODALITIES
    assert answer.label in runtime.labels
    assert tuple(answer.probabilities) == runtime.labels
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert answer.confidence == max(answer.probabilities.values()) == answer.probabilities[answer.label]
    assert (answer.source, answer.model_version) == ("edge", runtime.bundle.version)
    assert answer.offload_reason in ("confident", "no-cloud")
    assert answer.latency_ms > 0
    assert answer.to_json()["modalities"] == list(MODALITIES)


@pytest.mark.parametrize("modality", MODALITIES)
def test_each_modality_alone(runtime: EdgeRuntime, modality: str) -> None:
    sample = Sample(id="a", **{modality: getattr(probe_sample(), modality)})
    assert runtime.predict(sample).modalities == (modality,)
    (tokens,) = runtime.features(sample).values()
    assert tokens.shape[1] == runtime.bundle.manifest.encoders[modality].width


def test_temperature_is_that_of_the_subset(runtime: EdgeRuntime) -> None:
    opened = runtime._current()
    tokens = runtime.features(Sample(id="a", text="i am sad"))
    scores = opened.fusion(tokens).astype(np.float64) / 2.0
    expected = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(list(runtime.predict(Sample(id="a", text="i am sad")).probabilities.values()), expected)


def test_features_that_are_not_numbers_are_left_out(runtime: EdgeRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    text = runtime._current().encoders["text"]
    monkeypatch.setattr(text, "encode", lambda batch: [np.full((2, text.width), np.nan, np.float32) for _ in batch])
    sample = probe_sample()
    answer = runtime.predict(sample)
    assert answer.modalities == ("audio", "video")
    assert any("text left out: its features are not numbers" in note for note in answer.notes)
    with pytest.raises(DataError, match="not numbers"):
        runtime.predict(Sample(id="a", text="sad"))


def test_a_modality_that_the_fusion_never_learned_is_left_out(make_bundle) -> None:
    bundle = Bundle.load(make_bundle(3, modalities=("text",)), trust=None)
    with EdgeRuntime.load(bundle) as runtime:
        answer = runtime.predict(probe_sample())
        assert answer.modalities == ("text",)
        assert [note for note in answer.notes if "no encoder for it" in note] == list(answer.notes[:2])


@pytest.mark.slow
def test_asyncio_goes_on_while_the_device_works(runtime: EdgeRuntime) -> None:
    async def scene() -> tuple[list[Prediction], int]:
        ticks = 0
        asked = [asyncio.create_task(runtime.apredict(probe_sample())) for _ in range(6)]
        while not all(task.done() for task in asked):
            ticks += 1
            await asyncio.sleep(0)
        return [task.result() for task in asked], ticks

    answers, ticks = asyncio.run(scene())
    assert len({answer.label for answer in answers}) == 1
    assert ticks > 1


@pytest.mark.slow
def test_threads_share_a_runtime(runtime: EdgeRuntime) -> None:
    sample = probe_sample()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: runtime.predict(sample), range(8)))
    assert len({tuple(answer.probabilities.values()) for answer in answers}) == 1


def test_swapping_while_predictions_go_on(make_bundle, answering_bundle: Bundle) -> None:
    other = Bundle.load(make_bundle(7), trust=None)
    sample = Sample(id="a", text="i am sad")
    with EdgeRuntime.load(answering_bundle) as runtime:
        expected = {answering_bundle.version: runtime.predict(sample).probabilities}
        assert runtime.swap(other) == answering_bundle.version
        expected[other.version] = runtime.predict(sample).probabilities
        assert expected[other.version] != expected[answering_bundle.version]
        seen: list[Prediction] = []
        stop = Event()

        def ask() -> None:
            while not stop.is_set():
                seen.append(runtime.predict(sample))

        threads = [Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for place in range(6):
            runtime.swap((answering_bundle, other)[place % 2])
            sleep(0.01)
        stop.set()
        for thread in threads:
            thread.join()
    # Each answer is wholly of the one bundle that it names.
    assert all(answer.probabilities == expected[answer.model_version] for answer in seen)


def test_a_bundle_that_is_refused_changes_nothing(answering_bundle: Bundle, tiny_bundle: Path, tmp_path: Path) -> None:
    with EdgeRuntime.load(answering_bundle) as runtime:
        for refused in (tmp_path / "none", Bundle.load(tiny_bundle, trust=None)):
            with pytest.raises(BundleError, match="bundle build"):
                runtime.swap(refused)
        assert runtime.bundle.version == answering_bundle.version
        assert runtime.predict(Sample(id="a", text="sad")).source == "edge"


def test_a_signed_bundle_opens_by_its_path(make_bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDAFFECT_CONFIG", str(tmp_path / "config"))
    folder = make_bundle(5)
    with pytest.raises(BundleError):
        EdgeRuntime.load(folder)
    sign(folder, SigningKey.own())
    with EdgeRuntime.load(folder) as runtime:
        assert runtime.predict(Sample(id="a", text="sad")).modalities == ("text",)


def test_without_any_bundle_the_command_that_builds_one_is_named() -> None:
    with pytest.raises(BundleError, match="fedaffect bundle build"):
        EdgeRuntime.load()


def test_closed_is_closed(answering_bundle: Bundle) -> None:
    runtime = EdgeRuntime.load(answering_bundle)
    runtime.close()
    runtime.close()
    with pytest.raises(ConfigError, match=r"closed.*load"):
        runtime.predict(Sample(id="a", text="sad"))


def test_privacy_is_checked(answering_bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="privacy"):
        EdgeRuntime.load(answering_bundle, privacy="sometimes")


def test_words_are_found_in_the_sound_where_none_are_given(answering_bundle: Bundle) -> None:
    def slow(sound: object) -> str:
        sleep(0.2)
        return "i am happy"

    sample = probe_sample()
    with EdgeRuntime.load(answering_bundle, transcriber=slow) as runtime:
        silent_on_words = Sample(id="a", audio=sample.audio)
        started_s = perf_counter()
        answer = runtime.predict(silent_on_words)
        whole_ms = (perf_counter() - started_s) * 1000
        assert answer.modalities == ("text", "audio")
        assert answer.transcript == "i am happy"
        assert answer.transcription_ms >= 190
        # Shown apart: the latency and the transcription together are the whole.
        assert answer.latency_ms <= whole_ms - answer.transcription_ms + 1
        assert "the words were found in the sound" in answer.notes
        given = runtime.predict(Sample(id="a", text="i am happy", audio=sample.audio))
        assert given.transcript is None
        assert given.probabilities == pytest.approx(answer.probabilities)


def test_a_still_small_crop_of_many_frames(runtime: EdgeRuntime) -> None:
    crops = np.zeros((5, 48, 48, 3), np.uint8)
    assert runtime.features(Sample(id="a", video=Frames(crops, 5.0)))["video"].shape[0] == 5


def test_the_public_names_need_no_torch() -> None:
    program = (
        "import sys; from fedaffect.edge import EdgeRuntime, Prediction, Sample; "
        "print(sorted({'torch', 'grpc', 'httpx', 'rich', 'ctranslate2'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
