"""The compose file: what Compose takes, commands that there are, and nothing that a container need not have."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.typed_commands import parsed

from fedaffect.edge.errors import ConfigError
from fedaffect.server.demo.machines import Machine, wait_until
from fedaffect.server.demo.postgresql import OwnPostgresql
from fedaffect.server.registry import Registry, RegistryUnavailable

FOLDER = Path(__file__).parents[2] / "deploy" / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_compose_takes_it() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    if not checker.exists():
        pytest.skip("check-jsonschema is not installed; pip install '.[deploy-test]'")
    checked = (checker, "--builtin-schema", "vendor.compose-spec", FOLDER / "compose.yaml")
    done = subprocess.run(checked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", [name for name, one in SERVICES.items() if one["image"].startswith("fedaffect/")])
def test_each_command_of_ours_is_one(name: str) -> None:
    words = [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", word) for word in SERVICES[name]["command"]]
    assert parsed(words).command.name in {"serve", "init", "up", "start"}


@pytest.mark.parametrize("name", SERVICES)
def test_each_container_has_what_it_needs_and_no_more(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["deploy"]["resources"]["limits"]["memory"]
    assert set(service["profiles"]) <= {"cloud", "fleet", "observe", "device"}
    # Its own, or the one of our images.
    assert "healthcheck" in service or service["image"].startswith("fedaffect/")
    assert not service["image"].endswith(":latest")
    assert ":" in service["image"].rpartition("/")[2]
    for mount in service.get("volumes", ()):
        source = mount.partition(":")[0]
        assert source in COMPOSE["volumes"] or (FOLDER / source).parent.is_dir()


def test_secrets_are_files() -> None:
    for name, service in SERVICES.items():
        for variable, value in (service.get("environment") or {}).items():
            if re.search("PASSWORD|TOKEN|KEY|SECRET", variable):
                assert variable.endswith(("_FILE", "__FILE")), name
                assert value.startswith("/run/secrets/"), name
            assert not re.search(r"://[^@/]*:[^@/]*@", value), f"{name} has a password in {variable}"
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
    # Nobody but the database and the servers is where the database is.
    assert {name for name, one in SERVICES.items() if "registry" in one["networks"]} == {
        *("postgres", "inference", "fleet-made", "fleet"),
    }
    assert COMPOSE["networks"]["registry"] == {"internal": True}


def test_the_script_writes_every_secret_once(tmp_path: Path) -> None:
    script = shutil.copy(FOLDER / "secrets.sh", tmp_path)
    subprocess.run((script,), check=True)
    for secret in COMPOSE["secrets"].values():
        assert (tmp_path / secret["file"]).is_file()
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    password = (tmp_path / "secrets" / "postgres-password").read_text(encoding="utf-8")
    assert len(password) == 48
    assert f"password={password}\n" in (tmp_path / "secrets" / "registry.conf").read_text(encoding="utf-8")
    subprocess.run((script,), check=True)
    assert (tmp_path / "secrets" / "postgres-password").read_text(encoding="utf-8") == password


@pytest.mark.fleet
def test_the_registry_is_found_by_the_address_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        own = OwnPostgresql(tmp_path)
    except ConfigError as error:
        pytest.skip(str(error))
    machine = Machine(tmp_path / "machine")
    (tmp_path / "registry").write_text(
        f"[registry]\nhost={own.folder}\nuser=fedaffect\ndbname=postgres\n", encoding="utf-8"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "registry"))
    (url,) = {
        one["environment"]["FEDAFFECT_REGISTRY"] for one in SERVICES.values() if "fedaffect/server" in one["image"]
    }

    def opens() -> bool:
        try:
            Registry.open(url).close()
        except RegistryUnavailable:
            return False
        return True

    try:
        own.make()
        machine.keeps(own.child)
        wait_until(opens, "PostgreSQL", machine.require_running)
    finally:
        machine.stop()
        shutil.rmtree(own.folder)
