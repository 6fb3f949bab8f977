"""Cursor: a gap between entries that finds its place again whatever happens to the tree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.btree import BTreeMap, BTreeMultiMap, BTreeSet, Cursor, FrozenTree
from penstock.errors import InvalidType, InvalidValue

EMPTY = [BTreeMap(), BTreeSet(), BTreeMultiMap(), BTreeSet(key_type="int64")]
keys = st.integers(0, 30)


@pytest.mark.parametrize("tree", EMPTY, ids=repr)
def test_cursor_of_an_empty_tree_has_nothing_around_it(tree):
    cursor = tree.cursor()
    assert isinstance(cursor, Cursor)
    for cursor in (tree.cursor(), tree.cursor(5)):
        assert (cursor.peek_next(), cursor.peek_prev(), cursor.next(), cursor.prev()) == (None,) * 4
        assert (cursor.remove_next(), cursor.remove_prev(), cursor.index) == (None, None, 0)
    cursor.to_end()
    assert (cursor.peek_next(), cursor.peek_prev(), cursor.index) == (None, None, 0)


@given(st.sets(keys), keys, st.booleans())
def test_seek_goes_to_the_gap_before_or_after_a_key(held, key, after):
    tree = BTreeSet(held)
    cursor = tree.cursor()
    cursor.seek(key, after=after)
    before = [each for each in sorted(held) if each < key or (after and each == key)]
    assert cursor.index == len(before)
    assert cursor.peek_prev() == (before[-1] if before else None)
    assert cursor.peek_next() == min(held - set(before), default=None)


def test_it_steps_over_all_items_both_ways():
    for tree in (BTreeMap({1: "a", 2: "b"}), BTreeSet("abc"), BTreeMultiMap([(1, "x"), (1, "y"), (2, "z")])):
        cursor = tree.cursor()
        forward = list(iter(cursor.next, None))
        assert cursor.next() is None
        assert cursor.index == len(tree)
        backward = list(iter(cursor.prev, None))
        assert cursor.prev() is None
        assert cursor.index == 0
        assert forward == backward[::-1] == list(tree.range())
        cursor.to_end()
        assert cursor.prev() == forward[-1]
        cursor.to_start()
        assert cursor.next() == forward[0]


def test_it_inserts_ascending_keys_one_after_the_other():
    tree = BTreeMap({10: "a", 20: "b"})
    cursor = tree.cursor(15)
    for key in (12, 13, 19):
        cursor.insert(key, "new")
    assert list(tree) == [10, 12, 13, 19, 20]
    assert (cursor.peek_prev(), cursor.peek_next()) == ((19, "new"), (20, "b"))
    tree.check()


@pytest.mark.parametrize("key", [10, 20, 5, 25])
def test_key_that_does_not_belong_into_the_gap_is_refused(key):
    for tree in (
        BTreeMap({10: "a", 20: "b"}),
        BTreeMap({10: 1, 20: 2}, key_type="int64", value_type="int64"),
    ):
        cursor = tree.cursor(15)
        with pytest.raises(
            InvalidValue, match=f"key must come after 10 and before 20 at this cursor, got {key}"
        ):
            cursor.insert(key, 7)
        assert list(tree) == [10, 20]
        assert cursor.index == 1
    tree = BTreeSet([10])
    cursor = tree.cursor()
    with pytest.raises(InvalidValue, match="key must come before 10 at this cursor, got 11"):
        cursor.insert(11)
    cursor.to_end()
    with pytest.raises(InvalidValue, match="key must come after 10 at this cursor, got 9"):
        cursor.insert(9)


def test_equal_keys_of_a_multimap_are_inserted_behind_their_equals_only():
    tree = BTreeMultiMap([(1, "a"), (2, "b"), (2, "c")])
    cursor = tree.cursor(2)
    with pytest.raises(InvalidValue, match="key must come not before 1 and before 2 at this cursor, got 2"):
        cursor.insert(2, "x")
    cursor.insert(1, "y")
    cursor.next()
    with pytest.raises(InvalidValue):
        cursor.insert(2, "x")  # between two equals
    cursor.next()
    cursor.insert(2, "x")
    cursor.insert(2, "z")
    assert list(tree.range()) == [(1, "a"), (1, "y"), (2, "b"), (2, "c"), (2, "x"), (2, "z")]
    assert cursor.peek_next() is None


def test_key_of_another_type_is_refused():
    tree = BTreeSet([1, 3], key_type="int64")
    with pytest.raises(InvalidType, match="key must be an int for key_type 'int64', got 'a'"):
        tree.cursor("a")
    cursor = tree.cursor(2)
    with pytest.raises(InvalidType):
        cursor.seek(1.5)
    with pytest.raises(InvalidType):
        cursor.insert("b")
    assert cursor.peek_next() == 3


def test_snapshot_can_be_looked_at_and_not_changed():
    for tree in (BTreeMap({1: "a", 3: "b"}), BTreeMultiMap([(1, "a"), (3, "b")])):
        cursor = tree.snapshot().cursor(2)
        assert cursor.next() == (3, "b")
        for attempt in (cursor.remove_prev, lambda: cursor.insert(9, "c")):  # noqa: B023
            with pytest.raises(FrozenTree):
                attempt()
        assert cursor.peek_prev() == (3, "b")


def test_it_removes_on_both_sides():
    for tree in (BTreeMap({n: n for n in range(6)}), BTreeMultiMap([(n, n) for n in range(6)])):
        cursor = tree.cursor(3)
        assert cursor.remove_prev() == (2, 2)
        assert cursor.remove_next() == (3, 3)
        assert (cursor.peek_prev(), cursor.peek_next(), cursor.index) == ((1, 1), (4, 4), 2)
        assert list(tree) == [0, 1, 4, 5]
        tree.check()


def test_it_stays_between_its_neighbours_when_others_change_the_tree():
    tree = BTreeMap({n: n for n in range(0, 100, 10)})
    cursor = tree.cursor()
    for _ in range(5):
        cursor.next()  # behind 40
    del tree[40], tree[50], tree[0]
    assert (cursor.peek_prev(), cursor.peek_next(), cursor.index) == ((30, 30), (60, 60), 3)
    tree.update({35: 35, 45: 45})
    assert (cursor.peek_prev(), cursor.peek_next(), cursor.index) == ((35, 35), (45, 45), 4)
    tree.clear()
    assert (cursor.peek_prev(), cursor.peek_next(), cursor.index) == (None, None, 0)
    tree[41] = "back"
    assert cursor.next() == (41, "back")


def test_entry_that_is_added_at_the_end_is_next():
    tree = BTreeSet([1])
    cursor = tree.cursor()
    assert (cursor.next(), cursor.next()) == (1, None)
    tree.add(2)
    assert cursor.next() == 2
    cursor.to_end()
    tree.add(3)
    assert cursor.next() is None


def test_repr_tells_the_place():
    assert repr(BTreeSet([1, 2]).cursor(2)) == "<SetCursor at 1 of <BTreeSet of 2 entries, object>>"


class CursorAgainstList(RuleBasedStateMachine):
    """A cursor does what an index into a sorted list of entries does."""

    def __init__(self):
        super().__init__()
        self.entries = []
        self.at = 0
        self.next_value = 0
        self.tree = self.new_tree()
        self.cursor = self.tree.cursor()

    def new_tree(self):
        return BTreeMultiMap(value_type="int64")

    def may_insert(self, key):
        return all(entry[0] <= key for entry in self.entries[: self.at]) and all(
            entry[0] > key for entry in self.entries[self.at :]
        )

    @rule()
    def step(self):
        expected = self.entries[self.at] if self.at < len(self.entries) else None
        assert self.cursor.next() == expected
        self.at += expected is not None

    @rule()
    def step_back(self):
        expected = self.entries[self.at - 1] if self.at else None
        assert self.cursor.prev() == expected
        self.at -= expected is not None

    @rule(key=keys, after=st.booleans())
    def seek(self, key, after):
        self.cursor.seek(key, after=after)
        self.at = sum(entry[0] < key or (after and entry[0] == key) for entry in self.entries)

    @rule(at_end=st.booleans())
    def go_to_an_end(self, at_end):
        (self.cursor.to_end if at_end else self.cursor.to_start)()
        self.at = len(self.entries) if at_end else 0

    @rule(key=keys)
    def insert(self, key):
        self.next_value += 1
        if self.may_insert(key):
            self.cursor.insert(key, self.next_value)
            self.entries.insert(self.at, (key, self.next_value))
            self.at += 1
        else:
            with pytest.raises(InvalidValue):
                self.cursor.insert(key, self.next_value)

    @rule()
    @precondition(lambda self: self.at < len(self.entries))
    def remove_next(self):
        assert self.cursor.remove_next() == self.entries.pop(self.at)

    @rule()
    @precondition(lambda self: self.at)
    def remove_prev(self):
        self.at -= 1
        assert self.cursor.remove_prev() == self.entries.pop(self.at)

    @invariant()
    def same(self):
        assert list(self.tree.range()) == self.entries
        assert self.cursor.index == self.at
        assert self.cursor.peek_next() == (self.entries[self.at] if self.at < len(self.entries) else None)
        assert self.cursor.peek_prev() == (self.entries[self.at - 1] if self.at else None)


class MapCursorAgainstList(CursorAgainstList):
    def new_tree(self):
        return BTreeMap(key_type="int64")

    def may_insert(self, key):
        return super().may_insert(key) and key not in dict(self.entries)


TestMultiMapCursor = CursorAgainstList.TestCase
TestMapCursor = MapCursorAgainstList.TestCase
