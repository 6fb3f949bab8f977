"""Reciprocal rank fusion: several rankings made one."""

import numpy as np
import pytest

from penstock.errors import InvalidType, InvalidValue
from penstock.search.fusion import rrf
from penstock.search.hits import Hit, Hits


def test_documents_score_by_their_ranks_alone():
    fused = rrf(["a", "b", "c"], ["c", "a"])
    assert [hit.doc_id for hit in fused] == ["a", "c", "b"]
    assert fused[0].score == 1 / 61 + 1 / 62
    assert fused[1].score == 1 / 63 + 1 / 61
    assert fused[2].score == 1 / 62


def test_rankings_may_be_of_every_kind():
    hits = Hits([1, 2], [3.0, 2.0])
    for ranking in (hits, list(hits), [(1, 9.0), (2, 8.0)], [1, 2], (1, 2), np.array([1, 2]), iter([1, 2])):
        assert rrf(ranking) == [Hit(1, 1 / 61), Hit(2, 1 / 62)]
    assert type(rrf(np.array([1]))[0].doc_id) is int


def test_of_equal_sums_what_came_first_comes_first():
    assert [hit.doc_id for hit in rrf(["x", "y"], ["y", "x"])] == ["x", "y"]


def test_id_that_comes_again_in_a_ranking_counts_once():
    assert rrf(["a", "a", "b"]) == [Hit("a", 1 / 61), Hit("b", 1 / 62)]


def test_small_k_lets_the_top_stand_out():
    first, second = rrf(["a", "b"], k=0.5)
    assert (first.score, second.score) == (1 / 1.5, 1 / 2.5)


def test_nothing_fused_is_nothing():
    assert rrf() == []
    assert rrf([], []) == []


@pytest.mark.parametrize("k", [0, -1, float("nan")])
def test_k_must_be_above_zero(k):
    with pytest.raises(InvalidValue, match="k must be > 0, got"):
        rrf([1], k=k)


def test_wrong_types_are_refused():
    with pytest.raises(InvalidType, match="k must be a number, got '60'"):
        rrf([1], k="60")
    for ranking in ("abc", b"abc", 5, None):
        with pytest.raises(InvalidType, match="ranking must be hits or ids, got"):
            rrf(ranking)
