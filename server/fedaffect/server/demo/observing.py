"""Prometheus and Grafana beside a system, where they are installed: figures of server and fleet, kept and drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fedaffect.edge.system.processes import Child

_KEPT_TIME, _KEPT_SIZE = "15d", "256MB"
# Of a clone; an installation has none.
_ALERTS: Final = Path(__file__).parents[4] / "deploy" / "observability" / "alerts.yml"
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
        f"--web.listen-address=127.0.0.1:{port}",
    )
    return Child("prometheus", (*_TIED, *command), {}, folder / "prometheus.log", folder)
