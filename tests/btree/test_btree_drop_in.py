"""The classes with the names of sortedcontainers do what those do, except where the module says so."""

import copy
import pickle
from collections.abc import MutableMapping, MutableSet, Sequence
from functools import partial

import numpy as np
import pytest
import sortedcontainers
from hypothesis import given
from hypothesis import strategies as st

from penstock.btree import SortedDict, SortedKeyList, SortedList, SortedSet, TreeChanged, drop_in
from penstock.errors import InvalidType

values = st.integers(-9, 9)
bound = st.none() | values
places = st.none() | st.integers(-12, 12)
both = st.tuples(st.booleans(), st.booleans())
slices = st.builds(slice, places, places, st.none() | st.integers(-3, 3).filter(bool))


def by_size(value):
    return abs(value)


REFUSALS = (KeyError, IndexError, ValueError, NotImplementedError)


def outcome(call):
    """What a call returns, iterators as lists and containers by their repr; or the kind of its error."""
    try:
        result = call()
    except REFUSALS as error:
        return next(kind for kind in REFUSALS if isinstance(error, kind))
    if hasattr(result, "__next__"):
        return list(result)
    return repr(result) if type(result).__name__.startswith("Sorted") else result


def called(name, *strategies, **options):
    """A strategy for a call of a method: its name and arguments."""
    return st.tuples(st.just(name), st.tuples(*strategies), st.fixed_dictionaries({}, optional=options))


ranges = {"minimum": bound, "maximum": bound, "inclusive": both, "reverse": st.booleans()}
islices = {"start": places, "stop": places, "reverse": st.booleans()}
of_all = [
    called("__len__"),
    called("__contains__", values),
    called("clear"),
    called("bisect_left", values),
    called("bisect_right", values),
    called("bisect", values),
    called("index", values, start=places, stop=places),
    called("irange", **ranges),
    called("islice", **islices),
    called("copy"),
    called("__iter__"),
    called("__reversed__"),
]  # fmt: skip
of_lists = st.one_of(
    *of_all,
    called("add", values),
    called("update", st.lists(values, max_size=12)),
    called("discard", values),
    called("remove", values),
    called("pop"),
    called("pop", st.integers(-12, 12)),
    called("count", values),
    called("__getitem__", st.integers(-12, 12)),
    called("__getitem__", slices),
    called("__delitem__", st.integers(-12, 12)),
    called("__delitem__", slices),
    called("__add__", st.lists(values, max_size=3)),
    called("__mul__", st.integers(0, 3)),
    called("append", values),
    called("insert", values, values),
    called("extend", st.just([])),
    called("reverse"),
    called("__setitem__", values, values),
)
of_sets = st.one_of(
    *of_all,
    called("add", values),
    called("discard", values),
    called("remove", values),
    called("pop"),
    called("pop", st.integers(-12, 12)),
    called("count", values),
    called("__getitem__", st.integers(-12, 12)),
    called("__getitem__", slices),
    called("__delitem__", st.integers(-12, 12)),
    called("__delitem__", slices),
    called("union", st.lists(values, max_size=5), st.sets(values, max_size=5)),
    called("intersection", st.lists(values)),
    called("difference", st.lists(values, max_size=5)),
    called("symmetric_difference", st.sets(values, max_size=5)),
    called("isdisjoint", st.lists(values, max_size=5)),
    called("issubset", st.lists(values)),
    called("issuperset", st.lists(values, max_size=3)),
    called("__or__", st.sets(values, max_size=5)),
    called("__and__", st.sets(values)),
    called("__sub__", st.sets(values, max_size=5)),
    called("__xor__", st.sets(values, max_size=5)),
    called("__le__", st.sets(values)),
    called("__lt__", st.sets(values)),
    called("__ge__", st.sets(values, max_size=3)),
    called("__gt__", st.sets(values, max_size=3)),
)
of_dicts = st.one_of(
    *of_all,
    called("__getitem__", values),
    called("__setitem__", values, values),
    called("__delitem__", values),
    called("get", values),
    called("get", values, values),
    called("setdefault", values),
    called("setdefault", values, values),
    called("pop", values),
    called("pop", values, values),
    called("popitem"),
    called("popitem", st.integers(-12, 12)),
    called("peekitem"),
    called("peekitem", st.integers(-12, 12)),
    called("update", st.dictionaries(values, values)),
    called("update", st.lists(st.tuples(values, values), max_size=9)),
    called("__or__", st.dictionaries(values, values)),
    called("__ior__", st.dictionaries(values, values, max_size=4)),
)


def check_same(ours, theirs, calls):
    for name, arguments, options in calls:
        mine, its = (
            outcome(partial(getattr(container, name), *arguments, **options)) for container in (ours, theirs)
        )
        assert mine == its, (name, arguments, options)
        assert repr(ours) == repr(theirs)
        assert list(ours) == list(theirs)
        assert list(reversed(ours)) == list(reversed(theirs))


@given(st.lists(values, max_size=40), st.lists(of_lists, max_size=12))
def test_list_does_the_same(items, calls):
    check_same(SortedList(items), sortedcontainers.SortedList(items), calls)


of_key_lists = st.one_of(
    of_lists,
    called("bisect_key_left", values),
    called("bisect_key_right", values),
    called("bisect_key", values),
    called("irange_key", bound, bound, inclusive=both, reverse=st.booleans()),
)


@given(st.lists(values, max_size=40), st.lists(of_key_lists, max_size=12))
def test_key_list_does_the_same(items, calls):
    check_same(SortedKeyList(items, key=by_size), sortedcontainers.SortedKeyList(items, key=by_size), calls)


# update and its like return the set itself there; pop of an empty set is an IndexError in both
@given(st.lists(values, max_size=40), st.lists(of_sets, max_size=12))
def test_set_does_the_same(items, calls):
    check_same(SortedSet(items), sortedcontainers.SortedSet(items), calls)


@given(st.dictionaries(values, values, max_size=30), st.lists(of_dicts, max_size=12))
def test_dict_does_the_same(items, calls):
    check_same(SortedDict(items), sortedcontainers.SortedDict(items), calls)


@given(st.dictionaries(values, values, max_size=30), st.lists(st.integers(-12, 12) | slices, max_size=6))
def test_views_of_a_dict_have_the_same_indexes(items, indexes):
    for name in ("keys", "values", "items"):
        mine, theirs = SortedDict(items), sortedcontainers.SortedDict(items)
        ours, its = getattr(mine, name)(), getattr(theirs, name)()
        for at in indexes:
            assert outcome(lambda: ours[at]) == outcome(lambda: its[at])  # noqa: B023
            if name != "values":
                assert outcome(lambda: ours.__delitem__(at)) == outcome(lambda: its.__delitem__(at))  # noqa: B023
            assert list(ours) == list(its)
        assert list(mine.items()) == list(theirs.items())


@given(st.lists(values, max_size=12), st.lists(values, max_size=12))
def test_lists_compare_as_lists_do(first, second):
    one, other = SortedList(first), SortedList(second)
    first, second = sorted(first), sorted(second)
    for right, plain in ((other, second), (second, second)):
        assert (one == right, one != right) == (first == plain, first != plain)
        assert (one < right, one <= right) == (first < plain, first <= plain)
        assert (one > right, one >= right) == (first > plain, first >= plain)
    assert one != 3


def test_lists_in_place_operators_change_the_list_itself():
    values = alias = SortedList([3, 1])
    values += [2]
    assert list(alias) == [1, 2, 3]
    values *= 2
    assert values is alias
    assert list(alias) == [1, 1, 2, 2, 3, 3]


def test_thousands_of_values():
    numbers = [n * 7919 % 5003 for n in range(12_000)]
    ours, theirs = SortedList(numbers), sortedcontainers.SortedList(numbers)
    assert list(ours.islice(100, 11_000)) == list(theirs.islice(100, 11_000))
    assert list(ours.islice(100, 11_000, reverse=True)) == list(theirs.islice(100, 11_000, reverse=True))
    assert ours[50:9000:700] == theirs[50:9000:700]
    for n in range(0, 12_000, 997):
        assert (ours[n], ours.bisect(n), ours.count(n)) == (theirs[n], theirs.bisect(n), theirs.count(n))
    del ours[1000:8000], theirs[1000:8000]
    assert list(ours) == list(theirs)


def test_key_function_makes_a_key_list_and_is_called_once_for_a_value():
    seen = []
    values = SortedList([], key=lambda value: seen.append(value) or -value)
    assert type(values) is SortedKeyList
    values.update([1, 3, 2])
    values.add(4)
    assert list(values) == [4, 3, 2, 1]
    assert seen == [1, 3, 2, 4]
    assert SortedKeyList([2, 1]).key(7) == 7
    assert SortedList().key is None


def test_key_function_is_refused_by_what_has_none():
    for make in (lambda: SortedDict(by_size, {}), lambda: SortedSet([], key=by_size)):
        with pytest.raises(InvalidType, match="key must be None: only SortedKeyList orders by a function"):
            make()

    class Own(SortedList):
        pass

    with pytest.raises(InvalidType, match="key must be None for a Own: derive from SortedKeyList"):
        Own([], key=by_size)
    assert dict(SortedDict(None, {1: 2}).items()) == {1: 2}
    assert dict(SortedDict({"b": 1}, a=3).items()) == {"a": 3, "b": 1}


@pytest.mark.parametrize(
    "container",
    [SortedDict({1: [2]}), SortedSet([1, 2]), SortedList([2, 1, 1]), SortedKeyList([2, -1], key=by_size)],
    ids=lambda container: type(container).__name__,
)
def test_copies_and_pickles_are_of_the_same_class_and_apart(container):
    for again in (
        container.copy(),
        copy.copy(container),
        copy.deepcopy(container),
        pickle.loads(pickle.dumps(container)),
    ):
        assert type(again) is type(container)
        assert repr(again) == repr(container)
        again.clear()
        assert len(container) > 0


def test_what_they_are():
    assert isinstance(SortedDict(), MutableMapping)
    assert isinstance(SortedSet(), MutableSet)
    assert isinstance(SortedSet(), Sequence)
    assert isinstance(SortedList(), Sequence)
    with pytest.raises(TypeError, match="unhashable"):
        hash(SortedList())


def test_container_in_itself_is_shown_once():
    values = SortedDict({1: 2})
    values[2] = values
    assert repr(values) == "SortedDict({1: 2, 2: ...})"


# ---- what is different, as the module says


def test_keys_are_found_by_order_without_a_hash():
    assert SortedSet([[2], [1]])[0] == [1]
    with pytest.raises(TypeError):
        "a" in SortedDict({1: 2})  # noqa: B015


def test_change_ends_an_iteration():
    for container, change in [(SortedList([1, 2, 3]), "add"), (SortedSet([1, 2, 3]), "add")]:
        steps = iter(container)
        next(steps)
        getattr(container, change)(9)
        with pytest.raises(TreeChanged):
            next(steps)


def test_every_public_method_of_sortedcontainers_is_there():
    for name in drop_in.__all__:
        ours, theirs = getattr(drop_in, name)(), getattr(sortedcontainers, name)()
        wanted = {each for each in dir(theirs) if not each.startswith("_")}
        assert wanted - {"DEFAULT_LOAD_FACTOR", "iloc"} <= set(
            dir(ours)
        )  # how it is tuned, and what is deprecated


@given(st.lists(st.lists(values, max_size=9), max_size=3), st.lists(values, max_size=20))
def test_sets_are_changed_as_theirs_are(arguments, items):
    for name in ("update", "difference_update", "intersection_update"):
        ours, theirs = SortedSet(items), sortedcontainers.SortedSet(items)
        getattr(ours, name)(*arguments)
        getattr(theirs, name)(*arguments)
        assert list(ours) == list(theirs)


@given(st.lists(st.text(max_size=2)), st.lists(st.text(max_size=2)))
def test_lists_are_updated_as_theirs_are(first, second):
    ours, theirs = SortedList(first), sortedcontainers.SortedList(first)
    ours.update(iter(second))
    theirs.update(second)
    assert list(ours) == list(theirs)


def test_update_leaves_what_it_was_given_alone():
    given_list = [3, 1, 2]
    SortedList(given_list)
    SortedSet(given_list)
    assert given_list == [3, 1, 2]


def test_values_of_an_array_are_pythons_own():
    assert [type(each) for each in SortedList(np.array([2, 1]))] == [int, int]


def test_entries_may_have_any_name():
    assert dict(SortedDict(self=1, items=2, key=3)) == {"self": 1, "items": 2, "key": 3}


def test_defaults_may_be_given_by_name():
    ours = SortedDict(a=1)
    assert (ours.pop("b", default=None), ours.pop("a", default=2)) == (None, 1)
    assert (ours.setdefault("c", default=3), ours.setdefault("c", 4), ours.setdefault("d")) == (3, 3, None)
    with pytest.raises(KeyError, match="e"):
        ours.pop("e")


@pytest.mark.parametrize("empty", [SortedDict().peekitem, SortedList().pop, SortedSet().pop])
def test_index_of_what_is_empty_is_refused_in_plain_words(empty):
    with pytest.raises(IndexError, match="index must be that of an item, got -1: the tree is empty"):
        empty()
