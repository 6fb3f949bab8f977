"""A histogram beside what people use today: values counted, percentiles asked, histograms sent."""

import random
from base64 import b64encode
from functools import partial

import numpy as np
from ddsketch import DDSketch
from hdrh.histogram import HdrHistogram

from penstock.observability import Histogram
from penstock.observability._histogram_py import Histogram as PurePythonHistogram

HOUR_NS = 3_600_000_000_000
SIZE = 1_000


def latencies(n):
    """In nanoseconds: a body around 10 ms, and a tail."""
    rng = random.Random(1)
    return [int(rng.lognormvariate(16, 0.8)) for _ in range(n)]


def each(record, values):
    """A call that records all values."""

    def run():
        for value in values:
            record(value)

    return run


def each_empty(values):
    method = "".isascii

    def run():
        for _ in values:
            method()

    return run


def filled(histogram, record, values):
    for value in values:
        record(histogram, value)
    return histogram


def full_of(values):
    """The same values in each contestant."""
    return {
        "penstock": filled(Histogram(), Histogram.record, values),
        "pure Python": filled(PurePythonHistogram(), PurePythonHistogram.record, values),
        "hdrhistogram": filled(HdrHistogram(1, HOUR_NS, 3), HdrHistogram.record_value, values),
        "ddsketch": filled(DDSketch(0.001), DDSketch.add, values),
    }


def test_record(race):
    values = latencies(SIZE)
    race(
        "Histogram.record, a value",
        {
            "penstock": each(Histogram().record, values),
            "penstock, pure Python": each(PurePythonHistogram().record, values),
            "hdrhistogram": each(HdrHistogram(1, HOUR_NS, 3).record_value, values),
            "ddsketch, to 0.1 %": each(DDSketch(0.001).add, values),
            "list.append, keeping all": each([].append, values),
            "empty method of a C type": each_empty(values),
        },
        operations=SIZE,
    )


def test_record_a_million(race):
    values = np.array(latencies(100_000) * 10)
    race(
        "Histogram.record_many, a value of a million",
        {
            "penstock": partial(Histogram().record_many, values),
            "numpy.sort": partial(np.sort, values),
            "numpy.histogram, 1,000 bins": partial(np.histogram, values, 1_000),
        },
        operations=len(values),
    )


def test_percentile(race):
    full = full_of(latencies(20_000))
    kept = np.array(latencies(20_000))
    race(
        "Histogram.percentile(0.99), of 20,000 values",
        {
            "penstock": partial(full["penstock"].percentile, 0.99),
            "penstock, pure Python": partial(full["pure Python"].percentile, 0.99),
            "hdrhistogram": partial(full["hdrhistogram"].get_value_at_percentile, 99),
            "ddsketch, to 0.1 %": partial(full["ddsketch"].get_quantile_value, 0.99),
            "numpy.percentile, of all kept": partial(np.percentile, kept, 99),
        },
    )


def test_encode(race):
    full = full_of(latencies(20_000))
    race(
        "Histogram.encode(), to base64",
        {
            "penstock": lambda: b64encode(full["penstock"].encode()),
            "penstock, pure Python": lambda: b64encode(full["pure Python"].encode()),
            "hdrhistogram": full["hdrhistogram"].encode,
        },
    )


def test_goals_of_the_histogram(goals):
    values, full = latencies(SIZE), full_of(latencies(20_000))
    many = np.array(latencies(100_000))
    goals(
        "A histogram of 1 ns to an hour, 3 digits",
        {
            "record": (each(Histogram().record, values), SIZE, 40),
            "record_many, a value": (partial(Histogram().record_many, many), len(many), 5),
            "percentile(0.99)": (partial(full["penstock"].percentile, 0.99), 1, 20_000),
        },
    )
