"""Frozen hashes of keys, compiled: the twin of _key_hash_py.py over csrc/key_hash.c."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_AsUnsignedLongLong, PyLong_CheckExact
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from penstock.hashring._key_hash_py import (
    as_words,
    changed,
    checked_hash,
    checked_keys,
    checked_value,
    initialised_twice,
    key_bytes,
    listed,
    nested,
)

__all__ = ["KeyHash"]

cdef extern from "Python.h":
    Py_ssize_t PySequence_Fast_GET_SIZE(object keys)
    PyObject *PySequence_Fast_GET_ITEM(object keys, Py_ssize_t i)
    void Py_XDECREF(PyObject *reference)
    bint PyUnicode_Check(object text)
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef extern from "key_hash.h" nogil:
    uint32_t ps_key_hash_bits(ps_hash_kind kind)
    bint ps_key_hash_is_quick(const ps_key_hash *hash, size_t size)
    uint64_t ps_key_hash_position(const ps_key_hash *hash, const uint8_t *bytes, size_t size)
    void ps_key_hash_many(const ps_key_hash *hash, const ps_key *keys, size_t n, uint64_t *positions)
    void ps_key_hash_padded(const ps_key_hash *hash, const uint8_t *bytes, ptrdiff_t stride, size_t width,
                            size_t n, uint64_t *positions)
    ps_status ps_key_hash_text(const ps_key_hash *hash, const uint8_t *bytes, ptrdiff_t stride, size_t width,
                               size_t n, uint8_t *room, uint64_t *positions, size_t *done)
    void ps_key_hash_words(const ps_key_hash *hash, const uint64_t *words, size_t n, uint64_t *positions)

cdef extern from *:
    """
    /* What an object is, and its text: most often these are two lines of the cache. */
    #define fetch(object) (__builtin_prefetch(object), __builtin_prefetch((object) + sizeof(PyASCIIObject)))
    """
    void fetch(const char *object)

cdef enum:
    FEW = 256  # keys that take about 2 us: less than that is not worth the GIL
    TURN = 65536  # keys that take 1 to 2 ms: who waits for the GIL is to get it between
    AHEAD = 16  # keys: so much later their memory has come


@cython.final
cdef class KeyHash:
    """KeyHash(name="xxh3_64", seed=0)\n--\n
    A hash of keys that never changes: equal keys hash alike in every process, version and language.

    Python's own `hash` differs from process to process. Keys are text, bytes or integers; text hashes as the
    bytes of its UTF-8, an integer as its 8 bytes in little-endian order. None of the hashes but sha256-be64
    resists somebody who chooses keys to collide. KeyHashes are equal if name and seed are, and hashable;
    threads may share them.

    Args:
        name: the hash, or a callable that makes an integer below 2**64 of bytes, always the same.

            - `xxh3_64`, 64 bits, with a seed of 64: the fastest, and the one to take where nobody else has
              chosen already.
            - `xxh64`, 64 bits, with a seed of 64.
            - `murmur3_32`, 32 bits, with a seed of 32: MurmurHash3_x86_32.
            - `sha256-be64`, 64 bits: the first 8 bytes of SHA-256, big-endian.
            - `md5-be32`, 32 bits: the first 4 bytes of MD5, big-endian.
            - `ketama`, 32 bits: the first 4 bytes of MD5, little-endian, as memcached clients take them.
            - `murmur2`, 31 bits: what Kafka's partitioner takes modulo the number of partitions.
            - `murmur3-cassandra`, 64 bits: the token of Cassandra's Murmur3Partitioner, plus 2**63.
            - `crc16`, 14 bits: the slot in a Redis Cluster, that of the `{tag}` if the key has one.
        seed: an int below 2 to the power of the hash's seed bits; 0 for a hash that has no seed.

    Raises:
        ValueError: there is no hash of that name, or the seed is out of its range.
        TypeError: name is neither a str nor callable, or is a KeyHash, or seed is no int.
    """

    def __cinit__(self):
        self._name = "xxh3_64"  # what a hash is that nobody initialises

    def __init__(self, name="xxh3_64", seed=0):
        if self.begun:
            raise initialised_twice()
        if isinstance(name, KeyHash):
            raise nested()
        kind, text, number, function = checked_hash(name, seed)
        cdef ps_key_hash hash
        hash.kind, hash.seed = kind, number
        hash.shift = 64 - ps_key_hash_bits(hash.kind)
        self.hash, self._name, self._function, self.begun = hash, text, function, True

    def __repr__(self):
        what = self._function if self._name is None else self._name
        return f"KeyHash({what!r}, seed={self.seed})" if self.hash.seed else f"KeyHash({what!r})"

    def __eq__(self, other):
        if not isinstance(other, KeyHash):
            return NotImplemented
        return self.identity() == (<KeyHash>other).identity()

    def __hash__(self):
        return hash(self.identity())

    def __reduce__(self):
        from penstock.hashring.key_hash import restored  # here, for that module imports this one

        return restored, self.identity()

    def __call__(self, key, /):
        """The hash of `key`: 0 <= hash < 2 ** `bits`."""
        cdef uint64_t position
        self.position_of(key, &position)
        return position >> self.hash.shift

    @property
    def name(self):
        """Name of the hash; None for a callable."""
        return self._name

    @property
    def seed(self):
        """The seed; 0 for a hash that has none."""
        return self.hash.seed

    @property
    def bits(self):
        """Bits of a hash: 14, 31, 32 or 64."""
        return 64 - self.hash.shift

    @property
    def function(self):
        """The callable; None for a hash that has a name."""
        return self._function

    def many(self, keys, /):
        """The hash of each key.

        An array is hashed without the GIL; over a list it is let go now and then, and while digests and long
        keys are hashed; a callable runs with it.

        Args:
            keys: (n,) keys, or an array of str, bytes or integers. NULs at the end of a string in an array
                do not count, as numpy has it. A list is not to change meanwhile.

        Returns:
            (n,) uint64.

        Raises:
            ValueError: an integer has more than 64 bits, text has a lone surrogate (UnicodeEncodeError), the
                array has more than one dimension, or the list became shorter.
            TypeError: keys cannot be iterated, or a key is no str, bytes or int.
        """
        hashes = self.placed(keys)
        if self.hash.shift > 0:
            hashes >>= self.hash.shift
        return hashes

    def position(self, key, /):
        """The hash of `key`, moved up to the highest of 64 bits: where it lies on a circle of 2**64.

        Raises:
            ValueError: an integer has more than 64 bits, or text has a lone surrogate (UnicodeEncodeError).
            TypeError: key is no str, bytes or int.
        """
        cdef uint64_t position
        self.position_of(key, &position)
        return position

    def positions(self, keys, /):
        """The position of each key; see `many`."""
        return self.placed(keys).tolist()

    cdef tuple identity(self):
        return self._function if self._name is None else self._name, self.seed

    cdef object placed(self, keys):
        """The positions of keys, as an array."""
        import numpy as np

        keys = checked_keys(keys)
        cdef Py_ssize_t n = len(keys)
        positions = np.empty(n, np.uint64)
        cdef uint64_t[::1] room = positions
        if n > 0:
            self.positions_of(keys, n, &room[0])
        return positions

    cdef int position_of_bytes(self, object key, const uint8_t *bytes, size_t size, uint64_t *out) except -1:
        if self._function is not None:
            return self.position_of_any(key, out)
        out[0] = ps_key_hash_position(&self.hash, bytes, size)
        return 0

    cdef int position_of_any(self, object key, uint64_t *out) except -1:
        cdef Py_ssize_t size
        cdef const char *text
        cdef uint64_t word
        if self._function is not None:
            data = key_bytes(key)
            out[0] = checked_value(self._function(data), data)
        elif PyUnicode_Check(key):
            text = PyUnicode_AsUTF8AndSize(key, &size)
            out[0] = ps_key_hash_position(&self.hash, <const uint8_t *>text, size)
        elif word_of(key, &word):
            ps_key_hash_words(&self.hash, &word, 1, out)
        else:
            data = key_bytes(key)
            out[0] = ps_key_hash_position(&self.hash, <const uint8_t *>PyBytes_AS_STRING(data), len(data))
        return 0

    cdef int positions_of(self, object keys, Py_ssize_t n, uint64_t *out) except -1:
        if n == 0:
            return 0
        if self._function is not None:
            return self.positions_called(keys, n, out)
        if isinstance(keys, (list, tuple)):
            return self.positions_of_list(keys, n, out)
        kind = keys.dtype.kind
        if kind == "S":
            return self.positions_of_padded(keys, n, out)
        if kind == "U":
            return self.positions_of_text(keys, n, out)
        return self.positions_of_words(keys, n, out)

    cdef int positions_called(self, object keys, Py_ssize_t n, uint64_t *out) except -1:
        cdef Py_ssize_t i
        keys = listed(keys)
        for i in range(n):
            self.position_of_any(key_at(keys, i), &out[i])
        return 0

    cdef int positions_of_list(self, object keys, Py_ssize_t n, uint64_t *out) except -1:
        cdef Py_ssize_t done = 0
        if n <= FEW:
            with cython.critical_section(keys):
                for done in range(n):
                    self.position_of(key_at(keys, done), &out[done])
            return 0
        cdef held_keys *held = <held_keys *>PyMem_Malloc(sizeof(held_keys))
        if held is NULL:
            raise MemoryError
        held.n = 0
        try:
            while done < n:
                done = self.take_turn(held, keys, done, min(n, done + TURN), out)
                with nogil:
                    ps_key_hash_many(&self.hash, held.keys, held.n, out)
                let_go(held)
        finally:
            let_go(held)
            PyMem_Free(held)
        return 0

    cdef Py_ssize_t take_turn(self, held_keys *held, object keys, Py_ssize_t start, Py_ssize_t stop,
                              uint64_t *out) except -1:
        """Hashes what is quick to hash, which is not worth to let the GIL go, and holds the rest.

        Returns the index of the first key that is neither hashed nor held.
        """
        with cython.critical_section(keys):
            while start < stop and held.n < HELD:
                if start + AHEAD < PySequence_Fast_GET_SIZE(keys):
                    fetch(<const char *>PySequence_Fast_GET_ITEM(keys, start + AHEAD))
                self.hash_or_hold(held, key_at(keys, start), start, out)
                start += 1
        return start

    cdef int hash_or_hold(self, held_keys *held, object key, size_t at, uint64_t *out) except -1:
        cdef const uint8_t *bytes
        cdef size_t size
        if not find_bytes(key, &bytes, &size):
            if not PyUnicode_Check(key):
                return self.position_of_any(key, &out[at])
            bytes = <const uint8_t *>PyUnicode_AsUTF8AndSize(key, <Py_ssize_t *>&size)
        if ps_key_hash_is_short(&self.hash, size):
            out[at] = ps_xxh3_64_short(bytes, size, self.hash.seed)
        elif ps_key_hash_is_quick(&self.hash, size):
            out[at] = ps_key_hash_position(&self.hash, bytes, size)
        else:
            held.keys[held.n].bytes, held.keys[held.n].size, held.keys[held.n].at = bytes, size, at
            held.owners[held.n] = <PyObject *>key
            held.n += 1
            Py_INCREF(key)
        return 0

    cdef int positions_of_padded(self, object keys, Py_ssize_t n, uint64_t *out) except -1:
        cdef Py_buffer view
        PyObject_GetBuffer(keys, &view, PyBUF_STRIDES)
        with nogil:
            ps_key_hash_padded(&self.hash, <const uint8_t *>view.buf, view.strides[0], view.itemsize, n, out)
        PyBuffer_Release(&view)
        return 0

    cdef int positions_of_text(self, object keys, Py_ssize_t n, uint64_t *out) except -1:
        cdef size_t done = 0
        cdef Py_buffer view
        cdef ps_status status = PS_OK
        keys = keys.astype(keys.dtype.newbyteorder("="), copy=False)
        PyObject_GetBuffer(keys, &view, PyBUF_STRIDES)
        cdef uint8_t *room = <uint8_t *>PyMem_Malloc(view.itemsize)
        if room is not NULL:
            with nogil:
                status = ps_key_hash_text(&self.hash, <const uint8_t *>view.buf, view.strides[0],
                                          view.itemsize // 4, n, room, out, &done)
        PyMem_Free(room)
        PyBuffer_Release(&view)
        if room is NULL:
            raise MemoryError
        if status != PS_OK:
            key_bytes(listed(keys[done:done + 1])[0])  # raises what that str raises
            raise changed(done)
        return 0

    cdef int positions_of_words(self, object keys, Py_ssize_t n, uint64_t *out) except -1:
        cdef const uint64_t[::1] words = as_words(keys)
        with nogil:
            ps_key_hash_words(&self.hash, &words[0], n, out)
        return 0


cdef void let_go(held_keys *held) noexcept:
    while held.n > 0:
        held.n -= 1
        Py_XDECREF(held.owners[held.n])


cdef inline object key_at(object keys, Py_ssize_t i):
    """One key of a list that others may have made shorter."""
    if i >= PySequence_Fast_GET_SIZE(keys):
        raise changed(i)
    return <object>PySequence_Fast_GET_ITEM(keys, i)


cdef inline bint word_of(object key, uint64_t *word) except -1:
    """An int as its 64 bits; False for what is no int, or one that needs more."""
    cdef int overflow = 0
    if not PyLong_CheckExact(key):
        return False
    word[0] = <uint64_t>PyLong_AsLongLongAndOverflow(key, &overflow)
    if overflow <= 0:
        return overflow == 0
    try:
        word[0] = PyLong_AsUnsignedLongLong(key)
    except OverflowError:
        return False
    return True
