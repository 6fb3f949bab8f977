"""Request bodies taken apart into packets, compiled: the twin of _packet_scan_py.py over csrc/packet_scan.c."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.set cimport PySet_Add, PySet_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from itertools import count
from secrets import token_hex

import msgspec

from penstock.services.distributor._packet_scan_py import (
    PacketReader as PacketReaderOfMsgspec,
    Reading,
    used_twice,
)
from penstock.services.distributor.change import Stored
from penstock.services.distributor.packets import Refusal

__all__ = ["PacketReader"]

cdef extern from "allocator.h":
    ctypedef struct ps_allocator:
        void *(*resize)(void *memory, size_t size) noexcept nogil
        void (*release)(void *memory) noexcept nogil

cdef extern from "status.h":
    ctypedef enum ps_status:
        PS_OK
        PS_REFUSED
        PS_EMPTY
        PS_NO_MEMORY
        PS_BROKEN

cdef extern from "packet_scan.h" nogil:
    ctypedef struct ps_packet_scan:
        pass
    ctypedef struct ps_scanned_packet:
        uint32_t start
        uint32_t end
        uint32_t messages
        uint32_t id_at
        uint32_t id_size
        size_t size
    void ps_packet_scan_init(ps_packet_scan *scan, const uint8_t *body, size_t size, uint64_t most_messages,
                             uint64_t most_text, ps_allocator allocator)
    void ps_packet_scan_free(ps_packet_scan *scan)
    ps_status ps_packet_scan_next(ps_packet_scan *scan, ps_scanned_packet *packet)
    size_t ps_packet_id_size(size_t id_size)
    void ps_packet_scan_write(const ps_packet_scan *scan, const ps_scanned_packet *packet, const uint8_t *id,
                              size_t id_size, uint8_t *line)

cdef ps_allocator PYTHON_MEMORY = ps_allocator(PyMem_RawRealloc, PyMem_RawFree)  # seen by tracemalloc

cdef enum:
    RUN = 17  # characters of an id of ours that are the same in all of a reader's, with the dash
    LONGEST_OWN_ID = RUN + 16


@cython.final
cdef class PacketReader:
    """PacketReader(config, /)\n--\n
    Turns request bodies into packets that may be stored and refusals that say why not.

    A packet becomes one line of compact JSON: what was sent, with the members of each object in the order of
    its fields, `level` and `source` where they were missing, an id, and no `retry_count`.

    Args:
        config: the limits.
    """

    cdef object slow  # says what is wrong with what the scan is not sure of
    cdef object numbers
    cdef bytes run
    cdef uint64_t most_packets
    cdef uint64_t most_messages
    cdef uint64_t most_text
    cdef uint64_t most_bytes

    def __cinit__(self, *_args):
        self.numbers = count(1)
        self.run = f"{token_hex(8)}-".encode()

    def __init__(self, config, /):
        self.slow = PacketReaderOfMsgspec(config)
        self.most_packets = config.max_packets
        self.most_messages = config.max_messages
        self.most_text = config.max_message_bytes
        self.most_bytes = config.max_packet_bytes

    def read(self, body, /):
        """Reads all packets of a request.

        Raises:
            UnreadableRequest: malformed JSON, no array, an empty one, or too many packets.
        """
        cdef ps_packet_scan scan
        if not PyBytes_CheckExact(body):
            return self.slow.read(body)
        ps_packet_scan_init(
            &scan,
            <const uint8_t *>PyBytes_AS_STRING(body),
            PyBytes_GET_SIZE(body),
            self.most_messages,
            self.most_text,
            PYTHON_MEMORY,
        )
        try:
            reading = self.scanned(&scan, body)
        finally:
            ps_packet_scan_free(&scan)
        return self.slow.read(body) if reading is None else reading

    cdef object scanned(self, ps_packet_scan *scan, bytes body):
        """What the body holds; None when the scan cannot tell."""
        cdef ps_scanned_packet packet
        cdef ps_status status
        cdef list packets = [], indexes = [], refused = []
        cdef set ids = set()
        cdef Py_ssize_t different
        cdef uint64_t index = 0
        while True:
            status = ps_packet_scan_next(scan, &packet)
            if status == PS_OK:
                outcome = self.line_of(scan, &packet)
            if status == PS_REFUSED or (status == PS_OK and outcome is None):
                try:
                    outcome = self.slow._read_one(index, body[packet.start : packet.end])
                except (msgspec.DecodeError, RecursionError):  # which says something of the whole body
                    return None
            elif status == PS_EMPTY:
                return Reading(packets, indexes, refused) if index > 0 else None
            elif status == PS_NO_MEMORY:
                raise MemoryError
            elif status == PS_BROKEN:
                return None
            if index == self.most_packets:
                return None
            if type(outcome) is Refusal:
                refused.append(outcome)
            else:
                different = PySet_GET_SIZE(ids)
                PySet_Add(ids, outcome.id)
                if PySet_GET_SIZE(ids) == different:
                    refused.append(used_twice(index, outcome.id))
                else:
                    packets.append(outcome)
                    indexes.append(index)
            index += 1

    cdef object line_of(self, ps_packet_scan *scan, ps_scanned_packet *packet):
        """The packet as it is stored; None if it is too large."""
        cdef uint8_t own_id[LONGEST_OWN_ID]
        cdef const uint8_t *made = NULL
        cdef size_t id_size = packet.id_size, size = packet.size
        if id_size == 0:
            id_size = self.make_id(own_id)
            made = own_id
            size += ps_packet_id_size(id_size)
            id_ = PyUnicode_DecodeUTF8(<const char *>own_id, id_size, NULL)
        if size > self.most_bytes:
            return None
        line = PyBytes_FromStringAndSize(NULL, size)
        ps_packet_scan_write(scan, packet, made, id_size, <uint8_t *>PyBytes_AS_STRING(line))
        if made is NULL:
            id_ = PyUnicode_DecodeUTF8(PyBytes_AS_STRING(line) + size - 2 - id_size, id_size, NULL)
        return Stored(0, id_, packet.messages, size, line, made is NULL)

    cdef size_t make_id(self, uint8_t *id_):
        """Writes an id of ours and returns its size."""
        cdef uint64_t number = next(self.numbers), left = number >> 4
        cdef Py_ssize_t size = RUN + 1, place
        memcpy(id_, PyBytes_AS_STRING(self.run), RUN)
        while left:
            size += 1
            left >>= 4
        for place in range(size - 1, RUN - 1, -1):
            id_[place] = b"0123456789abcdef"[number & 15]
            number >>= 4
        return size
