"""What keeps a server from working, looked at when asked: one list for its start, doctor and probes.

`fedaffect up`, `fleet up` and `server serve` ask before anything starts and end over what is missing, `fedaffect
doctor` says all of it, and `/readyz` looks again while the server runs. No finding names a database's address or a
folder: probes answer anybody.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.system.findings import Finding
from fedaffect.server.registry import Registry, RegistryUnavailable
from fedaffect.server.registry.transactions import database_now

# From here on a certificate that is about to end is spoken of.
SOON: Final = timedelta(days=30)
# Devices' requests count for 300 s.
_CLOCKS_APART_S: Final = 60.0


def validity(certificate: Path) -> tuple[datetime, datetime]:
    """From when until when the certificate in a PEM file is valid, in UTC."""
    read = x509.load_pem_x509_certificate(certificate.read_bytes())
    return read.not_valid_before_utc, read.not_valid_after_utc


def certificate(path: Path, what: str, mend: str) -> Finding:
    """Whether a certificate lasts, by this machine's clock.

    Parameters
    ----------
    path : Path
        PEM.
    what : str
    mend : str
        What renews it.
    """
    try:
        begins, ends = validity(path)
    except (OSError, ValueError) as error:
        return Finding(what, "missing", f"{path.name} cannot be read ({_reason(error)})", mend)
    now = datetime.now(UTC)
    if now < begins:
        made = f"made {begins:%Y-%m-%d %H:%M}, and this machine's clock says {now:%Y-%m-%d %H:%M}"
        return Finding(what, "missing", made, "set the clock: timedatectl set-ntp true")
    if now >= ends:
        return Finding(what, "missing", f"ended {ends:%Y-%m-%d}, so nobody trusts it", mend)
    says = f"ends {ends:%Y-%m-%d}, in {(ends - now).days} days"
    return Finding(what, "warning", says, mend) if ends - now < SOON else Finding(what, "good", says)


def _reason(error: OSError | ValueError) -> str:
    """Without a path: probes answer anybody."""
    return error.strerror or "unknown" if isinstance(error, OSError) else "no certificate in PEM"


def port(host: str, number: int, what: str, mend: str) -> Finding:
    """Whether a server could listen at a port.

    Parameters
    ----------
    host : str
        Address that is about to be listened at; empty for all.
    number : int
    what : str
        Is about to listen.
    mend : str
        What gives it another port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, number), family=family).close()
    except OSError as error:
        says = f"cannot be listened at ({error.strerror})"
        return Finding(f"port {number}", "missing", says, f"stop what is there (fuser {number}/tcp), or {mend}")
    return Finding(f"port {number}", "good", f"is free for {what}")


def tables(registry: Registry) -> Finding:
    """Whether a registry that answers has the tables of this program.

    Raises
    ------
    RegistryUnavailable
        If it does not answer.
    """
    here, wanted = registry.revisions()
    if not here:
        return Finding("registry", "warning", "has no tables yet", "the first server that starts makes them")
    if here == wanted:
        return Finding("registry", "good", f"answers, revision {here}")
    return Finding(
        "registry",
        "missing",
        f"has tables of revision {here}, this program works with {wanted}",
        "back it up, then start the newest version of the two programs, which migrates it",
    )


def clocks(registry: Registry) -> Finding:
    """Whether this machine's clock and the database's agree.

    Raises
    ------
    RegistryUnavailable
        If it does not answer.
    """
    with registry.reading() as session:
        apart_s = abs((database_now(session) - datetime.now(UTC)).total_seconds())
    if apart_s > _CLOCKS_APART_S:
        says = f"this machine's and the database's are {apart_s:.0f} s apart"
        return Finding("clock", "missing", says, "set both: timedatectl set-ntp true")
    return Finding("clock", "good", f"agrees with the database's within {apart_s:.1f} s")


def database(url: str | None) -> Iterator[Finding]:
    """Whether a database answers, with the tables of this program, and its clock agrees with ours; changes nothing."""
    try:
        with Registry.connect(url) as registry:
            yield tables(registry)
            yield clocks(registry)
    except FedAffectError as error:
        yield Finding("registry", "missing", str(error), "start the database, or name another with --registry")


def database_to_start_on(url: str | None) -> Iterator[Finding]:
    """As `database`, its tables brought to their newest form before; one that is away is waited for later.

    Raises
    ------
    ConfigError
        If a newer version of this program made its tables.
    """
    try:
        with Registry.open(url) as registry:
            yield clocks(registry)
    except RegistryUnavailable:
        yield Finding("registry", "good", "does not answer yet, and is waited for")


def gpu(device: str = "cuda") -> Finding:
    """Whether the GPU that a server was told to compute on is there; torch is imported for it."""
    import torch

    try:
        # What is not asked for is not looked for.
        wanted = torch.device(device)
    except RuntimeError:
        return Finding("device", "missing", f"{device!r} is not one", "use cpu, cuda or cuda:0")
    if wanted.type != "cuda":
        return Finding("device", "good", str(wanted))
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count > (wanted.index or 0):
        return Finding("GPU", "good", torch.cuda.get_device_name(wanted))
    built = "torch is built for CUDA" if torch.version.cuda else "torch is a CPU build"
    mend = "leave --device away to compute on the CPU; nvidia-smi shows what the driver sees"
    return Finding("GPU", "missing", f"{count} are seen here, and {wanted} is wanted ({built})", mend)
