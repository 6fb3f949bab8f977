"""The mixing of bits, which decides where keys live and so never changes."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.hashring._mix_py import below, draw64, mix64

words = st.integers(0, 2**64 - 1)


def test_draws_are_those_of_splitmix64():
    """The values that Sebastiano Vigna's splitmix64.c draws from 1234567, as others' tests have them."""
    assert [draw64(1234567, i) for i in range(1, 6)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_mixes_are_frozen():
    assert [mix64(x) for x in (0, 1, 2**63, 2**64 - 1)] == [
        0,
        0x5692161D100B05E5,
        0x25C26EA579CEA98A,
        0xB4D055FCF2CBBD7B,
    ]


@given(words, st.integers(0, 63))
def test_every_bit_matters_to_all_others(x, bit):
    assert mix64(x ^ 1 << bit) != mix64(x)


@given(words, st.integers(1, 2**32))
def test_proportion_is_kept(x, n):
    assert 0 <= below(x, n) < n
    assert below(0, n) == 0
    assert below(2**64 - 1, n) == n - 1
