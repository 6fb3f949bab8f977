"""The points of a hash ring, compiled: the twin of _ring_points_py.py over csrc/ring_points.c."""

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_RawFree, PyMem_RawRealloc
from cpython.tuple cimport PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int32_t, uint32_t, uint64_t, uint8_t

from penstock.hashring._key_hash_c cimport KeyHash, ps_key_hash
from penstock.hashring._placement_c cimport Placement
from penstock.hashring._ring_points_py import checked_counts, checked_total, points_of

__all__ = ["RingPoints"]

cdef extern from "ring_points.h" nogil:
    ctypedef enum ps_status:
        PS_OK

    ctypedef struct ps_allocator:
        void *(*resize)(void *memory, size_t size)
        void (*release)(void *memory)

    ctypedef struct ps_ring:
        uint64_t *points
        uint32_t *owners
        size_t n

    size_t PS_RING_NEAR
    ps_status ps_ring_init(ps_ring *ring, const uint64_t *points, const uint32_t *owners, size_t n,
                           ps_allocator allocator)
    void ps_ring_free(ps_ring *ring)
    ps_status ps_ring_add(const ps_ring *ring, uint32_t owner, const uint64_t *points, size_t count,
                          ps_ring *grown)
    ps_status ps_ring_remove(const ps_ring *ring, uint32_t owner, ps_ring *shrunk)
    uint32_t ps_ring_owner(const ps_ring *ring, uint64_t hash)
    void ps_ring_owners(const ps_ring *ring, const uint64_t *hashes, size_t n, int32_t *owners)
    void ps_ring_order(const ps_ring *ring, uint64_t hash, size_t n, uint8_t *seen, uint32_t *order)

cdef extern from "virtual_nodes.h" nogil:
    void ps_replica_points(const ps_key_hash *hash, const char *name, size_t size, size_t count,
                           uint64_t *points)
    void ps_ketama_points(const char *name, size_t size, size_t each, size_t count, uint64_t *points)

ctypedef struct Node:
    const char *name
    Py_ssize_t size
    size_t count

cdef ps_allocator PYTHON_MEMORY = ps_allocator(PyMem_RawRealloc, PyMem_RawFree)  # seen by tracemalloc


cdef int write_points(KeyHash hash, str scheme, tuple nodes, list counts, uint64_t *points) except -1:
    """The points of nodes, one node after the other."""
    cdef Py_ssize_t n = len(nodes), i
    cdef bint replicas = scheme == "replicas"
    cdef size_t each = 4 if scheme == "ketama-weighted" else 1
    cdef Node *named
    if replicas and hash.function is not None:
        write_called(hash, nodes, counts, points)
        return 0
    named = <Node *>PyMem_Malloc(max(n, 1) * sizeof(Node))
    if named == NULL:
        raise MemoryError
    try:
        for i in range(n):
            named[i].name = PyUnicode_AsUTF8AndSize(nodes[i], &named[i].size)
            named[i].count = counts[i]
        with nogil:
            for i in range(n):
                if replicas:
                    ps_replica_points(&hash.hash, named[i].name, named[i].size, named[i].count, points)
                else:
                    ps_ketama_points(named[i].name, named[i].size, each, named[i].count, points)
                points += named[i].count
    finally:
        PyMem_Free(named)
    return 0


cdef int write_called(KeyHash hash, tuple nodes, list counts, uint64_t *points) except -1:
    cdef size_t at = 0
    for name, count in zip(nodes, counts, strict=True):
        for point in points_of(hash, "replicas", name, count):
            points[at] = point
            at += 1
    return 0


cdef class RingPoints(Placement):
    """RingPoints(nodes, hash, scheme, counts, /)\n--\n
    The sorted points of a ring: a hash belongs to the owner of the first point that is not below it.

    Args:
        nodes: names, sorted and checked.
        hash: of the keys, and of the points of the scheme "replicas".
        scheme: where the points of a node stand.
        counts: points of each node, >= 0. A node without any gets no key, and comes last in every order.

    Raises:
        ValueError: there are more than 2**24 points, or none; or there is not one count for each node.
        ValueError, TypeError: the hash is a callable, and returns what is no hash.

    Source: D. Karger et al., Consistent hashing and random trees, STOC 1997. O(log points) a lookup here;
    compiled, about O(1).
    """

    cdef ps_ring ring

    def __dealloc__(self):
        ps_ring_free(&self.ring)

    def __init__(self, nodes, hash, scheme, counts, /):
        self.refuse_twice()
        cdef tuple names = <tuple?>nodes
        cdef KeyHash of_keys = <KeyHash?>hash
        cdef list sizes = list(counts)
        cdef size_t total = checked_counts(sizes, len(names))
        cdef ps_ring ring
        cdef uint64_t *points
        cdef uint32_t *owners
        cdef ps_status status
        if total == 0:
            self.begin(names, of_keys)
            return
        points = <uint64_t *>PyMem_Malloc(total * sizeof(uint64_t))
        owners = <uint32_t *>PyMem_Malloc(total * sizeof(uint32_t))
        try:
            if points == NULL or owners == NULL:
                raise MemoryError
            write_points(of_keys, scheme, names, sizes, points)
            write_owners(sizes, owners)
            with nogil:
                status = ps_ring_init(&ring, points, owners, total, PYTHON_MEMORY)
            if status != PS_OK:
                raise MemoryError
        finally:
            PyMem_Free(points)
            PyMem_Free(owners)
        self.take(ring, names, of_keys)

    def _begin_with(self, RingPoints base not None, tuple nodes not None, size_t at, str scheme not None,
                    size_t count, /):
        self.refuse_twice()
        checked_total([base.ring.n, count])
        cdef ps_ring ring
        cdef ps_status status
        cdef uint64_t *points = <uint64_t *>PyMem_Malloc(count * sizeof(uint64_t))
        if points == NULL:
            raise MemoryError
        try:
            write_points(base._hash, scheme, nodes[at:at + 1], [count], points)
            with nogil:
                status = ps_ring_add(&base.ring, at, points, count, &ring)
            if status != PS_OK:
                raise MemoryError
        finally:
            PyMem_Free(points)
        self.take(ring, nodes, base._hash)

    def _begin_without(self, RingPoints base not None, tuple nodes not None, uint32_t at, /):
        self.refuse_twice()
        cdef ps_ring ring
        cdef ps_status status
        with nogil:
            status = ps_ring_remove(&base.ring, at, &ring)
        if status != PS_OK:
            raise MemoryError
        self.take(ring, nodes, base._hash)

    cdef int take(self, ps_ring ring, tuple nodes, KeyHash hash) except -1:
        if self.begun:  # another thread was faster, or the hash began it
            ps_ring_free(&ring)
            self.refuse_twice()
        ps_ring_free(&self.ring)
        self.ring = ring
        self.begin(nodes, hash)
        return 0

    cdef uint32_t locate(self, uint64_t position) noexcept nogil:
        return ps_ring_owner(&self.ring, position)

    cdef void locate_all(self, const uint64_t *positions, Py_ssize_t n, int32_t *indices) noexcept nogil:
        ps_ring_owners(&self.ring, positions, n, indices)

    cdef int order(self, uint64_t position, Py_ssize_t n, uint32_t *indices) except -1:
        cdef uint8_t *seen = NULL
        if <size_t>n > PS_RING_NEAR:
            seen = <uint8_t *>PyMem_Calloc(PyTuple_GET_SIZE(self._nodes) // 8 + 1, 1)
            if seen == NULL:
                raise MemoryError
        ps_ring_order(&self.ring, position, n, seen, indices)
        PyMem_Free(seen)
        return 0

    def _arrays(self):
        """The points, sorted, and the index of the owner of each; copies."""
        import numpy as np

        points, owners = np.empty(self.ring.n, np.uint64), np.empty(self.ring.n, np.uint32)
        cdef uint64_t[::1] to_points = points
        cdef uint32_t[::1] to_owners = owners
        cdef size_t i
        for i in range(self.ring.n):
            to_points[i] = self.ring.points[i]
            to_owners[i] = self.ring.owners[i]
        return points, owners


cdef int write_owners(list counts, uint32_t *owners) except -1:
    cdef size_t at = 0, count, i
    cdef uint32_t owner
    for owner in range(len(counts)):
        count = counts[owner]
        for i in range(count):
            owners[at] = owner
            at += 1
    return 0
