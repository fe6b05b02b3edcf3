"""Keeps actors busy: hands out chunks of clients, replaces actors that die, repeats what they had not delivered."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, cast

import ray
from numpy.typing import NDArray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import RayError, RayTaskError

from fedaffect.client.flower_compat.names import ErrorCode
from fedaffect.edge.errors import ConfigError
from fedaffect.simulation.grid.greeting import Hello
from fedaffect.simulation.grid.hosts import Answer, Hosts

if TYPE_CHECKING:
    from fedaffect.client.layout import ArrayLayout

# Calls waiting at each actor, the one it works on included: it never waits for a driver that looks again and again.
AHEAD = 2

Sums: TypeAlias = dict[str, dict[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Clients that one call answers for.

    Parameters
    ----------
    key : str
        The request they answer.
    request : ObjectRef[Any]
        It, in Ray's object store.
    partial : bool
        Whether their arrays stay in the actor, summed, until collected.
    clients : tuple of int
        Partition ids.
    attempts : int
        Actors that died on it so far.
    """

    key: str
    request: ObjectRef[Any]
    partial: bool
    clients: tuple[int, ...]
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Delivery(Generic[Answer]):
    """Answers that are final.

    Parameters
    ----------
    key : str
        The request that they answer.
    outcomes : tuple of Answer
        One a client.
    layout : ArrayLayout, optional
        How to read the outcomes' vectors, where they have any.
    sums : dict
        Summed arrays of exactly these outcomes; empty where nothing was summed.
    """

    key: str
    outcomes: tuple[Answer, ...]
    layout: ArrayLayout | None = None
    sums: Sums = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _Seat(Generic[Answer]):
    """An actor and what it owes. Calls are answered in the order they were made."""

    actor: ActorHandle[Any]
    # What it does before it can work; None once it can.
    starting: ObjectRef[Any] | None
    hello: Hello | None = None
    failed_starts: int = 0
    calls: deque[tuple[ObjectRef[Any], Chunk | None]] = field(default_factory=deque)
    # Summed and not collected: lost with the actor.
    summed: list[Chunk] = field(default_factory=list)
    outcomes: list[Answer] = field(default_factory=list)
    sum_key: str | None = None

    def may_take(self, chunk: Chunk, ahead: int) -> bool:
        """Whether it can work, has fewer calls than that, and neither these clients nor those it has must be alone."""
        if self.starting is not None or len(self.calls) >= ahead:
            return False
        owed = (*self.summed[:1], *(called for _, called in self.calls if called is not None))
        return not owed or not (chunk.attempts or owed[0].attempts)


class Dispatcher(Generic[Answer]):
    """Runs chunks on a fixed number of actors.

    Sums stay in an actor until no more clients of that request wait, so that a round costs one transfer an
    actor however finely its clients were divided. Nothing of a sum counts before it was collected: a dead
    actor takes its sum along, and all clients in it are trained again, which gives the same arrays, since an
    update is a pure function.

    Which of an actor's calls took it down is not known for sure: an answer may be lost with the process that gave it.
    So the clients of the oldest call are suspects, and from then on each is asked alone, of an actor that owes nothing
    else: who takes that one down shares the blame with nobody.

    An actor gets work once it has said where it runs and has what it needs there: those for which Ray has no room yet
    keep nobody waiting. A machine that leaves takes its actors along; their clients are tried again elsewhere, which
    counts against nobody.

    Parameters
    ----------
    hosts : Hosts
        Opens actors.
    actors : int
        How many.
    attempts : int
        How many actors a client may take down before it counts as failed.
    """

    def __init__(self, hosts: Hosts[Answer], actors: int, attempts: int = 3) -> None:
        self._hosts = hosts
        self._attempts = attempts
        self._seats: list[_Seat[Answer]] = []
        self._waiting: deque[Chunk] = deque()
        self._ahead = AHEAD
        self.replaced = 0
        self.grow(actors)

    @property
    def busy(self) -> bool:
        """Whether any chunk is waiting or under way."""
        return bool(self._waiting) or any(seat.calls for seat in self._seats)

    @property
    def ready(self) -> int:
        """Actors that can work now."""
        return sum(seat.starting is None for seat in self._seats)

    @property
    def actors(self) -> int:
        """All, also those that cannot work yet."""
        return len(self._seats)

    def grow(self, actors: int) -> None:
        """Open more actors until there are so many."""
        self._seats += [_Seat(*self._hosts.open()) for _ in range(actors - len(self._seats))]

    def submit(self, chunks: Sequence[Chunk], ahead: int = AHEAD) -> None:
        """Queue chunks; the first are taken first.

        Parameters
        ----------
        chunks : sequence of Chunk
        ahead : int
            Calls that wait at each actor from now on; the more, the longer it works while nobody polls.
        """
        self._ahead = ahead
        self._waiting.extend(chunks)
        self._hand_out()

    def withdraw(self, key: str) -> list[int]:
        """Forget what waits of a request; what is under way is still delivered.

        Returns
        -------
        list of int
            Clients that will not be answered.
        """
        gone = [client for chunk in self._waiting if chunk.key == key for client in chunk.clients]
        self._waiting = deque(chunk for chunk in self._waiting if chunk.key != key)
        self._hand_out()
        return gone

    def poll(self, timeout_s: float | None) -> list[Delivery[Answer]]:
        """Wait until something happens, at most so long, and return what became final.

        Parameters
        ----------
        timeout_s : float, optional
            None waits for the next call to end.
        """
        calls = [ref for seat in self._seats for ref, _ in seat.calls]
        calls += [seat.starting for seat in self._seats if seat.starting is not None]
        if not calls:
            return []
        if not ray.wait(calls, num_returns=1, timeout=timeout_s, fetch_local=False)[0]:
            return []
        ready = set(ray.wait(calls, num_returns=len(calls), timeout=0, fetch_local=False)[0])
        deliveries: list[Delivery[Answer]] = []
        for seat in self._seats:
            if seat.starting in ready:
                self._go_on_starting(seat)
            while seat.calls and seat.calls[0][0] in ready:
                deliveries += self._finish_call(seat)
        self._hand_out()
        return deliveries

    def close(self) -> None:
        """End all actors; what was under way is lost."""
        self._waiting.clear()
        # Where Ray is gone already, so are they; asking it would start another.
        for seat in self._seats if ray.is_initialized() else ():
            ray.kill(seat.actor)
        self._seats = []

    def _hand_out(self) -> None:
        # One call each in turn, so that the front of the queue, the heavy chunks, is spread over all.
        for depth in range(1, self._ahead + 1):
            if not self._waiting:
                break
            for seat in self._seats:
                if self._waiting and seat.may_take(self._waiting[0], depth):
                    self._call(seat, self._waiting.popleft())
        # A suspect waits for an actor without sums.
        alone = bool(self._waiting and self._waiting[0].attempts)
        waiting = set() if alone else {chunk.key for chunk in self._waiting}
        for seat in self._seats:
            if seat.sum_key is not None and seat.sum_key not in waiting:
                self._collect(seat)

    def _call(self, seat: _Seat[Answer], chunk: Chunk) -> None:
        if seat.sum_key is not None and chunk.key != seat.sum_key:
            self._collect(seat)
        seat.calls.append((self._hosts.ask(seat.actor, cast(Hello, seat.hello), chunk), chunk))
        if chunk.partial:
            seat.sum_key = chunk.key
            if chunk.attempts:
                # Others' sums must not be lost with it, nor it be blamed for others.
                self._collect(seat)

    def _collect(self, seat: _Seat[Answer]) -> None:
        seat.calls.append((seat.actor.collect.remote(seat.sum_key), None))
        seat.sum_key = None

    def _finish_call(self, seat: _Seat[Answer]) -> list[Delivery[Answer]]:
        ref, chunk = seat.calls[0]
        try:
            answer = ray.get(ref)
        except RayError as error:
            return self._replace(seat, error)
        seat.calls.popleft()
        if chunk is None:
            return [self._delivery_of_sums(seat, answer)]
        outcomes, layout = answer
        self._hosts.answers[cast(Hello, seat.hello).address] += len(outcomes)
        if chunk.partial:
            seat.summed.append(chunk)
            seat.outcomes += outcomes
            return []
        return [Delivery(chunk.key, tuple(outcomes), layout)]

    def _delivery_of_sums(self, seat: _Seat[Answer], sums: Sums) -> Delivery[Answer]:
        delivery = Delivery(seat.summed[0].key, tuple(seat.outcomes), sums=sums)
        seat.summed, seat.outcomes = [], []
        return delivery

    def _go_on_starting(self, seat: _Seat[Answer]) -> None:
        """An actor has answered the greeting, and perhaps received what it lacked.

        Raises
        ------
        ConfigError
            If it runs other code, or does not start however often that is tried.
        """
        try:
            answer = ray.get(cast("ObjectRef[Any]", seat.starting))
        except RayError as error:
            if not self._hosts.is_gone(seat.hello):
                seat.failed_starts += 1
            # What is not installed will not be there the next time.
            missing = _missing_module(error)
            if missing or seat.failed_starts >= self._attempts:
                why = f"{missing}; install on every node what runs here" if missing else _first_line(error)
                raise ConfigError(f"a worker does not start on Ray ({why})") from error
            self._reopen(seat)
            return
        if seat.hello is None:
            seat.hello = answer
            seat.starting = self._hosts.welcome(seat.actor, answer)
        else:
            seat.starting = None
        if seat.starting is None:
            seat.failed_starts = 0

    def _reopen(self, seat: _Seat[Answer]) -> None:
        # The former one may have failed without dying, and then must not go on beside its successor.
        ray.kill(seat.actor)
        seat.actor, seat.starting = self._hosts.open()
        seat.hello = None

    def _replace(self, seat: _Seat[Answer], error: RayError) -> list[Delivery[Answer]]:
        """Give the seat a new actor; its undelivered clients go back to the front of the queue."""
        self.replaced += 1
        under_way = [chunk for _, chunk in seat.calls if chunk is not None]
        suspects = [under_way[0]] if seat.calls[0][1] is not None else seat.summed
        if self._hosts.is_gone(seat.hello):
            suspects = []
        innocent = [c for c in (*seat.summed, *under_way) if c not in suspects]
        self._reopen(seat)
        seat.calls.clear()
        seat.summed, seat.outcomes, seat.sum_key = [], [], None

        repeated: list[Chunk] = []
        given_up: list[Delivery[Answer]] = []
        for chunk in suspects:
            attempts = chunk.attempts + 1
            if attempts < self._attempts:
                # Alone from now on, so that only the one who takes actors down fails in the end.
                repeated += [replace(chunk, clients=(client,), attempts=attempts) for client in chunk.clients]
            else:
                reason = f"took {attempts} actors down ({_first_line(error)}); the last was replaced"
                failed = (self._hosts.failure(c, ErrorCode.CLIENT_APP_CRASHED, reason) for c in chunk.clients)
                given_up.append(Delivery(chunk.key, tuple(failed)))
        self._waiting.extendleft(reversed([*innocent, *repeated]))
        return given_up


def _missing_module(error: Exception) -> str:
    """What could not be imported, if that was it: Ray says so at the end of a long text."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in reversed(lines) if line.startswith(("ModuleNotFoundError", "ImportError"))), "")


def _first_line(error: Exception) -> str:
    if isinstance(error, RayTaskError) and error.cause is not None:
        error = error.cause
    return str(error).strip().partition("\n")[0] or type(error).__name__
