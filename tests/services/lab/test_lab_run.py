"""What a run has cost is counted."""

import gc

import pytest

from penstock.services.lab.memory import allow_most_files, peak_rss
from penstock.services.lab.run import Meter

MIB = 1024 * 1024


def test_collections_are_counted_by_generation_and_timed():
    with Meter() as meter:
        gc.collect(0)
        gc.collect(2)
        gc.collect(2)
    cost = meter.cost()
    assert cost.collections[2] >= 2
    assert cost.collections[0] >= 1
    assert cost.collecting > 0
    before = sum(cost.collections)
    gc.collect()  # after the end
    assert sum(meter.cost().collections) == before


def test_objects_that_were_there_at_once_are_counted():
    with Meter() as meter:
        kept = [object() for _ in range(50_000)]
        meter.sample()
        del kept
    assert 50_000 <= meter.cost().peak_blocks < 80_000


def test_processor_time_is_counted():
    with Meter() as meter:
        sum(n * n for n in range(300_000))
    assert 0 < meter.cost().cpu < 60


def test_peak_memory_grows_with_what_is_held_and_does_not_shrink():
    before = peak_rss()
    held = bytearray(before + 64 * MIB)  # more than there ever was
    held[::4096] = b"x" * len(held[::4096])
    grown = peak_rss()
    del held
    assert grown >= before + 32 * MIB
    assert peak_rss() >= grown - MIB


def test_open_files_are_raised_to_the_most_that_is_allowed():
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, soft), hard))
        allow_most_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
