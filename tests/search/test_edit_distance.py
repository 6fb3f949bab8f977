"""The distance of words, as the fallback finds it; fuzz_edit_distance.c holds the kernel to the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.search._edit_distance_py import near_distance

words = st.text(st.sampled_from("abcé"), max_size=8)


def whole_matrix(a, b):
    """The textbook's dynamic programming (optimal string alignment)."""
    d = [[i + j for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            d[i][j] = min(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 2 : i] == b[j - 1] + b[j - 2]:
                d[i][j] = min(d[i][j], d[i - 2][j - 2] + 1)
    return d[-1][-1]


@pytest.mark.parametrize(
    ("word", "other", "distance"),
    [
        ("", "", 0),
        ("search", "search", 0),
        ("search", "serach", 1),
        ("search", "seach", 1),
        ("search", "searchs", 1),
        ("search", "zearhc", 2),
        ("ca", "abc", None),  # 3: what was swapped is edited no more
        ("straße", "strasse", 2),
        ("", "ab", 2),
        ("", "abc", None),
    ],
)
def test_edits_insert_remove_replace_or_swap(word, other, distance):
    assert near_distance(word, other, 2, 0) == distance
    assert near_distance(other, word, 2, 0) == distance


@given(words, words, st.integers(0, 2))
def test_distance_is_that_of_the_whole_matrix(word, other, limit):
    distance = whole_matrix(word, other)
    assert near_distance(word, other, limit, 0) == (distance if distance <= limit else None)


@given(words, words, st.integers(0, 4))
def test_a_prefix_must_be_equal(word, other, prefix):
    expected = near_distance(word, other, 2, 0) if other.startswith(word[:prefix]) else None
    assert near_distance(word, other, 2, prefix) == expected
