"""Trees of real keys: an English word list, and the ranges of addresses of the Internet."""

import ipaddress
import lzma
import random
from bisect import bisect_left, bisect_right

import numpy as np
import pytest

import datasets

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def words():
    with lzma.open(datasets.require("keys/words_american_large.txt.xz"), "rt", encoding="utf-8") as file:
        found = file.read().split("\n")
    found = sorted({word for word in found if word})
    assert len(found) > 170_000
    return found


@pytest.fixture(scope="module")
def ranges():
    """(n,) int64 each: first addresses, last addresses."""
    with lzma.open(datasets.require("keys/ipv4_ranges.csv.xz"), "rt", encoding="utf-8") as file:
        rows = [line.split(",") for line in file if line[0].isdigit()]
    found = sorted((int(first), int(last)) for first, last, *_ in rows)
    assert len(found) > 300_000
    return np.array([first for first, _ in found]), np.array([last for _, last in found])


def after(prefix):
    """The least text that is greater than all that begin with `prefix`."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


@pytest.mark.parametrize("key_type", ["str", "object"])
def test_words_are_found_where_a_sorted_list_has_them(twin, words, key_type):
    dice = random.Random(4)
    tree = twin.MapTree(key_type, "int64")
    tree.insert_many(dice.sample(words, len(words)), [0] * len(words))
    tree.check()
    assert list(tree) == words
    asked = dice.sample(words, 2000) + [word[:3] + "q" for word in dice.sample(words, 500)]
    assert tree.rank_many(asked).tolist() == [bisect_left(words, word) for word in asked]
    for word in asked:
        assert (word in tree) == (words[bisect_left(words, word) : bisect_right(words, word)] == [word])
        assert tree.rank(word) == bisect_left(words, word)


@pytest.mark.parametrize("key_type", ["str", "object"])
def test_words_of_a_prefix_are_a_range(twin, words, key_type):
    tree = twin.SetTree(key_type)
    tree._load_sorted(words, None, 0.9, True)
    tree.check()
    for prefix in ("a", "pen", "penst", "Z", "un", "\xe9", "zzz", "antidis", "'"):
        expected = [word for word in words if word.startswith(prefix)]
        assert list(tree.range(prefix, after(prefix))) == expected
        assert tree.count(prefix, after(prefix)) == len(expected)
        assert list(tree.range(prefix, after(prefix), reverse=True, limit=5)) == expected[::-1][:5]


def test_words_go_as_they_came(twin, words):
    dice = random.Random(5)
    tree = twin.SetTree("str")
    tree._load_sorted(words, None, 1.0, True)
    gone = dice.sample(words, 60_000)
    for word in gone[:3000]:
        tree.remove(word)
    assert tree.delete_many(gone) == 57_000
    tree.check()
    assert list(tree) == sorted(set(words) - set(gone))
    tree.insert_many(gone)
    tree.check()
    assert list(tree) == words


@pytest.mark.parametrize(
    ("key_type", "value_type"),
    [("int64", "int64"), ("uint64", "object"), ("object", "int64"), ("float64", "float64")],
)
def test_range_of_an_address_is_the_one_that_begins_at_or_before_it(twin, ranges, key_type, value_type):
    firsts, lasts = ranges
    tree = twin.MapTree(key_type, value_type)
    values = lasts.tolist() if value_type == "object" else lasts
    tree._load_sorted(firsts.tolist() if key_type == "object" else firsts.astype(key_type), values, 0.9, True)
    tree.check()
    dice = random.Random(6)
    asked = [dice.randrange(2**32) for _ in range(2000)] + firsts[::500].tolist() + lasts[::500].tolist()
    asked += [0, 2**32 - 1, int(ipaddress.ip_address("127.0.0.1"))]
    sorted_firsts, found_lasts = firsts.tolist(), lasts.tolist()
    for address in asked:
        at = bisect_right(sorted_firsts, address) - 1
        expected = None if at < 0 else (sorted_firsts[at], found_lasts[at])
        assert tree.floor_item(address) == expected
        assert tree.rank_right(address) == at + 1
    ranks = tree.rank_many(asked)
    assert ranks.tolist() == np.searchsorted(firsts, asked).tolist()
