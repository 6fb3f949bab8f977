"""Histogram, compiled: the twin of _histogram_py.py over csrc/histogram.c."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcmp

from penstock.errors import InvalidType
from penstock.observability._histogram_py import (
    HOUR_NS,
    Bucket,
    bad_counts,
    checked_count,
    checked_integer,
    checked_interval,
    checked_layout,
    checked_scale,
    checked_share,
    checked_ticks,
    checked_value,
    checked_values,
    framed,
    hgrm,
    levels,
    not_a_histogram,
    out_of_range,
    too_many,
    unframed,
)

__all__ = ["Histogram"]

cdef extern from "histogram.h" nogil:
    ps_status ps_histogram_init(ps_histogram *histogram, int64_t lowest, int64_t highest, int digits,
                                ps_allocator allocator)
    void ps_histogram_free(ps_histogram *histogram)
    void ps_histogram_reset(ps_histogram *histogram)
    int64_t ps_histogram_bottom(const ps_histogram *histogram, int64_t slot)
    int64_t ps_histogram_top(const ps_histogram *histogram, int64_t slot)
    int64_t ps_histogram_limit(const ps_histogram *histogram)
    ps_status ps_histogram_record(ps_histogram *histogram, int64_t value)
    ps_status ps_histogram_record_n(ps_histogram *histogram, int64_t value, int64_t n)
    ps_status ps_histogram_record_many(ps_histogram *histogram, const int64_t *values, size_t n, size_t *done)
    ps_status ps_histogram_record_corrected(ps_histogram *histogram, int64_t value, int64_t n, int64_t interval)
    ps_status ps_histogram_merge(ps_histogram *histogram, const ps_histogram *other)
    ps_status ps_histogram_merge_corrected(ps_histogram *histogram, const ps_histogram *other, int64_t interval)
    ps_status ps_histogram_snapshot(const ps_histogram *histogram, ps_histogram *copy)
    ps_status ps_histogram_percentile(const ps_histogram *histogram, double share, int64_t *value)
    int64_t ps_histogram_count_to(const ps_histogram *histogram, int64_t value)
    int64_t ps_histogram_next(const ps_histogram *histogram, int64_t slot)
    ps_status ps_histogram_mean(const ps_histogram *histogram, double *mean)
    ps_status ps_histogram_deviation(const ps_histogram *histogram, double *deviation)
    size_t ps_histogram_encoded_size(const ps_histogram *histogram)
    void ps_histogram_encode(const ps_histogram *histogram, uint8_t *bytes)
    ps_status ps_histogram_decode(ps_histogram *histogram, const uint8_t *bytes, size_t size)

cdef ps_allocator PYTHON_MEMORY = ps_allocator(PyMem_RawRealloc, PyMem_RawFree)  # seen by tracemalloc
cdef Py_ssize_t LONG_BATCH = 50_000  # values, about 50 us: less than that is not worth the GIL


cdef class Histogram:
    """Histogram(lowest=1, highest=3_600_000_000_000, digits=3)\n--\n
    Counts values to so many significant digits, over any range, in memory that does not grow.

    An HdrHistogram: values in [2^k, 2^(k+1)) are counted in slots of one width, which is never more than
    10^-digits of the values in it, so that every percentile is that exact. One from 1 ns to an hour with
    3 digits takes 264 KiB. Values are integers of any unit, by convention nanoseconds.

    What `record` refuses is lost to the percentiles: who may not lose any records `min(value, limit)` and
    counts those apart.

    Threads may share a histogram. Recording costs the same for every value; `min`, `max` and `count` are
    known, everything else looks at the slots between the least and the greatest value.

    Args:
        lowest: the least value that is told from 0, >= 1.
        highest: the greatest value that must fit, 2 * lowest to 2^63 - 1; `limit` may be higher.
        digits: significant decimal digits, 1 to 5; each takes ten times the memory of the one before.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is no integer.

    Source: Gil Tene, HdrHistogram 2.1; its slots, its percentiles and its encoding V2.
    """

    def __cinit__(self):
        self.counted.last = -1  # no slots, until __init__ has run

    def __init__(self, lowest=1, highest=HOUR_NS, digits=3):
        layout = checked_layout(lowest, highest, digits)
        cdef ps_histogram made
        if ps_histogram_init(&made, layout.lowest, layout.highest, layout.digits, PYTHON_MEMORY) != PS_OK:
            raise MemoryError
        cdef bint again
        with cython.critical_section(self):
            again = self.layout is not None
            if not again:
                self.counted = made
                self._limit = ps_histogram_limit(&made)
                self.layout = layout
        if again:
            ps_histogram_free(&made)
            raise InvalidType("a Histogram is initialised once")

    def __dealloc__(self):
        ps_histogram_free(&self.counted)

    @classmethod
    def decode(cls, data, /):
        """The histogram that `encode`, or any other HdrHistogram, made these bytes of.

        Args:
            data: encoding V2, compressed or not; at most 47 MiB of memory, whatever they are.

        Raises:
            ValueError: they are not that.
            TypeError: it is not made of bytes.
        """
        layout, payload = unframed(data)
        cdef Histogram histogram = cls(layout.lowest, layout.highest, layout.digits)
        cdef const uint8_t[::1] view = payload
        cdef ps_status status
        with cython.critical_section(histogram):
            status = ps_histogram_decode(&histogram.counted, &view[0], view.shape[0])
        if status != PS_OK:
            raise bad_counts()
        return histogram

    def __repr__(self):
        return f"Histogram(lowest={self.lowest}, highest={self.highest}, digits={self.digits})"

    def __eq__(self, other, /):
        if not isinstance(other, Histogram):
            return NotImplemented
        cdef Histogram theirs = other
        cdef bint same = self.layout[:3] == theirs.layout[:3]
        cdef size_t size = self.counted.length * sizeof(int64_t)
        if same:
            with cython.critical_section(self, theirs):
                same = memcmp(self.counted.counts, theirs.counted.counts, size) == 0
        return same

    def __reduce__(self):
        return type(self).decode, (self.encode(),)

    def __iter__(self):
        """The buckets that hold any values, from the lowest, as they were when it was called."""
        cdef list found = []
        cdef int64_t slot = 0, lowest, highest, n
        while True:
            with cython.critical_section(self):  # one slot at a time: what makes objects may run other code
                slot = ps_histogram_next(&self.counted, slot)
                if slot >= self.counted.length:
                    break
                lowest, highest = ps_histogram_bottom(&self.counted, slot), ps_histogram_top(&self.counted, slot)
                n = self.counted.counts[slot]
            found.append(Bucket(lowest, highest, n))
            slot += 1
        return iter(found)

    @property
    def lowest(self):
        """The least value that is told from 0."""
        return self.layout.lowest

    @property
    def highest(self):
        """The greatest value that must fit."""
        return self.layout.highest

    @property
    def digits(self):
        """Significant decimal digits."""
        return self.layout.digits

    @property
    def limit(self):
        """The greatest value that does fit: `highest`, or more where that lies within a bucket."""
        return self._limit

    @property
    def count(self):
        """How many values were recorded."""
        return self.counted.total

    @property
    def min(self):
        """The least value recorded, to `digits` and rounded down; None when there is none."""
        cdef int64_t value
        with cython.critical_section(self):
            value = ps_histogram_bottom(&self.counted, self.counted.first) if self.counted.total else -1
        return None if value < 0 else value

    @property
    def max(self):
        """The greatest value recorded, to `digits` and rounded up; None when there is none."""
        cdef int64_t value
        with cython.critical_section(self):
            value = ps_histogram_top(&self.counted, self.counted.last) if self.counted.total else -1
        return None if value < 0 else value

    @property
    def mean(self):
        """The mean, each value taken as the middle of its bucket; None when there is none."""
        cdef double mean = 0
        cdef ps_status status
        with cython.critical_section(self):
            status = ps_histogram_mean(&self.counted, &mean)
        return mean if status == PS_OK else None

    @property
    def stddev(self):
        """The standard deviation of the values, taken as for `mean`; None when there is none."""
        cdef double deviation = 0
        cdef ps_status status
        with cython.critical_section(self):
            status = ps_histogram_deviation(&self.counted, &deviation)
        return deviation if status == PS_OK else None

    def record(self, value, /):
        """Counts one value.

        Args:
            value: 0 to `limit`.

        Raises:
            ValueError: it is out of that range; nothing changed.
            TypeError: it is no integer.
        """
        cdef int64_t number = self.value_of(value)
        cdef ps_status status
        with cython.critical_section(self):
            status = ps_histogram_record(&self.counted, number)
        if status != PS_OK:
            raise self.refused(number, 1)

    def record_n(self, value, n, /):
        """Counts one value `n` times.

        Args:
            value: 0 to `limit`.
            n: >= 0.

        Raises:
            ValueError: one is out of its range, or the count would be 2^63 or more; nothing changed.
            TypeError: one is no integer.
        """
        cdef int64_t number = self.value_of(value), times = checked_count(n)
        cdef ps_status status
        with cython.critical_section(self):
            status = ps_histogram_record_n(&self.counted, number, times)
        if status != PS_OK:
            raise self.refused(number, times)

    def record_many(self, values, /):
        """Counts all of `values`, or none of them.

        Args:
            values: (n,) integers, each 0 to `limit`.

        Raises:
            ValueError: one is out of that range, or they have not one dimension; nothing changed.
            TypeError: they are no integers; nothing changed.
        """
        cdef const int64_t[::1] view = checked_values(values)
        cdef Py_ssize_t n = view.shape[0]
        cdef size_t done = 0
        cdef ps_status status
        if n >= LONG_BATCH:
            self.record_apart(view)
            return
        with cython.critical_section(self):
            status = ps_histogram_record_many(&self.counted, &view[0], n, &done)
        if status != PS_OK:
            raise self.refused_many(view, done)

    cdef int record_apart(self, const int64_t[::1] view) except -1:
        """Counts in another histogram, without the GIL, and adds what it has counted."""
        cdef Histogram apart = Histogram(*self.layout[:3])
        cdef size_t done = 0
        cdef ps_status status
        with nogil:
            status = ps_histogram_record_many(&apart.counted, &view[0], view.shape[0], &done)
        if status == PS_OK:
            with cython.critical_section(self):
                status = ps_histogram_merge(&self.counted, &apart.counted)
        if status != PS_OK:
            raise self.refused_many(view, done)
        return 0

    def record_corrected(self, value, expected_interval, /):
        """Counts one value, and those that it kept from being measured.

        A client that waits for each answer before it asks again asks nothing while it waits, so that one
        long wait counts as one value. This one counts `value - expected_interval`, `value - 2 *
        expected_interval` and so on as well, down to the interval: what those would have seen who should
        have asked meanwhile.

        Args:
            value: 0 to `limit`.
            expected_interval: between two questions, >= 1, in the unit of `value`.

        Raises:
            ValueError: one is out of its range, or the count would be 2^63 or more; nothing changed.
            TypeError: one is no integer.
        """
        cdef int64_t number = self.value_of(value), interval = checked_interval(expected_interval)
        cdef ps_status status
        with cython.critical_section(self):
            status = ps_histogram_record_corrected(&self.counted, number, 1, interval)
        if status != PS_OK:
            raise self.refused(number, max(number // interval, 1))

    def corrected(self, expected_interval, /):
        """A histogram of the same values, each counted as `record_corrected` does.

        Args:
            expected_interval: between two questions, >= 1, in the unit of the values.

        Raises:
            ValueError: it is out of its range, or the count would be 2^63 or more.
            TypeError: it is no integer.
        """
        cdef int64_t interval = checked_interval(expected_interval)
        cdef Histogram other = type(self)(*self.layout[:3])
        cdef ps_status status
        with cython.critical_section(self, other):
            status = ps_histogram_merge_corrected(&other.counted, &self.counted, interval)
        if status != PS_OK:
            raise too_many(self.counted.total)
        return other

    def merge(self, other, /):
        """Adds what another histogram has counted; its limits and digits may be others.

        Raises:
            ValueError: it has counted a value above `limit`, or the count would be 2^63 or more; nothing
                changed.
            TypeError: it is no histogram.
        """
        if not isinstance(other, Histogram):
            raise not_a_histogram(other)
        cdef Histogram theirs = other
        cdef int64_t highest = -1
        cdef ps_status status
        with cython.critical_section(self, theirs):
            status = ps_histogram_merge(&self.counted, &theirs.counted)
            if theirs.counted.total:
                highest = ps_histogram_top(&theirs.counted, theirs.counted.last)
        if status != PS_OK:
            raise self.refused(highest, theirs.counted.total)

    def copy(self):
        """A histogram of the same limits that has counted the same."""
        other = type(self)(*self.layout[:3])
        other.merge(self)
        return other

    def reset(self):
        """Forgets all values."""
        with cython.critical_section(self):
            ps_histogram_reset(&self.counted)

    def percentile(self, share, /):
        """The value below or at which lie `share` of all values, to `digits` and rounded up.

        Args:
            share: 0 to 1: 0.5 for the median, 0.99 for the 99th percentile, 1 for the greatest value. That of
                0 is the least, rounded down.

        Returns:
            The value; None when there is none.

        Raises:
            ValueError: share is out of its range.
            TypeError: share is no number.
        """
        cdef double wanted = checked_share(share)
        cdef int64_t value = 0
        cdef ps_status status
        with cython.critical_section(self):
            status = ps_histogram_percentile(&self.counted, wanted, &value)
        return value if status == PS_OK else None

    def count_to(self, value, /):
        """How many of the recorded values are at most `value`, or not told apart from it.

        Raises:
            TypeError: it is no integer.
        """
        cdef int64_t end = max(-1, min(checked_integer("value", value), self._limit))
        cdef int64_t n
        with cython.critical_section(self):
            n = ps_histogram_count_to(&self.counted, end)
        return n

    def levels(self, ticks=5):
        """The percentile distribution, in steps that get finer towards the greatest value.

        Args:
            ticks: steps for each halving of what is left to the greatest value, 1 to 1,000.

        Returns:
            Value, share and count of each step, as they were when it was called; the last has a share of 1.

        Raises:
            ValueError: ticks are out of their range.
            TypeError: ticks are no integer.
        """
        return levels(iter(self), checked_ticks(ticks))

    def hgrm(self, *, scale=1.0, ticks=5):
        """The percentile distribution as text, as HdrHistogram's plotter reads it.

        Args:
            scale: what values are divided by: 1e6 shows nanoseconds as milliseconds.
            ticks: as for `levels`.

        Raises:
            ValueError: an argument is out of its range.
            TypeError: an argument is no number.
        """
        return hgrm(self, checked_scale(scale), checked_ticks(ticks))

    def encode(self, *, compressed=True):
        """The histogram as bytes that every HdrHistogram reads: encoding V2.

        In base64, compressed, it is what their logs hold.
        """
        return framed(self.layout, self.payload(), compressed=compressed)

    cdef bytes payload(self):
        cdef size_t size, there = 0
        cdef bytes room = b""
        while True:  # made outside, and made again if others have recorded meanwhile
            with cython.critical_section(self):
                size = ps_histogram_encoded_size(&self.counted)
                if size == there:
                    ps_histogram_encode(&self.counted, <uint8_t *>PyBytes_AS_STRING(room))
                    return room
            room = PyBytes_FromStringAndSize(NULL, size)
            there = size

    cdef int64_t value_of(self, value) except? -1:
        cdef int overflow = 0
        cdef int64_t number
        if type(value) is int:
            number = PyLong_AsLongLongAndOverflow(value, &overflow)
            if not overflow:
                return number
        return checked_value(value, self._limit)

    cdef refused(self, value, n):
        """The error of a value, or of the count, that `n` times the value would have made."""
        return too_many(n) if 0 <= value <= self._limit else out_of_range(value, self._limit)

    cdef refused_many(self, const int64_t[::1] view, size_t done):
        if done == <size_t>view.shape[0]:
            return too_many(view.shape[0])
        return out_of_range(view[done], self._limit)
