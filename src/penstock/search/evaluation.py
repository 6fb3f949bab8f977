"""How good a ranking is, by the judgements of people; measured as trec_eval does.

    qrels = read_qrels("qrels.tsv")
    run = {query_id: index.search(text, 1000) for query_id, text in queries.items()}
    ndcg(qrels, run, 10), mean_average_precision(qrels, run)

Judgements are, for each query, a grade for each document, of which those above 0 are relevant. A run has,
for each query, what was found, best first: `Hits`, hits or ids. Ids are compared as texts, as those in files
are. Means are over the queries that have a relevant document; one that the run lacks counts 0.
"""

import gzip
import lzma
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import log2
from os import PathLike
from typing import IO, Any, TypeAlias

from penstock.errors import InvalidValue, shown
from penstock.search._arguments import checked_int
from penstock.search.fusion import ids_of
from penstock.search.hits import Hits

__all__ = [
    "Qrels",
    "Run",
    "average_precision",
    "mean_average_precision",
    "ndcg",
    "precision",
    "read_qrels",
    "read_run",
    "recall",
    "write_run",
]

Qrels: TypeAlias = Mapping[str, Mapping[str, int]]
"""Grades by query and document."""

Run: TypeAlias = Mapping[str, Any]
"""What was found by query: `Hits`, hits or ids, best first."""

LONGEST_LINE = 1 << 16


# Measures -----------------------------------------------------------------------------------------------


def ndcg(qrels: Qrels, run: Run, k: int = 10) -> float:
    """Mean normalised discounted cumulative gain of the first k, 0 to 1.

    A document at rank r gains its grade / log2(r + 1); the sum is divided by that of the best order there is.

    Source: Jarvelin and Kekalainen, Cumulated Gain-Based Evaluation of IR Techniques, 2002.
    """
    k = checked_int("k", k, 1)

    def of_query(grades: Mapping[str, int], ids: list[str]) -> float:
        best = sorted((grade for grade in grades.values() if grade > 0), reverse=True)
        return gain(max(grades.get(doc_id, 0), 0) for doc_id in ids[:k]) / gain(best[:k])

    return mean(qrels, run, of_query)


def mean_average_precision(qrels: Qrels, run: Run) -> float:
    """Mean of `average_precision` over queries, 0 to 1."""
    return mean(qrels, run, average_of)


def average_precision(grades: Mapping[str, int], found: Any) -> float:
    """Mean precision at the ranks of relevant documents, 0 to 1; one that was not found has 0.

    Args:
        grades: of documents, for one query; one at the least is above 0.
        found: what was found, best first.
    """
    return average_of(grades, texts_of(found)) if any(grade > 0 for grade in grades.values()) else 0.0


def precision(qrels: Qrels, run: Run, k: int = 10) -> float:
    """Mean share of relevant documents among the first k (of k, even if fewer were found), 0 to 1."""
    k = checked_int("k", k, 1)
    return mean(qrels, run, lambda grades, ids: sum(grades.get(each, 0) > 0 for each in ids[:k]) / k)


def recall(qrels: Qrels, run: Run, k: int = 100) -> float:
    """Mean share of the relevant documents that are among the first k, 0 to 1."""
    k = checked_int("k", k, 1)

    def of_query(grades: Mapping[str, int], ids: list[str]) -> float:
        return sum(grades.get(each, 0) > 0 for each in ids[:k]) / sum(grade > 0 for grade in grades.values())

    return mean(qrels, run, of_query)


def average_of(grades: Mapping[str, int], ids: list[str]) -> float:
    found, total = 0, 0.0
    for rank, doc_id in enumerate(ids, 1):
        if grades.get(doc_id, 0) > 0:
            found += 1
            total += found / rank
    return total / sum(grade > 0 for grade in grades.values())


def gain(grades: Iterable[int]) -> float:
    return sum(grade / log2(rank + 1) for rank, grade in enumerate(grades, 1))


def mean(qrels: Qrels, run: Run, measure: Callable[[Mapping[str, int], list[str]], float]) -> float:
    """A measure's mean over the queries that have a relevant document."""
    judged = {query: grades for query, grades in qrels.items() if any(grade > 0 for grade in grades.values())}
    if not judged:
        raise InvalidValue("qrels must have a query with a relevant document, got none")
    return sum(measure(grades, texts_of(run.get(query, ()))) for query, grades in judged.items()) / len(
        judged
    )


def texts_of(found: Any) -> list[str]:
    """Ids as texts, each once."""
    return list(dict.fromkeys(map(str, ids_of(found))))


# Files --------------------------------------------------------------------------------------------------


def read_qrels(path: str | PathLike[str]) -> dict[str, dict[str, int]]:
    """Grades by query and document.

    Args:
        path: of a file with a line a judgement: query, iteration, document, grade between spaces, as TREC has
            them; or query, document, grade between tabs, below a line of headings, as BEIR has them. It may
            be compressed: .gz, .xz.

    Raises:
        InvalidValue: a line is none of these; the message has its number.
    """
    found: dict[str, dict[str, int]] = {}
    for number, parts in lines_of(path):
        if len(parts) not in (3, 4):
            raise wrong_line(path, number, "query, document and grade", parts)
        query, doc_id, grade = parts[0], parts[-2], parts[-1]
        try:
            found.setdefault(query, {})[doc_id] = int(grade)
        except ValueError:
            if number == 1 and len(parts) == 3:
                found.clear()  # headings
                continue
            raise wrong_line(path, number, "a whole number for a grade", parts) from None
    return found


def read_run(path: str | PathLike[str]) -> dict[str, list[tuple[str, float]]]:
    """(document, score) of each query, best first, out of a file as TREC has it, which may be compressed.

    Raises:
        InvalidValue: a line is not query, Q0, document, rank, score, tag; the message has its number.
    """
    found: dict[str, list[tuple[str, float]]] = {}
    for number, parts in lines_of(path):
        if len(parts) != 6:
            raise wrong_line(path, number, "query, Q0, document, rank, score and tag", parts)
        try:
            found.setdefault(parts[0], []).append((parts[2], float(parts[4])))
        except ValueError:
            raise wrong_line(path, number, "a number for a score", parts) from None
    for hits in found.values():
        hits.sort(key=lambda hit: -hit[1])
    return found


def write_run(path: str | PathLike[str], run: Mapping[str, Any], tag: str = "penstock") -> None:
    """Writes a run as TREC has it, for trec_eval and the like: query, Q0, document, rank, score, tag.

    Args:
        path: of the file, which is written anew.
        run: `Hits` or hits by query.
        tag: the name of the run.

    Raises:
        InvalidValue: a query, an id or the tag is empty or has a space in it, which the format does not
            allow.
    """
    lines = []
    for query, hits in run.items():
        pairs = zip(hits.id_list, hits.score_list, strict=True) if isinstance(hits, Hits) else hits
        for rank, (doc_id, score) in enumerate(pairs, 1):
            columns = (str(query), "Q0", str(doc_id), str(rank), repr(float(score)), tag)
            if any(len(column.split()) != 1 for column in columns):
                raise InvalidValue(f"run must have names without spaces, got {shown(' '.join(columns))}")
            lines.append(" ".join(columns) + "\n")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(lines)


def lines_of(path: str | PathLike[str]) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not empty, with their numbers, taken apart."""
    with opened(os.fspath(path)) as file:
        number = 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            parts = line.split("\t") if "\t" in line else line.split()
            parts = [part.strip() for part in parts]
            if len(line) == LONGEST_LINE:
                raise wrong_line(path, number, f"fewer than {LONGEST_LINE} characters", parts)
            if parts != [""] and parts:
                yield number, parts


def opened(path: str) -> IO[str]:
    if path.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8")
    if path.endswith(".xz"):
        return lzma.open(path, "rt", encoding="utf-8")
    return open(path, encoding="utf-8")


def wrong_line(path: object, number: int, expected: str, parts: list[str]) -> InvalidValue:
    return InvalidValue(f"line {number} of {path} must have {expected}, got {shown(' '.join(parts))}")
