"""Errors that say what is wrong and what to do about it, in one line."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class FedAffectError(Exception):
    """Root of every error that a user can mend; the command prints it and exits with 2."""


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


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """An error for a name that is not registered, listing those that are.

    Parameters
    ----------
    kind : str
        What was looked up, in the singular: ``"strategy"``.
    name : str
        What was asked for.
    known : iterable of str
        What exists.
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return ConfigError(f"unknown {kind} {name!r}; {hint}known: {', '.join(names) or 'none'}")


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
