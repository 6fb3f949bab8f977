"""AnchorHash, compiled: the twin of _anchor_buckets_py.py over csrc/anchor_buckets.c."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_RawFree, PyMem_RawRealloc
from cpython.tuple cimport PyTuple_GET_SIZE
from libc.stdint cimport int32_t, uint32_t, uint64_t

from penstock.hashring._anchor_buckets_py import checked_buckets
from penstock.hashring._key_hash_c cimport KeyHash
from penstock.hashring._placement_c cimport Placement

__all__ = ["AnchorBuckets"]

cdef extern from "anchor_buckets.h" nogil:
    ctypedef enum ps_status:
        PS_OK

    ctypedef struct ps_allocator:
        void *(*resize)(void *memory, size_t size)
        void (*release)(void *memory)

    ctypedef struct ps_anchor:
        uint32_t capacity
        ps_allocator allocator

    ctypedef struct ps_anchor_change:
        uint32_t slot
        uint32_t bucket

    ps_status ps_anchor_init(ps_anchor *anchor, uint32_t capacity, uint32_t first, ps_allocator allocator)
    void ps_anchor_free(ps_anchor *anchor)
    ps_status ps_anchor_remove(ps_anchor *anchor, uint32_t bucket)
    uint32_t ps_anchor_locate(const ps_anchor *anchor, uint64_t position)
    size_t ps_anchor_scratch(uint32_t n)
    void ps_anchor_order(const ps_anchor *anchor, uint64_t position, uint32_t n, ps_anchor_change *scratch,
                         uint32_t *order)

cdef ps_allocator PYTHON_MEMORY = ps_allocator(PyMem_RawRealloc, PyMem_RawFree)  # seen by tracemalloc


cdef class AnchorBuckets(Placement):
    """AnchorBuckets(nodes, hash, capacity, buckets, removed, /)\n--\n
    Numbered buckets, of which each node has one: a key goes on from a removed bucket to one that was left.

    Args:
        nodes: names, sorted and checked.
        hash: of the keys.
        capacity: buckets, with all that were never used.
        buckets: that of each node.
        removed: those that nodes have had and left, in that order. With `buckets` they are all from 0 on;
            those after them count as removed before, the highest first.

    Raises:
        ValueError: the capacity is out of its range, or the buckets are not such.
        TypeError: the capacity is no int.

    Source: G. Mendelson et al., AnchorHash: a scalable consistent hash, arXiv 1812.09674, 2020. About
    1 + ln(capacity / nodes) steps a lookup; O(capacity) to build.
    """

    cdef ps_anchor anchor
    cdef uint32_t *node_of  # each bucket that a node has

    def __cinit__(self, *_args, **_options):
        self.anchor.allocator = PYTHON_MEMORY

    def __dealloc__(self):
        ps_anchor_free(&self.anchor)
        PyMem_Free(self.node_of)

    def __init__(self, nodes, hash, capacity, buckets, removed, /):
        self.refuse_twice()
        cdef tuple names = <tuple?>nodes
        cdef KeyHash of_keys = <KeyHash?>hash
        cdef list taken = list(buckets), left = list(removed)
        cdef uint32_t most = checked_buckets(capacity, len(names), taken, left)
        cdef uint32_t used = len(taken) + len(left)
        cdef ps_anchor anchor
        cdef uint32_t *node_of = numbered(taken, used)
        cdef ps_status status
        with nogil:
            status = ps_anchor_init(&anchor, most, used, PYTHON_MEMORY)
        if status != PS_OK:
            PyMem_Free(node_of)
            raise MemoryError
        for bucket in left:
            ps_anchor_remove(&anchor, bucket)
        if self.begun:  # another thread was faster, or the hash began it
            ps_anchor_free(&anchor)
            PyMem_Free(node_of)
            self.refuse_twice()
        ps_anchor_free(&self.anchor)
        PyMem_Free(self.node_of)
        self.anchor, self.node_of = anchor, node_of
        self.begin(names, of_keys)

    @property
    def capacity(self):
        """The most nodes there can ever be."""
        return self.anchor.capacity

    cdef uint32_t locate(self, uint64_t position) noexcept nogil:
        return self.node_of[ps_anchor_locate(&self.anchor, position)]

    cdef void locate_all(self, const uint64_t *positions, Py_ssize_t n, int32_t *indices) noexcept nogil:
        cdef Py_ssize_t i
        for i in range(n):
            indices[i] = self.node_of[ps_anchor_locate(&self.anchor, positions[i])]

    cdef int order(self, uint64_t position, Py_ssize_t n, uint32_t *indices) except -1:
        cdef ps_anchor_change few[32]
        cdef ps_anchor_change *scratch = few
        cdef size_t size = ps_anchor_scratch(n)
        cdef Py_ssize_t i
        if size > 32:
            scratch = <ps_anchor_change *>PyMem_Malloc(size * sizeof(ps_anchor_change))
            if scratch == NULL:
                raise MemoryError
        ps_anchor_order(&self.anchor, position, n, scratch, indices)
        for i in range(n):
            indices[i] = self.node_of[indices[i]]
        if scratch != few:
            PyMem_Free(scratch)
        return 0


cdef uint32_t *numbered(list buckets, uint32_t used) except NULL:
    """The node of each bucket that is used; what stands at a bucket without a node means nothing."""
    cdef uint32_t *node_of = <uint32_t *>PyMem_Malloc(max(used, 1) * sizeof(uint32_t))
    cdef uint32_t node
    if node_of == NULL:
        raise MemoryError
    for node in range(len(buckets)):
        node_of[<uint32_t>buckets[node]] = node
    return node_of
