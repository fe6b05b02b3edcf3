"""Strategies, models, corpora, partitioners and algorithms by name: our own, those of packages, and given objects.

A package adds one by an entry point; a caller of Python offers an object for as long as a run takes, and it goes by
a name that begins with ``@``. docs/plugins.md is the contract of each kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Generic, TypeAlias, TypeVar

from fedaffect.edge.errors import ConfigError, unknown_name

T = TypeVar("T")

# Objects by the group that an entry point would stand in, and the name that they go by.
Offer: TypeAlias = Mapping[tuple[str, str], Any]

MARK = "@"
_offered: ContextVar[Offer] = ContextVar("fedaffect_offered", default=MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Plugins(Generic[T]):
    """One kind of thing that is looked up by name.

    Parameters
    ----------
    kind : str
        For error messages, in the singular: ``"strategy"``.
    group : str
        Entry-point group under which packages add theirs.
    own : mapping of str to T
        Those that come with fedaffect; nothing of the same name replaces one.
    fits : callable
        Whether an object is one of this kind.
    contract : str
        What it has to be, for the error of one that is not.
    see : str
        Command that lists them all, where there is one.
    """

    kind: str
    group: str
    own: Mapping[str, T]
    fits: Callable[[Any], bool]
    contract: str
    see: str = ""

    def names(self) -> list[str]:
        """Names of our own, and after them of those that installed packages add."""
        return [*self.own, *(point.name for point in self._points() if point.name not in self.own)]

    def find(self, name: str) -> T:
        """The one of that name.

        Raises
        ------
        ConfigError
            If there is none, listing those that exist, or it is not what the contract says.
        """
        if name in self.own:
            return self.own[name]
        if name.startswith(MARK):
            return self._given(name)
        point = next((point for point in self._points() if point.name == name), None)
        if point is None:
            raise unknown_name(self.kind, name, self.names(), self.see)
        try:
            found = point.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"{self.kind} {name!r} of {point.value} cannot be imported ({error}); install its package again"
            ) from error
        return self.checked(found, f"{self.kind} {name!r} of {point.value}")

    def checked(self, found: Any, what: str) -> T:
        """An object that fits; ConfigError says what the contract is where it does not."""
        if not self.fits(found):
            raise ConfigError(f"{what} is not {self.contract}; docs/plugins.md has the contract")
        checked: T = found
        return checked

    def _given(self, name: str) -> T:
        try:
            given: T = _offered.get()[self.group, name]
        except KeyError as error:
            raise ConfigError(
                f"{self.kind} {name} is a Python object that the run was given; pass the object again to "
                f"fedaffect.simulate, with resume= to go on"
            ) from error
        return given

    def _points(self) -> Iterator[EntryPoint]:
        yield from entry_points(group=self.group)


def offered() -> Offer:
    """The objects on offer here, to be taken along into another thread or process."""
    return _offered.get()


def offer(objects: Offer) -> None:
    """Let objects be found by name from now on: in a process that works for one run."""
    _offered.set(MappingProxyType({**_offered.get(), **objects}))


@contextmanager
def offering(objects: Offer) -> Iterator[None]:
    """Let objects be found by name for a while, beside those on offer already."""
    token = _offered.set(MappingProxyType({**_offered.get(), **objects}))
    try:
        yield
    finally:
        _offered.reset(token)


def name_of(given: Any) -> str:
    """The name that an object goes by, after where it is defined: ``@my_experiment.median``."""
    defined = given if hasattr(given, "__qualname__") else type(given)
    return f"{MARK}{defined.__module__}.{defined.__qualname__}".replace("<", "").replace(">", "")
