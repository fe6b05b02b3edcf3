"""A PostgreSQL of a system's own: at a Unix socket that only this user may use, on no port at all."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final

from sqlalchemy import URL

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.processes import Child

# Its programs refuse to run as root; Debian's package makes this user for them.
_USER: Final = "postgres"
_ROLE: Final = "fedaffect"
_PORT: Final = 5432
# A socket's address holds 107 bytes, and its name here is .s.PGSQL.5432.
_LONGEST_FOLDER: Final = 107 - len(f"/.s.PGSQL.{_PORT}")
# Enough for one machine; what it keeps for recovery stays within some tens of megabytes.
_SETTINGS: Final = {
    "listen_addresses": "",
    "shared_buffers": "32MB",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    "unix_socket_permissions": "0700",
}


class OwnPostgresql:
    """A cluster of one system.

    Parameters
    ----------
    folder : Path
        Of the system. The cluster lies in it; if this is root, below the home of the user ``postgres``, since that
        user, as whom it then runs, must reach it.

    Raises
    ------
    ConfigError
        If none can run here; the message says why.
    """

    def __init__(self, folder: Path) -> None:
        self._as_root = os.getuid() == 0
        self.folder = _below_home(folder) if self._as_root else folder / "postgresql"
        if len(os.fsencode(self.folder)) > _LONGEST_FOLDER:
            raise ConfigError(f"{self.folder} is too long for a socket; give --folder a shorter path")
        if shutil.which("setpriv") is None:
            raise ConfigError("setpriv is not installed; Debian has it in util-linux")
        self._programs = programs(self.version)
        self._log = folder / "postgresql.log"

    @property
    def url(self) -> str:
        """Of its database, as SQLAlchemy takes it."""
        url = URL.create(
            "postgresql+psycopg", _ROLE, database="postgres", query={"host": str(self.folder), "port": str(_PORT)}
        )
        return url.render_as_string()

    @property
    def version(self) -> str | None:
        """The major version that made the cluster; None where there is none yet."""
        try:
            return (self._data / "PG_VERSION").read_text(encoding="utf-8").strip()
        except OSError:
            return None

    def make(self) -> None:
        """Make the cluster where there is none.

        Raises
        ------
        ConfigError
            If a program that makes it says no.
        """
        if self.version is not None:
            return
        # Only what is whole has the name. That user does all of it: in a folder of theirs, root would follow links.
        partial = self.folder / "data.part"
        self._do("rm", "-rf", "--", str(partial))
        self._do("mkdir", "-p", "-m", "700", "--", str(self.folder))
        told = ("-D", str(partial), "-U", _ROLE, "-A", "peer", "-E", "UTF8", "--locale=C", "--no-instructions")
        self._do(str(self._programs / "initdb"), *told)
        # The kernel says who connects, and this user alone is let in.
        user = pwd.getpwuid(os.getuid()).pw_name
        self._do("tee", str(partial / "pg_hba.conf"), words="local all all peer map=own\n")
        self._do("tee", str(partial / "pg_ident.conf"), words=f'own "{user}" {_ROLE}\n')
        self._do("mv", "-T", "--", str(partial), str(self._data))

    @property
    def child(self) -> Child:
        """Its process, to be started; what connects ends before it does."""
        settings = (part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}"))
        command = (str(self._programs / "postgres"), "-D", str(self._data), "-k", str(self.folder), *settings)
        # Told so, it hangs up on everybody and writes down what it has.
        ending = signal.SIGINT
        return Child("postgresql", (*self._as_user(), *command), {}, self._log, self.folder, ending)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _as_user(self) -> tuple[str, ...]:
        """What begins a command that ends with this process, and as whom it has to run."""
        other = ("--reuid", _USER, "--regid", _USER, "--init-groups") if self._as_root else ()
        return ("setpriv", *other, "--pdeathsig", "INT", "--")

    def _do(self, program: str, *told: str, words: str = "") -> None:
        """Run a program to its end, as whom PostgreSQL has to run, and give it words to read."""
        done = subprocess.run(  # noqa: S603 - PostgreSQL's own, and coreutils
            (*self._as_user(), program, *told), input=words, cwd="/", capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
            raise ConfigError(f"no PostgreSQL: {Path(program).name} says no ({said}); give --database sqlite")


def programs(version: str | None) -> Path:
    """The folder of PostgreSQL's programs, which Debian keeps off the PATH.

    Parameters
    ----------
    version : str or None
        Major version; the newest if None.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    found = {path.parent.parent.name: path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")}
    if (on_path := shutil.which("postgres")) is not None:
        place = Path(on_path).resolve().parent
        said = subprocess.run((on_path, "--version"), capture_output=True, text=True, check=True).stdout  # noqa: S603
        found.setdefault(said.split()[2].partition(".")[0], place)
    if not found:
        raise ConfigError("PostgreSQL is not installed")
    if version is None:
        return found[max(found, key=lambda name: float(name) if name.replace(".", "").isdigit() else 0.0)]
    if version not in found:
        raise ConfigError(
            f"the system's database is of PostgreSQL {version}, and {', '.join(sorted(found))} is here; "
            f"apt-get install postgresql-{version}"
        )
    return found[version]


def _below_home(folder: Path) -> Path:
    """A folder of its own where the user ``postgres`` is at home."""
    try:
        home = Path(pwd.getpwnam(_USER).pw_dir)
    except KeyError:
        raise ConfigError(f"PostgreSQL refuses to run as root, and there is no user {_USER!r}") from None
    name = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:12]
    return home / f"fedaffect-{name}"
