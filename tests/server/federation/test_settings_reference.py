"""What is made from the settings' models says what they say; ``make settings`` makes it again."""

import json
import tomllib
from pathlib import Path

from fedaffect.server.federation.settings import reference
from fedaffect.server.federation.settings.run_settings import fields_by_name

ROOT = Path(__file__).resolve().parents[3]


def test_what_is_committed_is_what_the_models_make() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert reference.flags_text() == reference.FLAGS.read_text(encoding="utf-8"), "run make settings"
    assert reference.with_flower_config(pyproject) == pyproject, "run make settings"
    page = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    assert reference.page() == page, "run make settings"


def test_every_setting_says_what_it_is() -> None:
    assert len(fields_by_name()) == len({flag["flag"] for flag in reference.flags()})
    assert all(flag["help"].strip() for flag in reference.flags())
    assert 15 <= sum(flag["common"] for flag in reference.flags()) <= 24


def test_writing_flowers_keys_leaves_the_rest_alone() -> None:
    made = reference.with_flower_config(
        '[project]\nname = "a"\n\n[tool.flwr.app.config]\nold = 1\n\n[tool.ruff]\nx = 2\n'
    )
    read = tomllib.loads(made)
    assert (read["project"], read["tool"]["ruff"]) == ({"name": "a"}, {"x": 2})
    assert "old" not in read["tool"]["flwr"]["app"]["config"]
    assert json.dumps(read["tool"]["flwr"]["app"]["config"]["partition"]) == '"iid:2"'
