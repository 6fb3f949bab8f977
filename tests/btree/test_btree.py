"""Trees as maps, sets and multimaps: single entries, neighbours, places, ends."""

import random
from bisect import bisect_left, bisect_right
from contextlib import suppress
from importlib import import_module

import pytest
from tree_keys import filled, key_of, made, put, refuses

from penstock.btree.errors import BrokenTree, FrozenTree
from penstock.errors import InvalidType

KEY_TYPES = ["object", "int64", "uint64", "float64", "str", "bytes"]
every_key_type = pytest.mark.parametrize("key_type", KEY_TYPES)


def keys_of_type(key_type, n):
    """n keys in order, and one that stands between the keys i and i + 1."""
    make = {
        "object": lambda i: (i // 100, i % 100),
        "int64": lambda i: i - n,
        "uint64": lambda i: i + 2**63 - n,
        "float64": lambda i: (i - n) / 4,
        "str": lambda i: f"{i:06}",
        "bytes": lambda i: b"%06d" % i,
    }[key_type]
    return [make(i) for i in range(0, 2 * n, 2)], lambda i: make(2 * i + 1)


# ---- one entry ----


@every_key_type
def test_map_holds_what_a_dict_would(twin, key_type):
    dice = random.Random(1)
    keys, between = keys_of_type(key_type, 1500)
    tree, plain = twin.MapTree(key_type), {}
    for step in range(6000):
        key = dice.choice(keys)
        act = dice.randrange(6)
        if act < 3:
            tree[key] = plain[key] = step
        elif act == 3:
            assert tree.pop(key, None) == plain.pop(key, None)
        elif act == 4:
            assert tree.setdefault(key, step) == plain.setdefault(key, step)
        elif key in plain:
            del tree[key], plain[key]
        assert len(tree) == len(plain)
        assert (key in tree) == (key in plain)
        assert tree.get(key) == plain.get(key)
        if step % 500 == 0:
            tree.check()
    assert list(tree.range()) == sorted(plain.items())
    assert between(3) not in tree
    tree.check()


@every_key_type
def test_absent_key_is_a_key_error_with_the_key(twin, key_type):
    keys, between = keys_of_type(key_type, 100)
    absent = between(30)
    tree = filled(twin.MapTree(key_type), keys)
    for call in (
        lambda: tree[absent],
        lambda: tree.__delitem__(absent),
        lambda: tree.pop(absent),
    ):
        with pytest.raises(KeyError) as missing:
            call()
        assert missing.value.args == (absent,)
    assert tree.get(absent) is None
    assert tree.get(absent, "none") == "none"
    assert tree.pop(absent, "none") == "none"
    assert tree.pop(absent, None) is None
    assert tree.setdefault(absent) is None
    assert absent in tree
    tree.check()


def test_pop_takes_one_default(twin):
    tree = filled(twin.MapTree("int64"), [1])
    with pytest.raises(TypeError):
        tree.pop()
    with pytest.raises(TypeError):
        tree.pop(1, 2, 3)
    assert len(tree) == 1


@every_key_type
def test_set_holds_what_a_set_would(twin, key_type):
    dice = random.Random(2)
    keys, _ = keys_of_type(key_type, 500)
    tree, plain = twin.SetTree(key_type), set()
    for step in range(4000):
        key = dice.choice(keys)
        act = dice.randrange(4)
        if act < 2:
            assert tree.add(key) is None
            plain.add(key)
        elif act == 2:
            assert tree.discard(key) is None
            plain.discard(key)
        elif key in plain:
            assert tree.remove(key) is None
            plain.remove(key)
        else:
            with pytest.raises(KeyError) as missing:
                tree.remove(key)
            assert missing.value.args == (key,)
        assert len(tree) == len(plain)
        if step % 500 == 0:
            tree.check()
    assert list(tree) == sorted(plain)
    tree.check()


@every_key_type
@pytest.mark.parametrize("value_type", ["object", "int64", "float64"])
def test_multimap_keeps_equal_keys_in_the_order_they_came(twin, key_type, value_type):
    keys, between = keys_of_type(key_type, 9)
    tree = twin.MultiMapTree(key_type, value_type)
    dice = random.Random(3)
    added = [(dice.choice(keys[:7]), n) for n in range(3000)]
    for key, value in added:
        assert tree.add(key, value) is None
    tree.check()
    assert list(tree.range()) == sorted(added, key=lambda entry: entry[0])
    for key in keys:
        values = [value for each, value in added if each == key]
        assert tree.get_all(key) == values
        assert tree.get(key) == (values[0] if values else None)
        assert tree.count(key, key, include=(True, True)) == len(values)
        assert (key in tree) == bool(values)
    assert tree.get_all(between(3)) == []
    assert tree.get(keys[8], "none") == "none"
    gone = [value for key, value in added if key == keys[2]]
    assert tree.pop_all(keys[2]) == gone
    with pytest.raises(KeyError) as missing:
        tree.pop_all(keys[2])
    assert missing.value.args == (keys[2],)
    tree.check()
    assert list(tree.range()) == sorted(
        (entry for entry in added if entry[0] != keys[2]), key=lambda entry: entry[0]
    )


def test_multimap_removes_the_first_entry_with_that_value(twin):
    tree = twin.MultiMapTree("int64")
    for value in ("a", "b", "a", "c", "a"):
        tree.add(5, value)
        tree.add(6, value)
    assert tree.remove(5, "a") is None
    assert tree.get_all(5) == ["b", "a", "c", "a"]
    tree.remove(5, "a")
    tree.remove(5, "b")
    assert tree.get_all(5) == ["c", "a"]
    assert tree.get_all(6) == ["a", "b", "a", "c", "a"]
    for key, value in ((5, "b"), (4, "a"), (7, "a")):
        with pytest.raises(KeyError) as missing:
            tree.remove(key, value)
        assert missing.value.args == ((key, value),)
    typed = filled(twin.MultiMapTree("int64", "float64"), [1, 2], value=float)
    typed.remove(1, 1)  # equal by ==
    assert list(typed.range()) == [(2, 2.0)]
    with pytest.raises(KeyError):
        typed.remove(2, 2.5)
    with pytest.raises(InvalidType, match="value"):
        typed.remove(2, "2.0")
    tree.check()


@pytest.mark.parametrize("value_type", ["int64", "float64", "object"])
@pytest.mark.parametrize("key_type", ["int64", "uint64", "float64", "str", "bytes", "object"])
def test_multimap_takes_an_entry_before_another_with_its_key(twin, key_type, value_type):
    """As tables do, which keep equal keys in the order of their values."""
    key = {"str": str, "bytes": lambda n: b"%d" % n, "float64": float}.get(key_type, int)
    tree = twin.MultiMapTree(key_type, value_type)
    expected = []
    for n in range(3):
        tree.add(key(n), 0)
        expected.append([0])
    kept = tree.snapshot()
    for step in range(3000):
        which = step * 7 % 3
        values = expected[which]
        place = step * 31 % len(values)
        tree._add_before(sum(map(len, expected[:which])) + place, step)
        values.insert(place, step)
    tree.check()
    assert [tree.get_all(key(n)) for n in range(3)] == expected
    assert len(kept) == 3
    with pytest.raises(IndexError, match=r"index must be in \[-3003, 3003\), got 3003"):
        tree._add_before(3003, 1)
    with pytest.raises(FrozenTree):
        kept._add_before(0, 1)
    if value_type != "object":
        with pytest.raises(InvalidType):
            tree._add_before(0, "x")
    tree.check()
    assert len(tree) == 3003


def test_multimap_asks_values_whether_they_are_equal_and_survives_the_answer(twin):
    class Value:
        def __init__(self, act):
            self.act = act

        def __eq__(self, other):
            return self.act()

        __hash__ = None

    def fail():
        raise ZeroDivisionError("not today")

    tree = filled(twin.MultiMapTree("int64"), range(100), value=lambda key: Value(fail))
    with refuses(ZeroDivisionError, "not today"):
        tree.remove(50, object())
    assert len(tree) == 100
    tree = twin.MultiMapTree("int64")
    tree.add(1, Value(lambda: tree.clear() or True))
    tree.add(1, "other")
    with suppress(RuntimeError, KeyError):
        tree.remove(1, "wanted")
    assert len(tree) == 0
    tree.check()
    tree.add(1, Value(lambda: tree.add(0, "in front") or True))
    try:
        tree.remove(1, "wanted")
    except RuntimeError:
        assert len(tree) == 2
    else:
        assert list(tree.range()) == [(0, "in front")]
    tree.check()


# ---- neighbours, places, ends ----


@every_key_type
def test_neighbours_of_a_key(Tree, key_type):
    keys, between = keys_of_type(key_type, 700)
    tree = filled(made(Tree, key_type), random.Random(4).sample(keys, len(keys)))

    def key_at(item):
        return None if item is None else item if Tree.__name__ == "SetTree" else item[0]

    for i, key in enumerate(keys):
        before, after = (keys[i - 1] if i else None), (keys[i + 1] if i + 1 < len(keys) else None)
        assert key_at(tree.floor_item(key)) == key_at(tree.ceiling_item(key)) == key
        assert key_at(tree.lower_item(key)) == before
        assert key_at(tree.higher_item(key)) == after
        gap = between(i)
        assert key_at(tree.floor_item(gap)) == key_at(tree.lower_item(gap)) == key
        assert key_at(tree.ceiling_item(gap)) == key_at(tree.higher_item(gap)) == after
        assert tree.rank(key) == i
        assert tree.rank_right(key) == tree.rank(gap) == tree.rank_right(gap) == i + 1
        assert key_at(tree.select(i)) == key
        assert key_at(tree.select(i - len(keys))) == key
    before_all = between(-1)
    assert tree.floor_item(before_all) is tree.lower_item(before_all) is None
    assert key_at(tree.ceiling_item(before_all)) == key_at(tree.higher_item(before_all)) == keys[0]
    assert key_at(tree.first_item()) == keys[0]
    assert key_at(tree.last_item()) == keys[-1]


def test_neighbours_in_an_empty_tree_are_none(Tree):
    for key_type in ("object", "int64"):
        tree = made(Tree, key_type)
        assert tree.floor_item(1) is tree.lower_item(1) is tree.ceiling_item(1) is tree.higher_item(1) is None
        assert tree.rank(1) == tree.rank_right(1) == tree.count(1, 2) == tree.delete_range(1, 2) == 0
        assert 1 not in tree
        assert list(tree.range()) == list(reversed(tree)) == []
        assert not tree
        tree.check()


def test_neighbours_among_equal_keys_are_the_outer_ones(twin):
    for key_type in ("object", "int64"):
        for n in (3, 500):
            tree = twin.MultiMapTree(key_type)
            for i in range(n):
                for key in (1, 2, 3):
                    tree.add(key, i)
            assert tree.floor_item(2) == (2, n - 1)
            assert tree.ceiling_item(2) == (2, 0)
            assert tree.lower_item(2) == (1, n - 1)
            assert tree.higher_item(2) == (3, 0)
            assert tree.rank(2) == n
            assert tree.rank_right(2) == 2 * n
            assert tree.select(n) == (2, 0)
            assert tree.select(2 * n - 1) == (2, n - 1)


@every_key_type
def test_entries_are_taken_by_index(Tree, key_type):
    dice = random.Random(5)
    keys, _ = keys_of_type(key_type, 1000)
    tree, left = filled(made(Tree, key_type), keys), list(keys)
    while left:
        index = dice.randrange(-len(left), len(left))
        item = tree.pop_at(index)
        assert (item if Tree.__name__ == "SetTree" else item[0]) == left.pop(index)
        if len(left) % 100 == 0:
            tree.check()
            assert list(tree) == left
    assert not tree


@every_key_type
def test_ends_are_taken_one_after_the_other(Tree, key_type):
    keys, _ = keys_of_type(key_type, 600)
    dice = random.Random(6)
    tree, left = filled(made(Tree, key_type), keys), list(keys)
    while left:
        last = dice.random() < 0.5
        expected = left[-1 if last else 0]
        item = tree.last_item() if last else tree.first_item()
        assert (item if Tree.__name__ == "SetTree" else item[0]) == expected
        assert (tree.pop_last() if last else tree.pop_first()) == item
        left.pop(-1 if last else 0)
        if len(left) % 60 == 0:
            tree.check()
    assert not tree
    assert len(tree) == 0


def test_items_by_index(Tree):
    tree = filled(made(Tree, "int64"), range(1000))
    items = list(tree.range())
    for start, stop in [(0, 0), (0, 1), (0, 1000), (5, 5), (990, 1000), (100, 700)]:
        assert tree._entries_at(start, stop) == items[start:stop]


# ---- shapes that a tree may take ----

ORDERS = {
    "ascending": lambda n: range(n),
    "descending": lambda n: range(n - 1, -1, -1),
    "from both ends": lambda n: [i // 2 if i % 2 else n - 1 - i // 2 for i in range(n)],
    "from the middle": lambda n: sorted(range(n), key=lambda i: abs(i - n // 2)),
    "by strides": lambda n: [i * 7919 % n for i in range(n)],
    "at random": lambda n: random.Random(7).sample(range(n), n),
    "runs backward": lambda n: [run * 50 + i for run in range(n // 50 - 1, -1, -1) for i in range(50)],
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("key_type", ["object", "int64"])
def test_tree_grows_and_shrinks_in_any_order(Tree, key_type, order):
    n = 5000
    tree = made(Tree, key_type)
    for i, key in enumerate(order(n)):
        put(tree, key, -key)
        if i % 997 == 0:
            tree.check()
    tree.check()
    assert list(tree) == list(range(n))
    assert tree.stats()["height"] <= 4
    assert tree.stats()["fill"] > 0.45
    for i, key in enumerate(order(n)):
        assert tree.delete_range(key, key, include=(True, True)) == 1
        if i % 997 == 0:
            tree.check()
    assert list(tree) == []
    tree.check()
    put(tree, 3)
    assert list(tree) == [3]


def test_hundred_thousand_entries_in_a_tree_of_several_levels(Tree):
    dice = random.Random(8)
    numbers = dice.sample(range(1_000_000), 100_000)
    tree = made(Tree, "int64")
    tree.insert_many(numbers[:50_000], *([] if Tree.__name__ == "SetTree" else [numbers[:50_000]]))
    for number in numbers[50_000:]:
        put(tree, number, number)
    tree.check()
    expected = sorted(numbers)
    assert list(tree) == expected
    for number in dice.sample(range(1_000_000), 2000):
        assert tree.rank(number) == bisect_left(expected, number)
        assert tree.rank_right(number) == bisect_right(expected, number)
    for number in numbers[:20_000]:
        tree.delete_range(number, number, include=(True, True))
    tree.check()
    assert list(tree) == sorted(numbers[20_000:])
    assert tree.delete_range(250_000, 750_000) == sum(
        250_000 <= number < 750_000 for number in numbers[20_000:]
    )
    tree.check()


def test_values_that_are_none_or_false_are_values(twin):
    for value in (None, False, 0, "", (), float("nan")):
        tree = twin.MapTree("int64")
        tree[1] = value
        assert tree[1] is tree.get(1, "default") is tree.setdefault(1, "default") is value
        assert tree.pop(1, "default") is value
        many = twin.MultiMapTree("str")
        many.add("a", value)
        assert many.get("a", "default") is value
        assert many.get_all("a")[0] is value


# ---- what a tree says of itself ----


@every_key_type
def test_tree_tells_its_types(twin, key_type):
    for value_type in ("object", "int64", "float64"):
        for name in ("MapTree", "MultiMapTree"):
            tree = getattr(twin, name)(key_type, value_type)
            assert (tree.key_type, tree.value_type, tree.frozen) == (key_type, value_type, False)
    tree = twin.SetTree(key_type)
    assert (tree.key_type, tree.value_type, tree.frozen) == (key_type, None, False)
    for name in ("key_type", "value_type", "frozen"):
        with pytest.raises(AttributeError):
            setattr(tree, name, "int64")


def test_tree_of_objects_is_made_if_nothing_is_said(Tree):
    tree = Tree()
    assert tree.key_type == "object"
    assert tree.value_type == (None if Tree.__name__ == "SetTree" else "object")


def test_types_are_given_by_place(twin):
    with pytest.raises(TypeError):
        twin.MapTree(key_type="int64")
    with pytest.raises(TypeError):
        twin.SetTree("int64", "object")


def test_length_and_truth(Tree):
    tree = made(Tree, "int64")
    assert (len(tree), bool(tree)) == (0, False)
    put(tree, 1)
    assert (len(tree), bool(tree)) == (1, True)
    tree.clear()
    assert (len(tree), bool(tree)) == (0, False)
    tree.clear()
    tree.check()


def test_tree_that_was_never_constructed_is_an_empty_one(Tree):
    """Code may make one without its constructor; it is a tree of objects, and no crash."""
    tree = Tree.__new__(Tree)
    assert len(tree) == 0
    assert list(tree) == []
    tree.check()
    put(tree, "a", 1)
    assert list(tree) == ["a"]
    assert tree.snapshot().key_type == "object"


def test_tree_is_not_constructed_anew_while_it_holds_entries(Tree):
    tree = filled(made(Tree, "int64"), range(100))
    snapshot = tree.snapshot()
    before = list(tree.range())
    for each in (tree, snapshot):
        with pytest.raises((TypeError, ValueError)):
            each.__init__("str")
        assert list(each.range()) == before
        assert each.key_type == "int64"
        each.check()


def test_check_of_a_good_tree_says_nothing(Tree):
    assert made(Tree).check() is None
    assert filled(made(Tree), range(1000)).check() is None
    assert issubclass(BrokenTree, AssertionError)


@pytest.mark.parametrize("name", ["MapTree", "SetTree", "MultiMapTree"])
def test_twins_are_named_alike(name):
    compiled, fallback = (
        getattr(import_module(f"penstock.btree._btree_{impl}"), name) for impl in ("c", "py")
    )
    assert compiled.__name__ == fallback.__name__ == name
    assert compiled.__qualname__ == fallback.__qualname__


def test_trees_are_not_hashed_by_what_they_hold(Tree):
    """The public classes say what == and hash are; a bare tree is at least not equal to all others."""
    one, other = filled(made(Tree, "int64"), [1]), filled(made(Tree, "int64"), [2])
    assert one != other
    assert one == one
    assert key_of(one.first_item()) == 1
