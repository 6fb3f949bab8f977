"""Rendezvous hashing, compiled: the twin of _rendezvous_bids_py.py over csrc/rendezvous_bids.c."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_RawFree, PyMem_RawRealloc
from cpython.tuple cimport PyTuple_GET_SIZE
from libc.stdint cimport int32_t, uint32_t, uint64_t

from penstock.hashring._key_hash_c cimport KeyHash
from penstock.hashring._placement_c cimport Placement
from penstock.hashring._rendezvous_bids_py import checked_weights

__all__ = ["RendezvousBids"]

cdef extern from "rendezvous_bids.h" nogil:
    ctypedef enum ps_status:
        PS_OK

    ctypedef struct ps_allocator:
        void *(*resize)(void *memory, size_t size)
        void (*release)(void *memory)

    ctypedef struct ps_rendezvous:
        ps_allocator allocator

    ctypedef struct ps_rendezvous_bid:
        uint32_t index

    ps_status ps_rendezvous_init(ps_rendezvous *placement, uint32_t nodes, const uint64_t *identities,
                                 const double *weights, ps_allocator allocator)
    void ps_rendezvous_free(ps_rendezvous *placement)
    uint32_t ps_rendezvous_locate(const ps_rendezvous *placement, uint64_t position)
    void ps_rendezvous_locate_all(const ps_rendezvous *placement, const uint64_t *positions, size_t n,
                                  int32_t *indices)
    void ps_rendezvous_order(const ps_rendezvous *placement, uint64_t position, uint32_t n,
                             ps_rendezvous_bid *bids, uint32_t *order)

cdef ps_allocator PYTHON_MEMORY = ps_allocator(PyMem_RawRealloc, PyMem_RawFree)  # seen by tracemalloc
cdef KeyHash IDENTITIES = KeyHash("xxh3_64")


cdef class RendezvousBids(Placement):
    """RendezvousBids(nodes, hash, weights, /)\n--\n
    Nodes that bid for every key: the best bid gets it, and the order of bids is its order of preference.

    Args:
        nodes: names, sorted and checked.
        hash: of the keys.
        weights: of the nodes, checked.

    Raises:
        ValueError: there is not one weight for each node.

    Source: D. Thaler, C. V. Ravishankar, Using name-based mappings to increase hit rates, 1998; C.
    Schindelhauer, G. Schomaker, Weighted distributed hash tables, SPAA 2005. O(nodes) a lookup.
    """

    cdef ps_rendezvous bidders

    def __cinit__(self, *_args, **_options):
        self.bidders.allocator = PYTHON_MEMORY

    def __dealloc__(self):
        ps_rendezvous_free(&self.bidders)

    def __init__(self, nodes, hash, weights, /):
        self.refuse_twice()
        cdef tuple names = <tuple?>nodes
        cdef KeyHash of_keys = <KeyHash?>hash
        cdef list shares = list(weights)
        cdef ps_rendezvous bidders
        checked_weights(shares, len(names))
        if PyTuple_GET_SIZE(names) == 0:
            self.begin(names, of_keys)
            return
        gather(&bidders, names, shares)
        if self.begun:  # another thread was faster, or the hash began it
            ps_rendezvous_free(&bidders)
            self.refuse_twice()
        ps_rendezvous_free(&self.bidders)
        self.bidders = bidders
        self.begin(names, of_keys)

    cdef uint32_t locate(self, uint64_t position) noexcept nogil:
        return ps_rendezvous_locate(&self.bidders, position)

    cdef void locate_all(self, const uint64_t *positions, Py_ssize_t n, int32_t *indices) noexcept nogil:
        ps_rendezvous_locate_all(&self.bidders, positions, n, indices)

    cdef int order(self, uint64_t position, Py_ssize_t n, uint32_t *indices) except -1:
        cdef ps_rendezvous_bid few[16]
        cdef ps_rendezvous_bid *bids = few
        if n > 16:
            bids = <ps_rendezvous_bid *>PyMem_Malloc(n * sizeof(ps_rendezvous_bid))
            if bids == NULL:
                raise MemoryError
        ps_rendezvous_order(&self.bidders, position, n, bids, indices)
        if bids != few:
            PyMem_Free(bids)
        return 0


cdef int gather(ps_rendezvous *bidders, tuple nodes, list weights) except -1:
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
            status = ps_rendezvous_init(bidders, n, identities, shares, PYTHON_MEMORY)
        if status != PS_OK:
            raise MemoryError
    finally:
        PyMem_Free(identities)
        PyMem_Free(shares)
    return 0
