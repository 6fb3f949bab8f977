"""Jump hash: the buckets of the paper, and only those keys move that must."""

import math

import jump
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidType, InvalidValue
from penstock.hashring._jump_c import jump_hash_many as compiled_many
from penstock.hashring._jump_py import jump_hash_many as plain_many
from twins import both_twins, load

MODULE = "penstock.hashring.jump"
jump_hash = both_twins(MODULE)
many_of_both = pytest.mark.parametrize("jump_hash_many", [compiled_many, plain_many], ids=["c", "py"])

MOST = 2**31 - 1
HUGE = pytest.param(1 << 40_000, id="huge")
words = st.integers(-(2**63), 2**64 - 1)
counts = st.integers(1, 300) | st.integers(1, MOST)

GUAVA = [0, 55, 62, 8, 45, 59, 86, 97, 82, 59, 73, 37, 17, 56, 86, 21, 90, 37, 38, 83]
"""The buckets of 0, 1, 2, ... among 100, in Guava's HashingTest."""


def test_buckets_are_those_of_guavas_tests(jump_hash):
    assert [jump_hash(key, 100) for key in range(20)] == GUAVA
    assert jump_hash(10863919174838991, 11) == 6
    assert jump_hash(2016238256797177309, 11) == 3
    assert jump_hash(1673758223894951030, 11) == 5
    assert [jump_hash(key, 100001) for key in (2, 2201, 2202)] == [80343, 22152, 15018]


@given(st.integers(0, 2**64 - 1), counts)
def test_buckets_are_those_of_the_package_jump_consistent_hash(key, buckets):
    assert load(MODULE, "c")(key, buckets) == jump.hash(key, buckets)


@given(words, counts)
def test_twins_agree(key, buckets):
    assert load(MODULE, "c")(key, buckets) == load(MODULE, "py")(key, buckets)


@given(st.lists(words, max_size=40), counts)
def test_batches_are_as_single_calls(keys, buckets):
    expected = [load(MODULE, "py")(key, buckets) for key in keys]
    for jump_hash_many in (compiled_many, plain_many):
        found = jump_hash_many(keys, buckets)
        assert (found.dtype, found.tolist()) == (np.int32, expected)


@given(words, st.integers(1, 2000))
def test_key_moves_to_the_bucket_that_is_added_or_not_at_all(key, buckets):
    jump_hash = load(MODULE, "c")
    assert jump_hash(key, buckets + 1) in {jump_hash(key, buckets), buckets}


@many_of_both
def test_buckets_get_even_shares(jump_hash_many):
    counts = np.bincount(jump_hash_many(range(20_000), 10), minlength=10)
    assert sum((count - 2000) ** 2 / 2000 for count in counts) < 27.9  # chi-square: 1 in 1000 is beyond


def test_negative_key_is_its_twos_complement(jump_hash):
    assert jump_hash(-1, 1000) == jump_hash(2**64 - 1, 1000)
    assert jump_hash(-(2**63), 1000) == jump_hash(2**63, 1000)


def test_whatever_has_an_index_is_an_int(jump_hash):
    assert jump_hash(np.int64(-5), np.uint8(200)) == jump_hash(-5, 200)
    assert jump_hash(True, True) == 0


@many_of_both
@pytest.mark.parametrize("dtype", ["i1", "u1", "i4", ">i8", "u8"])
def test_arrays_of_any_width_and_shape_are_keys(jump_hash_many, dtype):
    keys = np.arange(24).astype(dtype).reshape(4, 6)
    found = jump_hash_many(keys[:, ::2], 100)
    assert found.dtype == np.int32
    assert found.tolist() == [
        [GUAVA[key] if key < 20 else jump.hash(int(key), 100) for key in row] for row in keys[:, ::2]
    ]


@many_of_both
def test_batch_of_nothing_is_empty(jump_hash_many):
    assert jump_hash_many([], 5).shape == (0,)
    assert jump_hash_many(np.empty((0, 3), np.int64), 5).shape == (0, 3)


@many_of_both
def test_negative_keys_of_narrow_arrays_keep_their_value(jump_hash_many):
    assert jump_hash_many(np.array([-1], np.int8), 1000).tolist() == jump_hash_many([-1], 1000).tolist()


@many_of_both
def test_matrix_is_an_array_like_any_other(jump_hash_many):
    keys = np.arange(6).reshape(2, 3)
    assert jump_hash_many(keys.view(np.matrix), 10).tolist() == jump_hash_many(keys, 10).tolist()


@pytest.mark.parametrize("buckets", [0, -1, 2**31, -(2**64), HUGE])
def test_buckets_out_of_range_are_refused(jump_hash, buckets):
    with pytest.raises(InvalidValue, match=r"^buckets must be >= 1 and <= 2147483647, got ") as caught:
        jump_hash(1, buckets)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("key", [2**64, -(2**63) - 1, HUGE])
def test_keys_of_more_than_64_bits_are_refused(jump_hash, key):
    with pytest.raises(InvalidValue, match=r"^key must be >= -2\*\*63 and < 2\*\*64, got ") as caught:
        jump_hash(key, 5)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("wrong", [1.0, "1", None, math.nan])
def test_what_is_no_int_is_refused(jump_hash, wrong):
    kind = type(wrong).__name__
    with pytest.raises(InvalidType, match=rf"^key must be an int, got {kind}$"):
        jump_hash(wrong, 5)
    with pytest.raises(InvalidType, match=rf"^buckets must be an int, got {kind}$"):
        jump_hash(5, wrong)


@many_of_both
def test_batches_of_what_are_no_ints_are_refused(jump_hash_many):
    with pytest.raises(
        InvalidType, match=r"^keys must be ints or an array of integers, got an array of float64$"
    ):
        jump_hash_many(np.array([1.0]), 5)
    with pytest.raises(InvalidType, match=r"^keys must be ints or an array of integers, got str$"):
        jump_hash_many("12", 5)
    with pytest.raises(InvalidType, match=r"^keys must be ints or an array of integers, got int$"):
        jump_hash_many(12, 5)
    with pytest.raises(InvalidType, match=r"^key must be an int, got float$"):
        jump_hash_many([1, 2.0], 5)
    with pytest.raises(
        InvalidValue, match=r"^key must be >= -2\*\*63 and < 2\*\*64, got 18446744073709551616$"
    ):
        jump_hash_many([2**64], 5)
    with pytest.raises(InvalidValue, match=r"^buckets must be >= 1 and <= 2147483647, got 0$"):
        jump_hash_many([1], 0)
