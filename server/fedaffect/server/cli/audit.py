"""`fedaffect audit`: what happened, and whether what is claimed is so."""

from __future__ import annotations

import click

from fedaffect.edge.cli.lazy import LazyGroup


@click.group(
    cls=LazyGroup,
    lazy={
        "verify": ("fedaffect.server.cli.audit_log:verify", "Recompute the audit log's chain: was anything changed?"),
        "head": ("fedaffect.server.cli.audit_log:head", "Print where the log ends, to be kept elsewhere."),
        "list": ("fedaffect.server.cli.audit_log:list_entries", "Show what happened."),
        "privacy": ("fedaffect.simulation.cli.audit_privacy:privacy", "Attack private training: is what it claims so?"),
        "archive": (
            "fedaffect.server.cli.audit_log:archive",
            "Move old entries into a file; the rest stays verifiable.",
        ),
    },
)
def audit() -> None:
    """Check what the fleet's records claim.

    Every act of the fleet leaves an entry in the registry's audit log, chained by hashes: enrolments, revocations,
    rounds, refused updates, rollouts.
    """
