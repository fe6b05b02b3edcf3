"""Prometheus and Grafana beside a system, where they are installed: figures of server and fleet, kept and drawn."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from configparser import RawConfigParser
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from shutil import which
from typing import Any, Final

from fedaffect.edge.system.files import write_private
from fedaffect.edge.system.processes import Child

_KEPT_TIME, _KEPT_SIZE = "15d", "256MB"
# Of a clone; an installation has none.
_CLONE: Final = Path(__file__).parents[4] / "deploy" / "observability"
_ALERTS, _DASHBOARDS = _CLONE / "alerts.yml", _CLONE / "dashboards"
# Where packages put Grafana's own files; an archive has them beside `bin`.
_GRAFANA_HOMES: Final = (Path("/usr/share/grafana"), Path("/usr/local/share/grafana"))
_LOOPBACK: Final = "127.0.0.1"
# What its dashboards' queries are asked from, as the compose file calls it.
_SOURCE: Final = "prometheus"
# What ends with this process.
_TIED: Final = ("setpriv", "--pdeathsig", "TERM", "--")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What Prometheus asks for figures.

    Parameters
    ----------
    job : str
        As its figures are labelled.
    address : str
        ``HOST:PORT``.
    authority : Path, optional
        PEM that vouches for it; asked in the clear if not given.
    token : Path, optional
        File of the token that it wants.
    """

    job: str
    address: str
    authority: Path | None = None
    token: Path | None = None

    @property
    def config(self) -> dict[str, Any]:
        """As Prometheus's configuration has it."""
        secured = {"scheme": "https", "tls_config": {"ca_file": str(self.authority)}} if self.authority else {}
        known = {"authorization": {"credentials_file": str(self.token)}} if self.token else {}
        return {"job_name": self.job, "static_configs": [{"targets": [self.address]}], **secured, **known}


def prometheus(folder: Path, port: int, targets: Sequence[Target]) -> Child:
    """The process of a Prometheus with a configuration of its own; to be started where `shutil.which` finds it.

    Parameters
    ----------
    folder : Path
        Holds configuration, log and figures of fifteen days or 256 MB.
    port : int
        Of 127.0.0.1.
    targets : sequence of Target
        Their jobs are called as alerts and dashboards call them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
        "rule_files": [str(_ALERTS)] if _ALERTS.is_file() else [],
        "scrape_configs": [target.config for target in targets],
    }
    # JSON is YAML.
    (folder / "prometheus.yml").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    command = (
        *("prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'figures'}"),
        *(f"--storage.tsdb.retention.time={_KEPT_TIME}", f"--storage.tsdb.retention.size={_KEPT_SIZE}"),
        f"--web.listen-address={_LOOPBACK}:{port}",
    )
    return Child("prometheus", (*_TIED, *command), {}, folder / "prometheus.log", folder)


def grafana_here() -> str | None:
    """The program of a Grafana that is installed."""
    return which("grafana") or which("grafana-server")


def grafana(program: str, folder: Path, port: int, prometheus_url: str) -> Child:
    """The process of a Grafana that draws our dashboards for all who reach this machine's own address.

    Nobody logs in: who looks is a viewer, and changes nothing. It asks nothing of its makers and fetches no plug-ins.

    Parameters
    ----------
    program : str
        From `grafana_here`.
    folder : Path
        Holds settings, log and its database.
    port : int
        Of 127.0.0.1.
    prometheus_url : str
        Where the figures are.
    """
    provisioning = folder / "provisioning"
    source = {"name": "Prometheus", "type": "prometheus", "uid": _SOURCE, "url": prometheus_url, "isDefault": True}
    provider = {"name": "fedaffect", "type": "file", "options": {"path": str(_DASHBOARDS)}}
    provided: dict[str, dict[str, Any]] = {
        "datasources": {"datasources": [source]},
        "dashboards": {"providers": [provider] if _DASHBOARDS.is_dir() else []},
        # It logs errors where these are not there.
        "plugins": {"apps": []},
        "alerting": {},
    }
    for kind, what in provided.items():
        (provisioning / kind).mkdir(parents=True, exist_ok=True)
        # JSON is YAML.
        text = json.dumps({"apiVersion": 1, **what}, indent=2)
        (provisioning / kind / "fedaffect.yaml").write_text(text + "\n", encoding="utf-8")
    settings = folder / "grafana.ini"
    # Private for a password that nobody needs: without one of its own, it would be the usual one.
    write_private(settings, _grafana_settings(folder, port).encode(), replace=True)
    home = _grafana_home(Path(program))
    command = (
        *((program, "server") if Path(program).name == "grafana" else (program,)),
        *(("--homepath", str(home)) if home is not None else ()),
        *("--config", str(settings)),
    )
    return Child("grafana", (*_TIED, *command), {}, folder / "grafana.log", folder)


def _grafana_settings(folder: Path, port: int) -> str:
    off, on = "false", "true"
    made = RawConfigParser()
    made.read_dict(
        {
            "paths": {
                "data": str(folder / "grafana"),
                "logs": str(folder / "grafana" / "log"),
                "plugins": str(folder / "grafana" / "plugins"),
                "provisioning": str(folder / "provisioning"),
            },
            # Under another name it would answer pages that a browser was led to by a name of theirs.
            "server": {"http_addr": _LOOPBACK, "http_port": port, "domain": _LOOPBACK, "enforce_domain": on},
            "auth": {"disable_login_form": on},
            "auth.basic": {"enabled": off},
            "auth.anonymous": {"enabled": on, "org_role": "Viewer"},
            "users": {"allow_sign_up": off},
            "security": {"admin_password": secrets.token_urlsafe(24), "disable_gravatar": on},
            "analytics": {
                **{"reporting_enabled": off, "check_for_updates": off, "check_for_plugin_updates": off},
                "feedback_links_enabled": off,
            },
            "news": {"news_feed_enabled": off},
            "plugins": {"plugin_admin_enabled": off, "preinstall_disabled": on},
            "snapshots": {"external_enabled": off},
            "log": {"mode": "console"},
        }
    )
    if (first := _DASHBOARDS / "serving.json").is_file():
        made["dashboards"] = {"default_home_dashboard_path": str(first)}
    text = StringIO()
    made.write(text)
    return text.getvalue()


def _grafana_home(program: Path) -> Path | None:
    beside = program.resolve().parents[1]
    for home in (beside, beside / "share" / "grafana", *_GRAFANA_HOMES):
        if (home / "conf" / "defaults.ini").is_file():
            return home
    # It says itself what it lacks.
    return None
