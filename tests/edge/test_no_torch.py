"""A device has no torch: everything in edge_runtime imports and answers where torch cannot be imported."""

from __future__ import annotations

from json import loads
from pathlib import Path

import pytest
from tests.support.without_extras import EXTRAS, ROOMS, run_without

from fedaffect.edge.bundle import SigningKey, sign

# What tells that the rooms and extras were not even looked for.
_UNTOUCHED = """
assert not REFUSED & set(sys.modules), REFUSED & set(sys.modules)
"""

_IMPORT_ALL = (
    """
import importlib, pkgutil
import fedaffect.edge

names = [m.name for m in pkgutil.walk_packages(fedaffect.edge.__path__, "fedaffect.edge.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
    + _UNTOUCHED
)

_PREDICT = (
    """
import json
from pathlib import Path
from fedaffect.edge import EdgeRuntime, Sample
from fedaffect.edge.runtime.probes import drawn_face, spoken
from fedaffect.edge.sample import Frames

sample = Sample(id="1", text="i am happy", audio=spoken(), video=Frames(drawn_face()[None], 5.0))
with EdgeRuntime.load(Path(sys.argv[1])) as runtime:
    print(json.dumps(runtime.predict(sample).to_json()))
"""
    + _UNTOUCHED
)

_COMMAND = (
    """
from fedaffect.edge.cli.main import main
main()
"""
    + _UNTOUCHED
)


@pytest.fixture(scope="module")
def bundle(make_bundle) -> Path:
    folder = make_bundle(51)
    sign(folder, SigningKey.own())
    return folder


def printed(program: str, *arguments: str) -> str:
    done = run_without(EXTRAS | ROOMS, program, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_everything_imports() -> None:
    assert int(printed(_IMPORT_ALL)) >= 90


@pytest.mark.slow
def test_the_runtime_answers(bundle: Path) -> None:
    answer = loads(printed(_PREDICT, str(bundle)))
    assert answer["modalities"] == ["text", "audio", "video"], answer["notes"]
    assert answer["source"] == "edge"
    assert sum(answer["probabilities"].values()) == pytest.approx(1)


def test_the_command_answers(bundle: Path) -> None:
    answer = loads(printed(_COMMAND, "edge", "predict", "--bundle", str(bundle), "--text", "i am happy", "--json"))
    assert answer["modalities"] == ["text"]
    assert max(answer["probabilities"], key=answer["probabilities"].get) == answer["label"]
