"""The arguments of a cache, checked; both twins read them here."""

from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from operator import index
from random import random as random_fraction
from typing import Any, Final, Literal, NamedTuple, get_args

from penstock.cache._reports import RemovalCause
from penstock.clock import NANOSECONDS, Clock, checked_clock
from penstock.errors import InvalidType, InvalidValue

__all__ = ["Policy"]

Policy = Literal["lru", "fifo", "lfu", "sieve", "s3fifo", "tinylfu"]
"""How a full cache chooses the entry that goes."""

Weigher = Callable[[Any, Any], int]
Listener = Callable[[Any, Any, RemovalCause], object]

POLICIES: tuple[Policy, ...] = get_args(Policy)
MAX_SIZE = 1 << 30  # entries
MAX_WEIGHT = (1 << 62) - 1  # two of them do not overflow int64
MAX_TTL_YEARS = 100
MAX_TTL = MAX_TTL_YEARS * 365 * 86_400
NEVER = (1 << 63) - 1  # the deadline, and the lifetime, of what does not expire


class Missing(Enum):
    """The type of MISSING, which stands for no value where None is one."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING


class Settings(NamedTuple):
    """What a cache was made with, times in nanoseconds."""

    maxsize: int
    policy: Policy
    lifetime: int
    """NEVER without a ttl."""
    idle: int
    """NEVER without a tti."""
    max_weight: int
    """0 without a weigher."""
    clock: Clock | None
    """None for the monotonic clock of the system."""


def checked_settings(
    maxsize: object,
    policy: object,
    ttl: object,
    tti: object,
    jitter: object,
    weigher: object,
    max_weight: object,
    on_remove: object,
    clock: Clock | None,
) -> Settings:
    """The arguments as a cache uses them.

    Raises:
        ValueError: one is out of its range.
        TypeError: one has the wrong type.
    """
    if policy not in POLICIES:
        raise InvalidValue(f"policy must be one of {', '.join(POLICIES)}, got {policy!r}")
    check_jitter(jitter)
    check_callable("on_remove", on_remove)
    check_callable("weigher", weigher)
    if (weigher is None) != (max_weight is None):
        missing = "max_weight" if max_weight is None else "weigher"
        raise InvalidValue(f"weigher and max_weight must be given together, got no {missing}")
    return Settings(
        checked_maxsize(maxsize),
        policy,
        checked_lifetime("ttl", ttl),
        checked_lifetime("tti", tti),
        0 if max_weight is None else checked_max_weight(max_weight),
        None if clock is None else checked_clock(clock),
    )


def checked_maxsize(maxsize: object) -> int:
    """`maxsize` as an int in range.

    Raises:
        ValueError: not 1 <= maxsize <= MAX_SIZE.
        TypeError: maxsize is no integer.
    """
    return checked_count("maxsize", maxsize, 1, MAX_SIZE, "entries")


def checked_max_weight(max_weight: object) -> int:
    """`max_weight` as an int in range.

    Raises:
        ValueError: not 1 <= max_weight <= MAX_WEIGHT.
        TypeError: max_weight is no integer.
    """
    return checked_count("max_weight", max_weight, 1, MAX_WEIGHT, "in all")


def checked_weight(weight: object) -> int:
    """What a weigher returned, as an int; one above MAX_WEIGHT stands for all that is more.

    Raises:
        ValueError: it is negative.
        TypeError: it is no integer.
    """
    try:
        weighed = index(weight)  # type: ignore[arg-type]  # what is no integer raises
    except TypeError:
        raise InvalidType(f"weigher must return an integer, got {type(weight).__name__}") from None
    if weighed < 0:
        raise InvalidValue(f"weigher must return a weight >= 0, got {weight!r}")
    return min(weighed, MAX_WEIGHT + 1)


def checked_count(name: str, value: object, least: int, most: int, unit: str) -> int:
    try:
        count = index(value)  # type: ignore[arg-type]  # what is no integer raises
    except TypeError:
        raise InvalidType(f"{name} must be an integer, got {type(value).__name__}") from None
    if not least <= count <= most:
        raise InvalidValue(f"{name} must be >= {least} and <= {most} {unit}, got {value!r}")
    return count


def checked_lifetime(name: str, seconds: object) -> int:
    """A ttl or tti in nanoseconds, at least one; NEVER for None.

    Raises:
        ValueError: not 0 < seconds <= 100 years.
        TypeError: it is neither a number of seconds nor a timedelta nor None.
    """
    if seconds is None:
        return NEVER
    if isinstance(seconds, timedelta):
        in_range = timedelta() < seconds <= timedelta(seconds=MAX_TTL)
        nanoseconds = seconds // timedelta(microseconds=1) * 1_000
    elif isinstance(seconds, (int, float)):
        in_range = 0 < seconds <= MAX_TTL
        nanoseconds = round(seconds * NANOSECONDS) if in_range else 0
    else:
        raise InvalidType(f"{name} must be seconds, a timedelta or None, got {type(seconds).__name__}")
    if not in_range:
        raise InvalidValue(f"{name} must be > 0 and <= {MAX_TTL_YEARS} years, got {seconds!r}")
    return max(1, nanoseconds)


def check_jitter(jitter: object) -> None:
    """Raises ValueError or TypeError unless `jitter` is a number, 0 <= jitter < 1."""
    if not isinstance(jitter, (int, float)):
        raise InvalidType(f"jitter must be a number, got {type(jitter).__name__}")
    if not 0 <= jitter < 1:
        raise InvalidValue(f"jitter must be >= 0 and < 1, a fraction of the ttl, got {jitter!r}")


def check_callable(name: str, given: object) -> None:
    """Raises TypeError unless `given` is callable or None."""
    if given is not None and not callable(given):
        raise InvalidType(f"{name} must be callable or None, got {type(given).__name__}")


def check_default(default: tuple[object, ...]) -> None:
    """Raises TypeError if there is more than one default."""
    if len(default) > 1:
        raise InvalidType(f"pop takes a key and at most one default, got {len(default)} defaults")


def jittered(lifetime: int, jitter: float) -> int:
    """A lifetime, shortened by a random part of at most `jitter` of it."""
    return lifetime if lifetime == NEVER else max(1, lifetime - int(lifetime * jitter * random_fraction()))


def deadline_after(now: int, lifetime: int) -> int:
    """The nanosecond at which what is stored `now` expires, NEVER if that lies beyond int64."""
    return NEVER if lifetime == NEVER else min(now + lifetime, NEVER)


def seconds_until(deadline: int, now: int) -> float | None:
    """Seconds from `now` until `deadline`, None if it never comes."""
    return None if deadline == NEVER else (deadline - now) / NANOSECONDS
