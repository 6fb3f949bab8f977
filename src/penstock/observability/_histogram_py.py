"""Histogram, pure Python. Its compiled twin does the same in csrc/histogram.c, with an array of counts."""

import zlib
from collections.abc import Iterable, Iterator
from math import ceil, log, nextafter, sqrt
from operator import index
from struct import Struct
from threading import RLock
from typing import TYPE_CHECKING, NamedTuple, Self

from penstock.errors import InvalidType, InvalidValue, PenstockError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Bucket", "Histogram", "InvalidEncoding", "Level"]

HOUR_NS = 3_600_000_000_000
MAX_VALUE = (1 << 63) - 1  # and the largest count
MAX_DIGITS = 5
MAX_BITS = 62  # of the values of the first bucket
MAX_TICKS = 1_000
HIGHEST_LEVEL = 100 - 1e-9  # percent; so near to all of them a step is soon too small for a float

COOKIE = 0x1C849313  # encoding V2, counts of varying width
COMPRESSED_COOKIE = 0x1C849314
WIDTH_BITS = 0xF0  # of a cookie; they say nothing in V2
HEADER = Struct(">iiiiqqd")  # cookie, bytes of payload, offset, digits, lowest, highest, ratio to floats
FRAME = Struct(">ii")  # cookie, bytes that follow
MAX_PIECE = 9  # bytes of one number of the payload


class InvalidEncoding(PenstockError, ValueError):
    """The bytes are no HdrHistogram in encoding V2."""


class Bucket(NamedTuple):
    """A range of values that are not told apart, and how many of them were recorded."""

    lowest: int
    highest: int
    n: int


class Level(NamedTuple):
    """A step of the percentile distribution: `n` values, `share` of all or more, are at most `value`."""

    value: int
    share: float
    n: int


class Layout(NamedTuple):
    """Where which values are counted; csrc/histogram.h has the arithmetic."""

    lowest: int
    highest: int
    digits: int
    unit: int
    """log2 of the width of the first slots."""
    half: int
    """log2 of the slots of a bucket after the first."""
    buckets: int

    @property
    def length(self) -> int:
        """The number of slots."""
        return (self.buckets + 1) << self.half

    @property
    def limit(self) -> int:
        """The highest value that has a slot."""
        return self.top(self.length - 1)

    def slot(self, value: int) -> int:
        base = self.unit + self.half + 1
        bucket = max(value.bit_length() - base, 0)
        return (bucket << self.half) + (value >> (bucket + self.unit))

    def width(self, slot: int) -> int:
        """How many values share a slot."""
        return 1 << (self.unit + max((slot >> self.half) - 1, 0))

    def bottom(self, slot: int) -> int:
        bucket = max((slot >> self.half) - 1, 0)
        return (slot - (bucket << self.half)) << (bucket + self.unit)

    def top(self, slot: int) -> int:
        return self.bottom(slot) + self.width(slot) - 1

    def middle(self, slot: int) -> int:
        return self.bottom(slot) + (self.width(slot) >> 1)

    def is_like(self, other: "Layout") -> bool:
        """Whether both count the same values in the same slots."""
        return self[3:] == other[3:]


def checked_integer(name: str, value: object) -> int:
    try:
        return index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidType(f"{name} must be an integer, got {type(value).__name__}") from None


def shown(value: float) -> str:
    """A number as an error message shows it, however large it is."""
    if isinstance(value, int) and value.bit_length() > 200:
        return f"an integer of {value.bit_length()} bits"
    return repr(value)


def checked_layout(lowest: object, highest: object, digits: object) -> Layout:
    """The layout of a histogram of these limits.

    Raises:
        ValueError: see Histogram.
        TypeError: one is no integer.
    """
    low, high = checked_integer("lowest", lowest), checked_integer("highest", highest)
    precise = checked_integer("digits", digits)
    if low < 1:
        raise InvalidValue(f"lowest must be >= 1, got {shown(low)}")
    if not 2 * low <= high <= MAX_VALUE:
        raise InvalidValue(f"highest must be >= 2 * lowest and <= {MAX_VALUE}, got {shown(high)}")
    if not 1 <= precise <= MAX_DIGITS:
        raise InvalidValue(f"digits must be 1 to {MAX_DIGITS}, got {shown(precise)}")
    unit, bits = low.bit_length() - 1, (2 * 10**precise - 1).bit_length()
    if unit + bits > MAX_BITS:
        raise InvalidValue(f"lowest must be < {1 << (MAX_BITS - bits + 1)} with {precise} digits, got {low}")
    return Layout(low, high, precise, unit, bits - 1, max(high.bit_length() - unit - bits, 0) + 1)


def out_of_range(value: int, limit: int) -> InvalidValue:
    return InvalidValue(f"value must be >= 0 and <= {limit}, got {shown(value)}")


def too_many(count: int) -> InvalidValue:
    return InvalidValue(f"count must be <= {MAX_VALUE} in all, got {shown(count)} more")


def checked_value(value: object, limit: int) -> int:
    number = checked_integer("value", value)
    if not 0 <= number <= limit:
        raise out_of_range(number, limit)
    return number


def checked_count(n: object) -> int:
    count = checked_integer("n", n)
    if not 0 <= count <= MAX_VALUE:
        raise InvalidValue(f"n must be >= 0 and <= {MAX_VALUE}, got {shown(count)}")
    return count


def checked_interval(interval: object) -> int:
    number = checked_integer("expected_interval", interval)
    if not 1 <= number <= MAX_VALUE:
        raise InvalidValue(f"expected_interval must be >= 1 and <= {MAX_VALUE}, got {shown(number)}")
    return number


def checked_share(share: object) -> float:
    if not isinstance(share, (int, float)):
        raise InvalidType(f"share must be a number, got {type(share).__name__}")
    if not 0 <= share <= 1:
        raise InvalidValue(f"share must be >= 0 and <= 1, got {shown(share)}")
    return float(share)


def checked_ticks(ticks: object) -> int:
    number = checked_integer("ticks", ticks)
    if not 1 <= number <= MAX_TICKS:
        raise InvalidValue(f"ticks must be 1 to {MAX_TICKS}, got {shown(number)}")
    return number


def checked_scale(scale: object) -> float:
    if not isinstance(scale, (int, float)):
        raise InvalidType(f"scale must be a number, got {type(scale).__name__}")
    if not 0 < scale <= MAX_VALUE:
        raise InvalidValue(f"scale must be > 0 and <= {MAX_VALUE}, got {shown(scale)}")
    return float(scale)


def not_a_histogram(other: object) -> InvalidType:
    return InvalidType(f"other must be a Histogram, got {type(other).__name__}")


def checked_values(values: "ArrayLike") -> "NDArray[np.int64]":
    """The values of a batch, in one piece.

    Raises:
        ValueError: not one dimension, or one does not fit into 64 bits.
        TypeError: they are no integers.
    """
    import numpy as np

    array = np.asarray(values)
    if array.ndim != 1:
        raise InvalidValue(f"values must have 1 dimension, got {array.ndim}")
    if array.size and array.dtype.kind not in "iu":
        raise InvalidType(f"values must be integers of 64 bits, got {array.dtype}")
    if array.size and array.dtype == np.uint64 and int(array.max()) > MAX_VALUE:
        raise out_of_range(int(array.max()), MAX_VALUE)
    return np.ascontiguousarray(array, np.int64)


def rank_of(total: int, share: float) -> int:
    """Which of `total` values, the least being 1, has `share` of all below it or at it.

    The next lower share is taken: 0.07 is a little more than seven hundredths, and the seventh of a hundred
    must not become the eighth by that.
    """
    if share >= 1:
        return total
    return min(max(ceil(nextafter(share, -1.0) * float(total)), 1), total)


def levels(buckets: Iterable[Bucket], ticks: int) -> Iterator[Level]:
    """The percentile distribution as the original steps through it.

    `ticks` steps for each halving of what is left to the maximum, as far as there are values, and then that.
    """
    found = list(buckets)
    total = sum(bucket.n for bucket in found)
    level, seen = 0.0, 0
    for _, highest, n in found:
        seen += n
        while level <= 100.0 * seen / total and level < HIGHEST_LEVEL:
            yield Level(highest, level / 100, seen)
            level += 100 / (ticks * 2.0 ** (int(log(100 / (100 - level)) / log(2)) + 1))
            if seen == total:
                break
    if found:
        yield Level(found[-1].highest, 1.0, total)


def hgrm(histogram: "Histogram", scale: float, ticks: int) -> str:
    """The text that HdrHistogram's plotter reads, as the original writes it."""
    layout = checked_layout(histogram.lowest, histogram.highest, histogram.digits)
    mean, stddev, highest = histogram.mean or 0.0, histogram.stddev or 0.0, histogram.max or 0
    number = f"12.{layout.digits}f"
    lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", ""]
    for value, share, n in levels(histogram, ticks):
        odds = f" {1 / (1 - share):14.2f}" if share < 1 else ""
        lines.append(f"{value / scale:{number}} {share:2.12f} {n:10d}{odds}")
    lines += [
        f"#[Mean    = {mean / scale:{number}}, StdDeviation   = {stddev / scale:{number}}]",
        f"#[Max     = {highest / scale:{number}}, Total count    = {histogram.count:12d}]",
        f"#[Buckets = {layout.buckets:12d}, SubBuckets     = {2 << layout.half:12d}]",
    ]
    return "\n".join(lines) + "\n"


def framed(layout: Layout, payload: bytes, *, compressed: bool) -> bytes:
    """A payload with the header of encoding V2 before it."""
    header = HEADER.pack(COOKIE, len(payload), 0, layout.digits, layout.lowest, layout.highest, 1.0)
    if not compressed:
        return header + payload
    packed = zlib.compress(header + payload)
    return FRAME.pack(COMPRESSED_COOKIE, len(packed)) + packed


def unframed(data: object) -> tuple[Layout, bytes]:
    """The layout and the payload of a histogram in encoding V2, compressed or not.

    Never more is unpacked than a histogram of those limits can have.

    Raises:
        ValueError: the bytes are none.
        TypeError: it is not made of bytes.
    """
    try:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
    except TypeError:
        raise InvalidType(f"data must be bytes, got {type(data).__name__}") from None
    if len(view) < FRAME.size:
        raise InvalidEncoding(f"data must have a cookie and a length, got {len(view)} bytes")
    cookie, size = FRAME.unpack_from(view)
    kind = (cookie & 0xFFFFFFFF) & ~WIDTH_BITS
    if kind == COMPRESSED_COOKIE & ~WIDTH_BITS:
        return unpacked(view[FRAME.size :], size)
    if kind != COOKIE & ~WIDTH_BITS:
        raise InvalidEncoding(f"data must be in encoding V2, got the cookie {cookie & 0xFFFFFFFF:#010x}")
    return whole(view[: HEADER.size], view[HEADER.size :])


def unpacked(packed: memoryview, size: int) -> tuple[Layout, bytes]:
    if size != len(packed):
        raise InvalidEncoding(f"data must have {size} compressed bytes, got {len(packed)}")
    inflate = zlib.decompressobj()
    try:
        header = inflate.decompress(packed, HEADER.size)
        _, length = described(header)
        payload = inflate.decompress(inflate.unconsumed_tail, length + 1)
    except zlib.error as error:
        raise InvalidEncoding(f"data must be compressed by zlib: {error}") from None
    return whole(memoryview(header), memoryview(payload))


def whole(header: memoryview, payload: memoryview) -> tuple[Layout, bytes]:
    layout, length = described(header)
    if length not in (len(payload), len(payload) + HEADER.size):  # HdrHistogram_c has counted the header, too
        raise InvalidEncoding(f"data must have {length} bytes after its header, got {len(payload)}")
    return layout, bytes(payload)


def described(header: bytes | memoryview) -> tuple[Layout, int]:
    """What a header says: the layout, and the bytes of the payload."""
    if len(header) < HEADER.size:
        raise InvalidEncoding(f"data must have a header of {HEADER.size} bytes, got {len(header)}")
    cookie, length, offset, digits, lowest, highest, _ = HEADER.unpack(header)
    if (cookie & 0xFFFFFFFF) & ~WIDTH_BITS != COOKIE & ~WIDTH_BITS:
        raise InvalidEncoding(f"data must be in encoding V2, got the cookie {cookie & 0xFFFFFFFF:#010x}")
    if offset != 0:
        raise InvalidEncoding(f"data must have a normalizing offset of 0, got {offset}")
    try:
        layout = checked_layout(lowest, highest, digits)
    except InvalidValue as error:
        raise InvalidEncoding(f"data must describe a histogram: {error}") from None
    if not 0 <= length <= MAX_PIECE * layout.length + HEADER.size:
        raise InvalidEncoding(f"data must have <= {MAX_PIECE * layout.length} bytes of counts, got {length}")
    return layout, length


def bad_counts() -> InvalidEncoding:
    return InvalidEncoding("data must have whole counts, in slots that there are, of 63 bits in all")


def encoded_number(number: int) -> bytes:
    """ZigZag LEB128: seven bits a byte, the lowest first; the ninth has eight."""
    code = number << 1 if number >= 0 else ~(number << 1)
    pieces = bytearray()
    while code > 0x7F and len(pieces) < MAX_PIECE - 1:
        pieces.append(code & 0x7F | 0x80)
        code >>= 7
    pieces.append(code)
    return bytes(pieces)


def decoded_numbers(payload: bytes) -> Iterator[int]:
    code = shift = 0
    for piece in payload:
        last = shift == 7 * (MAX_PIECE - 1)
        code |= (piece if last else piece & 0x7F) << shift
        shift += 7
        if last or piece < 0x80:
            yield code >> 1 if code & 1 == 0 else ~(code >> 1)
            code = shift = 0
    if shift:
        raise bad_counts()


def encoded_counts(counts: dict[int, int]) -> bytes:
    """The counts of slots 0 to the highest that has any.

    A number below 0 stands for so many slots that have none; a single one, as in the original, is a 0.
    """
    pieces, at = [], 0
    for slot in sorted(counts):
        if slot > at:
            pieces.append(encoded_number(at - slot if slot - at > 1 else 0))
        pieces.append(encoded_number(counts[slot]))
        at = slot + 1
    return b"".join(pieces) or encoded_number(0)  # as the original: there always is slot 0


def decoded_counts(payload: bytes, length: int) -> dict[int, int]:
    counts, at = {}, 0
    for number in decoded_numbers(payload):
        if at + max(-number, 1) > length:
            raise bad_counts()
        if number > 0:
            counts[at] = number
        at += max(-number, 1)
    if sum(counts.values()) > MAX_VALUE:
        raise bad_counts()
    return counts


class Histogram:
    """Counts values to so many significant digits, over any range, in memory that does not grow.

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

    __slots__ = ("_counts", "_layout", "_limit", "_lock", "_total")

    def __init__(self, lowest: int = 1, highest: int = HOUR_NS, digits: int = 3) -> None:
        layout = checked_layout(lowest, highest, digits)
        if hasattr(self, "_layout"):
            raise InvalidType("a Histogram is initialised once")
        self._lock = RLock()  # held over integers; a destructor that runs meanwhile may use the histogram
        self._counts: dict[int, int] = {}
        self._total = 0
        self._limit = layout.limit
        self._layout = layout

    @classmethod
    def decode(cls, data: bytes, /) -> Self:
        """The histogram that `encode`, or any other HdrHistogram, made these bytes of.

        Args:
            data: encoding V2, compressed or not; at most 47 MiB of memory, whatever they are.

        Raises:
            ValueError: they are not that.
            TypeError: it is not made of bytes.
        """
        layout, payload = unframed(data)
        counts = decoded_counts(payload, layout.length)
        histogram = cls(layout.lowest, layout.highest, layout.digits)
        histogram._counts, histogram._total = counts, sum(counts.values())
        return histogram

    def __repr__(self) -> str:
        return f"Histogram(lowest={self.lowest}, highest={self.highest}, digits={self.digits})"

    def __eq__(self, other: object, /) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        with self._lock:
            mine = dict(self._counts)
        return self._layout[:3] == other._layout[:3] and mine == other._counts

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[object, ...]:
        return type(self).decode, (self.encode(),)

    def __iter__(self) -> Iterator[Bucket]:
        """The buckets that hold any values, from the lowest, as they were when it was called."""
        layout = self._layout
        with self._lock:
            found = sorted(self._counts.items())
        return iter([Bucket(layout.bottom(slot), layout.top(slot), count) for slot, count in found])

    @property
    def lowest(self) -> int:
        """The least value that is told from 0."""
        return self._layout.lowest

    @property
    def highest(self) -> int:
        """The greatest value that must fit."""
        return self._layout.highest

    @property
    def digits(self) -> int:
        """Significant decimal digits."""
        return self._layout.digits

    @property
    def limit(self) -> int:
        """The greatest value that does fit: `highest`, or more where that lies within a bucket."""
        return self._limit

    @property
    def count(self) -> int:
        """How many values were recorded."""
        return self._total

    @property
    def min(self) -> int | None:
        """The least value recorded, to `digits` and rounded down; None when there is none."""
        with self._lock:
            return self._layout.bottom(min(self._counts)) if self._counts else None

    @property
    def max(self) -> int | None:
        """The greatest value recorded, to `digits` and rounded up; None when there is none."""
        with self._lock:
            return self._layout.top(max(self._counts)) if self._counts else None

    @property
    def mean(self) -> float | None:
        """The mean, each value taken as the middle of its bucket; None when there is none."""
        with self._lock:
            return self._mean() if self._total else None

    @property
    def stddev(self) -> float | None:
        """The standard deviation of the values, taken as for `mean`; None when there is none."""
        with self._lock:
            if not self._total:
                return None
            mean, weighed = self._mean(), 0.0
            for slot, count in sorted(self._counts.items()):
                away = float(self._layout.middle(slot)) - mean
                weighed += away * away * float(count)  # no power: its last bit differs
            return sqrt(weighed / float(self._total))

    def record(self, value: int, /) -> None:
        """Counts one value.

        Args:
            value: 0 to `limit`.

        Raises:
            ValueError: it is out of that range; nothing changed.
            TypeError: it is no integer.
        """
        self._add({self._layout.slot(checked_value(value, self._limit)): 1})

    def record_n(self, value: int, n: int, /) -> None:
        """Counts one value `n` times.

        Args:
            value: 0 to `limit`.
            n: >= 0.

        Raises:
            ValueError: one is out of its range, or the count would be 2^63 or more; nothing changed.
            TypeError: one is no integer.
        """
        slot, times = self._layout.slot(checked_value(value, self._limit)), checked_count(n)
        self._add({slot: times})

    def record_many(self, values: "ArrayLike", /) -> None:
        """Counts all of `values`, or none of them.

        Args:
            values: (n,) integers, each 0 to `limit`.

        Raises:
            ValueError: one is out of that range, or they have not one dimension; nothing changed.
            TypeError: they are no integers; nothing changed.
        """
        counts: dict[int, int] = {}
        slot_of, limit = self._layout.slot, self._limit
        for value in checked_values(values).tolist():
            slot = slot_of(checked_value(value, limit))
            counts[slot] = counts.get(slot, 0) + 1
        self._add(counts)

    def record_corrected(self, value: int, expected_interval: int, /) -> None:
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
        number, interval = checked_value(value, self._limit), checked_interval(expected_interval)
        self._add(corrected_counts(self._layout, number, 1, interval))

    def corrected(self, expected_interval: int, /) -> Self:
        """A histogram of the same values, each counted as `record_corrected` does.

        Args:
            expected_interval: between two questions, >= 1, in the unit of the values.

        Raises:
            ValueError: it is out of its range, or the count would be 2^63 or more.
            TypeError: it is no integer.
        """
        interval, layout = checked_interval(expected_interval), self._layout
        other = type(self)(*layout[:3])
        for lowest, _, count in self:
            other._add(corrected_counts(layout, lowest, count, interval))
        return other

    def merge(self, other: "Histogram", /) -> None:
        """Adds what another histogram has counted; its limits and digits may be others.

        Raises:
            ValueError: it has counted a value above `limit`, or the count would be 2^63 or more; nothing
                changed.
            TypeError: it is no histogram.
        """
        if not isinstance(other, Histogram):
            raise not_a_histogram(other)
        mine, theirs = self._layout, other._layout
        with other._lock:
            counts = dict(other._counts)
        if counts and (highest := theirs.top(max(counts))) > self._limit:
            raise out_of_range(highest, self._limit)
        if not mine.is_like(theirs):
            counts = moved_counts(counts, theirs, mine)
        self._add(counts)

    def copy(self) -> Self:
        """A histogram of the same limits that has counted the same."""
        other = type(self)(*self._layout[:3])
        other.merge(self)
        return other

    def reset(self) -> None:
        """Forgets all values."""
        with self._lock:
            self._counts, self._total = {}, 0

    def percentile(self, share: float, /) -> int | None:
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
        wanted, layout = checked_share(share), self._layout
        with self._lock:
            found, total = sorted(self._counts.items()), self._total
        if not total:
            return None
        if wanted == 0:
            return layout.bottom(found[0][0])
        return layout.top(slot_at(found, rank_of(total, wanted)))

    def count_to(self, value: int, /) -> int:
        """How many of the recorded values are at most `value`, or not told apart from it.

        Raises:
            TypeError: it is no integer.
        """
        end = checked_integer("value", value)
        if end < 0:
            return 0
        slot = self._layout.slot(end)
        with self._lock:
            return sum(count for at, count in self._counts.items() if at <= slot)

    def levels(self, ticks: int = 5) -> Iterator[Level]:
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

    def hgrm(self, *, scale: float = 1.0, ticks: int = 5) -> str:
        """The percentile distribution as text, as HdrHistogram's plotter reads it.

        Args:
            scale: what values are divided by: 1e6 shows nanoseconds as milliseconds.
            ticks: as for `levels`.

        Raises:
            ValueError: an argument is out of its range.
            TypeError: an argument is no number.
        """
        return hgrm(self, checked_scale(scale), checked_ticks(ticks))

    def encode(self, *, compressed: bool = True) -> bytes:
        """The histogram as bytes that every HdrHistogram reads: encoding V2.

        In base64, compressed, it is what their logs hold.
        """
        with self._lock:
            payload = encoded_counts(self._counts)
        return framed(self._layout, payload, compressed=compressed)

    def _mean(self) -> float:
        middle = self._layout.middle
        return float(sum(middle(slot) * count for slot, count in self._counts.items())) / float(self._total)

    def _add(self, counts: dict[int, int]) -> None:
        """Counts so many of each slot, or nothing."""
        more = sum(counts.values())
        with self._lock:
            if more > MAX_VALUE - self._total:
                raise too_many(more)
            mine = self._counts
            for slot, count in counts.items():
                if count:
                    mine[slot] = mine.get(slot, 0) + count
            self._total += more


def slot_at(found: Iterable[tuple[int, int]], rank: int) -> int:
    """The slot of the value of that rank, among slots in order with their counts."""
    seen = 0
    for slot, count in found:
        seen += count
        if seen >= rank:
            return slot
    raise AssertionError(f"rank {rank} of {seen} values")


def corrected_counts(layout: Layout, value: int, n: int, interval: int) -> dict[int, int]:
    """The counts of `value`, `value - interval`, ... down to `interval`; by slots, not by values."""
    counts = {layout.slot(value): n}
    left = value // interval - 1
    while left > 0:
        value -= interval
        slot = layout.slot(value)
        same = min((value - layout.bottom(slot)) // interval + 1, left)
        counts[slot] = counts.get(slot, 0) + same * n
        value -= (same - 1) * interval
        left -= same
    return counts


def moved_counts(counts: dict[int, int], old: Layout, new: Layout) -> dict[int, int]:
    """Counts of one layout in another, by the lowest value of each slot."""
    moved: dict[int, int] = {}
    for slot, count in counts.items():
        there = new.slot(old.bottom(slot))
        moved[there] = moved.get(there, 0) + count
    return moved
