"""Between requests and the model: who is computed next, together with whom, and who is turned away."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Final, Generic, TypeVar

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system import tracing
from fedaffect.server.errors import DeadlinePassed, Overloaded, Unavailable
from fedaffect.server.serving.scheduling.budget import BatchBudget, CostModel, Fullness
from fedaffect.server.serving.scheduling.fair_queue import FairQueue, Waiting

Item = TypeVar("Item")
Result = TypeVar("Result")

# Until a first batch has been timed, this many may wait.
_UNMEASURED: Final = 8
# Windows of streams at once, for each request that is computed: one is decoded, one prepared, one computed.
_STREAMED: Final = 3
_LEAST_WAIT_S: Final = 0.02
_LEAST_RETRY_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class BatcherConfig:
    """How requests wait and are batched.

    Parameters
    ----------
    workers : int
        Batches computed at a time; 0 lets the engine choose.
    max_batch : int
        Requests in one batch at most.
    max_waiting : int
        Requests in the queue at most, whatever they cost.
    max_wait_requests : float
        How long the queue may be, in mean requests' compute. At 80 % load one request in a hundred waits for about
        ten others (M/D/1); a queue of seven keeps those accepted in an overload near that, and turns few away
        before.
    max_wait_overloaded : float
        How long it may be while requests have been turned away for half of the last seconds or more.
    max_batch_s : float
        How long a batch may take before more is put into it than one request: who shares a batch waits for all of it,
        and on a processor it is hardly cheaper for it.
    max_units : mapping of str to int
        Length by modality that one batch may hold, for the sake of memory.
    weights : mapping of str to float
        Clients' shares; 1 where not given.
    """

    workers: int = 0
    max_batch: int = 32
    max_waiting: int = 512
    max_wait_requests: float = 7.0
    max_wait_overloaded: float = 2.0
    max_batch_s: float = 0.4
    max_units: Mapping[str, int] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.workers < 0 or self.max_batch < 1 or self.max_waiting < 1:
            raise ConfigError("a batcher needs workers of 0 or more, batches and a queue of 1 or more")
        if not 0 < self.max_wait_overloaded <= self.max_wait_requests:
            raise ConfigError("a queue is longer than 0, and no longer in an overload than otherwise")
        if self.max_batch_s <= 0:
            raise ConfigError(f"a batch of at most {self.max_batch_s} s holds nothing; give a time above 0")
        if any(weight <= 0 for weight in self.weights.values()) or any(u < 1 for u in self.max_units.values()):
            raise ConfigError("clients' weights and a batch's units must be positive")


@dataclass(frozen=True, slots=True)
class Computed(Generic[Result]):
    """What a batch gave.

    Parameters
    ----------
    results : sequence
        One a request, in order; an exception is raised to that request alone.
    seconds : mapping of str to float
        By modality, and for the rest under any other name.
    stages : sequence of (str, float, float)
        When each began and ended, on the clock of ``time.monotonic``, for traces.
    """

    results: Sequence[Result | Exception]
    seconds: Mapping[str, float]
    stages: Sequence[tuple[str, float, float]] = ()


@dataclass(frozen=True, slots=True)
class Served(Generic[Result]):
    """A request's result, and where its time went.

    Parameters
    ----------
    value : object
        What the compute function made.
    queue_ms, compute_ms : float
        Waiting for a turn, and the batch.
    """

    value: Result
    queue_ms: float
    compute_ms: float


@dataclass(eq=False, slots=True)
class _Call(Generic[Item, Result]):
    item: Item
    future: asyncio.Future[Served[Result]]
    # Whose trace it belongs to, where any is written.
    trace: object = None

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(eq=False, frozen=True, slots=True)
class _Turn:
    client: str
    since_s: float
    number: int
    waits: asyncio.Future[None]


class Batcher(Generic[Item, Result]):
    """Batches requests onto worker threads; all of its state lives on one event loop.

    A batch is made the moment a worker is free, of whatever waits then: nobody waits for company.

    Parameters
    ----------
    compute : callable
        From items to results, called on a worker's thread.
    config : BatcherConfig, optional
    initialise : callable, optional
        Called once on each worker's thread.
    on_batch : callable, optional
        Told of each batch, when it goes to a worker, how many requests it holds.
    """

    def __init__(
        self,
        compute: Callable[[list[Item]], Computed[Result]],
        config: BatcherConfig | None = None,
        initialise: Callable[[], None] | None = None,
        on_batch: Callable[[int], None] | None = None,
    ) -> None:
        self.config = config or BatcherConfig()
        self.costs = CostModel()
        self.budget = BatchBudget(self.config.max_batch)
        self.expired = 0
        self.fullness = Fullness()
        self._compute = compute
        self._on_batch = on_batch
        self._workers = max(1, self.config.workers)
        self._pool = ThreadPoolExecutor(self._workers, "compute", initializer=initialise)
        self._queue: FairQueue[_Call[Item, Result]] = FairQueue(self.config.weights)
        self._running: set[asyncio.Task[None]] = set()
        self._coming = 0
        self._turns: list[_Turn] = []
        # Turns that each client holds.
        self._held: Counter[str] = Counter()
        # When each client that waits or holds one gave the last back.
        self._left_s: dict[str, float] = {}
        self._numbers = count()
        self._closed = False

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def wait_s(self) -> float:
        """How long a request that came now would wait, about; what is being decoded counts as waiting."""
        return (self._queue.backlog_s + self._coming * self.costs.request_s) / self._workers

    @property
    def max_wait_s(self) -> float:
        """From how long a wait on requests are turned away."""
        usual, overloaded = self.config.max_wait_requests, self.config.max_wait_overloaded
        requests = usual - (usual - overloaded) * self.fullness.overload
        compute_s = requests * self.costs.request_s
        if self.budget.size > 1:
            # Where batches are large, two of them are a short queue.
            compute_s = max(compute_s, 2 * self.costs.batch_s)
        return max(_LEAST_WAIT_S, compute_s / self._workers)

    def check_room(self, client: str = "") -> None:
        """Turn away a request whose media have not even been read; one that is let by has no place yet.

        Parameters
        ----------
        client : str
            Whose it is.

        Raises
        ------
        Overloaded
            If the queue is full and the client has no less in it than others.
        Unavailable
            If the server is stopping.
        """
        self._check_open()
        if self._full(self.costs.request_s) and self._who_gives_way(client, self.costs.request_s) is None:
            raise self._overloaded()

    @contextmanager
    def coming(self, client: str = "") -> Iterator[None]:
        """Hold a place for a request while it is decoded, so that decoding is done only for who will be let in.

        Parameters
        ----------
        client : str
            Whose it is.

        Raises
        ------
        Overloaded, Unavailable
            As `check_room`.
        """
        self.check_room(client)
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    @asynccontextmanager
    async def turn(self, client: str, since_s: float) -> AsyncIterator[Callable[[], None]]:
        """Wait until one of the places of streams is free, however long it takes, and hold it.

        Streams come back for the next window whatever becomes of this one. So they are not turned away, but next is
        whose client holds the fewest places, and of these whose client has waited longest since its last one: while
        more clients wait than there are places, many streams of one get as many turns as one of another. Nothing is
        decoded in vain. Their places are few, so that other requests find room beside them.

        Parameters
        ----------
        client : str
            Whose it is.
        since_s : float
            When it came, on the clock of ``time.monotonic``; who gives up and comes again keeps the place in the line.

        Yields
        ------
        callable
            To be called once the window is decoded, before it is submitted; until then it counts as waiting.

        Raises
        ------
        Unavailable
            If the server is stopping.
        """
        self._check_open()
        waits: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.append(_Turn(client, since_s, next(self._numbers), waits))
        self._let_in()
        try:
            await waits
        except asyncio.CancelledError:
            if waits.done() and not waits.cancelled() and waits.exception() is None:
                self._leave(client)
            raise
        decoding = True
        self._coming += 1

        def decoded() -> None:
            nonlocal decoding
            self._coming -= decoding
            decoding = False

        try:
            yield decoded
        finally:
            decoded()
            self._leave(client)

    def _leave(self, client: str) -> None:
        self._held[client] -= 1
        if not self._held[client]:
            del self._held[client]
        self._left_s[client] = monotonic()
        self._let_in()

    def _let_in(self) -> None:
        places = _STREAMED * self._workers * self.budget.size
        self._turns = [turn for turn in self._turns if not turn.waits.done()]
        while self._turns and self._held.total() < places:
            turn = min(self._turns, key=self._in_line)
            self._turns.remove(turn)
            self._held[turn.client] += 1
            turn.waits.set_result(None)
        here = self._held.keys() | {turn.client for turn in self._turns}
        self._left_s = {client: at_s for client, at_s in self._left_s.items() if client in here}

    def _in_line(self, turn: _Turn) -> tuple[int, float, float, int]:
        # By its own time alone, one of many streams would always have waited longest: it counts as if the client had
        # one stream, which asks again when it was answered.
        waits_since_s = max(turn.since_s, self._left_s.get(turn.client, turn.since_s))
        return self._held[turn.client], waits_since_s, turn.since_s, turn.number

    async def submit(
        self,
        item: Item,
        *,
        cost: Mapping[str, int],
        client: str = "",
        deadline_s: float = float("inf"),
        admitted: bool = False,
    ) -> Served[Result]:
        """Wait for a turn, and for the result.

        Parameters
        ----------
        item : object
            What the compute function takes.
        cost : mapping of str to int
            Its length by modality.
        client : str
            Whose it is.
        deadline_s : float
            On the clock of ``time.monotonic``.
        admitted : bool
            It held a place until now (`coming`), so that work has gone into it: it is not turned away for a queue
            that filled or became shorter meanwhile.

        Raises
        ------
        Overloaded
            If the queue is full, or it had to give way to a client that has less waiting.
        DeadlinePassed
            If its time was over before the result was there.
        Unavailable
            If the server is stopping.
        """
        self._check_open()
        now_s = monotonic()
        if deadline_s <= now_s:
            self.expired += 1
            raise _late()
        cost_s = self.costs.estimate_s(cost)
        if not admitted:
            self._make_room(client, cost_s)
        self.fullness.observe(now_s, refused=False)
        loop = asyncio.get_running_loop()
        call: _Call[Item, Result] = _Call(item, loop.create_future(), tracing.here())
        waiting = Waiting(call, client, deadline_s, cost_s, cost, now_s)
        self._queue.push(waiting)
        self._pump()
        timer = None
        if deadline_s != float("inf"):
            timer = loop.call_later(deadline_s - now_s, self._expire, waiting)
        try:
            return await call.future
        finally:
            if timer is not None:
                timer.cancel()
            # Whoever asked may have hung up.
            self._queue.discard(waiting)

    async def close(self, drain_s: float) -> None:
        """Take nothing new, finish what waits for at most ``drain_s`` seconds, and stop."""
        self._closed = True
        for turn in self._turns:
            if not turn.waits.done():
                turn.waits.set_exception(Unavailable("the server is stopping; ask another one"))
        until_s = monotonic() + drain_s
        while self._running and (left_s := until_s - monotonic()) > 0:
            await asyncio.wait(self._running, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            # What follows a batch is started by a callback of its task.
            await asyncio.sleep(0)
        while (waiting := self._queue.pop()) is not None:
            waiting.item.fail(Unavailable("the server stopped before the answer was there; ask another one"))
        self._pool.shutdown(wait=not self._running, cancel_futures=True)

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the server is stopping; ask another one")

    def _full(self, cost_s: float) -> bool:
        waiting = len(self._queue) + self._coming
        if not self.costs.known:
            return waiting >= _UNMEASURED
        if waiting >= self.config.max_waiting:
            return True
        # An idle server takes anything.
        return waiting > 0 and self.wait_s + cost_s / self._workers > self.max_wait_s

    def _who_gives_way(self, client: str, cost_s: float) -> Waiting[_Call[Item, Result]] | None:
        heaviest = self._queue.heaviest()
        if heaviest is None or heaviest.client == client:
            return None
        theirs_s = self._queue.client_backlog_s(heaviest.client)
        mine_s = self._queue.client_backlog_s(client) + cost_s
        return heaviest if theirs_s > mine_s else None

    def _make_room(self, client: str, cost_s: float) -> None:
        while self._full(cost_s):
            heaviest = self._who_gives_way(client, cost_s)
            if heaviest is None:
                raise self._overloaded()
            self._queue.discard(heaviest)
            heaviest.item.fail(self._overloaded())

    def _overloaded(self) -> Overloaded:
        self.fullness.observe(monotonic(), refused=True)
        retry_s = max(_LEAST_RETRY_S, self.wait_s) * self.fullness.tries
        return Overloaded(f"the server is busy; try again in {retry_s:.1f} s", retry_s)

    def _expire(self, waiting: Waiting[_Call[Item, Result]]) -> None:
        if self._queue.discard(waiting):
            self.expired += 1
        waiting.item.fail(_late())

    def _pump(self) -> None:
        while len(self._running) < self._workers:
            batch = self._next_batch()
            if not batch:
                return
            if self._on_batch is not None:
                self._on_batch(len(batch))
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._running.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._pump()
        if len(self._running) < self._workers:
            self.fullness.observe(monotonic(), refused=False)

    def _next_batch(self) -> list[Waiting[_Call[Item, Result]]]:
        size = self.budget.next_size(len(self._queue))
        # Half a mean request over the budget is nearer to it than half a request under.
        room_s = min((size + 0.5) * self.costs.request_s, self.config.max_batch_s)
        units: dict[str, int] = {}
        batch: list[Waiting[_Call[Item, Result]]] = []
        now_s = monotonic()
        while len(batch) < self.config.max_batch and (waiting := self._queue.peek()) is not None:
            if waiting.deadline_s <= now_s:
                self._expire(waiting)
                continue
            if batch and (size == 1 or waiting.cost_s > room_s or not self._fits(units, waiting.cost)):
                break
            self._queue.pop()
            batch.append(waiting)
            room_s -= waiting.cost_s
            _add(units, waiting.cost)
        return batch

    def _fits(self, units: Mapping[str, int], cost: Mapping[str, int]) -> bool:
        most = self.config.max_units
        return all(units.get(kind, 0) + length <= most.get(kind, 1 << 62) for kind, length in cost.items())

    async def _run(self, batch: list[Waiting[_Call[Item, Result]]]) -> None:
        items = [waiting.item.item for waiting in batch]
        try:
            started_s, computed, ended_s = await asyncio.get_running_loop().run_in_executor(
                self._pool, self._timed, items
            )
        # Whatever a model raises belongs to the callers, not to the loop.
        except Exception as error:  # noqa: BLE001
            for waiting in batch:
                waiting.item.fail(error)
            return
        costs: dict[str, int] = {}
        for waiting in batch:
            _add(costs, waiting.cost)
        self.budget.observe(len(batch), self.costs.reference_s(costs), sum(computed.seconds.values()))
        self.costs.observe(costs, computed.seconds, len(batch))
        for waiting, result in zip(batch, computed.results, strict=True):
            call = waiting.item
            if isinstance(result, Exception):
                call.fail(result)
            elif not call.future.done():
                queue_ms, compute_ms = (started_s - waiting.since_s) * 1000, (ended_s - started_s) * 1000
                call.future.set_result(Served(result, queue_ms, compute_ms))
            if call.trace is not None:
                tracing.past("queue", call.trace, waiting.since_s, started_s)
                within = tracing.past("batch", call.trace, started_s, ended_s, requests=len(batch))
                for stage, began_s, over_s in computed.stages:
                    tracing.past(stage, within, began_s, over_s)

    def _timed(self, items: list[Item]) -> tuple[float, Computed[Result], float]:
        started_s = monotonic()
        computed = self._compute(items)
        return started_s, computed, monotonic()


def _add(total: dict[str, int], cost: Mapping[str, int]) -> None:
    for kind, length in cost.items():
        total[kind] = total.get(kind, 0) + length


def _late() -> DeadlinePassed:
    return DeadlinePassed("the deadline passed before the answer was there; allow more time or send less")
