"""Collections with judgements: every score is that of bm25s and of the formula, every figure that of the
references."""

import gzip
import json
import lzma
from functools import cache

import bm25s
import numpy as np
import pytest

import datasets
import penstock
from penstock.search.analyzer import Analyzer
from penstock.search.evaluation import mean_average_precision, ndcg, precision, read_qrels, recall
from penstock.search.scoring import BM25

pytestmark = pytest.mark.data

COLLECTIONS = ["cranfield", "cacm", "scifact"]
ANALYZERS = {"plain": Analyzer("ascii"), "english": Analyzer.english("ascii")}
CLOSE = 0.002  # of nDCG@10 and MAP
SAMPLE = 12  # queries that the fallback answers in full
PARAMETERS = [("1.2", "0.75"), ("0.9", "0.4")][: 2 if penstock.implementation == "c" else 1]


@cache
def documents(collection):
    path = datasets.require(f"retrieval/{collection}/corpus.jsonl.xz")
    with lzma.open(path, "rt", encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    return [each["_id"] for each in found], [f"{each['title']} {each['text']}" for each in found]


@cache
def queries(collection):
    lines = datasets.require(f"retrieval/{collection}/queries.jsonl").read_text(encoding="utf-8").splitlines()
    return {each["_id"]: each["text"] for each in map(json.loads, lines)}


@cache
def top_20(collection):
    """Statistics of the index, and the best 20 (id, score) of each query."""
    with gzip.open(datasets.require(f"retrieval/{collection}/reference_bm25_top20.jsonl.gz"), "rt") as file:
        statistics, *found = map(json.loads, file)
    return statistics, {each["query"]: each["top"] for each in found}


@cache
def figures():
    lines = datasets.require("retrieval/reference_metrics.csv").read_text().splitlines()
    names = lines[0].split(",")
    return {
        tuple(line.split(",")[:4]): dict(zip(names[4:], map(float, line.split(",")[4:]), strict=True))
        for line in lines[1:]
    }


@cache
def dense_scores(collection):
    """(queries, documents) float64 by bm25s, with its own index over the same words."""
    analyzer = ANALYZERS["plain"]
    model = bm25s.BM25(k1=1.2, b=0.75, method="lucene", dtype="float64")
    model.index([analyzer.tokens(text) for text in documents(collection)[1]], show_progress=False)
    known = model.vocab_dict
    found = {}
    for query, text in queries(collection).items():
        words = [word for word in analyzer.tokens(text) if word in known]
        found[query] = model.get_scores(words) if words else np.zeros(len(documents(collection)[0]))
    return found


@pytest.fixture(scope="module")
def indexes():
    """By twin and collection, what was built so far."""
    return {}


@pytest.fixture
def built(indexes, twin, InvertedIndex, collection):
    key = twin.__name__, collection
    if key not in indexes:
        indexes[key] = InvertedIndex(analyzer="ascii")
        indexes[key].add_many(*documents(collection))
    return indexes[key]


def some(queries, twin):
    """All queries for the compiled twin, every nth for the fallback."""
    listed = list(queries.items())
    return dict(listed if twin.__name__.endswith("_c") else listed[:: max(1, len(listed) // SAMPLE)])


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_scores_of_all_documents_are_those_of_bm25s(built, collection, twin):
    for query, text in some(queries(collection), twin).items():
        assert np.abs(built.scores(text) - dense_scores(collection)[query]).max() < 1e-5, query


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_statistics_and_best_20_are_those_of_the_reference(built, collection, twin):
    statistics, expected = top_20(collection)
    stats = built.stats()
    assert stats.documents == statistics["N"]
    assert stats.words["text"] == statistics["tokens"]
    assert stats.average_words["text"] == pytest.approx(statistics["avgdl"], abs=1e-12)
    assert len(built.terms()) == statistics["terms"]
    for query, text in some(queries(collection), twin).items():
        if query not in expected:
            continue
        hits = built.search(text, 20)
        assert [hit.doc_id for hit in hits] == [doc_id for doc_id, _ in expected[query]], query
        assert hits.scores == pytest.approx([score for _, score in expected[query]], abs=1e-9), query


@pytest.mark.parametrize("parameters", PARAMETERS, ids=" ".join)
@pytest.mark.parametrize("analysis", ["plain", "english"])
@pytest.mark.parametrize("collection", COLLECTIONS)
def test_figures_are_those_of_the_reference(collection, analysis, parameters):
    """On the twin that is chosen: both give the same hits, which other tests show."""
    expected = figures().get((collection, analysis, *parameters))
    if expected is None:  # the reference has no such row
        pytest.fail(f"reference_metrics.csv must have {collection} {analysis} {parameters}", pytrace=False)
    qrels = read_qrels(datasets.require(f"retrieval/{collection}/qrels.tsv"))
    run = runs(collection, analysis)[parameters]
    assert ndcg(qrels, run, 10) == pytest.approx(expected["ndcg_at_10"], abs=CLOSE)
    assert mean_average_precision(qrels, run) == pytest.approx(expected["map"], abs=CLOSE)
    assert precision(qrels, run, 10) == pytest.approx(expected["p_at_10"], abs=CLOSE)
    assert recall(qrels, run, 100) == pytest.approx(expected["recall_at_100"], abs=0.005)
    assert recall(qrels, run, 1000) == pytest.approx(expected["recall_at_1000"], abs=0.005)


@cache
def runs(collection, analysis):
    """By k1 and b, the best 1,000 for each query."""
    from penstock.search.index import InvertedIndex

    index = InvertedIndex(analyzer=ANALYZERS[analysis])
    index.add_many(*documents(collection))
    texts = queries(collection)
    return {
        (k1, b): {
            query: index.search(text, 1000, scorer=BM25(float(k1), float(b))) for query, text in texts.items()
        }
        for k1, b in PARAMETERS
    }
