from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedaffect.edge.bundle import Bundle, variants
from fedaffect.edge.bundle.entries import EncoderEntry
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.sample import Frames

MakeBundle = Callable[..., Path]


def features(bundle: Bundle, **options: str) -> float:
    encoder = bundle.encoder("video", faces="whole", **options)  # type: ignore[arg-type]
    (tokens,) = encoder.encode([encoder.prepare(Frames(np.zeros((1, 8, 8, 3), np.uint8)))])
    return float(tokens[0, 0])


def test_each_precision_has_its_own_key_and_the_choice_can_be_given(make_bundle: MakeBundle) -> None:
    bundle = Bundle.load(make_bundle())
    assert [v.precision for v in bundle.manifest.encoders["video"].variants] == ["fp16", "int8"]
    half, small = (bundle.encoder("video", faces="whole", precision=name) for name in ("fp16", "int8"))
    assert half.key != small.key
    assert (features(bundle, precision="fp16"), features(bundle, precision="int8")) == (0.0, 0.5)
    with pytest.raises(ConfigError, match="fp16, int8"):
        bundle.encoder("video", faces="whole", precision="int4")


def test_the_fastest_is_taken_and_remembered_by_key_and_processor(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = Bundle.load(make_bundle())
    entry = bundle.manifest.encoders["video"]
    asked: list[dict[str, float]] = []
    monkeypatch.setattr(variants, "measure", slower_first(variants.measure, asked))
    assert features(bundle) == features(bundle) == 0.5
    assert len(asked) == 1
    assert all(time > 0 for time in asked[0].values())
    memory = tmp_path / "cache" / "fastest-variants.json"
    (about,) = json.loads(memory.read_text())
    assert about == f"{entry.key()} {variants.processor()}"
    assert bundle.encoder("video", faces="whole").key == bundle.encoder("video", faces="whole", precision="int8").key
    monkeypatch.setattr(variants, "processor", lambda: "another one")
    features(bundle)
    assert len(asked) == 2
    memory.write_text("damaged")
    features(bundle)
    assert len(asked) == 3


def slower_first(
    measure: Callable[[Path, EncoderEntry], dict[str, float]], asked: list[dict[str, float]]
) -> Callable[[Path, EncoderEntry], dict[str, float]]:
    """Measures truly, then says that the later of the variants is the faster one."""

    def measured(folder: Path, entry: EncoderEntry) -> dict[str, float]:
        asked.append(measure(folder, entry))
        return {sha: float(-place) for place, sha in enumerate(asked[-1])}

    return measured


def test_a_disk_that_cannot_be_written_costs_a_measurement_not_an_error(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FEDAFFECT_CACHE", str(tmp_path / "file" / "below"))
    assert features(Bundle.load(make_bundle())) in (0.0, 0.5)
