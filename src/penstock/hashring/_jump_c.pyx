"""Jump hash, compiled: the twin of _jump_py.py over csrc/jump.c."""

from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_AsUnsignedLongLong, PyLong_CheckExact
from libc.stdint cimport int32_t, int64_t, uint64_t

from penstock.hashring._jump_py import checked_buckets, checked_key, key_words

__all__ = ["jump_hash", "jump_hash_many"]

cdef extern from "jump.h" nogil:
    int32_t ps_jump_hash(uint64_t key, int32_t buckets)
    void ps_jump_hash_many(const uint64_t *keys, size_t n, int32_t buckets, int32_t *found)


def jump_hash(key, buckets, /):
    """The bucket that gets `key` when there are so many: of those that come and go at the end only.

    From n to n + 1 buckets one key in n + 1 moves, and all that move go to the new one. The buckets are those
    of the paper and of the package jump-consistent-hash; Guava's `consistentHash` rounds in another place and
    finds another one of less than one key in a million. Costs about ln(buckets) divisions.

    Args:
        key: an int, -2**63 <= key < 2**64, two's complement; of other keys, the hash.
        buckets: 1 to 2**31 - 1.

    Returns:
        0 <= bucket < buckets.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is no int.

    Source: J. Lamping, E. Veach, A fast, minimal memory, consistent hash algorithm, arXiv 1406.2294, 2014.
    """
    cdef uint64_t word = word_of(key)
    return ps_jump_hash(word, count_of(buckets))


def jump_hash_many(keys, buckets, /):
    """The bucket of each key, as of `jump_hash`. Lets go of the GIL.

    Args:
        keys: ints, or an array of integers of any width and shape.
        buckets: 1 to 2**31 - 1.

    Returns:
        int32, of the shape of `keys`.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: buckets or a key is no int, or keys cannot be iterated.
    """
    import numpy as np

    cdef int32_t count = count_of(buckets)
    words = words_of(keys) if type(keys) is list or type(keys) is tuple else key_words(keys)
    found = np.empty(words.shape, np.int32)
    cdef const uint64_t[::1] from_words = words.ravel()
    cdef int32_t[::1] to_found = found.ravel()
    cdef size_t n = from_words.shape[0]
    if n > 0:
        with nogil:
            ps_jump_hash_many(&from_words[0], n, count, &to_found[0])
    return found


cdef inline uint64_t word_of(object key) except? 0:
    cdef int overflow
    cdef int64_t number
    if not PyLong_CheckExact(key):
        return checked_key(key)
    number = PyLong_AsLongLongAndOverflow(key, &overflow)
    if not overflow:
        return <uint64_t>number
    try:
        return PyLong_AsUnsignedLongLong(key)
    except OverflowError:
        return checked_key(key)


cdef object words_of(object keys):
    import numpy as np

    cdef tuple all_keys = tuple(keys)  # no one else can change it meanwhile
    words = np.empty(len(all_keys), np.uint64)
    cdef uint64_t[::1] to_words = words
    cdef Py_ssize_t i
    for i in range(len(all_keys)):
        to_words[i] = word_of(all_keys[i])
    return words


cdef inline int32_t count_of(object buckets) except 0:
    cdef int overflow = 1
    cdef int64_t number = 0
    if PyLong_CheckExact(buckets):
        number = PyLong_AsLongLongAndOverflow(buckets, &overflow)
    if overflow or not 1 <= number <= 0x7FFFFFFF:
        number = checked_buckets(buckets)
    return <int32_t>number
