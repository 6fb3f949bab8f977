"""Races of search indexes: filled, held to what is right, timed in turns, reported as multiples of ours."""

from statistics import median
from time import perf_counter_ns

from figures import table
from search_workloads import exact_scores, latencies, share_of_best

ROUNDS = 5
FEW = 10  # queries for those who need milliseconds for each
SLOW = ("SQLite FTS5", "bm25s, numpy")


def filled(fills, texts):
    """Indexes by contestant, ready for queries, and the seconds that filling each took."""
    indexes, taken = {}, {}
    for name, fill in fills.items():
        start = perf_counter_ns()
        indexes[name] = fill(texts)
        taken[name] = (perf_counter_ns() - start) / 1e9
    if "SQLite FTS5" in indexes:
        indexes["SQLite FTS5"].optimize()
    return indexes, taken


def raced(indexes, postings, queries, rounds):
    """Latencies by contestant, after their answers were found to be right."""
    few = {name: index for name, index in indexes.items() if name in SLOW}
    for name, index in indexes.items():
        check(index, postings, queries[:FEW] if name in few else queries)
    quick = {name: index.search for name, index in indexes.items() if name not in few}
    slow = {name: index.search for name, index in few.items()}
    return latencies(quick, queries, rounds) | latencies(slow, queries[:FEW], min(rounds, 3))


def check(index, postings, queries):
    """Holds the answers of a contestant to the formula."""
    for query in queries:
        scores = exact_scores(postings, query, index.idf)
        share = share_of_best(scores, index.found(index.search(query)))
        assert share >= index.least_share, f"{type(index).__name__} misses better documents for {query!r}"


def report(title, found):
    rows = table(title, "contestant", "us", "median", "p99", "queries/s", "times penstock")
    for name, each in found.items():
        figures = (f"{figure:,.1f}" for figure in (each.mean, each.quantile(0.5), each.quantile(0.99)))
        times = f"{each.mean / found['penstock'].mean:.2f}"
        rows.add_row(name, *figures, f"{each.a_second:,.0f}", times)
    return rows


def rates_of(calls, operations, rounds):
    """Operations a second by contestant, medians of interleaved rounds."""
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call))
    return {name: operations / median(found) for name, found in times.items()}


def seconds(call):
    start = perf_counter_ns()
    call()
    return (perf_counter_ns() - start) / 1e9


def report_rates(title, unit, rates):
    rows = table(title, "contestant", unit, "penstock is times as fast")
    for name, rate in rates.items():
        rows.add_row(name, f"{rate:,.0f}", f"{rates['penstock'] / rate:.2f}")
    return rows
