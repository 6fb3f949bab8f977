"""How long it takes to count a value, and to say what so many of them stay below."""

import random
from importlib import import_module

import numpy as np


def latencies(n):
    """In nanoseconds: a body around 10 ms, and a tail."""
    rng = random.Random(1)
    return [int(rng.lognormvariate(16, 0.8)) for _ in range(n)]


class Histogram:
    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        histogram = import_module(f"penstock.observability._histogram_{impl}").Histogram
        self.values = latencies(1_000)
        self.many = np.array(latencies(100_000))
        self.histogram, self.other = histogram(), histogram()
        self.histogram.record_many(self.many)
        self.other.record_many(self.many)
        self.encoded = self.histogram.encode()

    def time_record_1k(self, impl):
        record = self.histogram.record
        for value in self.values:
            record(value)

    def time_record_corrected_1k(self, impl):
        record_corrected = self.histogram.record_corrected
        for value in self.values:
            record_corrected(value, 10_000_000)

    def time_record_many_100k(self, impl):
        self.histogram.record_many(self.many)

    def time_percentile_p99(self, impl):
        self.histogram.percentile(0.99)

    def time_mean(self, impl):
        _ = self.histogram.mean

    def time_merge(self, impl):
        self.histogram.merge(self.other)

    def time_encode(self, impl):
        self.histogram.encode()

    def time_decode(self, impl):
        type(self.histogram).decode(self.encoded)
