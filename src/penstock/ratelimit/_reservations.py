"""Reservations of a token bucket: who is promised tokens that are still to come, in which order.

Both twins of the bucket use this. The bucket's one integer holds the debts: a reservation pushes the
moment at which the bucket is full by its cost at once, even beyond the depth, and whoever comes later is
refused or waits behind it. The ledger here remembers whose debts those are, so that one of them can be
taken back.
"""

from collections import OrderedDict, deque
from math import inf
from threading import RLock
from typing import TYPE_CHECKING, NoReturn, Protocol

from penstock.clock import NANOSECONDS, Clock
from penstock.errors import InvalidValue
from penstock.ratelimit._copying import refuse_copy
from penstock.ratelimit._waiting import (
    MAX_WAITING,
    TaskWaker,
    ThreadWaker,
    Waker,
    checked_timeout,
    entered,
    inside,
)
from penstock.ratelimit.errors import LimiterFull

if TYPE_CHECKING:
    from penstock.ratelimit._token_bucket_py import Pace

__all__ = ["Ledger", "Reservation"]

NOTHING, PENDING, DUE = range(3)  # what a reservation holds: no tokens, a promise, tokens
SMALL = 64  # places for which no memory need be saved


def within(left: int, start: int, patience: int | None, now: int) -> float:
    """Seconds to sleep: `left` nanoseconds, but none beyond start + patience."""
    return (left if patience is None else min(left, max(start + patience - now, 0))) / NANOSECONDS


class Bucket(Protocol):
    """What a ledger needs of the bucket whose debts it knows."""

    @property
    def _full_at(self) -> int: ...
    def _swap(self, seen: int, then: int) -> bool:
        """Full at `then` from now on, if it is `seen` as yet."""

    def _change(self, pace: "Pace", seen: int, then: int) -> bool:
        """As `_swap`, and with another pace."""


class Reservation:
    """Tokens that are promised, from `TokenBucket.reserve`.

    They are there once `delay` is 0.0, in the order of the reservations. Then they count as used: a
    reservation that is let go of without `cancel` has used its tokens.
    """

    __slots__ = ("_armed", "_base", "_bucket", "_cost", "_holds", "_ledger", "_pace", "_place", "_waker")

    def __init__(self, bucket: Bucket, ledger: "Ledger", waker: Waker | None = None) -> None:
        self._bucket = bucket
        self._ledger = ledger
        self._waker = waker  # of the one who waits for it, if one does
        self._holds = NOTHING
        self._cost = 0  # ticks
        self._base = 0  # pending: its due tick when it came, plus what the tree held then; due: its due tick
        self._place = 0  # its index in the tree
        self._armed = 0  # the tick for which the timer of the one who waits is set
        self._pace: Pace | None = None  # the pace at which it became due

    def __reduce__(self) -> NoReturn:
        refuse_copy(self, "it is one promise")

    def __repr__(self) -> str:
        return f"<Reservation, delay {self.delay:.9g} s>"

    @property
    def delay(self) -> float:
        """Seconds until the tokens are there; 0.0 when they are, inf when it was cancelled.

        Shrinks also when somebody ahead cancels. Once 0.0 it stays that.
        """
        return self._ledger.delay(self)

    def cancel(self) -> bool:
        """Gives the promise back; those behind move up by as much.

        Returns:
            True: the tokens are given back. False: nothing is, because they are there already (they count
            as used, `TokenBucket.refund` puts them back) or it was cancelled before.
        """
        return self._ledger.cancel(self)


class Ledger:
    """The reservations of one bucket that are not due yet, in the order of their arrival.

    Args:
        clock: the bucket's.
        pace: the bucket's.

    A promise is due at the tick

        full_at - depth - the costs of those behind it

    which is O(1) for the head. For any other it is its due tick on arrival, less what was cancelled ahead
    of it since: a Fenwick tree sums that in O(log n). Only a bucket without debts allows anybody else, so
    a `full_at` that this ledger did not write says that everything in it has become due: the hot path
    needs to leave no other trace here.
    """

    __slots__ = (
        "_clock", "_gone", "_lock", "_mark", "_next", "_pending", "_total", "_tree", "_tree_sum", "_waiting",
        "_writing", "pace",
    )  # fmt: skip

    def __init__(self, clock: Clock, pace: "Pace") -> None:
        self.pace = pace
        self._clock = clock
        self._lock = RLock()
        self._mark = -1  # full_at as this ledger has left or seen it
        self._writing = -1  # ... or as it is about to leave it
        self._pending: OrderedDict[Reservation, None] = OrderedDict()
        self._waiting: OrderedDict[Reservation, None] = OrderedDict()  # those of them whom somebody waits for
        self._total = 0  # ticks, the costs of all that are pending
        self._tree = [0] * SMALL  # ticks cancelled at each place, as a Fenwick tree
        self._tree_sum = 0
        self._next = 1  # the place of the next to come
        self._gone: deque[Reservation] = deque()  # nobody waits for them any more, and that is not booked yet

    def reserve(self, bucket: Bucket, n: float) -> Reservation:
        """See TokenBucket.reserve."""
        reservation = Reservation(bucket, self)
        self._promise(reservation, n, None)
        return reservation

    def delay(self, reservation: Reservation) -> float:
        """See Reservation.delay."""
        return inf if reservation._holds == NOTHING else self._left(reservation) / NANOSECONDS

    def cancel(self, reservation: Reservation) -> bool:
        """See Reservation.cancel."""
        wake: list[Reservation] = []
        now = self._clock()
        with entered(self._lock):
            cancelled = self._cancel(reservation, self.pace.tick(now), wake)
        self._wake(wake)
        return cancelled

    def refund(self, bucket: Bucket, n: float) -> None:
        """See TokenBucket.refund."""
        while True:
            pace = self.pace
            cost = pace.cost(n)
            wake: list[Reservation] = []
            now = self._clock()
            with entered(self._lock):
                if self.pace is pace:
                    self._put_back(bucket, cost, pace.tick(now), wake)
                    break
        self._wake(wake)

    def set_pace(self, bucket: Bucket, pace: "Pace") -> None:
        """See TokenBucket.set_rate."""
        wake: list[Reservation] = []
        now = self._clock()
        with entered(self._lock):
            while not self._change(bucket, pace, self.pace.elapsed(now), wake):
                pass
            self._catch_up(bucket, pace.tick(now), wake)
            self._stir(wake)
        self._wake(wake)

    def acquire(self, bucket: Bucket, n: float, timeout: float | None) -> bool:
        """See TokenBucket.acquire."""
        patience = checked_timeout(timeout)
        waker = ThreadWaker()
        reservation = Reservation(bucket, self, waker)
        start = self._clock()
        try:
            if not self._promise(reservation, n, patience):
                return False
            while left := self._left(reservation):
                if patience is not None and self._clock() - start >= patience:
                    return self._leave(reservation)  # set_rate has made it longer than it was
                waker.wait(within(left, start, patience, self._clock()))
        except BaseException:
            self._leave(reservation)
            raise
        return True

    async def acquire_async(self, bucket: Bucket, n: float, timeout: float | None) -> bool:
        """See TokenBucket.acquire_async."""
        patience = checked_timeout(timeout)
        waker = TaskWaker()
        reservation = Reservation(bucket, self, waker)
        start = self._clock()
        try:
            if not self._promise(reservation, n, patience):
                return False
            while left := self._left(reservation):
                if patience is not None and self._clock() - start >= patience:
                    return self._leave(reservation)  # set_rate has made it longer than it was
                await waker.wait(within(left, start, patience, self._clock()))
        except BaseException:
            self._leave(reservation)
            raise
        return True

    def _promise(self, reservation: Reservation, n: float, patience: int | None) -> bool:
        """Charges `n` tokens for it. False: it would be due only after `patience` nanoseconds."""
        while True:
            pace = self.pace
            cost = pace.cost(n)
            wake: list[Reservation] = []
            now = self._clock()
            with entered(self._lock):
                if self.pace is pace:
                    promised = self._charge(reservation, cost, now, patience, wake)
                    break
        self._wake(wake)
        return promised

    def _left(self, reservation: Reservation) -> int:
        """Nanoseconds until a reservation is due."""
        wake: list[Reservation] = []
        now = self._clock()
        with entered(self._lock):
            pace = self.pace
            self._catch_up(reservation._bucket, pace.tick(now), wake)
            left = 0
            if reservation._holds == PENDING:
                due = reservation._armed = self._due(reservation)
                left = max(1, pace.first(due) - pace.elapsed(now))
            self._stir(wake)
        self._wake(wake)
        return left

    def _leave(self, reservation: Reservation) -> bool:
        """Nobody waits for it any more. A finalizer that interrupted one of the steps may call it too."""
        self._gone.append(reservation)
        self._settle()
        return False

    def _wake(self, waiters: list[Reservation]) -> None:
        for each in waiters:
            if each._waker is not None and not each._waker.wake():
                self._gone.append(each)  # its event loop is closed
        self._settle()

    def _settle(self) -> None:
        """Books who left. The step that is interrupted, if one is, comes by here after it."""
        while self._gone and not inside(self._lock):
            wake: list[Reservation] = []
            now = self._clock()
            with self._lock:
                while self._gone:
                    self._give_back(self._gone.popleft(), self.pace.tick(now), wake)
            for each in wake:
                if each._waker is not None and not each._waker.wake():
                    self._gone.append(each)

    # What follows is called within the lock, and adds to `wake` whom to wake after it. A KeyboardInterrupt
    # may come between any two steps: their order is such that it can make a promise late, never early.

    def _swap(self, bucket: Bucket, then: int) -> bool:
        self._writing = then
        swapped = bucket._swap(self._mark, then)
        if swapped:
            self._mark = then
        return swapped

    def _due(self, reservation: Reservation) -> int:
        cancelled_ahead = 0
        place = reservation._place
        while place:
            cancelled_ahead += self._tree[place]
            place &= place - 1
        return reservation._base - cancelled_ahead

    def _catch_up(self, bucket: Bucket, tick: int, wake: list[Reservation]) -> None:
        """Takes those out that have become due."""
        seen = bucket._full_at
        if seen == self._writing:  # an interrupted _swap of this ledger's own
            self._mark = seen
        while self._pending:
            head = next(iter(self._pending))
            due = self._mark - self._total + head._cost - self.pace.depth
            if due > tick and seen == self._mark:
                break
            self._take_out(head)
            head._holds = DUE
            head._base = due
            head._pace = self.pace
            if head._waker is not None:
                wake.append(head)
        self._mark = seen

    def _charge(
        self, reservation: Reservation, cost: int, now: int, patience: int | None, wake: list[Reservation]
    ) -> bool:
        bucket, pace = reservation._bucket, self.pace
        tick = pace.tick(now)
        while True:
            self._catch_up(bucket, tick, wake)
            then = max(self._mark, tick) + cost
            due = then - pace.depth
            if due > tick:
                if patience is not None and pace.first(due) - pace.elapsed(now) > patience:
                    return False
                if due > pace.horizon:
                    raise LimiterFull("tokens must be there within 36 years, so many are promised already")
                if len(self._pending) >= MAX_WAITING:
                    raise LimiterFull(f"at most {MAX_WAITING} reservations may be pending")
            if self._swap(bucket, then):
                break
        reservation._cost = cost
        reservation._base = due
        reservation._pace = pace
        if due > tick:
            self._append(reservation, due)
        else:
            reservation._holds = DUE
        return True

    def _append(self, reservation: Reservation, due: int) -> None:
        if self._next == len(self._tree) or (not self._pending and self._next > SMALL // 2):
            self._renumber()
        reservation._holds = PENDING
        reservation._place = self._next
        reservation._base = due + self._tree_sum
        reservation._armed = due
        self._next += 1
        self._total += reservation._cost
        self._pending[reservation] = None
        if reservation._waker is not None:
            self._waiting[reservation] = None

    def _renumber(self) -> None:
        """Gives all that are pending places from 1, in a tree that is empty and half free."""
        for place, each in enumerate(self._pending, 1):
            each._base = self._due(each)
            each._place = place
        self._next = len(self._pending) + 1
        self._tree = [0] * max(SMALL, 2 * self._next)
        self._tree_sum = 0

    def _move_up(self, place: int, ticks: int) -> None:
        """Lets those at `place` and behind be due earlier."""
        self._tree_sum += ticks
        while place < len(self._tree):
            self._tree[place] += ticks
            place += place & -place

    def _take_out(self, reservation: Reservation) -> None:
        del self._pending[reservation]
        self._total -= reservation._cost
        if reservation._waker is not None:
            del self._waiting[reservation]

    def _cancel(self, reservation: Reservation, tick: int, wake: list[Reservation]) -> bool:
        bucket = reservation._bucket
        self._catch_up(bucket, tick, wake)
        if reservation._holds != PENDING:
            return False
        due = self._due(reservation)
        self._take_out(reservation)
        if not self._swap(bucket, self._mark - reservation._cost):
            reservation._holds = DUE  # somebody was allowed meanwhile: nothing was owed then
            reservation._base = due
            reservation._pace = self.pace
            return False
        self._move_up(reservation._place, reservation._cost)
        reservation._holds = NOTHING
        self._catch_up(bucket, tick, wake)
        self._stir(wake)
        return True

    def _stir(self, wake: list[Reservation]) -> None:
        """Lets the first who waits set its timer anew if that is too late; the others' turn is after it."""
        first = next(iter(self._waiting), None)
        if first is not None and (due := self._due(first)) < first._armed:
            first._armed = due
            wake.append(first)

    def _give_back(self, reservation: Reservation, tick: int, wake: list[Reservation]) -> None:
        """What one who left was promised or granted.

        When its tokens became due there were no others. Until a full depth later the bucket cannot have
        flowed over, so they are put back as if they had never been taken. After that they would have
        flowed over at some time, and to put them back would be to make new ones.
        """
        if self._cancel(reservation, tick, wake) or reservation._holds != DUE:
            return
        reservation._holds = NOTHING
        if reservation._pace is self.pace and self._latest(tick) - reservation._base <= self.pace.depth:
            self._put_back(reservation._bucket, reservation._cost, tick, wake)

    def _latest(self, tick: int) -> int:
        """The latest tick that the bucket is known to have seen, if the clock has gone back since."""
        return max(tick, self._mark - self.pace.depth - self._total)

    def _put_back(self, bucket: Bucket, cost: int, tick: int, wake: list[Reservation]) -> None:
        while True:
            self._catch_up(bucket, tick, wake)
            back = min(cost, self._mark - tick)
            if back <= 0:
                return  # it is full
            if self._swap(bucket, self._mark - back):
                break
        if self._pending:
            self._move_up(1, back)
        self._catch_up(bucket, tick, wake)
        self._stir(wake)

    def _change(self, bucket: Bucket, pace: "Pace", elapsed: int, wake: list[Reservation]) -> bool:
        old = self.pace
        self._catch_up(bucket, old.tick_after(elapsed), wake)
        latest = self._latest(old.tick_after(elapsed))
        level = old.depth - max(self._mark - latest, 0)  # below 0 are debts
        level = min(level * pace.token // old.token, pace.depth)
        tick = pace.tick_after(max(elapsed, old.first(latest)))
        then = tick + pace.depth - level
        if then - pace.depth > pace.horizon:
            raise InvalidValue(
                f"rate must be high enough to pay in 36 years what is promised, got {pace.rate!r}"
            )
        if not bucket._change(pace, self._mark, then):
            return False
        self.pace = pace
        self._mark = self._writing = then
        self._total = 0
        for each in self._pending:
            each._cost = max(1, each._cost * pace.token // old.token)
            self._total += each._cost
        self._renumber()
        behind = self._total
        for each in self._pending:
            behind -= each._cost
            each._base = then - behind - pace.depth
        for each in self._waiting:
            each._armed = pace.tick_after(old.first(each._armed))
        return True
