"""What a histogram promises, on both twins: the slots, answers and bytes of HdrHistogram."""

import copy
import gc
import math
import pickle
import random
import re
import struct
import threading
import zlib
from base64 import b64decode, b64encode
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.errors import InvalidType, InvalidValue
from penstock.observability import Bucket, InvalidEncoding, Level
from twins import both_twins, load

MODULE = "penstock.observability.histogram"
Histogram = both_twins(MODULE)

HOUR_US = 3_600_000_000
LARGEST = (1 << 63) - 1

# Made by others: HdrHistogram in Java and in C, which agree on these, and its Vala port.
ONE_VALUE = "HISTFAAAACB4nJNpmSzMwMDAzAABMJoRQnEw2H+AsP7LMwEARZgDpQ=="
THREE_VALUES = "HISTFAAAACV4nJNpmSzMwMDAwQABzFCaEUrp2H+AsI4zMh1lZEpkAgBdIQSk"
TEN_THOUSAND = "HISTFAAAACl4nJNpmSzMwMBgyAABzFCaEURcm7yEwf4DROA8/4I5jNM7mJgAlWkH9g=="
CORRECTED = (
    "HISTFAAAAP94nJNpmSzMwCByigECmKE0I4i4NnkJg/0HiMB5/gVzGD8aM/3lZ7rPyTSbjektC9N7Fqa"
    "HzEzbmZi2whCEvZKRaSYj02wwiYng4tFM3lDoC2dhhwh5UyZlJlUMjClCmgpMEUUmQSZ+IBZEojFFCM"
    "vQRwUxenmZ2MGQFUqz4+CTo4I2pg4dFdQylZWJkYkZCaPyMEUIydPLjMHrssFixuB12XD0HRAwMsFJg"
    "kwilZHJHHKmjzp41MFDOjhYmFiQEUEmMWqGsvKBd8Fwd/Co/waTC9jYOMAIiSJRhLbKh5x9Q87Bo/YN"
    "bfsoM4CPhw+IIJAkxnDXN+QcTIpyAPnGh6k="
)


def filled(histogram, values):
    for value in values:
        histogram.record(value)
    return histogram


def typical(n, seed=1):
    """Latencies in nanoseconds: a body around 10 ms, and a tail."""
    rng = random.Random(seed)
    return [int(rng.lognormvariate(16, 0.8)) for _ in range(n)]


def nearest_rank(values, share):
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


# Values and their slots


def test_small_values_are_kept_exactly(Histogram):
    histogram = filled(Histogram(1, 10_000, 3), range(2_048))
    assert list(histogram) == [Bucket(value, value, 1) for value in range(2_048)]


def test_large_values_share_a_bucket_with_those_that_differ_beyond_the_digits(Histogram):
    histogram = filled(Histogram(1, 10_000_000, 3), [1_000_000, 1_000_447, 1_000_448])
    assert list(histogram) == [Bucket(999_936, 1_000_447, 2), Bucket(1_000_448, 1_000_959, 1)]


@pytest.mark.parametrize("digits", [1, 2, 3, 4, 5])
def test_a_bucket_is_never_wider_than_the_digits_allow(Histogram, digits):
    histogram = Histogram(1, 10**12, digits)
    for exponent in range(13):
        histogram.record(10**exponent)
        histogram.record(min(10**exponent * 7 + 3, 10**12))
    for lowest, highest, _ in histogram:
        assert highest - lowest <= lowest / 10**digits


def test_lowest_is_the_least_value_that_is_told_from_zero(Histogram):
    histogram = filled(Histogram(1_000, 10**9, 2), [0, 511, 512, 1_000])
    assert [bucket[:2] for bucket in histogram] == [(0, 511), (512, 1_023)]


def test_values_up_to_the_limit_are_counted_and_no_others(Histogram):
    histogram = Histogram(1, 3_000, 3)
    assert (histogram.highest, histogram.limit) == (3_000, 4_095)
    histogram.record(histogram.limit)
    with pytest.raises(InvalidValue, match=r"^value must be >= 0 and <= 4095, got 4096$"):
        histogram.record(4_096)
    with pytest.raises(InvalidValue, match=r"^value must be >= 0 and <= 4095, got -1$"):
        histogram.record(-1)
    assert histogram.count == 1


@given(value=st.integers(0, LARGEST), digits=st.integers(1, 5), lowest=st.integers(1, 10**9))
@settings(max_examples=60)
def test_every_value_that_fits_lies_in_the_bucket_that_counts_it(value, digits, lowest):
    buckets = []
    for impl in ("c", "py"):
        histogram = load(MODULE, impl)(lowest, max(value, 2 * lowest), digits)
        histogram.record(value)
        [bucket] = histogram
        assert bucket.lowest <= value <= bucket.highest <= histogram.limit
        buckets.append(bucket)
    assert buckets[0] == buckets[1]


def test_the_whole_range_of_63_bits_can_be_counted(Histogram):
    histogram = Histogram(1, LARGEST, 1)
    assert histogram.limit == LARGEST
    filled(histogram, [0, LARGEST])
    assert (histogram.min, histogram.max, histogram.percentile(1)) == (0, LARGEST, LARGEST)


def test_slots_are_those_of_the_reference_implementation(Histogram):
    rng = random.Random(7)
    for lowest, highest, digits in [(1, HOUR_US, 3), (1_000, 10**11, 2), (7, 10**6, 5), (1, 2, 1)]:
        ours, theirs = Histogram(lowest, highest, digits), HdrHistogram(lowest, highest, digits)
        assert ours.limit == theirs.get_highest_equivalent_value(
            theirs.get_value_from_index(theirs.counts_len - 1)
        )
        for _ in range(200):
            value = int(math.exp(rng.uniform(0, math.log(highest))))
            ours.reset()
            ours.record(value)
            assert list(ours) == [
                Bucket(
                    theirs.get_lowest_equivalent_value(value), theirs.get_highest_equivalent_value(value), 1
                )
            ]


# Answers


def test_empty_histogram_knows_nothing(Histogram):
    histogram = Histogram()
    assert (histogram.count, list(histogram), list(histogram.levels())) == (0, [], [])
    assert [histogram.min, histogram.max, histogram.mean, histogram.stddev] == [None] * 4
    assert histogram.percentile(0.5) is None
    assert histogram.count_to(10) == 0


def test_percentile_is_the_nearest_rank_to_three_digits(Histogram):
    values = typical(5_000)
    histogram = filled(Histogram(), values)
    for share in (0.001, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0):
        exact = nearest_rank(values, share)
        assert exact <= histogram.percentile(share) <= exact * 1.001


def test_shares_that_binary_fractions_miss_by_a_little_find_their_rank(Histogram):
    histogram = filled(Histogram(), range(1, 101))
    assert [histogram.percentile(i / 100) for i in range(1, 101)] == list(range(1, 101))


def test_percentile_of_nothing_is_the_least_value_rounded_down_and_of_all_the_greatest_rounded_up(Histogram):
    histogram = filled(Histogram(1, 10**7, 3), [1_000_200, 2_000_300])
    assert (histogram.percentile(0), histogram.min) == (999_936, 999_936)
    assert (histogram.percentile(1), histogram.max) == (2_000_895, 2_000_895)
    assert histogram.percentile(1e-300) == 1_000_447


@pytest.mark.parametrize("far", [1, 63, 64, 65, 127, 128, 1_000, 20_000])
def test_percentiles_are_found_across_any_gap(Histogram, far):
    histogram = filled(Histogram(1, 10**9, 4), [5, 5 + far, 5 + far])
    assert [histogram.percentile(share) for share in (0.33, 0.34, 0.67, 1)] == [5] + [5 + far] * 3


def test_percentiles_of_counts_beyond_the_precision_of_floats_stay_within_them(Histogram):
    histogram = Histogram(1, 100, 1)
    histogram.record_n(1, LARGEST - 1)
    histogram.record(2)
    assert (histogram.percentile(0.999), histogram.percentile(1)) == (1, 2)
    assert list(histogram.levels())[-1] == Level(2, 1.0, LARGEST)


def test_min_max_mean_and_deviation_are_those_of_the_middles_of_buckets(Histogram):
    histogram = filled(Histogram(1, 10**7, 3), [10, 20, 30, 40])
    assert (histogram.min, histogram.max, histogram.mean) == (10, 40, 25.0)
    assert histogram.stddev == math.sqrt(125)
    large = filled(Histogram(1, 10**7, 3), [1_000_000])
    assert (large.mean, large.stddev) == (999_936 + 256, 0.0)


def test_answers_are_those_of_the_reference_implementation(Histogram):
    ours, theirs = Histogram(1, 10**11, 3), HdrHistogram(1, 10**11, 3)
    for value in typical(3_000):
        ours.record(value)
        theirs.record_value(value)
    assert ours.count == theirs.get_total_count()
    assert (ours.min, ours.max) == (theirs.get_min_value(), theirs.get_max_value())
    assert ours.mean == pytest.approx(theirs.get_mean_value(), rel=1e-12)
    assert ours.stddev == pytest.approx(theirs.get_stddev(), rel=1e-12)
    for percent in (0, 10, 25, 50, 75, 90, 99, 100):  # whole ranks: where both round alike
        assert ours.percentile(percent / 100) == theirs.get_value_at_percentile(percent)
    assert [tuple(bucket) for bucket in ours] == [
        (
            theirs.get_lowest_equivalent_value(at.value_iterated_to),
            at.value_iterated_to,
            at.count_added_in_this_iter_step,
        )
        for at in theirs.get_recorded_iterator()
    ]


def test_count_to_tells_how_many_met_a_bound(Histogram):
    histogram = filled(Histogram(1, 10**6, 3), range(1, 1_001))
    assert [histogram.count_to(bound) for bound in (-5, 0, 1, 500, 1_000, 10**6, 10**30)] == [
        0,
        0,
        1,
        500,
        1_000,
        1_000,
        1_000,
    ]


@given(st.lists(st.integers(0, 10**12), max_size=80), st.integers(1, 5))
def test_twins_agree_to_the_last_bit(values, digits):
    compiled, plain = (filled(load(MODULE, impl)(1, 10**12, digits), values) for impl in ("c", "py"))
    for answer in ("count", "min", "max", "mean", "stddev"):
        assert getattr(compiled, answer) == getattr(plain, answer)
    for share in (0, 0.1, 0.5, 0.95, 0.999, 1):
        assert compiled.percentile(share) == plain.percentile(share)
    assert list(compiled) == list(plain)
    assert list(compiled.levels(3)) == list(plain.levels(3))
    assert compiled.hgrm(scale=1e3) == plain.hgrm(scale=1e3)
    assert compiled.encode() == plain.encode()


# Many at once


def test_record_n_counts_a_value_so_often(Histogram):
    histogram = Histogram()
    histogram.record_n(5, 1_000)
    histogram.record_n(5, 0)
    assert list(histogram) == [Bucket(5, 5, 1_000)]


@pytest.mark.parametrize("n", [0, 1, 1_000, 60_000])
def test_record_many_counts_as_record_does(Histogram, n):
    values = typical(n)
    one_by_one, at_once = filled(Histogram(), values), Histogram()
    at_once.record_many(np.array(values, np.int64))
    assert at_once == one_by_one


@pytest.mark.parametrize("kind", [list, tuple, np.int32, np.uint64, ">i8"])
def test_record_many_takes_integers_of_any_kind(Histogram, kind):
    values = [3, 1, 2, 2]
    histogram = Histogram()
    histogram.record_many(kind(values) if kind in (list, tuple) else np.array(values, kind))
    assert [tuple(bucket) for bucket in histogram] == [(1, 1, 1), (2, 2, 2), (3, 3, 1)]


def test_record_many_reads_strided_and_read_only_arrays(Histogram):
    values = np.arange(10)
    values.flags.writeable = False
    histogram = Histogram()
    histogram.record_many(values[::-3])
    assert [bucket.lowest for bucket in histogram] == [0, 3, 6, 9]


@pytest.mark.parametrize("n", [10, 60_000])
def test_record_many_counts_all_or_nothing(Histogram, n):
    histogram = Histogram(1, 1_000, 3)
    values = np.ones(n, np.int64)
    values[n // 2] = -7
    with pytest.raises(InvalidValue, match=r"^value must be >= 0 and <= 2047, got -7$"):
        histogram.record_many(values)
    assert histogram.count == 0


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ([[1]], InvalidValue, "values must have 1 dimension, got 2"),
        ([1.5], InvalidType, "values must be integers of 64 bits, got float64"),
        (["1"], InvalidType, "values must be integers of 64 bits, got <U1"),
        ([1 << 70], InvalidType, "values must be integers of 64 bits, got object"),
        (np.array([1 << 63], np.uint64), InvalidValue, f"value must be >= 0 and <= {LARGEST}, got {1 << 63}"),
    ],
)
def test_record_many_refuses_what_are_no_integers_in_a_row(Histogram, values, error, text):
    histogram = Histogram()
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        histogram.record_many(values)
    assert histogram.count == 0


def test_counts_stop_before_they_overflow_and_nothing_changes(Histogram):
    histogram = Histogram()
    histogram.record_n(1, LARGEST)
    for count in (
        lambda: histogram.record(1),
        lambda: histogram.record_n(2, 1),
        lambda: histogram.record_many([1]),
        lambda: histogram.record_corrected(1, 1),
        lambda: histogram.merge(filled(Histogram(), [1])),
    ):
        with pytest.raises(InvalidValue, match=f"^count must be <= {LARGEST} in all, got 1 more$"):
            count()
    assert list(histogram) == [Bucket(1, 1, LARGEST)]


# Coordinated omission


def test_record_corrected_counts_what_the_wait_kept_from_being_asked(Histogram):
    histogram = Histogram()
    histogram.record_corrected(450, 100)
    histogram.record_corrected(100, 100)
    histogram.record_corrected(99, 100)
    histogram.record_corrected(0, 100)
    assert [tuple(bucket[1:]) for bucket in histogram] == [
        (0, 1),
        (99, 1),
        (100, 1),
        (150, 1),
        (250, 1),
        (350, 1),
        (450, 1),
    ]


@given(value=st.integers(0, 30_000), interval=st.integers(1, 4_000), digits=st.integers(1, 3))
def test_correction_by_slots_is_the_correction_by_values(value, interval, digits):
    for impl in ("c", "py"):
        corrected, plain = (load(MODULE, impl)(1, 100_000, digits) for _ in range(2))
        corrected.record_corrected(value, interval)
        plain.record(value)
        for missed in range(value - interval, interval - 1, -interval):
            plain.record(missed)
        assert corrected == plain


def test_a_long_wait_at_a_short_interval_is_corrected_without_counting_one_by_one(Histogram):
    histogram = Histogram()
    histogram.record_corrected(3_600_000_000_000, 1)
    assert histogram.count == 3_600_000_000_000
    assert histogram.percentile(0.5) == pytest.approx(1.8e12, rel=1e-3)


def test_corrected_copy_counts_as_if_recorded_so(Histogram):
    plain, corrected = Histogram(1, 10**6, 5), Histogram(1, 10**6, 5)
    for value in (10, 250, 250, 1_000):
        plain.record(value)
        corrected.record_corrected(value, 100)
    assert plain.corrected(100) == corrected
    assert plain.count == 4


# Merging


def test_merge_adds_what_another_has_counted(Histogram):
    first, second = typical(500, seed=1), typical(500, seed=2)
    merged = filled(Histogram(), first)
    merged.merge(filled(Histogram(), second))
    assert merged == filled(Histogram(), first + second)


def test_merge_with_itself_doubles_every_count(Histogram):
    histogram = filled(Histogram(), [1, 2, 2])
    histogram.merge(histogram)
    assert [bucket.n for bucket in histogram] == [2, 4]


def test_merge_of_other_limits_and_digits_goes_by_the_lowest_value_of_each_bucket(Histogram):
    fine, coarse = Histogram(1, 10**9, 4), filled(Histogram(1_000, 10**8, 2), [1_000_000, 5_000, 5_001])
    fine.merge(coarse)
    expected = Histogram(1, 10**9, 4)
    for lowest, _, n in coarse:
        expected.record_n(lowest, n)
    assert fine == expected


def test_merge_agrees_with_the_reference_implementation(Histogram):
    ours, theirs = Histogram(1, 10**9, 2), HdrHistogram(1, 10**9, 2)
    other, others = Histogram(1, 10**8, 3), HdrHistogram(1, 10**8, 3)
    for value in typical(500):
        other.record(min(value, 10**8))
        others.record_value(min(value, 10**8))
    ours.merge(other)
    theirs.add(others)
    assert Histogram.decode(b64decode(theirs.encode())) == ours


def test_merge_refuses_values_above_the_limit_and_changes_nothing(Histogram):
    small = filled(Histogram(1, 1_000, 3), [1])
    with pytest.raises(InvalidValue, match=r"^value must be >= 0 and <= 2047, got 5000$"):
        small.merge(filled(Histogram(1, 10_000, 5), [2, 5_000]))
    assert list(small) == [Bucket(1, 1, 1)]


def test_merge_takes_only_histograms(Histogram):
    with pytest.raises(InvalidType, match=r"^other must be a Histogram, got dict$"):
        Histogram().merge({})


def test_copy_goes_its_own_way(Histogram):
    histogram = filled(Histogram(1, 10**6, 2), [1, 2])
    for other in (histogram.copy(), copy.copy(histogram), copy.deepcopy(histogram)):
        assert other == histogram
        other.record(3)
        assert other != histogram
    assert histogram.count == 2


def test_reset_forgets_all_values(Histogram):
    histogram = filled(Histogram(), typical(100))
    histogram.reset()
    assert histogram == Histogram()
    assert (histogram.count, histogram.min, histogram.max) == (0, None, None)


def test_histograms_are_equal_when_limits_digits_and_counts_are(Histogram):
    assert filled(Histogram(), [1]) == filled(Histogram(), [1])
    assert filled(Histogram(), [1]) != filled(Histogram(), [2])
    assert Histogram(1, 1_000) != Histogram(1, 1_001)
    assert Histogram() != "histogram"
    with pytest.raises(TypeError, match="unhashable"):
        hash(Histogram())


# Percentile distribution


def test_levels_halve_the_way_to_the_greatest_value(Histogram):
    histogram = filled(Histogram(1, 10**4, 3), range(1, 1_001))
    shares = [level.share for level in histogram.levels(5)]
    assert shares[:11] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75])
    assert shares == sorted(shares)
    for value, share, n in histogram.levels(5):
        assert n == value == max(math.ceil(round(share * 1_000, 6)), 1)
    assert list(histogram.levels(5))[-1] == Level(1_000, 1.0, 1_000)


def test_levels_are_of_the_moment_they_were_asked_for(Histogram):
    histogram = filled(Histogram(), [1])
    levels = histogram.levels()
    histogram.record(2)
    assert list(levels)[-1] == Level(1, 1.0, 1)


def test_text_of_one_value_is_the_one_that_the_original_writes(Histogram):
    histogram = filled(Histogram(1, HOUR_US, 3), [12_345])
    assert histogram.hgrm().splitlines() == [
        "       Value     Percentile TotalCount 1/(1-Percentile)",
        "",
        "   12351.000 0.000000000000          1           1.00",
        "   12351.000 1.000000000000          1",
        "#[Mean    =    12348.000, StdDeviation   =        0.000]",
        "#[Max     =    12351.000, Total count    =            1]",
        "#[Buckets =           22, SubBuckets     =         2048]",
    ]


def test_text_has_values_in_the_unit_that_is_asked_for(Histogram):
    assert "\n       0.012 0.000" in filled(Histogram(1, HOUR_US, 3), [12_345]).hgrm(scale=1e6)


def test_text_has_the_lines_of_the_reference_implementation_at_the_steps_that_both_take(Histogram):
    # those of hdrhistogram-py shrink with each step, where those of Java and C halve at each half way
    ours, theirs, text = Histogram(1, 10**11, 3), HdrHistogram(1, 10**11, 3), BytesIO()
    for value in typical(2_000):
        ours.record(value)
        theirs.record_value(value)
    theirs.output_percentile_distribution(text, 1e6)
    written, reference = ours.hgrm(scale=1e6).splitlines(), text.getvalue().decode().splitlines()
    assert written[:4] == reference[:4]
    assert written[-4] == reference[-4]
    assert written[-3].split(",")[0] == reference[-3].split(",")[0]  # the mean
    assert written[-2].split(",")[0] == reference[-2].split(",")[0]  # the maximum
    assert written[-1] == reference[-1]


def test_text_of_an_empty_histogram_has_no_levels(Histogram):
    assert len(Histogram().hgrm().splitlines()) == 5


# Encoding


@pytest.mark.parametrize(
    ("text", "limits", "counts"),
    [
        (ONE_VALUE, (1, 2_048, 3), [(2_048, 2_049, 1)]),
        (THREE_VALUES, (1, 300, 3), [(100, 100, 1), (200, 200, 1), (250, 250, 1)]),
        (TEN_THOUSAND, (1, HOUR_US, 3), [(1_000, 1_000, 10_000), (99_942_400, 100_007_935, 1)]),
    ],
)
def test_published_histograms_are_read_and_written_byte_for_byte(Histogram, text, limits, counts):
    data = b64decode(text)
    histogram = Histogram.decode(data)
    assert (histogram.lowest, histogram.highest, histogram.digits) == limits
    assert [tuple(bucket) for bucket in histogram] == counts
    ours = Histogram(*limits)
    for lowest, _, n in counts:
        ours.record_n(lowest, n)
    assert zlib.decompress(ours.encode()[8:])[40:] == zlib.decompress(data[8:])[40:]


def test_published_corrected_histogram_is_the_one_that_correction_makes(Histogram):
    histogram = Histogram(1, HOUR_US, 3)
    for _ in range(10_000):
        histogram.record_corrected(1_000, 10_000)
    histogram.record_corrected(100_000_000, 10_000)
    assert list(histogram) == list(Histogram.decode(b64decode(CORRECTED)))


@pytest.mark.parametrize("limits", [(1, HOUR_US, 3), (1_000, 10**11, 1), (3, 10**6, 5)])
def test_reference_implementation_reads_what_was_written_and_writes_what_is_read(Histogram, limits):
    ours, theirs = Histogram(*limits), HdrHistogram(*limits)
    for value in typical(1_000):
        ours.record(min(value, limits[1]))
        theirs.record_value(min(value, limits[1]))
    assert HdrHistogram.decode(b64encode(ours.encode())).equals(theirs)
    assert Histogram.decode(b64decode(theirs.encode())) == ours


def test_text_of_compressed_histograms_begins_as_in_logs(Histogram):
    assert b64encode(filled(Histogram(), [1]).encode()).startswith(b"HISTFAAA")


@given(st.dictionaries(st.integers(0, 3_000), st.integers(1, 1 << 57), max_size=60))
def test_what_is_encoded_is_decoded_the_same(counts):
    for impl in ("c", "py"):
        histogram = load(MODULE, impl)(1, 2_048, 3)
        for value, n in counts.items():
            histogram.record_n(value, n)
        assert type(histogram).decode(histogram.encode()) == histogram
        assert type(histogram).decode(histogram.encode(compressed=False)) == histogram


def test_empty_histogram_is_encoded_with_its_one_empty_slot_or_without(Histogram):
    data = Histogram().encode(compressed=False)
    assert data[40:] == b"\0"
    assert Histogram.decode(data) == Histogram()
    assert Histogram.decode(data[:4] + struct.pack(">i", 0) + data[8:40]) == Histogram()


def test_histograms_are_pickled(Histogram):
    histogram = filled(Histogram(1, 10**6, 2), [1, 5, 10**6])
    assert pickle.loads(pickle.dumps(histogram)) == histogram


def encoded(cookie=0x1C849313, offset=0, digits=3, lowest=1, highest=1_000, payload=b"\x02", length=None):
    length = len(payload) if length is None else length
    return struct.pack(">iiiiqqd", cookie, length, offset, digits, lowest, highest, 1.0) + payload


def packed(data, level=-1, length=None):
    body = zlib.compress(data, level)
    return struct.pack(">ii", 0x1C849314, len(body) if length is None else length) + body


NUMBER_OF_NINE_BYTES = b"\xff" * 9  # -2^63: so many slots without a count

BAD = {
    b"": "data must have a cookie and a length, got 0 bytes",
    b"\x1c\x84\x93": "data must have a cookie and a length, got 3 bytes",
    bytes(40): "data must be in encoding V2, got the cookie 0x00000000",
    encoded(cookie=0x1C849301): "data must be in encoding V2, got the cookie 0x1c849301",
    encoded()[:39]: "data must have a header of 40 bytes, got 39",
    encoded(offset=1): "data must have a normalizing offset of 0, got 1",
    encoded(digits=0): "data must describe a histogram: digits must be 1 to 5, got 0",
    encoded(lowest=0): "data must describe a histogram: lowest must be >= 1, got 0",
    encoded(
        highest=1
    ): f"data must describe a histogram: highest must be >= 2 * lowest and <= {LARGEST}, got 1",
    encoded(length=2): "data must have 2 bytes after its header, got 1",
    encoded(length=-1): "data must have <= 18432 bytes of counts, got -1",
    encoded(length=1 << 30): "data must have <= 18432 bytes of counts, got 1073741824",
    encoded(payload=b"\x80"): "data must have whole counts, in slots that there are, of 63 bits in all",
    encoded(payload=NUMBER_OF_NINE_BYTES): "data must have whole counts, in slots that there are",
    encoded(
        payload=b"\xff\x1f\x02"
    ): "data must have whole counts, in slots that there are",  # one slot too far
    encoded(payload=(b"\xfe" + b"\xff" * 8) + b"\x02"): "data must have whole counts",  # 2^63 in all
    packed(encoded(), length=3): "data must have 3 compressed bytes, got ",
    packed(encoded())[:-9]: "data must have ",
    packed(encoded()[:20]): "data must have a header of 40 bytes, got 20",
    packed(encoded(payload=bytes(5_000), length=1)): "data must have 1 bytes after its header, got 2",
    struct.pack(">ii", 0x1C849314, 4) + b"\xff\xff\xff\xff": "data must be compressed by zlib: ",
}


@pytest.mark.parametrize(("data", "text"), BAD.items())
def test_bytes_that_are_no_histogram_are_refused(Histogram, data, text):
    with pytest.raises(InvalidEncoding, match=f"^{re.escape(text)}") as caught:
        Histogram.decode(data)
    assert isinstance(caught.value, (PenstockError, ValueError))


def test_decode_takes_bytes_of_any_kind_and_nothing_else(Histogram):
    data = filled(Histogram(), [1]).encode()
    assert Histogram.decode(bytearray(data)) == Histogram.decode(memoryview(data)) == Histogram.decode(data)
    with pytest.raises(InvalidType, match=r"^data must be bytes, got str$"):
        Histogram.decode(data.hex())


@given(st.binary(max_size=60))
def test_any_payload_is_a_histogram_or_an_error_to_both_twins_alike(payload):
    outcomes = []
    for impl in ("c", "py"):
        try:
            histogram = load(MODULE, impl).decode(encoded(payload=payload))
            outcomes.append(list(histogram))
            assert histogram.count == sum(bucket.n for bucket in histogram)
        except InvalidEncoding as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@given(st.binary(max_size=80))
def test_any_bytes_are_a_histogram_or_an_error(data):
    for impl in ("c", "py"):
        for attempt in (data, b"\x1c\x84\x93\x13" + data, struct.pack(">ii", 0x1C849314, len(data)) + data):
            with suppress(InvalidEncoding):
                histogram = load(MODULE, impl).decode(attempt)
                assert histogram.count == sum(bucket.n for bucket in histogram)


# Arguments


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((0,), InvalidValue, "lowest must be >= 1, got 0"),
        ((1.0,), InvalidType, "lowest must be an integer, got float"),
        ((1, 1), InvalidValue, f"highest must be >= 2 * lowest and <= {LARGEST}, got 1"),
        ((1, 1 << 63), InvalidValue, f"highest must be >= 2 * lowest and <= {LARGEST}, got {1 << 63}"),
        (
            (1, 1 << 9_000),
            InvalidValue,
            f"highest must be >= 2 * lowest and <= {LARGEST}, got an integer of 9001 bits",
        ),
        ((1, 100, 0), InvalidValue, "digits must be 1 to 5, got 0"),
        ((1, 100, 6), InvalidValue, "digits must be 1 to 5, got 6"),
        ((1, 100, "3"), InvalidType, "digits must be an integer, got str"),
        ((1 << 52, LARGEST), InvalidValue, f"lowest must be < {1 << 52} with 3 digits, got {1 << 52}"),
    ],
)
def test_limits_out_of_their_range_are_refused(Histogram, arguments, error, text):
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        Histogram(*arguments)


def test_the_largest_unit_that_fits_is_taken(Histogram):
    histogram = filled(Histogram((1 << 52) - 1, LARGEST, 3), [LARGEST, 1 << 51])
    assert (histogram.min, histogram.max) == (1 << 51, LARGEST)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda h: h.record(1.5), InvalidType, "value must be an integer, got float"),
        (lambda h: h.record("1"), InvalidType, "value must be an integer, got str"),
        (lambda h: h.record(1 << 64), InvalidValue, f"value must be >= 0 and <= 2047, got {1 << 64}"),
        (lambda h: h.record(-(1 << 64)), InvalidValue, f"value must be >= 0 and <= 2047, got {-(1 << 64)}"),
        (lambda h: h.record_n(1, -1), InvalidValue, f"n must be >= 0 and <= {LARGEST}, got -1"),
        (lambda h: h.record_n(1, None), InvalidType, "n must be an integer, got NoneType"),
        (lambda h: h.record_n(2_048, 0), InvalidValue, "value must be >= 0 and <= 2047, got 2048"),
        (
            lambda h: h.record_corrected(1, 0),
            InvalidValue,
            f"expected_interval must be >= 1 and <= {LARGEST}, got 0",
        ),
        (lambda h: h.corrected(0.5), InvalidType, "expected_interval must be an integer, got float"),
        (lambda h: h.percentile(99), InvalidValue, "share must be >= 0 and <= 1, got 99"),
        (lambda h: h.percentile(-0.1), InvalidValue, "share must be >= 0 and <= 1, got -0.1"),
        (lambda h: h.percentile(math.nan), InvalidValue, "share must be >= 0 and <= 1, got nan"),
        (lambda h: h.percentile("p99"), InvalidType, "share must be a number, got str"),
        (lambda h: h.count_to(None), InvalidType, "value must be an integer, got NoneType"),
        (lambda h: h.levels(0), InvalidValue, "ticks must be 1 to 1000, got 0"),
        (lambda h: h.hgrm(ticks=1_001), InvalidValue, "ticks must be 1 to 1000, got 1001"),
        (lambda h: h.hgrm(scale=0), InvalidValue, f"scale must be > 0 and <= {LARGEST}, got 0"),
        (lambda h: h.hgrm(scale=math.nan), InvalidValue, f"scale must be > 0 and <= {LARGEST}, got nan"),
        (lambda h: h.hgrm(scale=None), InvalidType, "scale must be a number, got NoneType"),
    ],
)
def test_arguments_out_of_their_range_are_refused_and_change_nothing(Histogram, call, error, text):
    histogram = filled(Histogram(1, 1_000, 3), [7])
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        call(histogram)
    assert list(histogram) == [Bucket(7, 7, 1)]


def test_integers_of_numpy_and_bool_are_integers(Histogram):
    histogram = filled(Histogram(), [np.int64(5), np.uint8(5), True])
    assert [tuple(bucket) for bucket in histogram] == [(1, 1, 1), (5, 5, 2)]


def test_a_histogram_is_initialised_once(Histogram):
    histogram = filled(Histogram(), [1])
    with pytest.raises(InvalidType, match=r"^a Histogram is initialised once$"):
        histogram.__init__(1, 10)
    assert histogram.count == 1


def test_repr_says_limits_and_digits(Histogram):
    assert repr(Histogram(10, 1_000, 2)) == "Histogram(lowest=10, highest=1000, digits=2)"


def test_subclasses_keep_their_class(Histogram):
    class Latencies(Histogram):
        pass

    latencies = filled(Latencies(), [1])
    assert (
        type(latencies.copy()) is type(latencies.corrected(1)) is type(Latencies.decode(latencies.encode()))
    )
    assert type(latencies.copy()) is Latencies


# Sharing


def test_threads_that_record_together_lose_nothing(Histogram):
    histogram = Histogram()
    batch = np.full(60_000, 3)

    def work():
        for value in range(2_000):
            histogram.record(value)
        histogram.record_many(batch)
        histogram.merge(filled(Histogram(), [7]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert histogram.count == 4 * (2_000 + 60_000 + 1)
    assert histogram.count == sum(bucket.n for bucket in histogram)


def test_a_collection_that_records_meanwhile_finds_the_histogram_whole(Histogram):
    histogram = filled(Histogram(1, 10**6, 3), range(1_000))

    class Recorder:
        def __init__(self):
            self.cycle = self

        def __del__(self):
            histogram.record(5)

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for _ in range(50):
            Recorder()
            list(histogram)
            histogram.encode()
            histogram.merge(histogram.copy())
            histogram.reset()
            histogram.record_many(list(range(100)))
    finally:
        gc.set_threshold(*threshold)
    assert histogram.count == sum(bucket.n for bucket in histogram)
