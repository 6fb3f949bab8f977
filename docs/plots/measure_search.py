"""Measures how fast search is beside other packages, and how well it ranks, for the plots of its page.

    python docs/plots/measure_search.py speed      # some minutes, on a quiet machine
    python docs/plots/measure_search.py quality

writes search_speed.csv or search_quality.csv beside itself. Speed is that of `make bench-peers`: 100,000
synthetic documents, each answer held to the formula first. Quality is that of the judged collections in
../shared/data, or in PENSTOCK_TEST_DATA, beside the reference that they bring.
"""

import csv
import json
import lzma
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from penstock.search import Analyzer, InvertedIndex, ndcg, read_qrels

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "tests"), str(ROOT / "benchmarks" / "peers")]

from datasets import require  # noqa: E402 - of the tests

SPEED, QUALITY = (Path(__file__).with_name(name) for name in ("search_speed.csv", "search_quality.csv"))

COLLECTIONS = ("cranfield", "cacm", "scifact")
ANALYZERS = {"plain": Analyzer("ascii"), "english": Analyzer.english("ascii")}
REFERENCE_SCORER = ("1.2", "0.75")
RESULTS = 1_000  # a query

Row = tuple[Any, ...]


# ---- speed


def speed() -> Iterator[Row]:
    """Class of queries, contestant, and microseconds of a query: mean, median, 99 of 100."""
    from search_peers import OURS, PEERS
    from search_races import ROUNDS, filled, raced
    from search_workloads import GOALS, synthetic

    corpus = synthetic(GOALS)
    indexes, _ = filled(OURS | PEERS, corpus.texts)
    for kind, queries in corpus.queries.items():
        for name, found in raced(indexes, corpus.postings, queries, ROUNDS).items():
            figures = (found.mean, found.quantile(0.5), found.quantile(0.99))
            yield kind, name, *(f"{figure:.2f}" for figure in figures)


# ---- quality


def quality() -> Iterator[Row]:
    """Collection, analysis, nDCG@10 here and in the reference."""
    with require("retrieval/reference_metrics.csv").open(newline="") as lines:
        reference = {
            (row["collection"], row["analysis"]): row["ndcg_at_10"]
            for row in csv.DictReader(lines)
            if (row["k1"], row["b"]) == REFERENCE_SCORER
        }
    for collection in COLLECTIONS:
        for analysis, analyzer in ANALYZERS.items():
            found = f"{mean_ndcg(collection, analyzer):.4f}"
            yield collection, analysis, found, reference[collection, analysis]


def mean_ndcg(collection: str, analyzer: Analyzer) -> float:
    """Of all judged queries."""
    index = InvertedIndex(analyzer=analyzer)
    folder = require(f"retrieval/{collection}")
    with lzma.open(folder / "corpus.jsonl.xz", "rt", encoding="utf-8") as lines:
        for line in lines:
            document = json.loads(line)
            index.add(document["_id"], f"{document['title']} {document['text']}")
    with (folder / "queries.jsonl").open(encoding="utf-8") as lines:
        queries = {query["_id"]: query["text"] for query in map(json.loads, lines)}
    run = {name: index.search(text, RESULTS) for name, text in queries.items()}
    return float(ndcg(read_qrels(folder / "qrels.tsv"), run, 10))


def write(path: Path, columns: list[str], rows: Iterator[Row]) -> None:
    """A table as CSV."""
    found = list(rows)  # nothing is written if measuring fails
    with path.open("w", newline="") as lines:
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(columns)
        table.writerows(found)


def main() -> None:
    """Writes the tables that are named anew, or both."""
    wanted = sys.argv[1:] or ["speed", "quality"]
    if "speed" in wanted:
        write(SPEED, ["queries", "contestant", "mean_us", "median_us", "p99_us"], speed())
    if "quality" in wanted:
        write(QUALITY, ["collection", "analysis", "ndcg_at_10", "reference"], quality())


if __name__ == "__main__":
    main()
