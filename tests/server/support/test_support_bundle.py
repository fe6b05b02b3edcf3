"""The archive for maintainers has what they need, and nothing of what was planted: secrets, tokens, names, media."""

from __future__ import annotations

import json
import tarfile
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.support.fleet_runs import fleet_folder, registry
from tests.support.public_keys import public_key

from fedaffect.edge.cli import findings
from fedaffect.edge.errors import ConfigError
from fedaffect.server.cli.support_bundle import support_bundle
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, api_keys, devices, groups, runs, tokens, users
from fedaffect.server.support.redaction import Redaction

__all__ = ["fleet_folder", "registry"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "bundle", lambda: findings.Finding("bundle", "good", "version 1"))


def _contents(path: Path) -> dict[str, str]:
    with tarfile.open(path) as tar:
        return {name: tar.extractfile(name).read().decode() for name in tar.getnames()}  # type: ignore[union-attr]


def test_nothing_that_was_planted_is_inside(
    fleet_folder: FleetFolder, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tokens.make_token(registry, valid=timedelta(hours=1), note="for Waldtraut")
    able = devices.Capabilities(modalities=("text",), memory_mb=1, cores=1)
    key = public_key("Ottilie")
    device = devices.enroll(registry, token, name="Ottilies Handy", public_key=key, capabilities=able, consent=True)
    groups.set_labels(registry, [device.id], ["Station Sonnenschein"])
    users.add(registry, "kunigunde", "viewer", "a-very-long-password")
    _, api_key = api_keys.create(registry, "Praxis Doktor Eisenbart", ["predict"])
    runs.create(registry, run_id="run-of-hildegard", config={"rounds": 1})
    monkeypatch.setenv("FEDAFFECT_REGISTRY", "postgresql+psycopg://admin:hunter2@db.internal/x")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic Zm9vYmFy")
    monkeypatch.setenv("HOME", str(tmp_path))
    fleet_folder.logs.mkdir()
    (fleet_folder.logs / "run-run-of-hildegard.log").write_text("round 1 of run-of-hildegard\n")
    pem = fleet_folder.authority.key_path.read_text()
    planted = [
        f"device 'Ottilies Handy' ({device.id}) from 203.0.113.9 sent {token}",
        f"Authorization: Bearer {fleet_folder.operator_token()}",
        f"{api_key} asked; {key}",
        pem,
        "cannot read /data/media/ottilie-crying.wav and /srv/Bild.JPG",
        f"Traceback in {tmp_path}/fleet; password=hunter2; user kunigunde <kunigunde@klinik.example>",
        "from 2001:db8:0:0:0:0:0:7 for Waldtraut on Station Sonnenschein at Praxis Doktor Eisenbart",
    ]
    (fleet_folder.logs / "service.log").write_text("\n".join([*planted, "the end is kept", ""]))
    for name, content in (("photo.jpg", b"\xff\xd8\xff planted-media"), ("operator.note", b"planted-note")):
        (fleet_folder.logs / name).write_bytes(content)
    out = tmp_path / "support.tar.gz"
    url = registry.url.render_as_string(hide_password=False)
    words = ["--out", str(out), "--fleet", str(fleet_folder.path), "--registry", url]
    done = CliRunner().invoke(support_bundle, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert out.stat().st_mode & 0o777 == 0o600
    found = _contents(out)
    everything = "\n".join([*found, *found.values()])
    secrets = [token, token.split("_")[2], api_key, fleet_folder.operator_token(), pem.split("\n")[1], key.split()[1]]
    secrets += ["hunter2", "Zm9vYmFy", "a-very-long-password"]
    people = ["Ottilie", "ottilie", "Waldtraut", "kunigunde", "Eisenbart", "Sonnenschein", "hildegard", device.id]
    places = ["203.0.113.9", "2001:db8", "klinik.example", str(tmp_path), "crying", "Bild.JPG"]
    media = ["planted-media", "planted-note"]
    assert [each for each in [*secrets, *people, *places, *media] if each in everything] == []
    # And what a maintainer needs is.
    assert "the end is kept" in found["logs/service.log"]
    assert json.loads(found["versions.json"])["packages"]["fedaffect"]
    assert json.loads(found["registry.json"])["devices"] == 1
    assert {each["what"] for each in json.loads(found["doctor.json"])} > {"python", "registry", "server certificate"}
    assert "service-port" in found["fleet.toml"]
    with pytest.raises(ConfigError, match="exists"):
        CliRunner().invoke(support_bundle, words, catch_exceptions=False)


def test_without_the_registry_no_log_leaves(fleet_folder: FleetFolder, tmp_path: Path) -> None:
    fleet_folder.logs.mkdir(exist_ok=True)
    (fleet_folder.logs / "service.log").write_text("Ottilies Handy\n")
    out = tmp_path / "support.tar.gz"
    away = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    words = ["--out", str(out), "--fleet", str(fleet_folder.path), "--registry", away]
    assert CliRunner().invoke(support_bundle, words, catch_exceptions=False).exit_code == 0
    found = _contents(out)
    assert "Ottilie" not in "".join(found.values())
    assert "logs/service.log" not in found


def test_a_name_becomes_the_same_number_everywhere_and_words_with_it_stay() -> None:
    clean = Redaction({"Ann", "Ann's phone"})
    assert clean("Ann's phone of Ann, Annotation") == "[name 1] of [name 2], Annotation"
