"""Measures of rankings, by hand and by their definitions, and files of judgements and runs."""

import gzip
import lzma
from math import log2

import pytest

from penstock.errors import InvalidValue
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
from penstock.search.hits import Hits

QRELS = {"1": {"a": 2, "b": 1, "c": 0, "d": -1}, "2": {"x": 1, "y": 1, "z": 1}, "3": {"q": 0}}


def test_ndcg_is_the_gain_over_the_best_there_is():
    best = 2 / log2(2) + 1 / log2(3)
    assert ndcg({"1": QRELS["1"]}, {"1": ["a", "b"]}) == 1
    assert ndcg({"1": QRELS["1"]}, {"1": ["b", "a"]}) == pytest.approx((1 + 2 / log2(3)) / best)
    assert ndcg({"1": QRELS["1"]}, {"1": ["d", "c", "a"]}) == pytest.approx((2 / log2(4)) / best)
    assert ndcg({"1": QRELS["1"]}, {"1": ["c", "b", "a"]}, 2) == pytest.approx((1 / log2(3)) / best)


def test_average_precision_is_over_all_relevant_documents():
    assert average_precision(QRELS["2"], ["x", "n", "y"]) == pytest.approx((1 + 2 / 3) / 3)
    assert average_precision(QRELS["2"], []) == 0
    assert average_precision(QRELS["3"], ["q"]) == 0


def test_precision_and_recall():
    qrels = {"2": QRELS["2"]}
    assert precision(qrels, {"2": ["x", "n", "y"]}, 2) == 0.5
    assert precision(qrels, {"2": ["x"]}, 10) == 0.1
    assert recall(qrels, {"2": ["x", "n", "y", "z"]}, 3) == pytest.approx(2 / 3)


def test_mean_is_over_queries_with_a_relevant_document_found_or_not():
    run = {"1": ["a", "b"], "3": ["q"]}
    assert mean_average_precision(QRELS, run) == 0.5
    assert ndcg(QRELS, run) == 0.5
    assert recall(QRELS, run) == 0.5


def test_runs_may_be_hits_pairs_or_ids_and_ids_numbers():
    qrels = {"1": {"7": 1}}
    for found in (Hits([7], [1.0]), [(7, 1.0)], [7], ["7"], list(Hits([7], [1.0]))):
        assert mean_average_precision(qrels, {"1": found}) == 1


def test_document_that_comes_again_counts_once():
    assert precision({"1": {"a": 1}}, {"1": ["a", "a"]}, 2) == 0.5


def test_measures_without_judgements_or_of_nothing_are_refused():
    with pytest.raises(InvalidValue, match="qrels must have a query with a relevant document, got none"):
        ndcg({"3": {"q": 0}}, {})
    with pytest.raises(InvalidValue, match="k must be >= 1, got 0"):
        recall(QRELS, {}, 0)


TREC = "1 0 a 2\n1 0 b 1\n\n2 0 x 1\n"
BEIR = "query-id\tcorpus-id\tscore\n1\ta\t2\n1\tb\t1\n2\tx\t1\n"


@pytest.mark.parametrize(
    "text", [TREC, BEIR, BEIR.split("\n", 1)[1], TREC.replace(" ", "\t"), BEIR.replace("\n", "\r\n")]
)
def test_judgements_are_read_as_trec_and_as_beir_have_them(tmp_path, text):
    path = tmp_path / "qrels"
    path.write_bytes(text.encode())
    assert read_qrels(path) == {"1": {"a": 2, "b": 1}, "2": {"x": 1}}


def test_files_may_be_compressed(tmp_path):
    for name, module in (("q.gz", gzip), ("q.xz", lzma)):
        with module.open(tmp_path / name, "wt") as file:
            file.write(TREC)
        assert read_qrels(str(tmp_path / name))["2"] == {"x": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 0 a\n1 0\n", "line 2 of .* must have query, document and grade, got '1 0'"),
        ("1 0 a 1\n1 0 a x\n", "line 2 of .* must have a whole number for a grade, got '1 0 a x'"),
        ("a" * 70_000, "line 1 of .* must have fewer than 65536 characters"),
    ],
)
def test_line_that_is_no_judgement_is_refused_by_its_number(tmp_path, text, message):
    path = tmp_path / "qrels"
    path.write_text(text)
    with pytest.raises(InvalidValue, match=message):
        read_qrels(path)


def test_run_is_read_back_as_it_was_written(tmp_path):
    path = tmp_path / "run"
    write_run(path, {"1": Hits(["a", "b"], [2.5, 1.0]), "2": [("x", 0.1)]}, "mine")
    assert path.read_text() == "1 Q0 a 1 2.5 mine\n1 Q0 b 2 1.0 mine\n2 Q0 x 1 0.1 mine\n"
    assert read_run(path) == {"1": [("a", 2.5), ("b", 1.0)], "2": [("x", 0.1)]}


def test_names_with_spaces_are_refused_in_a_run_before_a_file_is_touched(tmp_path):
    path = tmp_path / "run"
    for run, tag in (({"1": [("a b", 1)]}, "t"), ({"": [("a", 1)]}, "t"), ({"1": [("a", 1)]}, "t g")):
        with pytest.raises(InvalidValue, match="run must have names without spaces"):
            write_run(path, run, tag)
    assert not path.exists()


def test_line_that_is_no_hit_is_refused(tmp_path):
    path = tmp_path / "run"
    for text, message in (
        ("1 Q0 a 1 2.5\n", "query, Q0, document"),
        ("1 Q0 a 1 x t\n", "a number for a score"),
    ):
        path.write_text(text)
        with pytest.raises(InvalidValue, match=message):
            read_run(path)
