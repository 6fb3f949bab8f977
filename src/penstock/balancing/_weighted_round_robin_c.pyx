"""Weighted round robin, compiled: the twin of _weighted_round_robin_py.py over csrc/weighted_round_robin.c."""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint64_t

from fractions import Fraction
from types import GenericAlias

from penstock.balancing._weighted_round_robin_py import (
    FRACTION_BITS,
    checked_count,
    checked_state,
    checked_weights,
    no_member_up,
    unknown_member,
)
from penstock.errors import InvalidType

__all__ = ["WeightedRoundRobin"]

cdef extern from "weighted_round_robin.h" nogil:
    ctypedef enum ps_status:
        PS_OK

    ctypedef struct ps_wrr_member:
        int64_t weight
        int64_t gain
        int64_t credit

    ctypedef struct ps_wrr:
        ps_wrr_member *members
        size_t n
        int64_t scale
        uint64_t changes

    cdef enum:
        PS_WRR_MAX_MEMBERS
    void ps_wrr_init(ps_wrr *balancer, ps_wrr_member *members, size_t n)
    void ps_wrr_mark(ps_wrr *balancer, size_t member, bint up)
    ps_status ps_wrr_pick(ps_wrr *balancer, size_t *winner)
    ps_status ps_wrr_pick_many(ps_wrr *balancer, size_t count, Py_ssize_t *winners)
    void ps_wrr_copy(const ps_wrr *balancer, ps_wrr_member *members, ps_wrr *copy)
    ps_status ps_wrr_adopt(ps_wrr *balancer, const ps_wrr *copy, uint64_t since)
    void ps_wrr_restore(ps_wrr *balancer, int64_t scale, const int64_t *credits)

cdef size_t LONG_BATCH = 20_000  # members to look at, about 20 us: less than that is not worth the GIL


cdef class WeightedRoundRobin:
    """WeightedRoundRobin(weights, /)\n--\n
    Picks members in turn, each as often as its weight says, spread out evenly and without chance.

    While the same m members are up, every `total` picks from the start give each member exactly its weight,
    and at any moment between no member is further from its share than 1 - 1 / (2m - 2) picks, the least
    that any rule can promise. A member that is marked down is passed over: its share goes to the others
    in proportion, and what it was owed waits for it, neither reset nor grown. Under any ups and downs of n
    members each stays within n / 2 picks of its share, under random ones within 2. Equal weights and equal
    marks give an equal sequence; the first in order is picked among equals.

    Threads may share a balancer. A pick costs O(members), a few ns for each.

    Args:
        weights: weight of each member, in order; 1 to 1,000 members, each weight > 0. They count as the
            numbers that are written: 0.4 and 0.1 are as 4 and 1. As the smallest integers in their
            proportion they may sum to at most 1,000,000.

    Raises:
        ValueError: too few or too many members, a weight out of its range, or proportions too fine.
        TypeError: no mapping, or a weight is no number.

    Source: R. Tijdeman, The chairman assignment problem, Discrete Mathematics 32, 1980, over the credits of
    nginx's smooth weighted round robin, counted in picks; csrc/weighted_round_robin.h has the proofs.
    """

    cdef ps_wrr balancer
    cdef tuple _members
    cdef list _weights
    cdef dict _index

    def __cinit__(self):
        self.balancer.scale = 1  # no members and none up, until __init__ has run
        self._members = ()
        self._weights = []
        self._index = {}

    def __init__(self, weights, /):
        members, integers = checked_weights(weights)
        index = {member: i for i, member in enumerate(members)}
        cdef size_t i, n = len(members)
        cdef ps_wrr_member *room = <ps_wrr_member *>PyMem_Malloc(n * sizeof(ps_wrr_member))
        if room is NULL:
            raise MemoryError
        for i in range(n):
            room[i].weight = integers[i]
        with cython.critical_section(self):
            if self.balancer.members is not NULL:
                PyMem_Free(room)
                raise InvalidType("a WeightedRoundRobin is initialised once")
            ps_wrr_init(&self.balancer, room, n)
            self._members = members
            self._weights = integers
            self._index = index

    def __dealloc__(self):
        PyMem_Free(self.balancer.members)

    def __repr__(self):
        return f"WeightedRoundRobin({self.weights!r})"

    @classmethod
    def __class_getitem__(cls, item, /):
        return GenericAlias(cls, item)

    @property
    def members(self):
        """All members, in order."""
        return self._members

    @property
    def weights(self):
        """The weight of each member, as the smallest integers in their proportion."""
        return dict(zip(self._members, self._weights))

    @property
    def total(self):
        """The sum of `weights`: the picks after which the sequence repeats while all members are up."""
        return sum(self._weights)

    @property
    def up(self):
        """The members that are up, in order."""
        cdef list up = [False] * len(self._members)
        cdef size_t i
        with cython.critical_section(self):
            for i in range(self.balancer.n):
                up[i] = self.balancer.members[i].gain != 0
        return tuple([member for member, is_up in zip(self._members, up) if is_up])

    def pick(self):
        """The member whose turn it is.

        Raises:
            LookupError: no member is up.
        """
        cdef size_t winner
        cdef ps_status status
        with cython.critical_section(self):
            status = ps_wrr_pick(&self.balancer, &winner)
        if status != PS_OK:
            raise no_member_up(len(self._members))
        return self._members[winner]

    def pick_many(self, n, /):
        """The next `n` picks at once; picks of other threads may come before or after, not between.

        Args:
            n: picks, 0 to 10,000,000.

        Returns:
            (n,) intp, indices into `members`.

        Raises:
            ValueError: n is out of its range.
            LookupError: no member is up; nothing was picked.
        """
        import numpy as np

        cdef size_t count = checked_count(n)
        winners = np.empty(count, np.intp)
        cdef Py_ssize_t[::1] room = winners
        cdef ps_status status = PS_OK
        with cython.critical_section(self):
            if count * self.balancer.n < LONG_BATCH or not self.pick_apart(count, &room[0]):
                status = ps_wrr_pick_many(&self.balancer, count, &room[0])
        if status != PS_OK:
            raise no_member_up(len(self._members))
        return winners

    cdef bint pick_apart(self, size_t count, Py_ssize_t *winners) except -1:
        """Picks on a copy, without the GIL. False: nothing picked, as none is up or others came between."""
        cdef uint64_t since = self.balancer.changes
        cdef ps_status status
        cdef ps_wrr copy
        cdef ps_wrr_member *room = <ps_wrr_member *>PyMem_Malloc(self.balancer.n * sizeof(ps_wrr_member))
        if room is NULL:
            raise MemoryError
        try:
            ps_wrr_copy(&self.balancer, room, &copy)
            with nogil:
                status = ps_wrr_pick_many(&copy, count, winners)
            return status == PS_OK and ps_wrr_adopt(&self.balancer, &copy, since) == PS_OK
        finally:
            PyMem_Free(room)

    def mark_down(self, member, /):
        """Passes `member` over from now on; its credit waits. Does nothing if it is out already.

        Raises:
            LookupError: there is no such member.
        """
        self.mark(member, False)

    def mark_up(self, member, /):
        """Picks `member` again, from now on, with the credit it had. Does nothing if it is up already.

        Raises:
            LookupError: there is no such member.
        """
        self.mark(member, True)

    cdef int mark(self, member, bint up) except -1:
        index = self._index.get(member)
        if index is None:
            raise unknown_member(member, self._members)
        cdef size_t i = index
        with cython.critical_section(self):
            ps_wrr_mark(&self.balancer, i, up)
        return 0

    def credits(self):
        """The picks that each member is owed, exactly; below 0: it is ahead of its share. They sum to 0."""
        scale, owed = self.counted()
        return {m: Fraction(c, scale << FRACTION_BITS) for m, c in zip(self._members, owed)}

    def state(self):
        """The credits, as integers that JSON can carry; which members are up is not part of it."""
        scale, owed = self.counted()
        return {"weights": list(self._weights), "scale": scale, "credits": owed}

    cdef tuple counted(self):
        """Scale and credits of one moment."""
        cdef list owed = [0] * len(self._members)  # made first: a collection may run other code
        cdef int64_t scale
        cdef size_t i
        with cython.critical_section(self):
            scale = self.balancer.scale
            for i in range(self.balancer.n):
                owed[i] = self.balancer.members[i].credit
        return scale, owed

    def restore(self, state, /):
        """Sets the credits to those of `state`, as if all picks since then had not been made.

        Args:
            state: what `state()` of a balancer with the same weights returned. Members stay up or out
                as they are now.

        Raises:
            ValueError: it is the state of other weights, or none that picks lead to; nothing changed.
            TypeError: it is no state; nothing changed.
        """
        cdef int64_t credits[PS_WRR_MAX_MEMBERS]
        cdef int64_t scale
        cdef list owed
        cdef size_t i
        scale, owed = checked_state(state, self._weights)
        for i in range(self.balancer.n):
            credits[i] = owed[i]
        with cython.critical_section(self):
            ps_wrr_restore(&self.balancer, scale, credits)
