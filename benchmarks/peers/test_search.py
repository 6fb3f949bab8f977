"""Search beside the packages that people use today, over real texts, in what no goal was set for.

The rest is in test_search_goals.py. The texts are package descriptions, the queries those of the search
benchmark game that find anything there; answers are held to the formula first, as there.
"""

import pytest
from figures import table
from search_descriptions import debian_descriptions
from search_peers import OURS, PEERS, Penstock, SQLite, Tantivy
from search_races import ROUNDS, filled, raced, rates_of, report, report_rates
from search_workloads import K, exact_scores, latencies, share_of_best

FEW_TEXTS, FEW_QUERIES = 1_000, 5  # when it is enough that everything runs


@pytest.fixture(scope="module")
def small(pytestconfig):
    return pytestconfig.getoption("benchmark_disable")


@pytest.fixture(scope="module")
def corpus(small):
    found = debian_descriptions(FEW_TEXTS if small else None)
    if small:
        found = found._replace(
            queries={kind: queries[:FEW_QUERIES] for kind, queries in found.queries.items()}
        )
    return found


@pytest.fixture(scope="module")
def indexes(corpus):
    return filled(OURS | PEERS, corpus.texts)[0]


def test_unions(show, smoke, corpus, indexes):
    found = raced(indexes, corpus.postings, corpus.queries["union"], 1 if smoke else ROUNDS)
    show(report(f"{corpus.name}: any of the words, top 10", found))


def test_intersections(show, smoke, corpus, indexes):
    """Of the words of the phrases; bm25s has none."""
    queries = corpus.queries["phrase"]
    searches = {name: index.all_words() for name, index in indexes.items() if hasattr(index, "all_words")}
    for query in queries:
        scores = with_all_words(corpus.postings, query)
        for name, search in searches.items():
            if name in OURS:
                assert share_of_best(scores, indexes[name].found(search(query))) >= Penstock.least_share
    found = latencies(searches, queries, 1 if smoke else ROUNDS)
    show(report(f"{corpus.name}: all of the words, top 10", found))


def with_all_words(postings, query):
    """Scores, (n,), 0 where a word is missing."""
    scores = exact_scores(postings, query)
    for word in query.split():
        there = scores * 0
        there[postings.of(word)[0]] = 1
        scores *= there
    return scores


def test_phrases(show, smoke, corpus):
    """With positions; where fewer than ten documents have the phrase, all find the same ones."""
    queries = corpus.queries["phrase"]
    indexes = {
        "penstock": Penstock(corpus.texts, positions=True),
        "tantivy": Tantivy(corpus.texts, positions=True),
        "SQLite FTS5": SQLite(corpus.texts),
    }
    indexes["SQLite FTS5"].optimize()
    for query in queries:
        ours, *theirs = (set(index.found(index.search_phrase(query))) for index in indexes.values())
        assert all(len(ours) == len(found) and (len(ours) == K or ours == found) for found in theirs), query
    searches = {name: index.search_phrase for name, index in indexes.items()}
    found = latencies(searches, queries, 1 if smoke else ROUNDS)
    show(report(f"{corpus.name}: phrases, top 10", found))


def test_indexing(show, smoke, corpus):
    fills = {"penstock": Penstock} | PEERS
    rates = rates_of(
        {name: lambda fill=fill: fill(corpus.texts) for name, fill in fills.items()},
        len(corpus.texts),
        1 if smoke else 3,
    )
    show(report_rates(f"{corpus.name}: indexed, text in", "documents/s", rates))


def test_stages_of_an_index(show, smoke, corpus):
    """What an index costs by the options it was made with, and after compact() and freeze()."""
    rows = table(f"{corpus.name}: penstock by its options", "index", "MB", "bytes a posting")
    postings = len(corpus.postings.documents)
    for name, options in (("without positions", {}), ("with positions", {"positions": True})):
        index = Penstock(corpus.texts, **options).index
        for state, change in (("", None), (", compacted", index.compact), (", frozen", index.freeze)):
            if change is not None:
                change()
            used = index.memory_usage()
            rows.add_row(name + state, f"{used / 1e6:,.1f}", f"{used / postings:.2f}")
    show(rows)
