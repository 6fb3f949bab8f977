"""Shared limiter, pure Python. Its compiled twin swaps the slots as csrc/shared_limiter.h says.

Python has no compare-and-swap, so here every decision is made under a lock of the file, which the kernel
lets go when a process is killed. A decision is one store of a slot, and a slot of which only a part was
stored is a valid one.
"""

import os
from array import array
from collections.abc import Callable, Coroutine, Sequence
from hashlib import blake2b
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, ParamSpec, Self, TypeVar
from weakref import WeakSet

from penstock.clock import Clock, checked_clock
from penstock.errors import InvalidType
from penstock.ratelimit._batch import checked_batch, note_index
from penstock.ratelimit._copying import refuse_copy
from penstock.ratelimit._decorator import OnLimited, limited
from penstock.ratelimit._lines import Lines
from penstock.ratelimit._quotas import TokenBucketRule, numbers_of
from penstock.ratelimit._result_py import RateLimitResult, result_of
from penstock.ratelimit._shared_file import (
    BUCKET,
    HEADER_BYTES,
    MOVES_AT,
    TURNED_AWAY_AT,
    SharedFileError,
    checked_slots,
    file_locks,
    open_shared_file,
)
from penstock.ratelimit._waiting import checked_timeout
from penstock.ratelimit.quota import Quota, checked_quotas, checked_units

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

__all__ = ["SharedRateLimiter", "SharedStats"]

P = ParamSpec("P")
R = TypeVar("R")

WINDOW = 2 * BUCKET
STATE, MEMBER = 3, 2  # of csrc/shared_limiter.h; there is no need of claims under a lock
GENERATION = 0xFFFC
TAG = 0xFFFFFFFFFFFF0000
LAST_MOMENT = 1 << 62
MAX_COUNT = (1 << 64) - 1
ATTEMPTS = 1000  # one fails only when the slots or this limiter were changed while the clock was read

STR, BYTES, INT = 1, 2, 3  # kinds of keys; equal bytes of two kinds are two keys


PAUSE = 1_000_000  # nanoseconds before a newcomer who waits looks for a slot again, at least


class SharedStats(NamedTuple):
    """The state of a shared table."""

    slots: int
    """Keys that it has room for."""
    live: int
    """Keys that have taken something which has not come back yet."""
    turned_away: int
    """Requests of new keys that were refused because every slot that they may have was live."""


def encoded(key: object) -> tuple[int, bytes]:
    """Kind and bytes of a key.

    Raises:
        TypeError: it is neither a str, bytes nor an int.
    """
    if isinstance(key, str):
        return STR, str.encode(key, "utf-8", "surrogatepass")
    if isinstance(key, bytes):
        return BYTES, bytes(key)
    if isinstance(key, int):
        bits = int.bit_length(key)
        return INT, int.to_bytes(key, max(8, bits // 8 + 1), "little", signed=True)
    raise InvalidType(f"key must be a str, bytes or an int, got {type(key).__name__}")


class Descriptor:
    """An open file; closed with the object at the latest."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        """Closes it, once."""
        number, self.number = self.number, -1
        if number >= 0:
            os.close(number)

    __del__ = close


def closed(path: object) -> SharedFileError:
    """What a call after close() raises, or of the compiled twin before __init__."""
    if path is None:
        return SharedFileError("the limiter is not initialised")
    return SharedFileError(f"{os.fsdecode(path)}: the limiter is closed")  # type: ignore[arg-type]


class SharedRateLimiter:
    """Limits for each key that several processes of one host share exactly, through one file.

    Every process opens the same `path` with the same quotas, before or after a fork. A process may be
    killed at any moment: no other waits for it, and it takes at most what its last request would have
    taken. Threads may share a limiter.

    Each quota is a token bucket; several are decided together or not at all. A key is hashed with a
    secret of the file. The table does not grow: a key that has all its tokens back gives its slot to
    another, one that has not is never forgotten, and a newcomer that finds no slot is refused and counted
    in `stats().turned_away`. About twice as many slots as keys are limited at one time are right.

    A file of an earlier boot is replaced by a new one. Every other file that does not fit is refused.

    Args:
        quotas: Quota or str such as "10/second, 1000/hour", 1 to 8 of them.
        path: the file; made with mode 0600 if there is none. Its directory should be on tmpfs, as /run and
            /dev/shm are, and writable by this user alone: a program that truncates the file kills those
            that use it.
        slots: keys that can be limited at one time, 32 to 2**26 and a multiple of 16; each needs 16 bytes
            for each quota.
        clock: returns int nanoseconds that do not go back, the same in all processes; None for the
            monotonic clock of the system, which stands still while the host is suspended.

    Raises:
        ValueError: a quota or `slots` is out of its range.
        TypeError: an argument is of a wrong type.
        SharedFileError: the file cannot be made, or is none of ours: another owner or mode, a link, damaged,
            of other quotas, slots, clock or version, or made by the other twin. An OSError.

    Source: ITU-T I.371, generic cell rate algorithm; Purcell and Harris, Non-blocking hashtables with open
    addressing, 2005.
    """

    __slots__ = (
        "__weakref__",
        "_clock",
        "_closed",
        "_depth",
        "_file",
        "_lines",
        "_lock",
        "_locks",
        "_memory",
        "_most",
        "_path",
        "_quotas",
        "_rules",
        "_secret",
        "_slots",
        "_turn",
        "_words",
    )

    def __init__(
        self,
        *quotas: Quota | str,
        path: str | bytes | os.PathLike[str],
        slots: int = 65_536,
        clock: Clock | None = None,
    ) -> None:
        if hasattr(self, "_rules"):
            raise InvalidType("a SharedRateLimiter is initialised once")
        checked = checked_quotas(quotas)
        size = checked_slots(slots)
        self._clock = checked_clock(clock)
        file = open_shared_file(
            path, checked, size, compiled=False, own_clock=clock is not None, epoch=self._clock()
        )
        self._quotas, self._path, self._slots = checked, path, size
        self._most = min(quota.burst for quota in checked)
        self._secret = file.secret
        self._memory = file.memory
        self._words = memoryview(file.memory).cast("Q")
        self._file = Descriptor(file.fd)
        self._locks = file_locks()
        self._lock = RLock()  # of threads; a signal handler may use the limiter that it interrupts
        self._depth = 0  # decisions under way, one in another by a signal handler
        self._turn = 0  # decisions that were begun
        self._closed = False
        numbers = [numbers_of(quota, "token_bucket") for quota in checked]
        self._rules = tuple(TokenBucketRule(each, file.epoch) for each in numbers)
        self._lines: Lines | None = None  # as long as nobody has waited
        OPEN.add(self)

    def __reduce__(self) -> NoReturn:
        refuse_copy(self, "open its path again")

    def __repr__(self) -> str:
        quotas = ", ".join(str(quota) for quota in self._quotas)
        return f"SharedRateLimiter({quotas!r}, path={self._path!r}, slots={self._slots})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Keys that have taken something which has not come back yet. Looks at every slot."""
        now = self._clock()
        self._begin()
        try:
            return sum(not self._idle(index, now) for index in self._members())
        finally:
            self._end()

    @property
    def quotas(self) -> tuple[Quota, ...]:
        """The limits of every key."""
        return self._quotas

    @property
    def path(self) -> str | bytes | os.PathLike[str]:
        """The file, as it was given."""
        return self._path

    def allow(self, key: str | bytes | int, n: int = 1, /) -> bool:
        """Takes `n` units of `key` if every quota has them; never waits.

        Args:
            key: whose limit.
            n: units, 1 to the smallest burst.

        Returns:
            True: they are taken. False: too few, none taken.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            TypeError: key or n is of a wrong type.
            SharedFileError: the limiter is closed.
        """
        cost = checked_units(n, self._most)
        place = self._located(key)
        if self._lines is not None and self._is_awaited(key):
            return False
        return self._take(place, cost)[0]

    def check(self, key: str | bytes | int, n: int = 1, /) -> RateLimitResult:
        """Takes `n` units of `key` if every quota has them, and tells how the limit stands.

        Args:
            key: whose limit.
            n: units, 1 to the smallest burst.

        Returns:
            What was decided. Numbers are those of the quota that has the least left, or on a refusal of the
            one that has to be waited for longest.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            TypeError: key or n is of a wrong type.
            SharedFileError: the limiter is closed.
        """
        cost = checked_units(n, self._most)
        place = self._located(key)
        if self._lines is not None and self._is_awaited(key):
            return behind_line(self._result(*self._read(place, cost), cost))
        return self._result(*self._take(place, cost), cost)

    def peek(self, key: str | bytes | int, /) -> RateLimitResult:
        """How the limit of `key` stands, as `check` would tell for one unit; takes nothing.

        Raises:
            TypeError: key is of a wrong type.
            SharedFileError: the limiter is closed.
        """
        found = self._result(*self._read(self._located(key), 1), 1)
        return behind_line(found) if self._is_awaited(key) else found

    def retry_after(self, key: str | bytes | int, n: int = 1, /) -> float:
        """Seconds until `key` could take `n` units if nobody takes any until then; takes none.

        Args:
            key: whose limit.
            n: units, 1 to the smallest burst.

        Returns:
            Seconds, 0.0 when `allow(key, n)` would succeed now.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            TypeError: key or n is of a wrong type.
            SharedFileError: the limiter is closed.
        """
        cost = checked_units(n, self._most)
        found = self._result(*self._read(self._located(key), cost), cost)
        return (behind_line(found) if self._is_awaited(key) else found).retry_after

    def refund(self, key: str | bytes | int, n: int = 1, /) -> None:
        """Gives `n` units back to `key`; it never has more than its burst.

        Args:
            key: whose limit.
            n: units, 1 to the smallest burst.

        Raises:
            ValueError: n is out of its range.
            TypeError: key or n is of a wrong type.
            SharedFileError: the limiter is closed.
        """
        cost = checked_units(n, self._most)
        place = self._located(key)
        now = self._clock()
        self._begin()
        try:
            for _ in range(ATTEMPTS):
                turn = self._turn
                index = self._find(place)
                if index is None:
                    return
                slot = self._slot(index)
                for i, rule in enumerate(self._rules):
                    slot[2 * i + 1] = rule.refund(slot[2 * i + 1], now, cost)
                data = memoryview(array("Q", slot))
                if self._turn == turn:
                    self._words[index : index + len(slot)] = data
                    return
        finally:
            self._end()

    def acquire(self, key: str | bytes | int, n: int = 1, /, *, timeout: float | None = None) -> bool:
        """Waits until `n` units of `key` are there, and takes them; blocks the thread.

        First come, first served for each key within this limiter: while somebody waits, `allow` and `check`
        are refused for that key. Among processes it is whoever asks first when the units are there.

        Args:
            key: whose limit.
            n: units, 1 to the smallest burst.
            timeout: seconds to wait at most; 0 for not at all, None for no end.

        Returns:
            True: taken. False: not within `timeout`, nothing is taken.

        Raises:
            ValueError: n or timeout is out of its range.
            TypeError: key, n or timeout is of a wrong type.
            LimiterFull: too many wait: 1,000,000 for a key, or for as many keys as there are slots.
            SharedFileError: the limiter is closed, or was closed meanwhile.
        """
        checked_timeout(timeout)
        return self.allow(key, n) or self._waiting().acquire(encoded(key), n, timeout)

    def acquire_async(
        self, key: str | bytes | int, n: int = 1, /, *, timeout: float | None = None
    ) -> Coroutine[Any, Any, bool]:
        """As `acquire`, while other tasks run. A cancelled wait takes nothing and lets the next one go.

        Args:
            key: whose limit.
            n: units, 1 to the smallest burst.
            timeout: seconds to wait at most; 0 for not at all, None for no end.

        Returns:
            To be awaited. True: taken. False: not within `timeout`, nothing is taken.

        Raises:
            ValueError: n or timeout is out of its range.
            TypeError: key, n or timeout is of a wrong type.
            LimiterFull: too many wait: 1,000,000 for a key, or for as many keys as there are slots.
            SharedFileError: the limiter is closed, or was closed meanwhile.
        """
        return acquired(self, key, n, timeout)

    def reset(self, key: str | bytes | int, /) -> None:
        """Forgets what `key` has taken.

        Raises:
            TypeError: key is of a wrong type.
            SharedFileError: the limiter is closed.
        """
        place = self._located(key)
        self._begin()
        try:
            index = self._find(place)
            if index is not None:
                self._empty(index, self._turn)
        finally:
            self._end()

    def allow_many(
        self,
        keys: "Sequence[str | bytes | int] | NDArray[Any]",
        n: int = 1,
        *,
        out: "NDArray[numpy.bool_] | None" = None,
    ) -> "NDArray[numpy.bool_]":
        """As `allow(key, n)` for each of `keys`, in order; the clock is read once for those that are known.

        Args:
            keys: (k,) keys, in a list, a tuple or a numpy array; integers of an array count as ints.
            n: units of each, 1 to the smallest burst.
            out: (k,) bool, contiguous: takes the answers; None for a new array.

        Returns:
            (k,) bool, `out` if there was one.

        Raises:
            ValueError: n is out of its range, or keys or out has the wrong shape.
            TypeError: n is no int, keys is no sequence, a key is of a wrong type, or out is no array of bool.
            SharedFileError: the limiter is closed.

        An error in the middle has a note that names the index; the keys before it are decided, with their
        answers in `out`.
        """
        cost = checked_units(n, self._most)
        batch, answers = checked_batch(keys, out)
        now = self._clock()
        for i, key in enumerate(batch):
            try:
                place = self._located(key)
                answers[i] = not self._is_awaited(key) and self._take(place, cost, now)[0]
            except BaseException as error:
                note_index(error, i)
                raise
        return answers

    def limit(
        self, key: object = None, *, n: int = 1, on_limited: OnLimited = "raise"
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorates a function, or a coroutine function, so that each call takes `n` units first.

        Args:
            key: a str, bytes or an int; or a function of the call's arguments that returns one; None for the
                function's own name.
            n: units that a call takes, 1 to the smallest burst.
            on_limited: `raise` raises RateLimitExceeded; `wait` waits as `acquire` and `acquire_async` do.

        Returns:
            The decorator.

        Raises:
            ValueError: on_limited or n is none that there is.
            TypeError: key or n is of a wrong type.
        """
        return limited(self, checked_fixed(key), checked_units(n, self._most), on_limited)

    def sweep(self) -> int:
        """Empties the slots of keys that have all their tokens back. Needed by nobody: newcomers take them.

        Returns:
            How many they were. Looks at every slot.

        Raises:
            SharedFileError: the limiter is closed.
        """
        now = self._clock()
        self._begin()
        try:
            return sum(self._empty(index, self._turn, now) for index in self._members())
        finally:
            self._end()

    def stats(self) -> SharedStats:
        """The state of the table, for all processes. Looks at every slot.

        Raises:
            SharedFileError: the limiter is closed.
        """
        live = len(self)
        self._begin()
        try:
            return SharedStats(self._slots, live, self._words[TURNED_AWAY_AT // 8])
        finally:
            self._end()

    def close(self) -> None:
        """Ends the use of the file here; every later call but this raises SharedFileError.

        So do at once the calls of those who wait. Other processes are not concerned, not even one that was
        forked off or that forked this one off. The file stays.
        """
        if not self._closed:
            self._begin()
            self._closed = True
            self._end()
        if self._lines is not None:
            self._lines.wake_all()

    # --- waiting: lines are of this process, and their keys as encoded() has them ---

    def _is_awaited(self, key: object) -> bool:
        """Whether somebody waits for the key, who then is to have what comes next."""
        lines = self._lines
        if lines is None or not lines.by_key or not lines.stand(encoded(key)):
            return False
        if self._closed:
            raise closed(self._path)
        return True

    def _waiting(self) -> Lines:
        with self._lock:
            if self._lines is None:
                self._lines = Lines(self, self._now_if_open, self._slots)
            return self._lines

    def _now_if_open(self) -> int:
        now = self._clock()
        if self._closed:
            raise closed(self._path)
        return now

    def _take_at(self, key: Any, n: int, at: int, /) -> int:
        """Takes and returns 0, or returns the nanoseconds after `at` until it is worth asking again.

        The clock is read anew. A take at `at`, which can lie in the past, would hand out what ran over since
        then, while other processes may have had a full bucket.
        """
        allowed, moments, now, room = self._take(self._place(*key), n)
        if allowed:
            return 0
        waits = [max(room, PAUSE)]
        if moments is not None:
            waits = [rule.wait(full_at, now, n) for rule, full_at in zip(self._rules, moments, strict=True)]
        return max(*waits, 1) + max(now - at, 0)

    # --- one process at a time ---

    def _begin(self) -> None:
        """Holds the file; from here to `_end` nothing of the caller's runs but signal handlers."""
        self._lock.acquire()
        self._depth += 1
        try:
            if self._closed:
                raise closed(self._path)
            # again when a handler interrupts: it is held, or will be
            self._locks.flock(self._file.number, self._locks.LOCK_EX)
            self._turn += 1
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        self._depth -= 1
        try:
            if self._depth == 0 and self._file.number >= 0:
                if self._closed:
                    self._words.release()
                    self._memory.close()
                    self._file.close()  # which unlocks as well
                else:
                    self._locks.flock(self._file.number, self._locks.LOCK_UN)
        finally:
            self._lock.release()

    def _forked(self) -> None:
        """In a forked child: a lock of its own, for the parent's file lock is shared with the child.

        Those who wait are in the parent.
        """
        self._lines = None
        self._lock = RLock()
        self._depth = 0
        if self._file.number >= 0:
            self._file = Descriptor(os.open(f"/proc/self/fd/{self._file.number}", os.O_RDWR | os.O_CLOEXEC))

    # --- slots ---

    def _located(self, key: object) -> tuple[int, int, int]:
        """The slots at which the two buckets of a key begin, and its tag."""
        return self._place(*encoded(key))

    def _place(self, kind: int, data: bytes) -> tuple[int, int, int]:
        digest = blake2b(data, digest_size=16, key=self._secret, person=bytes([kind])).digest()
        buckets = self._slots // BUCKET
        first = int.from_bytes(digest[:4], "little") * buckets >> 32
        second = (first + 1 + (int.from_bytes(digest[4:8], "little") * (buckets - 1) >> 32)) % buckets
        return first * BUCKET, second * BUCKET, int.from_bytes(digest[8:], "little") & TAG

    def _window(self, place: tuple[int, int, int]) -> list[int]:
        """Where the slots of a window begin, in words."""
        step = 2 * len(self._rules)
        start = HEADER_BYTES // 8
        return [start + (first + i) * step for first in place[:2] for i in range(BUCKET)]

    def _members(self) -> list[int]:
        """Where the slots that have an owner begin, in words."""
        start = HEADER_BYTES // 8
        owners = self._words[start :: 2 * len(self._rules)].tolist()
        return [start + i * 2 * len(self._rules) for i, owner in enumerate(owners) if owner & STATE == MEMBER]

    def _find(self, place: tuple[int, int, int]) -> int | None:
        """Where the slot of a key begins, in words."""
        for index in self._window(place):
            owner = self._words[index]
            if owner & (TAG | STATE) == place[2] | MEMBER:
                return index
            if owner == 0:  # never used, and whoever moves in takes the first slot that is free
                return None
        return None

    def _slot(self, index: int) -> list[int]:
        """Owner and moment of each cell; a cell of an earlier owner counts as full."""
        words = self._words[index : index + 2 * len(self._rules)].tolist()
        for i in range(0, len(words), 2):
            words[i + 1] = min(words[i + 1], LAST_MOMENT) if words[i] == words[0] else 0
            words[i] = words[0]
        return words

    def _idle(self, index: int, now: int) -> bool:
        moments = self._slot(index)[1::2]
        return all(full_at < rule.tick(now) for full_at, rule in zip(moments, self._rules, strict=True))

    def _free(self, place: tuple[int, int, int], now: int) -> int | None:
        """Where the first slot begins that the key may have."""
        for index in self._window(place):
            if self._words[index] & STATE != MEMBER or self._idle(index, now):
                return index
        return None

    def _empty(self, index: int, turn: int, now: int | None = None) -> bool:
        """Takes a slot from its owner, if it is idle at clock `now` (None: in any case)."""
        if now is not None and not self._idle(index, now):
            return False
        owner = self._words[index] & GENERATION
        if self._turn != turn:  # a signal handler has used the limiter
            return False
        self._words[MOVES_AT // 8] = self._words[MOVES_AT // 8] + 1 & MAX_COUNT
        self._words[index] = owner
        return True

    # --- decisions ---

    def _take(
        self, place: tuple[int, int, int], n: int, now: int | None = None
    ) -> tuple[bool, list[int] | None, int, int]:
        """Whether `n` units are taken, the moments then (None: no slot), the clock, ns until a slot."""
        moves: int | None = None
        for _ in range(ATTEMPTS):
            if now is None:
                now = self._clock()
            self._begin()
            try:
                turn = self._turn
                index = self._find(place)
                if index is None and moves != (moves := self._words[MOVES_AT // 8]):
                    # with a clock from before a key moved out, its tokens could be given away twice
                    now = None
                    continue
                home = self._free(place, now) if index is None else index
                if home is None:
                    self._words[TURNED_AWAY_AT // 8] = self._words[TURNED_AWAY_AT // 8] + 1 & MAX_COUNT
                    return False, None, now, self._room(place, now)
                slot = self._slot(home) if index is not None else self._new_slot(home, place[2], now)
                taken = self._charge(slot, now, n)
                data = memoryview(array("Q", slot))
                fresh = index is None
                if self._turn != turn:  # a signal handler has used the limiter
                    now = None
                    continue
                if taken:  # from here nothing is called until it is stored
                    if fresh:
                        self._words[MOVES_AT // 8] = self._words[MOVES_AT // 8] + 1 & MAX_COUNT
                        self._words[home] = slot[0] & GENERATION
                    self._words[home : home + len(slot)] = data
                return taken, slot[1::2], now, 0
            finally:
                self._end()
        return False, None, self._clock(), 0

    def _new_slot(self, index: int, tag: int, now: int) -> list[int]:
        """A slot with full buckets for the key of `tag`, in place of what is at `index`."""
        generation = (self._words[index] & GENERATION) + 4
        owner = tag | (4 if generation > GENERATION else generation) | MEMBER
        return [word for rule in self._rules for word in (owner, rule.tick(now))]

    def _charge(self, slot: list[int], now: int, n: int) -> bool:
        """Moves the moments of a slot on by `n` units, all or none."""
        charged = []
        for rule, full_at in zip(self._rules, slot[1::2], strict=True):
            then = rule.take(full_at, now, n)
            if then is None:
                return False
            charged.append(then)
        slot[1::2] = charged
        return True

    def _read(self, place: tuple[int, int, int], n: int) -> tuple[bool, list[int] | None, int, int]:
        """What `_take` would answer."""
        now = self._clock()
        self._begin()
        try:
            index = self._find(place)
            if index is None:
                room = 0 if self._free(place, now) is not None else self._room(place, now)
                return room == 0, None if room else [0] * len(self._rules), now, room
            moments = self._slot(index)[1::2]
            allowed = self._charge(self._slot(index), now, n)
            return allowed, moments, now, 0
        finally:
            self._end()

    def _room(self, place: tuple[int, int, int], now: int) -> int:
        """Nanoseconds until the key can have a slot."""
        waits = (
            max(
                rule.reset(full_at, now)
                for rule, full_at in zip(self._rules, self._slot(index)[1::2], strict=True)
            )
            for index in self._window(place)
        )
        return min(waits) + 2  # a slot can be had a tick after it is full: at most two nanoseconds

    def _result(
        self, allowed: bool, moments: list[int] | None, now: int, room: int, n: int
    ) -> RateLimitResult:
        if moments is None:  # a newcomer for whom there is no slot
            return result_of(False, self._rules[0].limit, 0, room, room, self._rules[0].window_ns)
        tightest = None
        for rule, full_at in zip(self._rules, moments, strict=True):
            retry = 0 if allowed else rule.wait(full_at, now, n)
            remaining = rule.remaining(full_at, now)
            order = (-retry, remaining)
            if tightest is None or order < tightest[0]:
                tightest = (order, rule, remaining, retry, rule.reset(full_at, now))
        assert tightest is not None
        _, rule, remaining, retry, reset = tightest
        return result_of(allowed, rule.limit, remaining, retry, reset, rule.window_ns)


def behind_line(result: RateLimitResult) -> RateLimitResult:
    """Of a key that somebody waits for: whoever does not wait is refused, for a moment at least."""
    if not result:
        return result
    return result_of(False, result._limit, result._remaining, 1, max(result._reset_ns, 1), result._window_ns)


async def acquired(limiter: Any, key: object, n: int, timeout: float | None) -> bool:
    """What acquire_async of both twins does."""
    checked_timeout(timeout)
    if limiter.allow(key, n):
        return True
    return bool(await limiter._waiting().acquire_async(encoded(key), n, timeout))


def checked_fixed(key: object) -> object:
    """A key for a decorator, when it can be one.

    Raises:
        TypeError: it is neither None, callable, a str, bytes nor an int.
    """
    if key is not None and not callable(key):
        encoded(key)
    return key


OPEN: "WeakSet[SharedRateLimiter]" = WeakSet()


def after_fork_in_child() -> None:
    for limiter in list(OPEN):
        limiter._forked()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=after_fork_in_child)
