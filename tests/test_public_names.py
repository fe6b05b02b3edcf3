"""The public names: what there is, that it is there, and that asking costs nothing until then."""

from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys
from importlib import import_module
from importlib.resources import files

import pytest
from tests.support.without_extras import EXTRAS, run_without

import fedaffect
from fedaffect.edge.errors import FedAffectError

PUBLIC = {
    "fedaffect": {"EdgeRuntime", "FedAffectError", "Prediction", "Sample", "open_run", "simulate"},
    "fedaffect.edge": {"EdgeRuntime", "FedAffectError", "Frames", "Prediction", "Sample", "Waveform", "sample_of"},
    "fedaffect.client": {"Corpus", "CorpusInfo", "FolderCorpus", "LocalAlgorithm", "LocalRun", "Utterance"},
    "fedaffect.server": {"EVERYBODY", "Observer", "RoundRecord", "StrategyEntry"},
    "fedaffect.simulation": {
        *("Partition", "Partitioner", "Predictions", "RecordedRun", "Rows", "SweptRuns"),
        *("open_run", "run_simulation", "simulate"),
    },
}


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names_are_these_and_are_there(package: str) -> None:
    module = import_module(package)
    assert set(module.__all__) == PUBLIC[package]
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name).__doc__, name
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        _ = module.nothing


def test_asking_for_the_package_imports_nothing_heavy() -> None:
    program = f"""
import sys
for name in {[*PUBLIC]!r}:
    dir(__import__(name))
heavy = {{"numpy", "onnxruntime", "torch", "flwr", "ray", "click"}} & set(sys.modules)
sys.exit(str(heavy) if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_an_extra_brings_says_which() -> None:
    done = run_without(EXTRAS, "from fedaffect import simulate")
    assert done.returncode == 1
    assert "fedaffect.simulate needs" in done.stderr
    assert "pip install 'fedaffect[simulation]'" in done.stderr


def test_types_come_along() -> None:
    assert files("fedaffect").joinpath("py.typed").is_file()


@pytest.mark.slow
def test_the_tree_of_errors_in_the_docstring_is_the_one_that_is() -> None:
    for module in pkgutil.walk_packages(fedaffect.__path__, "fedaffect."):
        # Programs read their arguments when they are imported, migrations the connection that Alembic gives them.
        if not module.name.endswith("__main__") and ".migrations." not in module.name:
            import_module(module.name)

    def tree(root: type[Exception], depth: int = 0) -> list[tuple[int, str]]:
        below = [line for kind in root.__subclasses__() if kind.__module__.startswith("fedaffect.")
                 for line in tree(kind, depth + 1)]  # fmt: skip
        return [(depth, root.__name__), *below]

    lines = inspect.getdoc(FedAffectError).split("::\n")[1].splitlines()
    shown = [(line.rstrip().index(line.split()[-1]), line) for line in lines if line.strip()]
    names = [(len(line) - len(line.lstrip("├└│─ "))) // 4 for _, line in shown]
    told = list(zip(names, (line.lstrip("├└│─ ").split()[0] for _, line in shown), strict=True))
    base = told[0][0]
    assert sorted((depth - base, name) for depth, name in told) == sorted(tree(FedAffectError))
