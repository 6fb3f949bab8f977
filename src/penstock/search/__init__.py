"""Full-text search in memory: an inverted index that is small, live and fast.

index = InvertedIndex()
index.add(1, "Machine learning with Python")
index.search("python machine learning")
"""

from penstock.search.analyzer import Analyzer
from penstock.search.errors import (
    DuplicateDocument,
    FrozenIndexError,
    IndexFileError,
    QuerySyntaxError,
    QueryTooLarge,
    UnknownDocument,
)
from penstock.search.evaluation import (
    average_precision,
    mean_average_precision,
    ndcg,
    precision,
    read_qrels,
    read_run,
    recall,
    write_run,
)
from penstock.search.explanation import Explanation
from penstock.search.fields import Integer, Number, Text, UnknownField
from penstock.search.fusion import rrf
from penstock.search.hits import Hit, Hits
from penstock.search.index import IndexStats, InvertedIndex
from penstock.search.query import (
    And,
    Boost,
    ConstScore,
    Everything,
    Fuzzy,
    Match,
    Maybe,
    Not,
    Or,
    Phrase,
    Prefix,
    Query,
    Range,
    Term,
)
from penstock.search.query_parser import parse_query
from penstock.search.scoring import BM25, TFIDF, Scorer

__all__ = [
    "BM25",
    "TFIDF",
    "Analyzer",
    "And",
    "Boost",
    "ConstScore",
    "DuplicateDocument",
    "Everything",
    "Explanation",
    "FrozenIndexError",
    "Fuzzy",
    "Hit",
    "Hits",
    "IndexFileError",
    "IndexStats",
    "Integer",
    "InvertedIndex",
    "Match",
    "Maybe",
    "Not",
    "Number",
    "Or",
    "Phrase",
    "Prefix",
    "Query",
    "QuerySyntaxError",
    "QueryTooLarge",
    "Range",
    "Scorer",
    "Term",
    "Text",
    "UnknownDocument",
    "UnknownField",
    "average_precision",
    "mean_average_precision",
    "ndcg",
    "parse_query",
    "precision",
    "read_qrels",
    "read_run",
    "recall",
    "rrf",
    "write_run",
]
