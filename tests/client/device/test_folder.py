"""Settings of a device's folder: written by a library, read strictly; names by one rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedaffect.client.cli import device_enroll
from fedaffect.client.cli.device import device
from fedaffect.client.device.folder import DeviceFolder, DeviceSettings
from fedaffect.client.device.permission import LearningRules
from fedaffect.client.protocol.names import checked_name
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.sample import MODALITIES

SETTINGS = DeviceSettings(id="1", name="phone", number=3, server="https://f:1", superlink="f:2")
GOOD_NAMES = [
    "Ada's phone 📱",
    "👩🏽‍🔬".replace("\u200d", ""),
    'she said "hi"',
    "größe (2)",
    "電話",
    "הטלפון",
    "[rules] # = 'x'",
    "a.b-c",
    "x" * 200,
]
BAD_NAMES = [
    "",
    "   ",
    "x" * 201,
    "x" * 100_000,
    "two\nlines",
    "tab\there",
    "nul\0",
    "bell\a",
    "del\x7f",
    "../../etc/passwd",
    "/etc",
    "a/b",
    "C:\\Users",
    "..",
    ".hidden",
    "--help",
    "right\u202eleft",
    "zero\u200bwidth",
    "mark\u200f",
    "line\u2028separator",
    "half \ud83d of an emoji",
]


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_settings_come_back_as_they_were_whatever_the_name(name: str, tmp_path: Path) -> None:
    rules = LearningRules(min_examples=3, quiet_hours="22:00-07:00", busy_load=0.5)
    settings = replace(SETTINGS, name=name, consent=True, rules=rules, store=str(tmp_path / 'a "store" \\ \U0001f600'))
    folder = DeviceFolder.at(tmp_path / "device")
    folder.save(settings)
    assert folder.settings == settings
    assert checked_name(f" {name} ", "device") == name


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_could_mislead_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a device; use 1 to 200 visible") as refused:
        replace(SETTINGS, name=name)
    said = str(refused.value)
    assert said.isascii()
    assert "\n" not in said
    assert len(said) <= 160


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('consent = "false"', "'consent' in .*device.toml should be a valid boolean, not 'false'"),
        ("consent = 1", "should be a valid boolean"),
        ('number = "3"', "should be a valid integer"),
        ("epsilon = nan", "should be a finite number"),
        ("epsilon = -1.0", "epsilon -1 must be 0 or more"),
        ("epsilon = 1979-05-27", "has the date or time 1979-05-27"),
        ("name = []", "should be a valid string"),
        ('name = "a/b"', "cannot name a device"),
        ("consnt = true", "unknown key 'consnt' in .*device.toml; did you mean 'consent'?"),
        ("zzz = true", "unknown key 'zzz' in .*device.toml; known: consent"),
        ("rules.min_example = 3", "unknown key 'min_example' in .*; did you mean 'min_examples'?"),
        ("rules.min_examples = 0", "min_examples must be 1 or more"),
        ('rules.quiet_hours = "late"', "write 22:00-07:00"),
        ("rules = 3", "'rules' in .*device.toml should be"),
        ("consent =", "is not TOML"),
    ],
)
def test_a_settings_file_that_was_edited_wrongly_says_what_to_correct(tmp_path: Path, line: str, why: str) -> None:
    folder = DeviceFolder.at(tmp_path / "device")
    folder.save(SETTINGS)
    key = line.partition("=")[0].strip()
    kept = [
        each
        for each in SETTINGS.to_toml().partition("[rules]")[0].splitlines()
        if each.partition("=")[0].strip() != key
    ]
    (folder.path / "device.toml").write_text("\n".join([*kept, line]), encoding="utf-8")
    with pytest.raises(ConfigError, match=why):
        _ = folder.settings


def test_a_settings_file_that_is_not_text_or_lacks_a_key_is_refused(tmp_path: Path) -> None:
    folder = DeviceFolder.at(tmp_path / "device")
    folder.save(SETTINGS)
    (folder.path / "device.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(ConfigError, match="is not TOML"):
        _ = folder.settings
    (folder.path / "device.toml").write_text('name = "phone"', encoding="utf-8")
    with pytest.raises(ConfigError, match="lacks 'id'; add it"):
        _ = folder.settings


def test_the_command_offers_the_modalities_of_samples() -> None:
    assert device_enroll.MODALITIES == MODALITIES


def test_an_enrolment_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("no certificate", encoding="utf-8")
    for number, (server, why) in enumerate((("http://fleet:1", "in the clear"), ("https://fleet:1", "PEM"))):
        folder = tmp_path / f"device-{number}"
        said = CliRunner().invoke(
            device,
            ["enroll", "--device", str(folder), "--server", server, "--token", "fe_1_2", "--ca", str(authority)],
        )
        assert why in str(said.exception)
        assert not folder.exists()


@pytest.mark.parametrize("command", [["budget"], ["rotate"], ["consent", "--yes"], ["revoke"], ["start"]])
def test_a_command_about_no_device_says_how_to_enrol_and_makes_no_folder(command: list[str], tmp_path: Path) -> None:
    said = CliRunner().invoke(device, [*command, "--device", str(tmp_path / "none")])
    assert "run fedaffect device enroll" in str(said.exception)
    assert not (tmp_path / "none").exists()
