"""Errors that say what is wrong and what to do about it, in one line."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Final


class FedAffectError(Exception):
    """Root of every error that a user can fix; the command prints it and exits with 2.

    The tree, each with the room that raises it::

        FedAffectError
        ├── ConfigError                   edge        a setting is unknown or out of range
        ├── DataError                     edge        a corpus, clip or feature file cannot be read
        ├── BundleError                   edge        a bundle is missing, damaged or does not fit
        ├── TrainingError                 edge        learning cannot go on
        │   ├── RoundFailedError          server      nothing that a round's clients sent can be used
        │   │   └── AttemptFailedError    server      an attempt at a secure sum failed
        │   └── RoundAbandonedError       server      a secure round found too few clients
        ├── RunError                      edge        a run folder is missing or belongs to other settings
        │   └── LostTooMuch               server      a run costs those on its guard more than it may
        ├── StoreError                    edge        the device's journal cannot be read or written
        │   └── QueueFull                 edge
        ├── CloudError                    edge        the cloud does not answer, or refuses
        │   ├── CloudUnreachable          edge
        │   ├── CloudTimeout              edge
        │   ├── CloudRefused              edge
        │   ├── CloudBusy                 edge
        │   └── CloudGarbage              edge
        ├── SecAggError                   client      a message of secure aggregation is refused
        │   └── NotSignedError            client
        ├── CertificateError              client      a certificate is none of a device of this fleet
        ├── BudgetError                   client      the device's budget of privacy is spent
        ├── DeviceRefusedError            client      the fleet refuses this device
        │   └── DeviceRevokedError        client
        ├── MisfitError                   client      a round that a device's examples do not fit
        ├── ServiceAway                   client      the fleet does not answer now
        │   ├── DeviceClockError          client
        │   └── DeviceWaitingError        client
        ├── UpdateRejectedError           server      a client's update is not let in
        ├── ServingError                  server      the cloud refuses a request
        │   ├── InvalidRequest            server
        │   │   └── NothingToGoBy         server
        │   ├── RequestTooLarge           server
        │   ├── Unauthenticated           server
        │   │   ├── LoginNeeded           server      the page asks for somebody with an account
        │   │   ├── LoginExpired          server
        │   │   └── LoginRefused          server
        │   ├── Forbidden                 server
        │   ├── NotFound                  server
        │   ├── Conflict                  server
        │   ├── Overloaded                server
        │   ├── Unavailable               server
        │   │   └── RegistryUnavailable   server
        │   │       ├── RegistryFull      server
        │   │       └── RegistryGone      server
        │   ├── DeadlinePassed            server
        │   ├── UnsupportedMedia          server
        │   ├── TooSlow                   server
        │   └── RangeNotSatisfiable       server
        ├── RegistryError                 server      the registry refuses, or cannot be reached
        │   ├── UnknownRun                server
        │   ├── RunConflict               server
        │   ├── DeviceRefused             server
        │   ├── EnrolmentRefused          server
        │   ├── KeyRefused                server
        │   ├── LeaseHeld                 server
        │   ├── LeaseLost                 server
        │   ├── UpdateRefused             server
        │   │   ├── DuplicateUpdate       server
        │   │   ├── WrongRound            server
        │   │   ├── WrongModel            server
        │   │   └── NotAsked              server
        │   ├── LedgerConflict            server
        │   ├── RolloutConflict           server
        │   ├── AuditBroken               server
        │   └── BackupError               server      a backup cannot be made or read back
        ├── FleetError                    server      a fleet's folder or run is not what it should be
        │   ├── RunDamaged                server
        │   ├── NobodyLearned             server      a run is over and no device's update is in its model
        │   ├── TooFewDevices             server      a run has waited for devices for as long as it was to
        │   ├── RegionError               server      a region cannot carry an order of its root out
        │   ├── TooManyRequests           server
        │   ├── DeviceWaiting             server
        │   └── NotAuthorised             server
        │       ├── ClockOff              server
        │       └── DeviceRevoked         server
        ├── SuperLinkAway                 server      Flower's SuperLink does not answer now
        └── RefutedClaimError             simulation  a privacy audit found more than was claimed
    """


class ConfigError(FedAffectError):
    """A setting is unknown, out of range, or contradicts another."""


class DataError(FedAffectError):
    """A corpus, clip or feature file is missing, truncated or not what it should be."""


class BundleError(FedAffectError):
    """A bundle or one of its encoders is missing, damaged or does not fit."""


class TrainingError(FedAffectError):
    """Learning cannot go on: a loss that is not a number, no client answered."""


class RunError(FedAffectError):
    """A run folder is missing, belongs to other settings, or cannot be written."""


# Of an error that lists every name there is; longer ones are cut to a line.
_LIST: Final = 290
_LINE: Final = 160


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like one that was asked for, whatever its case; None where none is near.

    Parameters
    ----------
    name : str
    known : iterable of str
    """
    by_lower = {one.lower(): one for one in known}
    close = get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None


def unknown_name(kind: str, name: str, known: Iterable[str], see: str = "") -> ConfigError:
    """An error for a name that is not registered, listing those that are.

    Parameters
    ----------
    kind : str
        What was looked up, in the singular: ``"strategy"``.
    name : str
        What was asked for.
    known : iterable of str
        What exists.
    see : str
        Command that lists them, so that a line need not.
    """
    names = sorted(known)
    close = nearest(name, names)
    hint = f"did you mean {close!r}? " if close else ""
    listed = ", ".join(names) or "none"
    line = f"unknown {kind} {name!r}; {hint}known: "
    more = f"; see {see}" if see else ""
    if len(line + listed + more) > (_LINE if see else _LIST):
        # Only whole names, and as many as the line holds.
        listed = f"{listed[: max(0, _LINE - len(line + more) - 5)].rpartition(', ')[0]}, ...".removeprefix(", ")
    return ConfigError(line + listed + more)


def at(path: Path | str, line: int | None = None) -> str:
    """``file:line`` for error messages.

    Parameters
    ----------
    path : Path or str
        The file.
    line : int, optional
        Its line, counted from 1 as an editor shows it.
    """
    return f"{path}:{line}" if line is not None else f"{path}"
