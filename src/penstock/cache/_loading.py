"""What a cached function does when its cache does not simply have the answer. Both twins call this.

Without `refresh_after`, `stale_if_error` and `cache_exceptions` the cache holds the results themselves.
With one of them it holds an `Outcome` for each: a value or an error, and until when it will do.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import timedelta
from functools import partial
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from types import EllipsisType
from typing import Any, NamedTuple

from penstock.cache._flights import CacheLoadDeadlock, Entry, Flights, Load, likeness, peek
from penstock.cache._settings import (
    MAX_TTL,
    MISSING,
    NEVER,
    Policy,
    check_callable,
    checked_lifetime,
    deadline_after,
)
from penstock.cache.cache import Cache
from penstock.clock import NANOSECONDS, Clock, checked_clock
from penstock.errors import InvalidType, InvalidValue

__all__ = [
    "KEYWORDS",
    "MARKS_OF_A_FUNCTION",
    "CacheInfo",
    "Loading",
    "Options",
    "Outcome",
    "Wrapped",
    "nothing",
    "unhashable_owner",
    "unwrapped",
]

_log = logging.getLogger("penstock.cache")

KEYWORDS = object()
"""Stands in a key between the positional arguments and the named ones."""


MARKS_OF_A_FUNCTION = ("__name__", "__code__", "__defaults__", "__kwdefaults__", "__annotations__")
"""What `inspect` must see to look whether something is a coroutine function."""


class CacheInfo(NamedTuple):
    """What `cache_info` of a cached function returns; the fields of `functools.lru_cache`."""

    hits: int
    """Lookups that found an entry."""
    misses: int
    """Lookups that did not."""
    maxsize: int
    """Entries held at most."""
    currsize: int
    """Entries held now."""


class Options(NamedTuple):
    """The arguments of `cached` but for `key` and `typed`."""

    cache: Any
    maxsize: int
    policy: Policy
    ttl: float | timedelta | None
    refresh_after: float | timedelta | None
    stale_if_error: float | timedelta | None
    cache_exceptions: type[Exception] | tuple[type[Exception], ...]
    exception_ttl: float | timedelta | None
    condition: Callable[[Any], object] | None
    executor: Executor | None
    clock: Clock | None


class Wrapped(NamedTuple):
    """A function that is to be cached."""

    function: Callable[..., Any]
    awaited: bool
    """It is a coroutine function."""
    code: Any
    """The function in the middle of it that has the code, for `inspect` to look at."""


def unwrapped(function: Any) -> Wrapped:
    """What is to be known of a function before it is cached.

    Raises:
        TypeError: it is no function, or one whose results can be used but once.
    """
    if not callable(function) or isinstance(function, (classmethod, staticmethod)):
        raise InvalidType(f"cached decorates functions, got {type(function).__name__}")
    code = function
    while isinstance(code, partial):
        code = code.func
    if not hasattr(code, "__code__"):
        code = getattr(type(code), "__call__", code)  # noqa: B004  (its code is wanted)
    if isgeneratorfunction(code) or isasyncgenfunction(code):
        raise InvalidType("cached decorates functions whose results can be used again, got a generator")
    return Wrapped(function, iscoroutinefunction(code), code)


def unhashable_owner(owner: object) -> InvalidType:
    """The error of a method call whose object cannot be part of a key."""
    return InvalidType(
        f"self must be hashable to be part of a key, got {type(owner).__name__}; give @cached a key="
    )


def checked_cache(cache: Any) -> Any:
    """`cache`, which must be one of penstock.

    Raises:
        TypeError: it is none.
    """
    if not all(callable(getattr(cache, name, None)) for name in ("get", "peek", "set", "delete", "stats")):
        raise InvalidType(f"cache must be a cache of penstock or None, got {type(cache).__name__}")
    return cache


def checked_exceptions(exceptions: Any) -> tuple[type[Exception], ...]:
    """`cache_exceptions` as a tuple."""
    found = exceptions if isinstance(exceptions, tuple) else (exceptions,)
    for each in found:
        if not (isinstance(each, type) and issubclass(each, Exception)):
            raise InvalidType(f"cache_exceptions must be subclasses of Exception, got {each!r}")
    return found


def check_executor(executor: object, wrapped: Wrapped) -> None:
    """Raises ValueError or TypeError unless `executor` can refresh the function, or is None."""
    if executor is not None and not isinstance(executor, Executor):
        raise InvalidType(
            f"executor must be a concurrent.futures.Executor or None, got {type(executor).__name__}"
        )
    if executor is not None and wrapped.awaited:
        raise InvalidValue("executor must be None for a coroutine function, whose event loop refreshes")


class Outcome:
    """What a call came to, in the cache of a function that keeps more than values."""

    __slots__ = ("due", "error", "fresh_until", "value")

    def __init__(self, value: Any, error: BaseException | None, due: int, fresh_until: int) -> None:
        self.value = value
        self.error = error
        self.due = due  # from this nanosecond on it is worth a refresh, or stale
        self.fresh_until = fresh_until  # from this one on it is stale: only for want of a better one

    def answer(self) -> Any:
        """The value, or raises the error afresh."""
        if self.error is not None:
            raise likeness(self.error)
        return self.value


class Loading:
    """The slow half of a cached function: everything but a key and a hit.

    Args:
        wrapped: the function.
        options: as `cached` was given them.

    Raises:
        ValueError: an option is out of its range, or makes no sense without another.
        TypeError: an option has the wrong type.
    """

    def __init__(self, wrapped: Wrapped, options: Options) -> None:
        ttl = checked_lifetime("ttl", options.ttl)
        refresh_after = checked_lifetime("refresh_after", options.refresh_after)
        stale_if_error = checked_lifetime("stale_if_error", options.stale_if_error)
        exception_ttl = checked_lifetime("exception_ttl", options.exception_ttl)
        self.cache_exceptions = checked_exceptions(options.cache_exceptions)
        if ttl == NEVER and stale_if_error != NEVER:
            raise InvalidValue("ttl must be given with stale_if_error, got None")
        if refresh_after != NEVER and refresh_after >= ttl:
            raise InvalidValue(f"refresh_after must be < ttl {options.ttl!r}, got {options.refresh_after!r}")
        if exception_ttl != NEVER and not self.cache_exceptions:
            raise InvalidValue("cache_exceptions must be given with exception_ttl, got ()")
        check_executor(options.executor, wrapped)
        check_callable("condition", options.condition)

        self.function = wrapped.function
        self.condition = options.condition
        self.executor = options.executor
        self.clock = checked_clock(options.clock)
        if options.cache is None:
            self.cache: Any = Cache(
                options.maxsize, policy=options.policy, ttl=options.ttl, clock=options.clock
            )
        else:
            self.cache = checked_cache(options.cache)
        self.flights = flights_of(self.cache, self.clock)

        stale = stale_if_error != NEVER
        self.keeps_outcomes = stale or refresh_after != NEVER or bool(self.cache_exceptions)
        self.refresh_after = refresh_after
        self.fresh_for = ttl if stale else NEVER
        self.ttl: float | EllipsisType = ...  # what the cache says, which takes no look at a number
        if stale:
            self.ttl = seconds(ttl, stale_if_error)
        elif options.cache is not None:
            self.ttl = seconds(ttl, 0)
        self.error_ttl = seconds(ttl if exception_ttl == NEVER else exception_ttl, 0)

    def missed(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a call whose key is not in the cache."""
        return self.flights.compute(Call(self, key, args, kwargs))

    def found(self, outcome: Outcome, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a call that has found an outcome of an earlier one."""
        now = self.clock()
        if now < outcome.due:
            return outcome.answer()
        call = Call(self, key, args, kwargs)
        if now < outcome.fresh_until:
            return self._refreshed(outcome, call)
        try:
            return self.flights.compute(call)
        except Exception as error:
            if self._tells_more(error):
                raise
            return outcome.value

    def _refreshed(self, outcome: Outcome, call: "Call") -> Any:
        """The old value, unless it falls to this call to compute the new one."""
        call.refreshing = True
        if self.executor is not None:
            self.flights.compute_in(self.executor, call)
            return outcome.value
        try:
            value = self.flights.compute_alone(call)
        except Exception as error:
            if self._tells_more(error):
                raise
            call.report(error)
            return outcome.value
        return outcome.value if value is MISSING else value

    async def missed_async(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The same as `missed`, awaited."""
        return await self.flights.compute_async(Call(self, key, args, kwargs))

    async def found_async(
        self, outcome: Outcome, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """The same as `found`, awaited; a refresh is left to a task in the background."""
        now = self.clock()
        if now < outcome.due:
            return outcome.answer()
        call = Call(self, key, args, kwargs)
        if now < outcome.fresh_until:
            call.refreshing = True
            self.flights.compute_in_background(call)
            return outcome.value
        try:
            return await self.flights.compute_async(call)
        except Exception as error:
            if self._tells_more(error):
                raise
            return outcome.value

    def _tells_more(self, error: Exception) -> bool:
        """Whether an error is an answer, or a mistake of the program, and no reason to go on as before."""
        return isinstance(error, (CacheLoadDeadlock, *self.cache_exceptions))

    def forget(self, key: Any) -> bool:
        """Removes a key, and keeps out what is being computed for it; False if it was not there."""
        self.flights.forget(key)
        return bool(self.cache.delete(key))

    def forget_all(self, owner: object) -> None:
        """The same for all keys; of a cache that functions share, for those that belong to `owner`."""
        if owner is None:
            self.flights.forget_all()
            self.cache.clear()
            return
        for key in [*self.flights.keys(), *self.cache]:
            if type(key) is tuple and key and key[0] is owner:
                self.forget(key)


class Call(Load):
    """One call of a cached function on its way into the cache."""

    __slots__ = ("args", "kwargs", "loading", "refreshing")

    def __init__(self, loading: Loading, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__(loading.cache, key, loading.function, loading.ttl)
        self.loading = loading
        self.args = args
        self.kwargs = kwargs
        self.refreshing = False

    def present(self) -> Any:
        """What is in the cache by now and will do, else MISSING."""
        found = peek(self.cache, self.key)
        if type(found) is not Outcome:
            return found
        until = found.due if self.refreshing else found.fresh_until
        return found.answer() if self.loading.clock() < until else MISSING

    def run(self) -> Any:
        """Calls the function."""
        return self.fn(*self.args, **self.kwargs)

    def entry(self, value: Any) -> Entry | None:
        """What is to be stored for the value, and its ttl; None if it shall not be kept."""
        loading = self.loading
        if loading.condition is not None and not loading.condition(value):
            return None
        if not loading.keeps_outcomes:
            return value, loading.ttl
        now = loading.clock()
        fresh_until = deadline_after(now, loading.fresh_for)
        due = min(deadline_after(now, loading.refresh_after), fresh_until)
        return Outcome(value, None, due, fresh_until), loading.ttl

    def error_entry(self, error: Exception) -> Entry | None:
        """The same for what the function has raised."""
        if not isinstance(error, self.loading.cache_exceptions):
            return None
        return Outcome(None, likeness(error), NEVER, NEVER), self.loading.error_ttl

    def report(self, error: BaseException) -> None:
        """Logs that a refresh has failed."""
        if not isinstance(error, self.loading.cache_exceptions):
            name = getattr(self.fn, "__qualname__", type(self.fn).__name__)
            _log.error("refresh of %s failed, its old value stays", name, exc_info=error)


def flights_of(cache: Any, clock: Clock) -> Flights:
    """Those of the cache itself, that its `delete` and `set` know of, or new ones."""
    found = getattr(cache, "_flights", None)
    return found if isinstance(found, Flights) else Flights(clock)


def seconds(ttl: int, beyond: int) -> float | EllipsisType:
    """The ttl of an entry, from nanoseconds; `...`, for that of the cache, if there is none."""
    return ... if ttl == NEVER else min((ttl + beyond) / NANOSECONDS, float(MAX_TTL))


async def nothing() -> None:
    """What a coroutine that never began is thrown an error into."""
