"""The slots of a Maglev table, compiled: the twin of _maglev_slots_py.py over csrc/maglev_slots.c."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_RawFree, PyMem_RawRealloc
from cpython.tuple cimport PyTuple_GET_SIZE
from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t

from penstock.hashring._key_hash_c cimport KeyHash
from penstock.hashring._maglev_slots_py import checked_table
from penstock.hashring._placement_c cimport Placement

__all__ = ["MaglevSlots"]

cdef extern from "maglev_slots.h" nogil:
    ctypedef enum ps_status:
        PS_OK

    ctypedef struct ps_allocator:
        void *(*resize)(void *memory, size_t size)
        void (*release)(void *memory)

    ctypedef struct ps_maglev:
        uint16_t *slots
        uint32_t size
        ps_allocator allocator

    ps_status ps_maglev_init(ps_maglev *table, uint32_t size, uint32_t nodes, const uint64_t *identities,
                             const double *weights, ps_allocator allocator)
    void ps_maglev_free(ps_maglev *table)
    uint32_t ps_maglev_locate(const ps_maglev *table, uint64_t position)
    void ps_maglev_locate_all(const ps_maglev *table, const uint64_t *positions, size_t n, int32_t *nodes)
    size_t ps_maglev_scratch(const ps_maglev *table)
    void ps_maglev_order(const ps_maglev *table, uint64_t position, uint32_t n, void *scratch,
                         uint32_t *order)

cdef ps_allocator PYTHON_MEMORY = ps_allocator(PyMem_RawRealloc, PyMem_RawFree)  # seen by tracemalloc
cdef KeyHash IDENTITIES = KeyHash("xxh3_64")


cdef class MaglevSlots(Placement):
    """MaglevSlots(nodes, hash, size, weights, /)\n--\n
    The slots of a Maglev table: a key belongs to the node of the slot that its hash leads to.

    Args:
        nodes: names, sorted and checked.
        hash: of the keys.
        size: slots, a prime of at least as many as there are nodes.
        weights: of the nodes, checked.

    Raises:
        ValueError: the size is no prime, out of its range, or too small for the nodes.
        TypeError: the size is no int.

    Source: D. Eisenbud et al., Maglev: a fast and reliable software network load balancer, NSDI 2016. O(1) a
    lookup; about size * ln(size) to build.
    """

    cdef ps_maglev table

    def __cinit__(self, *_args, **_options):
        self.table.allocator = PYTHON_MEMORY

    def __dealloc__(self):
        ps_maglev_free(&self.table)

    def __init__(self, nodes, hash, size, weights, /):
        self.refuse_twice()
        cdef tuple names = <tuple?>nodes
        cdef KeyHash of_keys = <KeyHash?>hash
        cdef list shares = list(weights)
        cdef uint32_t slots = checked_table(size, len(names), shares)
        cdef ps_maglev table = ps_maglev(NULL, slots, PYTHON_MEMORY)
        if PyTuple_GET_SIZE(names):
            fill(&table, slots, names, shares)
        if self.begun:  # another thread was faster, or the hash began it
            ps_maglev_free(&table)
            self.refuse_twice()
        ps_maglev_free(&self.table)
        self.table = table
        self.begin(names, of_keys)

    @property
    def table_size(self):
        """Slots of the table, a prime."""
        return self.table.size

    def slots(self):
        """The node of each slot.

        Returns:
            (table_size,) uint16, indices into `nodes`, a copy; empty when there are no nodes.
        """
        import numpy as np

        if self.table.slots == NULL:
            return np.empty(0, np.uint16)
        return np.array(<uint16_t[:self.table.size]>self.table.slots)

    cdef uint32_t locate(self, uint64_t position) noexcept nogil:
        return ps_maglev_locate(&self.table, position)

    cdef void locate_all(self, const uint64_t *positions, Py_ssize_t n, int32_t *indices) noexcept nogil:
        ps_maglev_locate_all(&self.table, positions, n, indices)

    cdef int order(self, uint64_t position, Py_ssize_t n, uint32_t *indices) except -1:
        cdef char few[128]
        cdef size_t size = ps_maglev_scratch(&self.table)
        cdef void *scratch = few if size <= sizeof(few) else PyMem_Malloc(size)
        if scratch == NULL:
            raise MemoryError
        ps_maglev_order(&self.table, position, n, scratch, indices)
        if scratch != few:
            PyMem_Free(scratch)
        return 0


cdef int fill(ps_maglev *table, uint32_t size, tuple nodes, list weights) except -1:
    cdef Py_ssize_t n = PyTuple_GET_SIZE(nodes), i
    cdef uint64_t *identities = <uint64_t *>PyMem_Malloc(n * sizeof(uint64_t))
    cdef double *shares = <double *>PyMem_Malloc(n * sizeof(double))
    cdef ps_status status
    try:
        if identities == NULL or shares == NULL:
            raise MemoryError
        IDENTITIES.positions_of(nodes, n, identities)
        for i in range(n):
            shares[i] = weights[i]
        with nogil:
            status = ps_maglev_init(table, size, n, identities, shares, PYTHON_MEMORY)
        if status != PS_OK:
            raise MemoryError
    finally:
        PyMem_Free(identities)
        PyMem_Free(shares)
    return 0
