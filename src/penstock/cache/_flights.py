"""Single flight: of all who ask for a key that is not in the cache, one computes its value.

A computation is a `Flight`, and whoever asks for its key meanwhile waits for it: threads and tasks, of
any number of event loops. The table of flights has no lock, for keys are compared by code of the user.
It is a dict in which a flight is its own key; a flight equals those of the same key for as long as it
is listed, and afterwards only itself. So `setdefault` decides who leads, and taking a flight out of the
table compares no keys.

To be listed is also the right to store. A flight that is forgotten, because its key was deleted or set
meanwhile, still answers those who wait for it, and leaves the cache alone.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from contextvars import copy_context
from datetime import timedelta
from os import getpid
from reprlib import repr as short_repr
from threading import Lock, RLock, get_ident
from types import EllipsisType, TracebackType
from typing import Any

from penstock.cache._settings import MISSING
from penstock.clock import Clock, checked_clock
from penstock.errors import InvalidType, PenstockError

__all__ = ["CacheLoadDeadlock", "Entry", "Flights", "Load", "likeness", "peek"]

LOOK_EVERY = 1.0  # seconds between looks whether the event loop that computes is still there

NO_THREAD = 0


class CacheLoadDeadlock(PenstockError, RuntimeError):
    """A key was asked for by whom its own computation waits for, which would wait for ever."""


def peek(cache: Any, key: object) -> Any:
    """The value of `key`, MISSING if there is none; no use of it, and counts nothing."""
    return cache.peek(key, MISSING)


def likeness(error: BaseException) -> BaseException:
    """A copy of `error` without its traceback; `error` itself where copying would lose something.

    One object raised again and again, or by many at once, would collect the tracebacks of them all, and
    those keep every frame alive. The class's own `__init__` is not called: it may take other arguments
    than the exception has kept, and has done its work already.
    """
    cls = type(error)
    if any(getattr(each, "__slots__", ()) for each in cls.__mro__):
        return error
    builtin: Any = next(each for each in cls.__mro__ if each.__module__ == "builtins")
    try:
        _, arguments, *state = builtin.__reduce__(error)
        copied = cls.__new__(cls, *arguments)
        builtin.__init__(copied, *arguments)
        if state:
            BaseException.__setstate__(copied, state[0])
    except Exception:  # a __new__ with other arguments, or a property in the way
        return error
    copied.__cause__ = error.__cause__
    copied.__suppress_context__ = error.__suppress_context__
    return copied


Entry = tuple[Any, float | timedelta | EllipsisType | None]


class Load:
    """How one key gets into one cache: by `fn(key)`, which gives its value or an awaitable of it."""

    __slots__ = ("cache", "fn", "key", "ttl")

    def __init__(
        self,
        cache: Any,
        key: Any,
        fn: Callable[..., Any],
        ttl: float | timedelta | EllipsisType | None = ...,
    ) -> None:
        self.cache = cache
        self.key = key
        self.fn = fn
        self.ttl = ttl

    def present(self) -> Any:
        """What is in the cache by now and will do, else MISSING."""
        return peek(self.cache, self.key)

    def run(self) -> Any:
        """Computes the value, or gives the awaitable that does."""
        return self.fn(self.key)

    def entry(self, value: Any) -> Entry | None:
        """What is to be stored for the value, and its ttl; None if it shall not be kept."""
        return value, self.ttl

    def error_entry(self, error: Exception) -> Entry | None:
        """The same for what `run` has raised."""
        return None

    def report(self, error: BaseException) -> None:
        """Is told of an error that no caller will see."""


class ThreadWaker:
    """Wakes the thread that made it. A wake that comes before the wait is not lost."""

    __slots__ = ("_asleep",)

    def __init__(self) -> None:
        self._asleep = Lock()
        self._asleep.acquire()

    def wait(self, seconds: float | None) -> None:
        """Sleeps until woken, or for `seconds`; None for no end."""
        self._asleep.acquire(timeout=-1 if seconds is None else seconds)

    def wake(self) -> None:
        """Ends the wait, from any thread."""
        with suppress(RuntimeError):  # it is awake already
            self._asleep.release()


class TaskWaker:
    """Wakes the task that made it, whatever thread or event loop calls; else as ThreadWaker."""

    __slots__ = ("_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] = loop.create_future()

    async def wait(self, seconds: float | None) -> None:
        """Sleeps until woken, or for `seconds`; None for no end."""
        if seconds is None:
            await self._future
        else:
            await asyncio.wait((self._future,), timeout=seconds)

    def wake(self) -> None:
        """Ends the wait, from any thread."""
        if asyncio._get_running_loop() is self._loop:
            self._end()
        else:
            with suppress(RuntimeError):  # its event loop is closed
                self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


class Flight:
    """One computation of the value of one key, and who waits for it."""

    listed = True
    """It is in the table, or about to be: others may join it, and it may store."""
    done = False
    answered = False
    """It was done with a value or an error; else it was cancelled or interrupted."""
    value: Any = None
    error: BaseException | None = None
    """A likeness of what was raised: the exception itself knows the frames that know this flight."""
    original: Exception | None = None
    traceback: TracebackType | None = None
    task: "asyncio.Task[None] | None" = None
    """The task that computes; None if a thread does."""
    queued: "Future[None] | None" = None
    """What an executor will compute, or does."""
    keeper = NO_THREAD
    """The thread that stores its value now."""
    background = False
    """Nobody waits for it, and it goes on all the same."""

    def __init__(
        self,
        key: Any,
        thread: int,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        background: bool = False,
    ) -> None:
        self.key = key
        self.hashed = hash(key)
        self.thread = thread  # that computes, or runs the event loop which does
        self.loop = loop
        self.process = getpid()
        self.waiters: dict[ThreadWaker | TaskWaker, None] = {}
        if background:
            self.background = True

    def __hash__(self) -> int:
        return self.hashed

    def __eq__(self, other: object) -> bool:
        if not (isinstance(other, Flight) and self.listed and other.listed):
            return False
        return self.key is other.key or bool(self.key == other.key)

    def succeed(self, value: Any) -> None:
        """Has a value for those who wait."""
        self.value = value
        self.answered = True

    def fail(self, error: Exception) -> None:
        """Has an error for those who wait."""
        self.error = likeness(error)
        traceback = error.__traceback__
        while traceback is not None and traceback.tb_frame.f_globals is globals():
            traceback = traceback.tb_next
        self.traceback = traceback
        self.answered = True

    def answer(self) -> Any:
        """The value, or raises the error, for one of those who have waited."""
        if self.error is not None:
            raise likeness(self.error).with_traceback(self.traceback)
        return self.value

    def answer_of_first(self) -> Any:
        """The same for the task that had asked first: the exception itself, a cancellation too."""
        if not self.answered:
            raise asyncio.CancelledError
        if self.original is None:
            return self.answer()
        error, self.original = self.original, None
        try:
            raise error
        finally:
            del error  # which knows this frame

    def lost(self) -> bool:
        """Whether nobody is left to finish it, or nobody has begun: then it is called off.

        Nobody is left in a forked child, with an event loop that is closed, and with one that cannot run
        for as long as this thread waits. Nobody has begun while it is queued in an executor, whose
        threads may all wait for what they have queued.
        """
        if self.process != getpid():
            return True
        if self.queued is not None:
            return self.queued.cancel()
        loop = self.loop
        return loop is not None and (
            loop.is_closed() or (self.thread == get_ident() and not loop.is_running())
        )

    def patience(self, loop: asyncio.AbstractEventLoop | None) -> float | None:
        """Seconds until a waiter of `loop`, or of a thread, shall ask again whether it is lost."""
        watched = self.loop not in (None, loop) or self.thread == NO_THREAD
        return LOOK_EVERY if watched else None

    def cancel(self) -> None:
        """Cancels the task that computes, from any thread."""
        task, loop = self.task, self.loop
        if task is None or loop is None:
            return
        if asyncio._get_running_loop() is loop:
            task.cancel()
        else:
            with suppress(RuntimeError):  # the event loop is closed
                loop.call_soon_threadsafe(task.cancel)


# Who waits for what, of all caches: a cycle may run through several of them.
WAITING_THREADS: dict[int, Flight] = {}
WAITING_TASKS: "dict[asyncio.Task[Any], Flight]" = {}


def refuse_deadlock(flight: Flight, thread: int, task: "asyncio.Task[Any] | None") -> None:
    """Raises if `flight` waits, perhaps through others, for `thread`, or for `task` if that waits for it.

    Who calls is in the tables above already, so that of two who close a cycle at once one sees it.

    Raises:
        CacheLoadDeadlock: it does.
    """
    asked = flight.key
    seen: dict[int, Flight] = {}  # by identity: comparing flights compares keys
    pending: list[Flight | None] = [flight]
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen or each.done or each.process != getpid():
            continue
        seen[id(each)] = each
        tasks = task is not None and each.task is not None
        if each.task is task if tasks else each.thread == thread:  # a thread that waits holds up its tasks
            raise CacheLoadDeadlock(
                f"key must not be needed to compute its own value, got {short_repr(asked)}"
            )
        pending.append(WAITING_THREADS.get(each.thread))
        if each.task is not None:
            pending.append(WAITING_TASKS.get(each.task))


class Flights:
    """The computations of one cache that are under way, one a key; see `Cache.get_or_compute`.

    Threads, tasks and event loops may share it. It holds nothing when nothing is computed.

    Args:
        clock: returns int nanoseconds; what loading takes is measured with it. None for the monotonic
            clock of the system.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = checked_clock(clock)
        self.table: dict[Flight, Flight] = {}  # empty while nothing is computed: a cache looks
        self._tasks: set[asyncio.Task[None]] = set()  # event loops hold their tasks but weakly
        self._counting = RLock()  # of which a signal handler or finalizer within may take another turn
        self.loads = 0
        """Computations that were begun and have ended."""
        self.load_failures = 0
        """Those of them that have raised, cancellations too."""
        self.load_ns = 0
        """What they have taken together, nanoseconds."""

    def __len__(self) -> int:
        return len(self.table)

    def keys(self) -> list[Any]:
        """The keys that are being computed."""
        return [flight.key for flight in list(self.table)]

    def get_or_compute(
        self,
        cache: Any,
        key: Any,
        fn: Callable[[Any], Any],
        ttl: float | timedelta | EllipsisType | None = ...,
    ) -> Any:
        """What `Cache.get_or_compute` does."""
        value = cache.get(key, MISSING)
        return self.compute(Load(cache, key, checked_fn(fn), ttl)) if value is MISSING else value

    async def get_or_compute_async(
        self,
        cache: Any,
        key: Any,
        fn: Callable[[Any], Any],
        ttl: float | timedelta | EllipsisType | None = ...,
    ) -> Any:
        """What `Cache.get_or_compute_async` does."""
        value = cache.get(key, MISSING)
        return await self.compute_async(Load(cache, key, checked_fn(fn), ttl)) if value is MISSING else value

    def forget(self, key: Any) -> None:
        """Keeps what is being computed for `key` out of the cache; for whoever deletes or sets it.

        To be called before the cache is changed. Those who wait already get what is computed, those who
        come now begin anew.
        """
        if self.table:
            flight = self.table.get(Flight(key, NO_THREAD))
            if flight is not None and flight.keeper != get_ident():  # else it is this flight that sets it
                self._unlist(flight)

    def forget_all(self) -> None:
        """Keeps all that is being computed out of the cache; for whoever clears it."""
        for flight in list(self.table):
            self._unlist(flight)

    # ---- threads ----

    def compute(self, load: Load) -> Any:
        """The value of a key that is not there: computed here, or by who is at it already."""
        thread = get_ident()
        while True:
            flight = Flight(load.key, thread)
            joined = self.table.setdefault(flight, flight)
            if joined is flight:
                return self._lead(flight, load)
            self._wait(joined, thread)
            if joined.answered:
                return joined.answer()
            self._unlist(joined)  # it has ended without an answer, or never will

    def compute_alone(self, load: Load) -> Any:
        """The value if nobody else is at it, else MISSING."""
        flight = Flight(load.key, get_ident())
        return self._lead(flight, load) if self.table.setdefault(flight, flight) is flight else MISSING

    def compute_in(self, executor: Executor, load: Load) -> None:
        """Has an executor compute, in the context of this call, unless somebody is at it."""
        flight = Flight(load.key, NO_THREAD, background=True)
        if self.table.setdefault(flight, flight) is not flight:
            return

        def ended(queued: "Future[None]") -> None:
            flight.queued = None
            self._land(flight)
            if not queued.cancelled() and (error := queued.exception()) is not None:
                load.report(error)

        try:
            queued = executor.submit(copy_context().run, self._lead_in_executor, flight, load)
        except Exception as error:  # it is shut down
            self._land(flight)
            load.report(error)
            return
        flight.queued = queued
        queued.add_done_callback(ended)

    def _lead_in_executor(self, flight: Flight, load: Load) -> None:
        flight.thread = get_ident()
        if flight.listed or flight.waiters:
            self._lead(flight, load)

    def _lead(self, flight: Flight, load: Load) -> Any:
        try:
            value = load.present()  # another flight may have landed since the caller has looked
            if value is MISSING:
                value = self._load(flight, load)
            flight.succeed(value)
        except Exception as error:
            flight.fail(error)
            raise
        finally:
            self._land(flight)
        return value

    def _load(self, flight: Flight, load: Load) -> Any:
        began, failed = self._clock(), True
        try:
            value = load.run()
            failed = False
        except Exception as error:
            self._keep(flight, load, load.error_entry(error))
            raise
        finally:
            self._count(self._clock() - began, failed)
        self._keep(flight, load, load.entry(value))
        return value

    def _wait(self, flight: Flight, thread: int) -> None:
        """Until the flight is done or lost."""
        if flight.lost():
            return
        before = WAITING_THREADS.get(thread)  # this is a signal handler, and has interrupted a wait
        WAITING_THREADS[thread] = flight
        try:
            refuse_deadlock(flight, thread, None)
            waker = ThreadWaker()
            flight.waiters[waker] = None
            try:
                while not (flight.done or flight.lost()):
                    waker.wait(flight.patience(None))
            finally:
                self._leave(flight, waker)
        finally:
            if before is None:
                WAITING_THREADS.pop(thread, None)
            else:
                WAITING_THREADS[thread] = before

    # ---- tasks ----

    async def compute_async(self, load: Load) -> Any:
        """The same for tasks. What computes is a task of its own, in the context of the first caller."""
        loop, thread = asyncio.get_running_loop(), get_ident()
        while True:
            waker = TaskWaker(loop)
            flight = Flight(load.key, thread, loop)
            flight.waiters[waker] = None
            joined = self.table.setdefault(flight, flight)
            if joined is flight:
                self._launch(flight, load)
                await self._wait_async(flight, waker)
                return flight.answer_of_first()
            await self._wait_async(joined, waker)
            if joined.answered:
                return joined.answer()
            self._unlist(joined)  # it has ended without an answer, or never will

    def compute_in_background(self, load: Load) -> None:
        """Has a task of the running event loop compute, unless somebody is at it."""
        flight = Flight(load.key, get_ident(), asyncio.get_running_loop(), background=True)
        if self.table.setdefault(flight, flight) is flight:
            self._launch(flight, load)

    def _launch(self, flight: Flight, load: Load) -> None:
        """Has a task compute, if the value is not there by now."""
        assert flight.loop is not None
        computing = None
        try:
            value = load.present()
            if value is not MISSING:
                flight.succeed(value)
                return
            computing = self._fly(flight, load)
            flight.task = task = flight.loop.create_task(computing)
        except Exception as error:
            if computing is not None:
                computing.close()
            self._fail(flight, load, error)
        else:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: self._land(flight))  # it may be cancelled before it begins
        finally:
            if flight.task is None:
                self._land(flight)

    async def _fly(self, flight: Flight, load: Load) -> None:
        flight.task = asyncio.current_task()  # before an eager task returns from create_task
        try:
            flight.succeed(await self._load_async(flight, load))
        except Exception as error:
            self._fail(flight, load, error)
        finally:
            self._land(flight)

    def _fail(self, flight: Flight, load: Load, error: Exception) -> None:
        flight.fail(error)
        flight.original = error.with_traceback(flight.traceback)
        if flight.background:
            load.report(error)

    async def _load_async(self, flight: Flight, load: Load) -> Any:
        began, failed = self._clock(), True
        try:
            value = await load.run()
            failed = False
        except Exception as error:
            self._keep(flight, load, load.error_entry(error))
            raise
        finally:
            self._count(self._clock() - began, failed)
        self._keep(flight, load, load.entry(value))
        return value

    async def _wait_async(self, flight: Flight, waker: TaskWaker) -> None:
        """Until the flight is done or lost."""
        if flight.done or flight.lost():
            return
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        assert task is not None
        WAITING_TASKS[task] = flight
        try:
            refuse_deadlock(flight, get_ident(), task)
            flight.waiters[waker] = None
            try:
                while not (flight.done or flight.lost()):
                    await waker.wait(flight.patience(loop))
            finally:
                self._leave(flight, waker)
        finally:
            WAITING_TASKS.pop(task, None)

    # ---- what both have in common ----

    def _keep(self, flight: Flight, load: Load, entry: Entry | None) -> None:
        """Stores the entry, unless its key was deleted or set since the flight began."""
        if entry is None:
            return
        cache, key, (kept, ttl) = load.cache, load.key, entry
        flight.keeper = get_ident()
        try:
            if flight.listed:  # between this and a compiled `set` no other thread has a turn
                cache.set(key, kept, ttl=ttl)
        finally:
            flight.keeper = NO_THREAD
        if not flight.listed and peek(cache, key) is kept:  # in pure Python they have
            cache.delete(key)

    def _count(self, nanoseconds: int, failed: bool) -> None:
        with self._counting:
            self.loads += 1
            self.load_failures += failed
            self.load_ns += nanoseconds

    def _land(self, flight: Flight) -> None:
        """Ends the flight for all who wait; those whom it gives no answer try themselves."""
        if not flight.done:
            self._unlist(flight)
            flight.done = True  # whoever comes after this finds it done, who came before is woken
            if not flight.waiters:
                flight.traceback = None  # whose frames know this flight
            for waker in list(flight.waiters):
                waker.wake()

    def _leave(self, flight: Flight, waker: ThreadWaker | TaskWaker) -> None:
        """Waits no more. The last one to leave before the end calls the computation off."""
        flight.waiters.pop(waker, None)
        if not (flight.done or flight.waiters or flight.background or flight.loop is None):
            self._unlist(flight)
            flight.cancel()

    def _unlist(self, flight: Flight) -> None:
        """Takes the flight out of the table; compares no keys, for an unlisted flight equals none."""
        flight.listed = False
        self.table.pop(flight, None)


def checked_fn(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`fn`, which must be callable."""
    if not callable(fn):
        raise InvalidType(f"fn must be callable, got {type(fn).__name__}")
    return fn
