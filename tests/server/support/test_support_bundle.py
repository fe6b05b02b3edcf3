"""The archive for maintainers has what they need, and nothing of what was planted: secrets, tokens, names, media."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.support.fleet_runs import fleet_folder, registry
from tests.support.public_keys import public_key

from fedaffect.edge.cli import findings
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.files import write_private
from fedaffect.server.cli.support_bundle import support_bundle
from fedaffect.server.fleet.setup.folder import SETTINGS, FleetFolder
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
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-honeycomb-team=hcaik01")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "api-key=NRAK7")
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
    secrets += ["hunter2", "Zm9vYmFy", "hcaik01", "NRAK7", "a-very-long-password"]
    people = ["Ottilie", "ottilie", "Waldtraut", "kunigunde", "Eisenbart", "Sonnenschein", "hildegard", device.id]
    places = ["203.0.113.9", "2001:db8", "klinik.example", str(tmp_path), "crying", "Bild.JPG"]
    media = ["planted-media", "planted-note"]
    assert [each for each in [*secrets, *people, *places, *media] if each in everything] == []
    # And what a maintainer needs is.
    assert "the end is kept" in found["logs/service.log"]
    assert json.loads(found["versions.json"])["packages"]["fedaffect"]
    assert json.loads(found["environment.json"])["OTEL_EXPORTER_OTLP_HEADERS"] == "[set]"
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


def test_names_come_from_the_fleets_own_registry_whichever_is_named(
    fleet_folder: FleetFolder, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens.make_token(registry, valid=timedelta(hours=1), note="Waldtraut")
    cloud = f"sqlite:///{tmp_path / 'cloud.db'}"
    with Registry.open(cloud) as opened:
        users.add(opened, "kunigunde", "viewer", "a-very-long-password")
    fleet_folder.logs.mkdir()
    (fleet_folder.logs / "service.log").write_text("Waldtraut and kunigunde: the end is kept\n")
    monkeypatch.setenv("FEDAFFECT_REGISTRY", cloud)
    words = ["--fleet", str(fleet_folder.path), "--out"]
    out = tmp_path / "both.tar.gz"
    assert CliRunner().invoke(support_bundle, [*words, str(out)], catch_exceptions=False).exit_code == 0
    said = _contents(out)["logs/service.log"]
    assert "the end is kept" in said
    assert [name for name in ("Waldtraut", "kunigunde") if name in said] == []

    away = replace(fleet_folder.settings, registry="postgresql+psycopg://nobody@127.0.0.1:1/none")
    write_private(fleet_folder.path / SETTINGS, away.to_toml().encode(), replace=True)
    out = tmp_path / "one.tar.gz"
    assert CliRunner().invoke(support_bundle, [*words, str(out)], catch_exceptions=False).exit_code == 0
    assert "logs/service.log" not in _contents(out)


def test_a_name_becomes_the_same_number_everywhere_and_words_with_it_stay() -> None:
    clean = Redaction({"Ann", "Ann's phone"})
    assert clean("Ann's phone of Ann, Annotation") == "[name 1] of [name 2], Annotation"


@pytest.mark.parametrize(
    ("text", "secrets", "kept"),
    [
        ("at postgresql+psycopg://fed:Ab/9xQ2k@db/fed now", ["Ab", "9xQ2k"], "db/fed now"),
        ("at postgresql+psycopg://:secretpw@db/fed now", ["secretpw"], "db/fed now"),
        ("at postgresql+psycopg://fed:p@ss@db/fed now", ["p@ss", "ss@"], "db/fed now"),
        ("at postgresql+psycopg://f@d:it's@db/fed now", ["it's", "s@"], "db/fed now"),
        ("at https://glpat7@collector/v1 now", ["glpat7"], "collector/v1 now"),
        ('registry = "postgresql+psycopg://fed:Ab/9xQ2k@db/fed"', ["9xQ2k"], 'db/fed"'),
        ("OTEL_EXPORTER_OTLP_HEADERS=api-key=NRAK7", ["NRAK7"], "OTEL_EXPORTER_OTLP_HEADERS"),
        ("OTEL_EXPORTER_OTLP_HEADERS=x-honeycomb-team=hcaik01", ["hcaik01"], "OTEL_EXPORTER_OTLP_HEADERS"),
        ("api-key=NRAK7 and more", ["NRAK7"], " and more"),
        ('password="abc;def,ghi" and more', ["abc", "def", "ghi"], '" and more'),
        (r'{"said": "password=\"abc;d ef,ghi\" and more"}', ["abc", "ef", "ghi"], r'\" and more"}'),
        ("password=abc;def,ghi and more", ["abc", "def", "ghi"], " and more"),
        ("secret='abc def", ["abc", "def"], "secret="),
        ("from 2001:db8::1234, port 1", ["2001", "db8", "1234"], ", port 1"),
        ("peer fe80::1: refused", ["fe80"], ": refused"),
        ("peer ipv6:%5B2001:db8::1%5D:443 refused", ["2001", "db8"], "%5D:443 refused"),
        ("peer [::ffff:203.0.113.9]:443 refused", ["203"], "]:443 refused"),
        ("2001:db8:0:0:0:0:0:7:9441 and 00:1b:44:11:3a:b7", ["2001", "db8", "1b:44"], " and "),
    ],
)
def test_secrets_and_addresses_go_and_what_stands_beside_them_stays(text: str, secrets: list[str], kept: str) -> None:
    cleaned = Redaction(())(text)
    assert [each for each in secrets if each in cleaned] == []
    assert kept in cleaned
    assert Redaction(())(cleaned) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "at 12:30:45.123, ::1 and 127.0.0.1:9441",
        "c10::Error at line 12:30",
        "passed: 3 of 4",
        "http://localhost:8080/v1",
    ],
)
def test_what_is_no_address_stays(text: str) -> None:
    assert Redaction(())(text) == text
