"""When, where and how fast a run happens, and what it leaves."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, Literal

from pydantic import field_validator

from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.settings.fields import Folder, Options, Section, Text, options, setting

_NAME: Final = re.compile(r"(?!\.)[^/\\]{1,128}")
# Bytes, of the file systems in use.
_LONGEST_NAME: Final = 255


class Time(Section):
    """Time: stragglers, dropouts, no rounds at all."""

    over_selection: float = setting(
        "Ask X times as many clients as a round needs.", default=1.0, metavar="X", usual="1.3", ge=1, le=10
    )
    deadline_s: float | None = setting(
        "Seconds after which a round goes on without the late.",
        default=None,
        metavar="X",
        unit="s",
        otherwise="none",
        gt=0,
    )
    buffer_size: int = setting(
        "Updates that make a version of --mode async.", default=10, metavar="K", unit="updates", ge=1
    )
    concurrency: int | None = setting(
        "Clients of --mode async that train at once.", default=None, metavar="N", otherwise="those of a round", ge=1
    )
    trace: Text | None = setting(
        "How long devices take: simulated, not waited for.",
        default=None,
        metavar="devices|FILE.csv",
        otherwise="none",
    )
    trace_options: Options = options("Such as dropout=0.1; repeatable.")
    round_timeout_s: float = setting(
        "How long a round waits for its clients.", default=3600.0, metavar="X", unit="s", gt=0
    )
    max_failed_share: float | None = setting(
        "A round in which more clients fail stops the run.",
        default=None,
        metavar="P",
        unit="share of clients",
        otherwise="0.1; 1 in a fleet",
        ge=0,
        le=1,
    )


class Engine(Section):
    """Engine: what runs the clients."""

    engine: Literal["ray", "flower"] = setting(
        "Resident Ray actors, or Flower's own engine.", default="ray", metavar="ray|flower"
    )
    actors: int | None = setting("Ray actors.", default=None, metavar="N", otherwise="one a core", ge=1)
    gpus_per_actor: float = setting(
        "Share of a GPU for each actor of --engine ray.", default=0.0, metavar="X", unit="GPUs", ge=0
    )
    cohort_size: int | None = setting(
        "Clients that an actor trains at once.", default=None, metavar="N", otherwise="64 on a GPU, else 1", ge=1
    )
    regions: int | None = setting(
        "Regional aggregators: each passes one sum of its clients up.",
        default=None,
        metavar="N",
        otherwise="none",
        ge=2,
    )
    ray_address: str | None = setting(
        "A Ray cluster instead of this machine.", default=None, metavar="ADDRESS", otherwise="this machine"
    )


class Output(Section):
    """Run folder."""

    out: Folder = setting("Where run folders lie: the run lands in DIR/NAME.", default=Path("runs"), metavar="DIR")
    name: str | None = setting(
        "Name of the run folder.", default=None, metavar="NAME", common=True, otherwise="made from the settings"
    )
    keep_checkpoints: Literal["all", "last"] = setting(
        "'last' keeps only the newest and the best checkpoint.", default="all", metavar="all|last"
    )

    @field_validator("name")
    @classmethod
    def _name_is_a_folder_name(cls, name: str | None) -> str | None:
        if name is not None and not (_NAME.fullmatch(name) and name == name.strip() and name.isprintable()):
            raise ConfigError(
                f"--name {name[:40]!r} is not a folder name of 1 to 128 characters that begins with no dot; choose the "
                "place with --out"
            )
        return name

    @field_validator("out")
    @classmethod
    def _out_can_be_a_folder(cls, out: Path) -> Path:
        if "\0" in str(out) or any(len(os.fsencode(part)) > _LONGEST_NAME for part in out.parts):
            raise ConfigError(f"--out {str(out)[:80]!r} cannot be a folder; give one of at most 255 bytes a name")
        return out
