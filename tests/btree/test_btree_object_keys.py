"""Keys that are objects: ordered by `<` alone, whatever `<` does, and whatever goes on while it runs."""

import decimal
import functools
import gc
import math
import random
import sys
from collections import namedtuple
from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest
from tree_keys import Key, LastAct, LastActKey, filled, made, put, refuses
from tree_models import Number, Text

from penstock.btree.errors import BrokenTree, TreeChanged
from penstock.errors import InvalidValue

SIZE = 300


@pytest.fixture(autouse=True)
def calm_keys():
    yield
    Key.act = None


def loaded(Tree, size=SIZE, step=2):
    """A tree of keys 0, 2, 4 ..., made without one comparison."""
    tree = made(Tree)
    numbers = range(0, size * step, step)
    tree._load_sorted(
        list(map(Key, numbers)), None if Tree.__name__ == "SetTree" else list(map(str, numbers)), 0.9, False
    )
    return tree


def numbers(tree):
    return [key.number for key in tree]


def state(tree):
    """Every key by identity, and every value."""
    return [(id(item[0]), item[1]) if isinstance(item, tuple) else id(item) for item in tree.range()]


LOOKS = {
    "in": lambda tree: Key(201) in tree,
    "in, there": lambda tree: Key(200) in tree,
    "rank": lambda tree: tree.rank(Key(200)),
    "rank_right": lambda tree: tree.rank_right(Key(200)),
    "floor_item": lambda tree: tree.floor_item(Key(201)),
    "lower_item": lambda tree: tree.lower_item(Key(200)),
    "ceiling_item": lambda tree: tree.ceiling_item(Key(201)),
    "higher_item": lambda tree: tree.higher_item(Key(598)),
    "count": lambda tree: tree.count(Key(100), Key(401)),
    "range": lambda tree: tree.range(Key(100), Key(401)),
    "range back": lambda tree: tree.range(Key(100), Key(401), reverse=True),
    "keys_range": lambda tree: tree.keys_range(Key(100), Key(401), include=(False, True)),
    "rank_many": lambda tree: tree.rank_many([Key(3), Key(300), Key(-1), Key(598)]),
    "contains_many": lambda tree: tree.contains_many([Key(3), Key(300), Key(-1), Key(598)]),
}
EVERY_CHANGE = {
    "delete_many": lambda tree: tree.delete_many([Key(3), Key(300), Key(2), Key(598)]),
    "delete_range": lambda tree: tree.delete_range(Key(100), Key(401)),
    "split_off": lambda tree: tree.split_off(Key(200)),
}
NEW = [Key(number) for number in (5, 7, 301, 9000, -1, 8, 301)]
CHANGES = {
    "MapTree": {
        "[] = of a new key": lambda tree: tree.__setitem__(Key(201), "new"),
        "[] = of an old key": lambda tree: tree.__setitem__(Key(200), "new"),
        "del []": lambda tree: tree.__delitem__(Key(200)),
        "setdefault": lambda tree: tree.setdefault(Key(201), "new"),
        "pop": lambda tree: tree.pop(Key(200)),
        "insert_many": lambda tree: tree.insert_many(NEW, list("abcdefg")),
        "insert_many sorted": lambda tree: tree.insert_many(
            [Key(3), Key(4), Key(5)], list("abc"), sorted=True
        ),
    },
    "SetTree": {
        "add": lambda tree: tree.add(Key(201)),
        "discard": lambda tree: tree.discard(Key(200)),
        "remove": lambda tree: tree.remove(Key(200)),
        "insert_many": lambda tree: tree.insert_many(NEW),
        "insert_many sorted": lambda tree: tree.insert_many([Key(3), Key(4), Key(5)], sorted=True),
    },
    "MultiMapTree": {
        "add": lambda tree: tree.add(Key(200), "new"),
        "remove": lambda tree: tree.remove(Key(200), "200"),
        "pop_all": lambda tree: tree.pop_all(Key(200)),
        "insert_many": lambda tree: tree.insert_many(NEW, list("abcdefg")),
        "insert_many sorted": lambda tree: tree.insert_many(
            [Key(3), Key(4), Key(5)], list("abc"), sorted=True
        ),
    },
}
ONLY_LOOKS = {
    "MapTree": {
        "[]": lambda tree: tree[Key(200)],
        "get": lambda tree: tree.get(Key(201)),
        "values_range": lambda tree: tree.values_range(Key(100), Key(401)),
        "get_many": lambda tree: tree.get_many([Key(4), Key(200), Key(0)]),
        "get_many with a default": lambda tree: tree.get_many([Key(3), Key(200), Key(0)], default=None),
        "setdefault, there": lambda tree: tree.setdefault(Key(200), "new"),
    },
    "SetTree": {},
    "MultiMapTree": {
        "get": lambda tree: tree.get(Key(201)),
        "get_all": lambda tree: tree.get_all(Key(200)),
        "values_range": lambda tree: tree.values_range(Key(100), Key(401)),
        "get_many": lambda tree: tree.get_many([Key(4), Key(201), Key(0)]),
    },
}


def calls(Tree):
    return LOOKS | EVERY_CHANGE | CHANGES[Tree.__name__] | ONLY_LOOKS[Tree.__name__]


class At:
    """Acts at one comparison, counted from 1, and counts them all."""

    def __init__(self, at, act):
        self.at, self.act, self.compared = at, act, 0

    def __call__(self, key, other):
        self.compared += 1
        if self.compared == self.at:
            self.act()


def comparisons(call, tree):
    Key.act = counter = At(0, None)
    call(tree)
    Key.act = None
    return counter.compared


def some(n):
    """A few of 1 to n, the first and the last among them."""
    return sorted({1, 2, 3, n // 3, n // 2, n - 2, n - 1, n} & set(range(1, n + 1)))


class Weary(Exception):
    pass


@pytest.mark.parametrize("size", [1, SIZE, 2600])
def test_comparison_that_raises_leaves_everything_as_it_was(Tree, size):
    def fail():
        raise Weary

    for name, call in calls(Tree).items():
        if size == 1 and name in ("[]", "del []", "pop", "remove", "pop_all", "get_many"):
            continue
        n = comparisons(call, loaded(Tree, size))
        assert n > 0, name
        for at in some(n):
            tree = loaded(Tree, size)
            before = state(tree)
            Key.act = At(at, fail)
            with pytest.raises(Weary):
                call(tree)
            Key.act = None
            tree.check()
            assert state(tree) == before, name


ACTS = {
    "clear": lambda tree: tree.clear(),
    "insert": lambda tree: put(tree, Key(10**6), "act"),
    "insert here": lambda tree: put(tree, Key(201), "act"),
    "remove here": lambda tree: tree.delete_range(Key(150), Key(250)),
    "remove all but the last": lambda tree: tree.delete_range(None, Key(598)),
    "pop first": lambda tree: tree.pop_first(),
    "split off": lambda tree: tree.split_off(Key(120)),
    "insert many": lambda tree: insert_many(tree, [Key(number) for number in range(1, 600, 2)]),
    "fill anew": lambda tree: (tree.clear(), insert_many(tree, [Key(number) for number in range(200)])),
    "one for one": lambda tree: (tree.pop_last(), put(tree, Key(599), "act")),
}


def insert_many(tree, keys):
    tree.insert_many(keys, *([] if type(tree).__name__ == "SetTree" else [["act"] * len(keys)]))


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_comparison_that_changes_the_tree_is_noticed_and_the_call_does_nothing(Tree, act):
    changed = loaded(Tree)
    act(changed)
    expected = numbers(changed)
    for name, call in calls(Tree).items():
        for at in some(comparisons(call, loaded(Tree))):
            tree = loaded(Tree)

            def once(tree=tree):
                Key.act = None
                act(tree)

            Key.act = At(at, once)
            with refuses(TreeChanged, "the tree was changed while keys were compared"):
                call(tree)
                pytest.fail(name)
            tree.check()
            assert numbers(tree) == expected, name


def test_comparison_may_look_at_the_tree_and_copy_it(Tree):
    for name, call in calls(Tree).items():
        plain = loaded(Tree)
        call(plain)
        for at in some(comparisons(call, loaded(Tree))):
            tree, kept = loaded(Tree), []

            def once(tree=tree, kept=kept):
                Key.act = None
                kept.extend([tree.snapshot(), tree.copy()])
                assert len(list(tree)) == SIZE
                assert tree.rank(Key(7)) == 4
                tree.check()

            Key.act = At(at, once)
            call(tree)
            tree.check()
            assert numbers(tree) == numbers(plain), name
            for other in kept:
                other.check()
                assert numbers(other) == list(range(0, 2 * SIZE, 2)), name


def test_comparison_may_replace_values(twin):
    for name, call in CHANGES["MapTree"].items():
        for at in some(comparisons(call, loaded(twin.MapTree))):
            tree, plain = loaded(twin.MapTree), loaded(twin.MapTree)

            def once(tree=tree):
                Key.act = None
                for number in range(0, 2 * SIZE, 2):
                    tree[Key(number)] = object()

            Key.act = At(at, once)
            if name.startswith("insert_many"):  # all or nothing: may find that it must not go on
                with suppress(TreeChanged):
                    call(tree)
                    call(plain)
            else:
                call(tree)
                call(plain)
            tree.check()
            assert numbers(tree) == numbers(plain)


def test_comparison_may_drop_the_last_reference_to_keys_and_tree(Tree):
    """The keys that are compared are held by who compares them."""
    tree = loaded(Tree)

    def forget():
        Key.act = None
        tree.clear()
        gc.collect()

    for at in (1, 3, 7):
        filled(tree, map(Key, range(0, 600, 2)))
        Key.act = At(at, forget)
        with pytest.raises(TreeChanged):
            put(tree, Key(201))
        assert len(tree) == 0
        tree.check()


def test_check_notices_a_comparison_that_changes_the_tree(Tree):
    tree = loaded(Tree)

    def once():
        Key.act = None
        tree.clear()

    Key.act = At(50, once)
    with pytest.raises(TreeChanged):
        tree.check()
    tree.check()
    tree = loaded(Tree)

    def fail():
        raise Weary

    Key.act = At(50, fail)
    with pytest.raises(Weary):
        tree.check()
    Key.act = None
    tree.check()


# ---- keys that lie ----


class Liar:
    """Answers as `Liar.answer` says."""

    answer = None

    def __init__(self, number):
        self.number = number

    def __lt__(self, other):
        return Liar.answer(self, other)


class NoTruth:
    def __bool__(self):
        raise Weary


LIES = {
    "always": lambda a, b: True,
    "never": lambda a, b: False,
    "by chance": lambda a, b: random.random() < 0.5,
    "mostly": lambda a, b: (a.number < b.number) != (random.random() < 0.05),
    "in a circle": lambda a, b: (a.number - b.number) % 3 == 1,
    "by no truth": lambda a, b: 17 if a.number < b.number else "",
    "by nothing": lambda a, b: None,
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_lies_about_the_order_do_no_harm(Tree, lie):
    random.seed(8)
    Liar.answer = lie
    tree = made(Tree)
    for number in range(2000):
        put(tree, Liar(number), number)
        if number % 3 == 0:
            tree.delete_many([Liar(random.randrange(2000))])
        if number % 50 == 0:
            tree.delete_range(
                Liar(random.randrange(2000)), Liar(random.randrange(2000)), include=(True, True)
            )
            list(tree.range(Liar(1), Liar(1000), include=(True, True)))
            assert tree.count(Liar(1000), Liar(1)) >= 0
            assert tree.count(Liar(1), Liar(1000)) >= 0
            tree.rank(Liar(3)), tree.floor_item(Liar(5)), tree.higher_item(Liar(7))
            tree.split_off(Liar(1500))
            insert_many(tree, [Liar(random.randrange(2000)) for _ in range(100)])
            assert len(list(tree)) == len(tree)
            assert len(list(reversed(tree))) == len(tree)
    with suppress(BrokenTree):
        tree.check()
    snapshot = tree.snapshot()
    while tree:
        tree.pop_first()
    tree.check()
    assert len(list(snapshot)) == len(snapshot)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda a, b: NoTruth(), Weary),
        (lambda a, b: NotImplemented, TypeError),
        (lambda a, b: np.array([True, False]), ValueError),
        (lambda a, b: a < b, RecursionError),
    ],
    ids=["no truth", "not implemented", "array", "recursion"],
)
def test_answer_that_is_none_is_an_error(Tree, answer, error):
    Liar.answer = lambda a, b: a.number < b.number
    tree = filled(made(Tree), map(Liar, range(100)), value=lambda key: key.number)
    before = state(tree)
    Liar.answer = answer
    for call in (
        lambda: put(tree, Liar(50)),
        lambda: tree.rank(Liar(3)),
        lambda: tree.delete_many([Liar(5)]),
    ):
        with pytest.raises(error):
            call()
    with pytest.raises(error):
        put(made(Tree), Liar(1))
    Liar.answer = lambda a, b: a.number < b.number
    tree.check()
    assert state(tree) == before


def test_keys_that_change_their_minds_are_found_by_check(Tree):
    tree = loaded(Tree)
    key = tree.keys_range(Key(200)).__next__()
    key.number = 9000
    with pytest.raises(BrokenTree):
        tree.check()
    assert len(list(tree)) == SIZE
    put(tree, Key(201), "new")
    tree.delete_range(Key(100), Key(300))
    key.number = 200
    tree.check()
    lists = filled(made(Tree), [[number] for number in range(SIZE)])
    changed = next(lists.keys_range([100]))
    changed[0] = -5
    with pytest.raises(BrokenTree):
        lists.check()
    changed[0] = 100
    lists.check()


# ---- destructors ----


def test_destructors_of_values_may_do_anything_to_the_tree(twin):
    for name in ("MapTree", "MultiMapTree"):
        for act in ACTS.values():
            for call in (EVERY_CHANGE | CHANGES[name]).values():
                tree = getattr(twin, name)()
                acted = []

                def once(tree=tree, acted=acted, act=act):
                    if not acted:
                        acted.append(1)
                        try:
                            act(tree)
                        except KeyError:
                            acted.append("nothing to pop")

                tree._load_sorted(
                    [Key(n) for n in range(0, 600, 2)], [LastAct(once) for _ in range(300)], 0.9, False
                )
                with suppress(KeyError):  # values here are no texts
                    call(tree)
                tree.check()
                assert len(list(tree)) == len(tree)
                tree.clear()
                tree.check()
                assert acted


def test_destructors_of_keys_may_do_anything_to_the_tree(Tree):
    for act in ACTS.values():
        for call in (EVERY_CHANGE | CHANGES[Tree.__name__] | {"clear": lambda tree: tree.clear()}).values():
            tree = made(Tree)
            acted = []

            def once(tree=tree, acted=acted, act=act):
                if not acted:
                    acted.append(1)
                    try:
                        act(tree)
                    except KeyError:
                        acted.append("nothing to pop")

            keys = [LastActKey(n, once) for n in range(0, 600, 2)]
            tree._load_sorted(keys, None if Tree.__name__ == "SetTree" else keys, 0.9, False)
            del keys
            with suppress(KeyError):  # values here are no texts
                call(tree)
            tree.check()
            assert len(list(tree)) == len(tree)
            tree.clear()
            tree.check()
            assert acted


def test_destructor_finds_the_tree_after_the_call_that_let_it_go(twin):
    seen = []
    tree = twin.MapTree()
    act = lambda: seen.append((len(tree), list(tree.range())))  # noqa: E731
    tree[1], tree[2] = LastAct(act), "two"
    tree[1] = "one"
    assert seen.pop() == (2, [(1, "one"), (2, "two")])
    tree[1] = LastAct(act)
    del tree[1]
    assert seen.pop() == (1, [(2, "two")])
    tree[3] = LastAct(act)
    tree.delete_range(3)
    assert seen.pop() == (1, [(2, "two")])
    tree[3] = LastAct(act)
    tree.insert_many([3], ["three"])
    assert seen.pop() == (2, [(2, "two"), (3, "three")])
    tree[3] = LastAct(act)
    tree.clear()
    assert seen.pop() == (0, [])
    assert seen == []
    tree.check()


def test_destructor_of_the_tree_s_last_entries_runs_when_the_tree_goes(Tree):
    gone = []
    tree = filled(
        made(Tree), [LastActKey(n, lambda: gone.append(1)) for n in range(500)], value=lambda key: None
    )
    del tree
    gc.collect()
    assert len(gone) == 500


def test_error_in_a_destructor_is_reported_and_does_no_harm(twin, monkeypatch):
    def fail():
        raise Weary

    reported = []  # of each its type alone: its traceback would hold the tree's own lists
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: reported.append(unraisable.exc_type))
    tree = filled(twin.MapTree("int64"), range(300), value=lambda key: LastAct(fail))
    tree[5] = "new"
    del tree[7]
    assert tree.delete_range(100, 200) == 100
    tree.clear()
    assert reported == [Weary] * 300
    tree.check()


# ---- what is a key ----


@pytest.mark.parametrize("key", [object(), None, 1j, {}, {"a": 1}, type, len, (object(), 1), ...], ids=str)
def test_what_has_no_order_is_refused_at_once(Tree, key):
    if type(key) is tuple:  # a tuple finds its own parts the same before it compares them
        tree = filled(made(Tree), [key])
        with pytest.raises(TypeError):
            put(tree, (object(), 1))
        tree.check()
        assert list(tree) == [key]
        return
    tree = made(Tree)
    with pytest.raises(TypeError, match="not supported between instances"):
        put(tree, key)
    assert len(tree) == 0
    with pytest.raises(TypeError):
        insert_many(tree, [key])
    assert len(tree) == 0
    tree.check()
    put(tree, 5)
    assert list(tree) == [5]


@pytest.mark.parametrize(
    ("keys", "stranger"),
    [
        (range(200), "a"),
        (range(200), None),
        (range(200), (1,)),
        (range(200), b"a"),
        (range(200), 1j),
        ([f"{n}" for n in range(200)], 1),
        ([f"{n}" for n in range(200)], b"a"),
        ([f"{n}" for n in range(200)], ("a",)),
        ([b"%d" % n for n in range(200)], "a"),
        ([b"%d" % n for n in range(200)], 5),
        ([n / 2 for n in range(200)], "a"),
        ([n / 2 for n in range(200)], [1]),
        ([(n, "a") for n in range(200)], ("a", "a")),
        ([(n, "a") for n in range(200)], (50, 3)),
        ([(n, "a") for n in range(200)], 5),
        ([(n, "a") for n in range(200)], (None,)),
        ([(n, "a") for n in range(200)], [5, "a"]),
        ([("a", n) for n in range(200)], ("a", "b")),
        ([Fraction(n, 3) for n in range(200)], "a"),
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_keys_of_another_kind_are_refused_and_change_nothing(Tree, keys, stranger):
    tree = filled(made(Tree), keys)
    before = state(tree)
    for call in (
        lambda: put(tree, stranger),
        lambda: stranger in tree,
        lambda: tree.rank(stranger),
        lambda: tree.floor_item(stranger),
        lambda: tree.range(stranger),
        lambda: tree.count(None, stranger),
        lambda: tree.delete_range(stranger),
        lambda: tree.delete_many([stranger]),
        lambda: tree.contains_many([stranger]),
        lambda: insert_many(tree, [stranger]),
        lambda: insert_many(tree, [keys[0], stranger]),
        lambda: tree.split_off(stranger),
    ):
        if stranger is None and call.__code__.co_names[:1] in (("range",), ("count",), ("delete_range",)):
            continue
        with pytest.raises(TypeError):
            call()
        tree.check()
        assert state(tree) == before
    put(tree, keys[7], "again")
    tree.check()


def test_nan_is_no_key(Tree):
    for tree in (made(Tree), filled(made(Tree), [1.0, 2.0]), filled(made(Tree), range(100))):
        before = list(tree)
        for call in (
            lambda: put(tree, math.nan),  # noqa: B023
            lambda: math.nan in tree,  # noqa: B023
            lambda: tree.rank(-math.nan),  # noqa: B023
            lambda: tree.range(max=math.nan),  # noqa: B023
            lambda: insert_many(tree, [3, math.nan]),  # noqa: B023
            lambda: tree.delete_many([math.nan]),  # noqa: B023
            lambda: tree.rank_many([1, math.nan]),  # noqa: B023
            lambda: tree._load_sorted([math.nan], None if Tree.__name__ == "SetTree" else [1], 0.9, True),  # noqa: B023
        ):
            with pytest.raises(InvalidValue):
                call()
        assert list(tree) == before
        tree.check()


def test_nan_within_a_key_does_no_harm(Tree):
    class Odd(float):
        pass

    for make in (
        Odd,
        lambda value: (value,),
        lambda value: (value, "a"),
        np.float64,
        lambda value: (1, value),
    ):
        tree = made(Tree)
        for n in range(500):
            try:
                put(tree, make(math.nan if n % 3 == 0 else n * 7 % 500 / 2))
            except InvalidValue:
                continue
        assert len(list(tree)) == len(tree)
        with suppress(BrokenTree):
            tree.check()
        for n in range(500):
            tree.delete_many([make(n / 2)])
            tree.delete_many(
                [next(iter(tree))] if tree and math.nan not in np.ravel(next(iter(tree))) else []
            )
        tree.clear()
        tree.check()


def test_decimal_nan_raises_what_its_comparison_raises(Tree):
    tree = filled(made(Tree), map(decimal.Decimal, range(100)))
    for call in (lambda: put(tree, decimal.Decimal("nan")), lambda: tree.rank(decimal.Decimal("nan"))):
        with pytest.raises(decimal.InvalidOperation):
            call()
    assert len(tree) == 100
    tree.check()


def test_tuples_as_deep_as_memory_do_not_end_the_stack(Tree):
    def nested():
        key = ()
        for _ in range(200_000):
            key = (key,)
        return key

    one, other = nested(), nested()
    tree = filled(made(Tree), [one], value=id)
    for call in (lambda: put(tree, other), lambda: tree.rank(other), lambda: tree.delete_many([other])):
        with pytest.raises(RecursionError):
            call()
    assert len(tree) == 1
    tree.clear()
    tree.check()


def test_first_of_equal_keys_stays(twin):
    one, other = Number(5), Number(5)
    for old, new in [
        (one, other),
        (1, 1.0),
        (1.0, True),
        (Text("a"), "a"),
        ((1,), (1.0,)),
        (Key(3), Key(3)),
        (0.0, -0.0),
    ]:
        tree = twin.MapTree()
        tree[old] = "old"
        tree[new] = "new"
        tree.setdefault(new, "newest")
        assert tree.insert_many([new], ["many"]) == 0
        assert next(iter(tree)) is old
        assert list(tree.values_range()) == ["many"]
        assert tree.floor_item(new)[0] is old
        keys = twin.SetTree()
        keys.add(old)
        keys.add(new)
        keys.insert_many([new, new])
        assert [key is old for key in keys] == [True]
        both = twin.MultiMapTree()
        both.add(old, "old")
        both.add(new, "new")
        assert [key is expected for key, expected in zip(both, (old, new), strict=True)] == [True, True]


def test_first_of_equal_keys_in_a_batch_stays(twin):
    keys = [Number(5), Number(3), Number(5), Number(3), Number(5)]
    for sort in (False, True):
        given = sorted(keys) if sort else keys
        firsts = [next(key for key in given if key == number) for number in (3, 5)]
        tree = twin.MapTree()
        tree.insert_many(given, range(5), sorted=sort)
        assert [key is first for key, first in zip(tree, firsts, strict=True)] == [True, True]
        one = twin.SetTree()
        one.insert_many(given, sorted=sort)
        assert [key is first for key, first in zip(one, firsts, strict=True)] == [True, True]


def test_keys_that_are_the_same_object_are_still_compared(twin):
    """`<` alone says what is equal: an object that is less than itself is no equal of itself."""

    class Less:
        def __lt__(self, other):
            return True

    key = Less()
    tree = twin.MultiMapTree()
    tree.add(key, 1)
    assert len(tree) == 1


class BackwardText(str):
    __slots__ = ()

    def __lt__(self, other):
        return str.__gt__(self, other)


class BackwardInt(int):
    def __lt__(self, other):
        return int.__gt__(self, other)


class BackwardBytes(bytes):
    def __lt__(self, other):
        return bytes.__gt__(self, other)


class BackwardFloat(float):
    def __lt__(self, other):
        return float.__gt__(self, other)


class BackwardTuple(tuple):
    __slots__ = ()

    def __lt__(self, other):
        return tuple.__gt__(self, other)


@pytest.mark.parametrize(
    ("key_types", "keys"),
    [
        (("object", "str"), [BackwardText(f"{n:03}") for n in range(300)]),
        (("object", "bytes"), [BackwardBytes(b"%03d" % n) for n in range(300)]),
        (("object",), [BackwardInt(n) for n in range(300)]),
        (("object",), [BackwardFloat(n / 2) for n in range(300)]),
        (("object",), [BackwardTuple((n,)) for n in range(300)]),
        (("object",), [(BackwardInt(n),) for n in range(300)]),
        (("object",), [functools.cmp_to_key(lambda a, b: b - a)(n) for n in range(300)]),
    ],
    ids=lambda value: str(type(value[0]).__name__),
)
def test_subclass_with_an_order_of_its_own_is_kept_in_that_order(Tree, key_types, keys):
    for key_type in key_types:
        tree = filled(made(Tree, key_type), random.Random(2).sample(keys, len(keys)))
        tree.check()
        assert [id(key) for key in tree] == [id(key) for key in keys[::-1]]
        assert tree.rank(keys[10]) == 289
        many = made(Tree, key_type)
        insert_many(many, keys)
        many.check()
        assert [id(key) for key in many] == [id(key) for key in keys[::-1]]


def test_key_of_its_own_order_among_plain_ones_is_asked_itself(Tree):
    """A tree of plain ints or strs that meets another class goes on by asking `<`."""
    for key_of, odd_of in ((int, Number), (lambda n: f"{n:04}", lambda n: Text(f"{n:04}"))):
        plain = [key_of(n) for n in range(0, 600, 2)]
        odd = [odd_of(n) for n in (1001, 13, 255)]
        tree = filled(made(Tree), plain)
        for key in odd:
            put(tree, key, "odd")
            tree.check()
        assert list(tree) == sorted([*plain, *odd])
        for key in (*plain, *odd):
            assert key in tree
            assert tree.rank(key) == sorted([*plain, *odd]).index(key)
        tree.delete_many(odd)
        tree.check()
        assert list(tree) == plain


Point = namedtuple("Point", "x y")
KINDS = {
    "ints": list(range(0, 900, 3)),
    "big ints": [2**64 + n for n in range(300)],
    "ints of both signs beyond a word": [(n - 150) * 2**62 for n in range(300)],
    "floats": [n / 7 for n in range(300)],
    "ints and floats": [n if n % 2 else n + 0.5 for n in range(300)],
    "ints and bools": [*range(2, 300), True, False],
    "words": [f"{n:04}" for n in range(300)],
    "words with one beginning": [f"the same beginning of all {n:04}" for n in range(300)],
    "words of two widths": [f"{chr(250 + n)}x" for n in range(300)],
    "words of three widths": [
        chr(200 + n * 700) + "abc" for n in range(300) if not 0xD800 <= 200 + n * 700 < 0xE000
    ],
    "long and short": ["a" * n for n in range(300)],
    "bytes": [b"%04d" % n for n in range(300)],
    "bytes of zeros": [b"\x00" * n for n in range(300)],
    "tuples of ints": [(n // 20, n % 20) for n in range(300)],
    "tuples of words": [(f"{n // 20:03}", f"{n % 20:02}") for n in range(300)],
    "tuples of one": [(n,) for n in range(300)],
    "tuples of many lengths": [(n // 3, *"ab"[: n % 3]) for n in range(300)],
    "tuples of ints and floats": [(n if n % 2 else n + 0.5, "x") for n in range(300)],
    "tuples of tuples": [((n // 20, "a"), n % 20) for n in range(300)],
    "empty tuple and others": [(), *[(n,) for n in range(300)]],
    "named tuples": [Point(n // 20, n % 20) for n in range(300)],
    "named tuples and tuples": [(Point if n % 2 else lambda *xy: xy)(n // 20, n % 20) for n in range(300)],
    "lists": [[n // 20, n % 20] for n in range(300)],
    "fractions": [Fraction(n, 7) for n in range(300)],
    "decimals and ints": [decimal.Decimal(n) / 4 if n % 2 else n for n in range(300)],
    "own": [Key(n) for n in range(300)],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_objects_of_every_kind_are_in_their_order(Tree, kind, seed):
    keys = sorted(KINDS[kind])
    dice = random.Random(seed)
    tree = filled(made(Tree), dice.sample(keys, len(keys)))
    tree.check()
    assert [id(key) for key in tree] == [id(key) for key in keys]
    for key in dice.sample(keys, 60):
        at = next(i for i, each in enumerate(keys) if not each < key)
        assert key in tree
        assert tree.rank(key) == at
        assert next(tree.keys_range(key)) is keys[at]
        assert tree.count(None, key) == at
    gone = dice.sample(range(len(keys)), 150)
    assert tree.delete_many([keys[at] for at in gone]) == 150
    tree.check()
    left = [key for at, key in enumerate(keys) if at not in set(gone)]
    assert [id(key) for key in tree] == [id(key) for key in left]
    for at in gone:
        assert keys[at] not in tree
    loaded = made(Tree)
    loaded._load_sorted(keys, None if Tree.__name__ == "SetTree" else keys, 0.9, True)
    loaded.check()
    assert loaded.rank_many(keys).tolist() == list(range(len(keys)))
    many = made(Tree)
    insert_many(many, dice.sample(keys, len(keys)))
    many.check()
    assert [id(key) for key in many] == [id(key) for key in keys]


@pytest.mark.parametrize("first", KINDS)
def test_emptied_tree_takes_keys_of_another_kind(Tree, first):
    tree = filled(made(Tree), KINDS[first])
    for then in ("words", "ints", "tuples of words", "own", "floats", "bytes"):
        for empty in (
            lambda tree: tree.clear(),
            lambda tree: tree.delete_range(),
            lambda tree: tree.delete_many(list(tree)),
        ):
            empty(tree)
            tree.check()
            filled(tree, KINDS[then])
            tree.check()
            assert list(tree) == KINDS[then]
