"""The figures that search is held to, each beside its goal, and the peers; what is missed comes first.

All contestants index the same texts, take them apart alike and are asked the same queries, text in, ten
documents out, by one thread. Before any is timed its answers are held to the formula, computed document by
document: none that it leaves out may score more than one that it gives (search_workloads.share_of_best), but
for float32 in bm25s and for the lengths that tantivy rounds. SQLite is held to its own idf.

A query's time is the median of its rounds, in which contestants take turns; what is shown is the mean over
the queries, and quantiles of them. SQLite scores every document that has any word, so it is asked fewer.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter_ns

import pytest
import search_memory
from figures import table, verdict
from search_peers import OURS, PEERS, Penstock, PenstockOneByOne, RankBM25, Tantivy
from search_races import FEW, ROUNDS, SLOW, filled, raced, rates_of, report, report_rates, seconds
from search_workloads import GOALS, SCALE, SMALL, Sizes, latencies, synthetic

from penstock.search import BM25, Analyzer, InvertedIndex
from penstock.search._inverted_index_py import TermIndex as PurePythonIndex

CHANGES = 2_000  # documents added, and deleted
COMMITS = 5

QUERY_GOALS = {"rare": 8, "mid": 60, "common": 450}  # us
RATE_GOAL = 60_000  # documents a second
MEMORY_GOAL = 45  # MB
POSTING_GOAL = 4  # bytes
ADD_GOAL, DELETE_GOAL = 30, 5  # us
BATCH_GOAL = 20_000  # queries a second
SCALE_P99_GOAL = 300  # us
RATE_LEAD, QUERY_LEAD = 2, 4  # times tantivy's
FALLBACK_DOCUMENTS, FALLBACK_SHARE = 10_000, 3  # times rank-bm25's time


@pytest.fixture(scope="module")
def judged():
    """judged(figure, got, goal, verdict) adds a line to the table of all goals."""
    return []


@pytest.fixture(scope="module")
def goals(judged):
    """The table of all goals, which is filled at the end."""
    lines = table("Search, each figure beside its goal", "figure", "penstock", "goal", "")
    yield lines
    for row in sorted(judged, key=lambda row: row[-1] != "missed"):
        lines.add_row(*row)


@pytest.fixture
def held(goals, judged, show, smoke):
    """held(figure, got, goal, unit, at_least=False) notes whether a goal was reached."""
    if not judged:
        show(goals)

    def note(figure, got, goal, unit, at_least=False):
        reached = got >= goal if at_least else got <= goal
        sign = "≥" if at_least else "≤"
        shown = f"{shortened(got)} {unit}", f"{sign} {shortened(goal)} {unit}"
        judged.append((figure, *shown, verdict(reached, smoke)))

    return note


def shortened(figure):
    return f"{figure:,.0f}" if figure >= 1_000 else f"{figure:.3g}"


@pytest.fixture(scope="module")
def small(pytestconfig):
    return pytestconfig.getoption("benchmark_disable")


@pytest.fixture(scope="module")
def corpus(small):
    return synthetic(SMALL if small else GOALS)


@pytest.fixture(scope="module")
def indexes(corpus):
    return filled(OURS | PEERS, corpus.texts)[0]


# ---- queries


@pytest.mark.parametrize("kind", ["rare", "mid", "common", "mixed"])
def test_queries(held, show, smoke, corpus, indexes, kind):
    queries = corpus.queries[kind]
    found = raced(indexes, corpus.postings, queries, 1 if smoke else ROUNDS)
    show(report(f"{corpus.name}: {kind} words, top 10", found))
    if kind in QUERY_GOALS:
        held(f"query, {kind} words", found["penstock"].mean, QUERY_GOALS[kind], "us")
    peer, lead = lead_over_peers(found)
    held(f"query, {kind} words, beside {peer}", lead, 1, "×", at_least=True)


def lead_over_peers(found):
    """The fastest peer, and how many times penstock is as fast."""
    peer = min(PEERS, key=lambda name: found[name].mean)
    return peer, found[peer].mean / found["penstock"].mean


def test_queries_in_a_batch(held, show, smoke, corpus, indexes):
    queries = corpus.queries["mixed"]
    contestants = {name: index for name, index in indexes.items() if hasattr(index, "search_many")}
    rates = rates_of(
        {name: lambda index=index: index.search_many(queries) for name, index in contestants.items()},
        len(queries),
        1 if smoke else ROUNDS,
    )
    show(report_rates(f"{corpus.name}: mixed queries in a batch", "queries/s", rates))
    held("search_many, mixed queries", rates["penstock"], BATCH_GOAL, "queries/s", at_least=True)
    held("search_many beside bm25s", rates["penstock"] / rates["bm25s, numba"], 1, "×", at_least=True)


# ---- documents


def test_indexing(held, show, smoke, corpus):
    texts = corpus.texts
    peers = {name: fill for name, fill in PEERS.items() if name != "bm25s, numpy"}  # as with numba
    fills = {"penstock": Penstock, "penstock, one by one": PenstockOneByOne} | peers
    rates = rates_of(
        {name: lambda fill=fill: fill(texts) for name, fill in fills.items()},
        len(texts),
        1 if smoke else 3,
    )
    show(report_rates(f"{corpus.name}: indexed, text in", "documents/s", rates))
    held("indexing", rates["penstock"], RATE_GOAL, "documents/s", at_least=True)
    held("indexing beside tantivy", rates["penstock"] / rates["tantivy"], RATE_LEAD, "×", at_least=True)
    best = max(peers, key=rates.__getitem__)
    held(f"indexing beside {best}", rates["penstock"] / rates[best], 1, "×", at_least=True)


def test_documents_come_and_go(held, show, smoke, corpus):
    """One by one, among all; each can be found, or no longer, before the next one comes or goes."""
    index = Penstock(corpus.texts).index
    start, texts = len(index), [f"{text} freshword" for text in corpus.texts[: 50 if smoke else CHANGES]]
    added = [timed_call(index.add, start + number, text) for number, text in enumerate(texts)]
    assert index.search("freshword", start).ids[-1] == start + len(texts) - 1
    assert index.doc_freq("freshword") == len(texts)
    deleted = [timed_call(index.delete, start + number) for number in range(len(texts))]
    assert len(index) == start
    assert not len(index.search("freshword"))
    rows = table(f"{corpus.name}: one more, one less", "what", "us, mean", "median", "p99")
    for name, times in (("penstock, add", added), ("penstock, delete", deleted)):
        rows.add_row(name, *spread(times))
    committed = Tantivy(corpus.texts)
    rows.add_row("tantivy, add, commit and reload", *spread(commits(committed, texts)))
    show(rows)
    held("add, and it can be found", sum(added) / len(added), ADD_GOAL, "us")
    held("delete", sum(deleted) / len(deleted), DELETE_GOAL, "us")


def timed_call(function, *arguments):
    """Microseconds."""
    start = perf_counter_ns()
    function(*arguments)
    return (perf_counter_ns() - start) / 1_000


def spread(times):
    ordered = sorted(times)
    return tuple(
        f"{figure:,.1f}"
        for figure in (sum(times) / len(times), median(times), ordered[int(0.99 * (len(ordered) - 1))])
    )


def commits(filled, texts):
    """Microseconds that tantivy takes until a document can be found."""
    import tantivy

    writer = filled.index.writer(100_000_000, 1)

    def add(text):
        writer.add_document(tantivy.Document(text=text))
        writer.commit()
        filled.index.reload()
        filled.index.searcher()

    return [timed_call(add, text) for text in texts[:COMMITS]]


def test_memory(held, show, smoke, corpus):
    sizes = SMALL if smoke else GOALS
    rows = table(f"{corpus.name}: resident memory", "index", "MB", "bytes a posting", "times penstock")
    grown = memories(search_memory.CONTESTANTS, sizes, smoke)
    postings = len(corpus.postings.documents)
    for name, grew in grown.items():
        each = f"{grew / 1e6:,.1f}", f"{grew / postings:.2f}", f"{grew / max(grown['penstock'], 1):.2f}"
        rows.add_row(name, *each)
    show(rows)
    held("memory after indexing", grown["penstock"] / 1e6, MEMORY_GOAL, "MB")
    held("a posting in memory", grown["penstock"] / postings, POSTING_GOAL, "bytes")
    peer = min(PEERS.keys() & grown, key=grown.__getitem__)
    held(f"memory beside {peer}", grown[peer] / max(grown["penstock"], 1), 1, "×", at_least=True)


def memories(contestants, sizes, smoke):
    """Bytes by contestant; what each process compiles anew, for seconds, is left out of a smoke run."""
    return {name: memory(name, sizes) for name in contestants if not (smoke and name == "bm25s, numba")}


def memory(contestant, sizes):
    """Bytes that a process grew by."""
    command = [sys.executable, search_memory.__file__, contestant, str(sizes.documents), str(sizes.tokens)]
    grew, documents = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert int(documents) == sizes.documents
    return int(grew)


def test_files(show, corpus):
    """What no goal was set for: the time that one segment takes to be made, written and read."""
    rows = table(f"{corpus.name}: put in order, saved, loaded", "what", "ms", "MB")
    index = Penstock(corpus.texts).index
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        for name, call in (
            ("compact", index.compact),
            ("save", lambda: index.save(path)),
            ("load, mapped", lambda: InvertedIndex.load(path)),
            ("load, read", lambda: InvertedIndex.load(path, mmap=False)),
            ("freeze", index.freeze),
        ):
            milliseconds = 1_000 * seconds(call)
            size = f"{path.stat().st_size / 1e6:,.1f}" if path.exists() else ""
            rows.add_row(name, f"{milliseconds:,.1f}", size)
    show(rows)


# ---- more documents


def test_scale(held, show, smoke):
    """What there are figures for: tantivy 5,600 queries/s and 45,000 documents/s, bm25s 4,300 queries/s."""
    sizes = SMALL if smoke else SCALE
    corpus = synthetic(sizes)
    fills = {"penstock": Penstock} | {name: fill for name, fill in PEERS.items() if name not in SLOW}
    indexes, built = filled(fills, corpus.texts)
    found = raced(indexes, corpus.postings, corpus.queries["mixed"], 1 if smoke else ROUNDS)
    rows = table(f"{corpus.name}: mixed queries", "contestant", "queries/s", "median us", "p99 us",
                 "documents/s", "MB", "bytes a posting")  # fmt: skip
    grown = memories(fills, sizes, smoke)
    for name, each in found.items():
        rows.add_row(
            name,
            f"{each.a_second:,.0f}",
            f"{each.quantile(0.5):,.1f}",
            f"{each.quantile(0.99):,.1f}",
            f"{len(corpus.texts) / built[name]:,.0f}",
            f"{grown.get(name, 0) / 1e6:,.1f}",
            f"{grown.get(name, 0) / len(corpus.postings.documents):.2f}",
        )
    show(rows)
    ours, theirs = found["penstock"], found["tantivy"]
    held("200,000 documents, p99", ours.quantile(0.99), SCALE_P99_GOAL, "us")
    held("200,000 documents, beside tantivy", theirs.mean / ours.mean, QUERY_LEAD, "×", at_least=True)
    held("the same, beside bm25s", found["bm25s, numba"].mean / ours.mean, 1, "×", at_least=True)
    held("the same, indexing beside tantivy", built["tantivy"] / built["penstock"], RATE_LEAD, "×",
         at_least=True)  # fmt: skip
    held("the same, memory beside tantivy", grown["tantivy"] / max(grown["penstock"], 1), 1, "×",
         at_least=True)  # fmt: skip


# ---- without a compiler


class Fallback:
    """The pure-Python twin."""

    def __init__(self, texts):
        self.index = PurePythonIndex(1, 0, False, Analyzer("ascii").rules)
        self.index.add_many(range(len(texts)), texts)

    def search(self, query):
        return self.index.top_words(query, 1, BM25(), 10, None)


def test_fallback(held, show, smoke):
    documents = 1_000 if smoke else FALLBACK_DOCUMENTS
    corpus = synthetic(Sizes(documents, GOALS.tokens, queries=FEW, mixed=FEW))
    rows = table(f"{corpus.name}: without a compiler", "what", "penstock", "rank-bm25", "times rank-bm25")
    indexes, built = filled({"penstock": Fallback, "rank-bm25": RankBM25}, corpus.texts)
    share = built["penstock"] / built["rank-bm25"]
    rows.add_row("indexed, s", *(f"{each:.2f}" for each in built.values()), f"{share:.2f}")
    held("pure Python, indexing, × rank-bm25's time", share, FALLBACK_SHARE, "×")
    for kind, queries in corpus.queries.items():
        found = latencies({name: index.search for name, index in indexes.items()}, queries, 1 if smoke else 3)
        share = found["penstock"].mean / found["rank-bm25"].mean
        rows.add_row(f"{kind} query, us", *(f"{each.mean:,.0f}" for each in found.values()), f"{share:.2f}")
        held(f"pure Python, {kind} query, × rank-bm25's time", share, FALLBACK_SHARE, "×")
    show(rows)
