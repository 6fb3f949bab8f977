"""The index of dead letters: by the time they failed, and by number within a millisecond."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from penstock.btree import BTreeMultiMap
from penstock.services.distributor.dead_letters import DeadLetterIndex, Failed

TIMES = st.integers(0, 5)
MAYBE_TIMES = st.none() | st.integers(-1, 7)


def test_letters_of_one_millisecond_are_in_the_order_of_their_numbers():
    index = DeadLetterIndex([Failed(5, 9)])
    index.add([Failed(5, 11), Failed(4, 30)])
    index.add([Failed(5, 10), Failed(5, 2)])
    assert index.newest(10) == [11, 10, 9, 2, 30]
    assert index.oldest(3) == [(4, 30), (5, 2), (5, 9)]
    assert index.newest(2, after=Failed(5, 10)) == [9, 2]


def test_place_of_a_letter_that_is_gone_is_still_a_place():
    index = DeadLetterIndex([Failed(1, 1), Failed(2, 2), Failed(3, 3)])
    index.remove([Failed(2, 2)])
    assert index.newest(10, after=Failed(2, 2)) == [1]
    assert index.newest(10, after=Failed(99, 1)) == [3, 1]


def test_letters_of_one_millisecond_come_and_go_without_a_look_at_the_others(monkeypatch):
    """As when the clock stands still: what looks at all of a millisecond would take hours then."""
    index = DeadLetterIndex()
    for name in ("pop_all", "remove", "get_all"):
        monkeypatch.setattr(BTreeMultiMap, name, None)
    for seq in range(1, 1001):
        index.add([Failed(5, seq)])
    assert index.newest(2) == [1000, 999]
    index.remove(index.oldest(998))
    assert index.newest(10) == [1000, 999]


def test_nothing_is_asked_of_an_empty_index():
    index = DeadLetterIndex()
    assert (len(index), index.oldest(5), index.oldest(-5), index.newest(5)) == (0, [], [], [])
    index.add([])
    index.remove([])
    assert len(index) == 0


class Letters(RuleBasedStateMachine):
    """Against a sorted list."""

    def __init__(self):
        super().__init__()
        self.index = DeadLetterIndex()
        self.letters = []
        self.seq = 0

    @rule(times=st.lists(TIMES, max_size=5), mixed=st.randoms(use_true_random=False))
    def die(self, times, mixed):
        new = []
        for at_ms in times:
            self.seq += 1
            new.append(Failed(at_ms, self.seq * 7 % 1009))
        mixed.shuffle(new)
        self.index.add(new)
        self.letters = sorted([*self.letters, *new])

    @rule(count=st.integers(-1, 4))
    def purge(self, count):
        oldest = self.index.oldest(count)
        assert oldest == self.letters[: max(count, 0)]
        self.index.remove(oldest)
        del self.letters[: len(oldest)]

    @rule()
    def restart(self):
        self.index = DeadLetterIndex(self.letters)

    @rule(
        limit=st.integers(1, 6),
        after=st.none() | st.builds(Failed, TIMES, st.integers(0, 40)),
        since_ms=MAYBE_TIMES,
        until_ms=MAYBE_TIMES,
    )
    def ask(self, limit, after, since_ms, until_ms):
        expected = [
            seq
            for at_ms, seq in reversed(self.letters)
            if (after is None or (at_ms, seq) < after)
            and (since_ms is None or at_ms >= since_ms)
            and (until_ms is None or at_ms < until_ms)
        ]
        asked = self.index.newest(limit, after=after, since_ms=since_ms, until_ms=until_ms)
        assert asked == expected[:limit]

    @invariant()
    def agrees(self):
        assert len(self.index) == len(self.letters)
        assert self.index.newest(len(self.letters)) == [seq for _, seq in reversed(self.letters)]
        self.index._by_time.check()


TestLetters = Letters.TestCase


@given(st.lists(st.builds(Failed, TIMES, st.integers(1, 10_000)), unique_by=lambda letter: letter.seq))
def test_order_of_coming_does_not_matter(letters):
    one_by_one = DeadLetterIndex()
    for letter in letters:
        one_by_one.add([letter])
    assert one_by_one.newest(100) == DeadLetterIndex(letters).newest(100)


def test_letters_are_selected_in_the_order_they_failed():
    index = DeadLetterIndex([Failed(10, 1), Failed(20, 3), Failed(20, 2), Failed(30, 4)])
    assert index.select() == [(10, 1), (20, 2), (20, 3), (30, 4)]
    assert index.select(since_ms=20, until_ms=30) == [(20, 2), (20, 3)]
    assert index.select(among={1, 3}) == [(10, 1), (20, 3)]
    assert index.select(limit=2) == [(10, 1), (20, 2)]
    assert index.select(among={3, 4}, limit=1) == [(20, 3)]
