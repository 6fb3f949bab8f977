"""Tables: indexes find what scans find, whatever happens to the rows; a call that fails changes nothing."""

import math
from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.btree.btree_multi_map import BTreeMultiMap
from penstock.btree.conditions import above, absent, at_least, at_most, below, between, prefix, present
from penstock.btree.errors import KeyOverflow, TreeChanged
from penstock.btree.table import DuplicateKey, Table, UnknownColumn, UnknownIndex, UnknownRow
from penstock.btree.table_index import fits
from penstock.errors import InvalidType, InvalidValue, PenstockError


class Text(str):
    """A str that is not exactly one."""


def people():
    return Table(
        [
            {"name": "ann", "age": 30, "town": "rome"},
            {"name": "bob", "age": 25, "town": "oslo"},
            {"name": "cid", "age": 30, "town": "oslo"},
            {"name": "dan", "age": None, "town": "rome"},
            {"name": "eve", "town": "oslo"},
        ]
    )


def names(rows):
    return [row["name"] for row in rows]


# Rows


def test_rows_have_ids_from_zero_in_the_order_of_insertion():
    table = people()
    assert table.insert({"name": "fay"}) == 5
    assert table.insert_many([{"name": "gus"}, {"name": "hal"}]) == range(6, 8)
    assert names(table) == ["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"]
    assert table[5] == {"name": "fay"}
    assert [row_id for row_id, _ in table.items()] == list(range(8))


def test_row_ids_are_not_used_again():
    table = people()
    table.delete(4)
    assert table.insert({"name": "fay"}) == 5
    assert 4 not in table
    with pytest.raises(UnknownRow, match="row_id must be of a row in the table, got 4"):
        table[4]
    with pytest.raises(LookupError):
        table.delete(4)
    with pytest.raises(UnknownRow):
        table.update(4, name="x")
    with pytest.raises(UnknownRow, match=r"got \[4\]"):
        table.delete([4])


def test_rows_are_copies_that_cannot_be_written():
    given_row = {"name": "ann", "age": 1}
    table = Table([given_row])
    table.create_index("age")
    given_row["age"] = 2
    assert table.index_scan("age", 1) == [{"name": "ann", "age": 1}]
    with pytest.raises(TypeError):
        table[0]["age"] = 3
    changed = dict(table[0])
    changed["age"] = 4
    assert table[0]["age"] == 1


def test_row_given_out_before_an_update_stays_as_it_was():
    table = people()
    before = table[0]
    assert table.update(0, age=31)["age"] == 31
    assert (before["age"], table[0]["age"]) == (30, 31)
    assert table.update(0, {"first name": "a"}) == {
        "name": "ann",
        "age": 31,
        "town": "rome",
        "first name": "a",
    }


def test_sequences_are_rows_of_a_table_with_columns():
    table = Table([("ann", 30), ["bob", 25]], columns=("name", "age"))
    table.insert({"name": "cid"})
    assert list(table) == [{"name": "ann", "age": 30}, {"name": "bob", "age": 25}, {"name": "cid"}]
    with pytest.raises(InvalidValue, match="row must have a value for each of 2 columns, got 3"):
        table.insert(("dan", 1, 2))
    with pytest.raises(UnknownColumn, match="column must be one of name, age, got 'size'"):
        table.insert({"name": "dan", "size": 3})
    with pytest.raises(
        InvalidType, match="row must be a mapping, or a sequence of values for the columns, got 'eve'"
    ):
        table.insert("eve")
    assert len(table) == 3


@pytest.mark.parametrize("row", [5, None, ("ann", 30), "ann", {3: 4}, {"": 1}])
def test_what_is_no_row_is_refused(row):
    table = people()
    with pytest.raises(InvalidType, match="must be a"):
        table.insert(row)
    with pytest.raises(InvalidType, match="must be a"):
        table.insert_many([{"name": "fay"}, row])
    assert len(table) == 5


def test_columns_must_be_different_names():
    with pytest.raises(InvalidValue, match="columns must have each name once, got 'a' again"):
        Table(columns=("a", "b", "a"))
    with pytest.raises(InvalidType, match="column must be a name"):
        Table(columns=("a", 3))
    assert people().columns == ("name", "age", "town")


# Index scans


def test_index_scan_gives_the_rows_of_a_scan_in_the_order_of_row_ids():
    table = people()
    table.create_index("age")
    table.create_index("town")
    assert names(table.index_scan("age", 30)) == ["ann", "cid"]
    assert (
        table.index_scan("town", "oslo")
        == table.scan(town="oslo")
        == table.scan(lambda r: r["town"] == "oslo")
    )
    assert table.index_scan("town", "bern") == []


def test_index_range_scan_is_in_the_order_of_value_and_row_id():
    table = Table([{"v": v} for v in (3, 1, 2, 1, 3, 2)])
    table.create_index("v")
    table.update(5, v=1)
    table.update(0, v=1)  # row 0 comes last to 1, and is first in order
    found = table.index_range_scan("v", 1, 3)
    assert [row["v"] for row in found] == [1, 1, 1, 1, 2, 3]
    ids = {id(row): row_id for row_id, row in table.items()}
    assert [ids[id(row)] for row in found] == [0, 1, 3, 5, 2, 4]
    assert [ids[id(row)] for row in table.index_scan("v", 1)] == [0, 1, 3, 5]


@pytest.mark.parametrize("value", [7, "seven", (7,)])
def test_rows_leave_a_large_group_of_equals_whatever_its_order(value):
    other = type(value)() if not isinstance(value, int) else 0
    table = Table([{"v": value if n % 2 else other} for n in range(600)])
    table.create_index("v")
    ids = dict(enumerate(n % 2 == 1 for n in range(600)))

    def leave(row_ids):
        for row_id in row_ids:
            table.delete(row_id)
            del ids[row_id]
        table.check()
        assert len(table.index_scan("v", value)) == sum(ids.values())

    leave([301, 1, 599, 2, 300])
    for row_id in (0, 298, 598):
        table.update(row_id, v=value)
        ids[row_id] = True
    leave([298, 3, 597, 0, 303, 4])
    leave([row_id for row_id, there in ids.items() if there])


@pytest.mark.parametrize(
    ("include", "expected"),
    [((True, True), [2, 3, 4]), ((True, False), [2, 3]), ((False, True), [3, 4]), ((False, False), [3])],
)
def test_ends_of_a_range_belong_to_it_as_told(include, expected):
    table = Table([{"v": v} for v in range(6)])
    table.create_index("v")
    assert [r["v"] for r in table.index_range_scan("v", 2, 4, include=include)] == expected
    assert [r["v"] for r in table.select(v=between(2, 4, include=include))] == expected


def test_range_without_an_end_is_open_and_one_that_ends_before_it_begins_is_empty():
    table = Table([{"v": v} for v in range(6)])
    table.create_index("v")
    assert [r["v"] for r in table.index_range_scan("v", 4)] == [4, 5]
    assert [r["v"] for r in table.index_range_scan("v", None, 1)] == [0, 1]
    assert len(table.index_range_scan("v")) == 6
    assert table.index_range_scan("v", 4, 2) == []


def test_rows_without_a_value_are_in_no_index_and_meet_no_comparison():
    table = people()
    table.insert({"name": "fay", "age": math.nan})
    table.create_index("age")
    assert table.indexes["age"].entries == 3
    assert names(table.index_range_scan("age")) == ["bob", "ann", "cid"]
    assert (
        names(table.select(age=at_most(100))) == ["ann", "bob", "cid"] == names(table.scan(age=at_most(100)))
    )
    assert names(table.select(age=None)) == names(table.select(age=absent())) == ["dan", "eve"]
    assert names(table.select(age=present())) == ["ann", "bob", "cid", "fay"]
    assert table.select(age=math.nan) == []
    with pytest.raises(InvalidValue, match="value must not be None or NaN"):
        table.index_scan("age", None)
    with pytest.raises(InvalidValue, match="max must not have None or NaN"):
        table.index_range_scan("age", 1, math.nan)
    table.update(3, age=1)
    table.update(0, age=None)
    assert names(table.index_range_scan("age")) == ["dan", "bob", "cid"]
    table.check()


# Composite indexes


def places():
    table = Table(columns=("land", "town", "size"))
    table.create_index("land", "town", "size", name="place")
    table.insert_many(
        [
            ("it", "rome", 3), ("it", "pisa", 1), ("no", "oslo", 2), ("it", "rome", None), ("no", None, 5),
            (None, "atlantis", 9), ("it", "rome", 1), ("no", "oslo", 7),
        ]
    )  # fmt: skip
    return table


def test_composite_index_finds_by_all_columns_or_by_the_first_few():
    table = places()
    assert table.index_scan("place", ("it", "rome", 1)) == [{"land": "it", "town": "rome", "size": 1}]
    assert [r["size"] for r in table.index_scan("place", ("it", "rome"))] == [None, 1, 3]
    assert [r["town"] for r in table.index_scan("place", ("no",))] == [None, "oslo", "oslo"]
    assert table.indexes["place"].entries == 7


def test_composite_range_compares_as_tuples_do():
    table = places()
    assert len(table.index_range_scan("place", ("it", "rome"), ("it", "rome"))) == 3
    assert len(table.index_range_scan("place", ("it",), ("no",), include=(False, True))) == 3
    assert len(table.index_range_scan("place", ("it",), ("no",), include=(True, False))) == 4
    for wrong in ("it", (), ("it", "rome", 1, 2)):
        with pytest.raises(InvalidType, match="min must be a tuple of 1 to 3 values for index 'place'"):
            table.index_range_scan("place", wrong)
        with pytest.raises(InvalidType, match="value must be a tuple of 1 to 3 values for index 'place'"):
            table.index_scan("place", wrong)


@pytest.mark.parametrize(
    "conditions",
    [
        {"land": "it"}, {"land": "it", "town": "rome"}, {"land": "it", "town": "rome", "size": 1},
        {"land": "it", "town": at_least("q")}, {"land": "no", "town": at_most("z")},
        {"land": "it", "town": "rome", "size": at_most(2)}, {"land": "it", "town": "rome", "size": above(1)},
        {"land": "it", "town": "rome", "size": between(1, 3, include=(False, False))}, {"land": below("j")},
        {"land": "no", "size": at_least(3)}, {"land": "it", "town": prefix("r")}, {"land": prefix("n")},
        {"land": "it", "town": None}, {"land": "no", "town": absent(), "size": 5}, {"town": "oslo"},
        {"land": above("it"), "town": "oslo"}, {"land": None}, {"land": "it", "town": 5},
    ],
)  # fmt: skip
def test_composite_index_gives_what_a_scan_gives(conditions):
    table = places()
    expected = table.scan(conditions)
    plan = table.explain(conditions)
    for path in (plan.path, *plan.others):
        assert table._rows_by(path, plan.conditions) == expected, path
    assert table.select(conditions) == expected
    assert table.count(conditions) == len(expected)


# Unique indexes


def test_unique_index_refuses_a_second_row_and_changes_nothing():
    table = people()
    table.create_index("town")
    table.create_index("name", unique=True)
    with pytest.raises(
        DuplicateKey, match="name must be unique in index 'name', got 'bob' again, which row 1 has"
    ):
        table.insert({"name": "bob", "town": "bern"})
    with pytest.raises(ValueError, match="must be unique"):
        table.insert_many([{"name": "fay", "town": "bern"}, {"name": "gus"}, {"name": "fay"}])
    with pytest.raises(DuplicateKey):
        table.update(0, name="bob", town="bern")
    assert table.index_scan("town", "bern") == []
    assert names(table) == ["ann", "bob", "cid", "dan", "eve"]
    table.update(0, name="ann", town="bern")
    table.delete(1)
    table.insert({"name": "bob"})
    table.check()


def test_unique_index_lets_any_number_of_rows_lack_a_value():
    table = Table(columns=("a", "b"))
    table.create_index("a", unique=True)
    table.create_index("a", "b", unique=True)
    table.insert_many([(None, 1), (None, 1), (1, None)])
    with pytest.raises(DuplicateKey, match="a must be unique in index 'a', got 1 again"):
        table.insert((1, 2))
    table.drop_index("a")
    table.insert_many([(1, None), (1, 2)])
    with pytest.raises(
        DuplicateKey, match=r"a, b must be unique in index 'a_b', got \(1, 2\) again, which row 5 has"
    ):
        table.insert((1, 2))


def test_unique_index_cannot_be_made_over_equal_values():
    table = people()
    with pytest.raises(
        DuplicateKey, match="town must be unique in index 'town', got 'rome' again, which row 0 has"
    ):
        table.create_index("town", unique=True)
    assert table.indexes == {}


# Making and dropping indexes


def test_index_is_named_after_its_columns_and_may_be_dropped():
    table = people()
    assert table.create_index("town", "age") == "town_age"
    assert table.create_index("town", name="where") == "where"
    assert list(table.indexes) == ["town_age", "where"]
    assert repr(table) == "<Table of 5 rows, indexes: town_age, where>"
    table.drop_index("town_age")
    with pytest.raises(
        UnknownIndex, match="index must be one of the table's, which are where, got 'town_age'"
    ):
        table.drop_index("town_age")
    with pytest.raises(LookupError):
        table.index_scan("age", 3)
    with pytest.raises(UnknownIndex):
        table.index_range_scan([], 3)


@pytest.mark.parametrize(
    ("columns", "options", "error", "text"),
    [
        ((), {}, InvalidValue, "columns must be one or more, each once, got ()"),
        (("a", "a"), {}, InvalidValue, "columns must be one or more, each once, got ('a', 'a')"),
        ((3,), {}, InvalidType, "column must be a name, a str that is not empty, got 3"),
        (("age",), {"name": ""}, InvalidType, "name must be a name, a str that is not empty, got ''"),
        (("age",), {"name": "town"}, InvalidValue, "name must not be that of another index, got 'town'"),
        (
            ("age", "town"),
            {"key_type": "int64"},
            InvalidValue,
            "key_type of an index of several columns must be",
        ),
        (("age",), {"key_type": "int32"}, PenstockError, "key_type"),
    ],
)
def test_bad_index_is_refused(columns, options, error, text):
    table = people()
    table.create_index("town")
    with pytest.raises(error) as caught:
        table.create_index(*columns, **options)
    assert text in str(caught.value)
    assert list(table.indexes) == ["town"]


def test_index_on_a_column_that_the_table_has_not_is_refused_when_its_columns_are_fixed():
    with pytest.raises(UnknownColumn, match="column must be one of a, got 'b'"):
        Table(columns=("a",)).create_index("b")
    table = Table()
    table.create_index("b")
    table.insert({"b": 1})
    assert table.index_scan("b", 1) == [{"b": 1}]


# Key types


@pytest.mark.parametrize(
    ("values", "key_type"),
    [
        ([1, 2, True], "int64"), ([1.5, 2.5], "float64"), ([1, 2.5], "float64"), ([2.5, 1], "float64"),
        (["a", "b"], "str"), ([b"a"], "bytes"), ([2**63, 1], "object"), ([2**53 + 1, 0.5], "object"),
        ([date(2025, 1, 1)], "object"), ([], "object"), ([Decimal(1), 2], "object"), ([-(2**63)], "int64"),
    ],
)  # fmt: skip
def test_index_chooses_the_narrowest_key_type_at_once_and_row_by_row(values, key_type):
    at_once = Table([{"v": value} for value in values])
    at_once.create_index("v")
    assert at_once.indexes["v"].key_type == key_type
    by_row = Table()
    by_row.create_index("v")
    for value in values:
        by_row.insert({"v": value})
    assert by_row.indexes["v"].key_type == key_type
    added = Table()
    added.create_index("v")
    for value in values:
        added.insert_many([{"v": value}])
    assert added.indexes["v"].key_type == key_type
    for table in (at_once, by_row, added):
        table.check()
        for value in values:
            assert table.select(v=value) == table.scan(v=value) != []


def test_index_that_chose_its_type_takes_another_and_finds_all_as_before():
    table = Table([{"v": v} for v in (1, 2, 2, 3)])
    table.create_index("v")
    table.insert({"v": 2.5})
    assert table.indexes["v"].key_type == "float64"
    table.insert({"v": 2**70})
    assert table.indexes["v"].key_type == "object"
    assert [r["v"] for r in table.index_range_scan("v", 2, 3)] == [2, 2, 2.5, 3]
    with pytest.raises(TypeError):
        table.insert({"v": "a"})
    with pytest.raises(TypeError):
        table.insert_many([{"v": 9}, {"v": "a"}])
    assert len(table) == 6
    table.check()


def test_type_that_was_asked_for_is_kept():
    table = Table([{"v": 1}])
    table.create_index("v", key_type="int64")
    with pytest.raises(InvalidType, match=r"must be an int for key_type 'int64', got 1\.5"):
        table.insert({"v": 1.5})
    with pytest.raises(KeyOverflow):
        table.insert({"v": 2**63})
    with pytest.raises(InvalidType, match="must be an int for key_type 'int64', got 'a'"):
        table.update(0, v="a")
    assert list(table) == [{"v": 1}]
    exact = Table()
    exact.create_index("v", key_type="float64")
    exact.insert({"v": 2**54})
    with pytest.raises(InvalidValue, match="v must be exact as a float64, got 18014398509481985"):
        exact.insert({"v": 2**54 + 1})
    table.check()


@pytest.mark.parametrize("value", [2**70, -(2**70), "a", None, math.nan, math.inf, b"2", 2 + 0j, [2]])
def test_value_that_an_index_cannot_look_up_is_found_by_a_scan(value):
    table = Table([{"v": v} for v in range(200)])
    table.create_index("v")
    assert table.select(v=value) == table.scan(v=value)
    if isinstance(value, float):
        assert table.select(v=at_least(value)) == table.scan(v=at_least(value))
    plan = table.explain(v=value)
    assert plan.index is None
    if isinstance(value, (str, list)):
        assert plan.unusable["v"] == f"{value!r} is no int64 for it to look up"


@pytest.mark.parametrize(
    "value",
    [True, 2.0, 2.5, -0.0, 1e300, Decimal(2), Decimal("1.5"), Fraction(7, 2), np.int64(2), np.uint8(2),
     np.float64(2.5)],
)  # fmt: skip
@pytest.mark.parametrize("kind", [int, float])
def test_numbers_of_other_types_are_looked_up_by_what_they_are(value, kind):
    table = Table([{"v": kind(v)} for v in (*range(200), 2)])
    table.create_index("v")
    conditions = [value, at_least(value), above(value), at_most(value), below(value)]
    conditions += [between(1, value, include=(False, False)), between(value, value), between(value, 100)]
    for condition in conditions:
        plan = table.explain(v=condition)
        for path in (plan.path, *plan.others):
            assert table._rows_by(path, plan.conditions) == table.scan(v=condition), (path, condition)
        assert table.count(v=condition) == len(table.scan(v=condition))
    if value != 1e300:
        assert table.explain(v=value).index == "v"
        assert table.index_scan("v", value) == table.scan(v=value)
        in_order = sorted(row["v"] for row in table.scan(v=at_least(value)))
        assert [row["v"] for row in table.index_range_scan("v", value)] == in_order


def test_numbers_of_numpy_are_keys_of_their_type():
    table = Table([{"v": v, "w": w} for v, w in zip(np.arange(5), np.arange(5) / 2, strict=True)])
    table.create_index("v")
    table.create_index("w")
    table.insert({"v": 7, "w": np.float32("nan")})
    assert (table.indexes["v"].key_type, table.indexes["w"].key_type) == ("int64", "float64")
    assert (table.indexes["v"].entries, table.indexes["w"].entries) == (6, 5)
    table.check()


@pytest.mark.parametrize(
    ("old", "new"), [(1, 1.0), (1.0, 1), (1, Decimal(1)), (1, True), (0.5, Decimal("0.5")), ("a", Text("a"))]
)
def test_row_whose_value_is_replaced_by_an_equal_one_of_another_type_can_leave(old, new):
    table = Table([{"v": old}, {"v": old}])
    table.create_index("v")
    table.create_index("v", name="both")
    table.update(0, v=new)
    assert table.index_scan("v", new) == [{"v": new}, {"v": old}]
    table.check()
    table.delete(0)
    table.check()
    assert table.index_scan("v", old) == [{"v": old}]


def test_equal_value_of_a_type_that_the_index_refuses_is_refused_in_an_update_too():
    table = Table([{"v": 1}])
    table.create_index("v", key_type="int64")
    with pytest.raises(InvalidType, match=r"must be an int for key_type 'int64', got 1\.0"):
        table.update(0, v=1.0)
    assert type(table[0]["v"]) is int
    table.delete(0)


def test_number_that_a_float_only_comes_near_is_refused_by_an_index_of_floats():
    table = Table()
    table.create_index("v", key_type="float64")
    for value in (Decimal("0.1"), Fraction(1, 3), Decimal(2**53 + 1)):
        with pytest.raises(InvalidValue, match="v must be exact as a float64, got"):
            table.insert({"v": value})
    table.insert({"v": Decimal("0.5")})
    assert table.select(v=0.5) == table.scan(v=0.5) == table.index_scan("v", 0.5) == list(table)


def test_end_between_two_floats_is_not_rounded():
    table = Table([{"v": v} for v in (0.1, 2.0**53, 2.0**53 + 2, -math.inf, math.inf)])
    table.create_index("v")
    for value in (
        2**53 + 1,
        Decimal("0.1"),
        Fraction(1, 10),
        Decimal("1e400"),
        Decimal("-1e400"),
        -(2**53) - 1,
    ):
        for condition in (value, at_least(value), above(value), at_most(value), below(value)):
            plan = table.explain(v=condition)
            assert plan.unusable == {}
            for path in (plan.path, *plan.others):
                assert table._rows_by(path, plan.conditions) == table.scan(v=condition), (path, condition)
        assert table.index_scan("v", value) == []
        assert len(table.index_range_scan("v", value)) == len(table.scan(v=above(value)))
        assert len(table.index_range_scan("v", None, value)) == len(table.scan(v=below(value)))


def test_rows_that_are_updated_stay_in_the_order_of_their_ids_among_any_number_of_equals(monkeypatch):
    monkeypatch.setattr(BTreeMultiMap, "remove", None)  # which would look at all of them
    table = Table([{"v": n % 2, "w": str(n % 2)} for n in range(2000)])
    table.create_index("v")
    table.create_index("w")
    for row_id in (0, 998, 1998, 2, 1000, 1001, 1999, 1):
        table.update(row_id, v=1 - table[row_id]["v"], w=str(table[row_id]["v"] ^ 1))
        table.check()
    table.delete(998)
    table.delete(0)
    table.check()
    for key in (0, 1):
        assert table.index_scan("v", key) == table.index_scan("w", str(key)) == table.scan(v=key)


def test_message_is_short_however_long_the_value():
    long = "x" * 100_000
    table = Table([{"v": long}])
    table.create_index("v", unique=True)
    for failing_call in (
        lambda: table.insert({"v": long}),
        lambda: table.insert(long),
        lambda: table.index_scan("v", [long]),
        lambda: table.select(long),
        lambda: table[long],
    ):
        with pytest.raises(PenstockError) as caught:
            failing_call()
        assert len(str(caught.value)) < 500
    assert len(str(table.explain(v=long))) < 1000


# Conditions


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (prefix("ab"), ["ab", "abc", "ab\U0010ffff"]),
        (prefix(""), ["", "a", "ab", "abc", "ab\U0010ffff", "b"]),
        (prefix(b"ab"), []), (at_least("b"), ["b"]), (above("b"), []), (below("ab"), ["", "a"]),
        (at_most("ab"), ["", "a", "ab"]), (between("a", "abc"), ["a", "ab", "abc"]),
        (prefix("\U0010ffff"), []), ("ab", ["ab"]), (prefix("ab\U0010ffff"), ["ab\U0010ffff"]),
    ],
)  # fmt: skip
def test_conditions_on_text(condition, expected):
    texts = ["", "a", "ab", "abc", "ab\U0010ffff", "b"]
    table = Table([{"v": text} for text in texts])
    assert [r["v"] for r in table.select(v=condition)] == expected
    table.create_index("v")
    plan = table.explain(v=condition)
    for path in (plan.path, *plan.others):
        assert [r["v"] for r in table._rows_by(path, plan.conditions)] == expected
    assert table.count(v=condition) == len(expected)


def test_prefix_of_bytes_ends_where_no_greater_byte_is_left():
    table = Table([{"v": v} for v in (b"\xff", b"\xff\xff", b"\xfe", b"a\xff", b"b")])
    table.create_index("v")
    assert table.count(v=prefix(b"\xff")) == 2
    assert table.count(v=prefix(b"a\xff")) == 1
    with pytest.raises(InvalidType, match="prefix must be a str or bytes, got 5"):
        prefix(5)


def test_condition_needs_an_end_and_a_column_that_there_is():
    with pytest.raises(InvalidValue, match="min or max must be given"):
        between(None, None)
    table = people()
    table.create_index("age")
    for call in (lambda: between(1, 2, include=True), lambda: table.index_range_scan("age", include=(1, 2))):
        with pytest.raises(InvalidType, match="include must be two bools, for min and for max, got"):
            call()
    with pytest.raises(UnknownColumn, match="column must be one of name, age, town, got 'agee'"):
        table.select(agee=3)
    with pytest.raises(UnknownColumn):
        table.scan(agee=3)
    with pytest.raises(InvalidType, match="conditions must be a mapping of columns to conditions, got 5"):
        table.select(5)
    assert Table().select(anything=1) == []


def test_select_without_conditions_is_every_row():
    table = people()
    table.create_index("age")
    assert table.select() == list(table)
    assert table.count() == 5
    assert names(table.select({"age": 30}, town="oslo")) == ["cid"]


def test_values_that_do_not_compare_raise_as_in_a_scan():
    table = people()
    table.create_index("town")
    with pytest.raises(TypeError):
        table.scan(town=at_least(3))
    with pytest.raises(TypeError):
        table.select(town=at_least(3))
    assert table.select(town=3) == []


def test_count_reads_no_row_where_an_index_answers_everything(monkeypatch):
    table = places()
    monkeypatch.setattr(Table, "_rows_by", None)
    assert table.count(land="it", town="rome") == 3
    assert table.count(land=at_least("j")) == 3
    with pytest.raises(TypeError):
        table.count(size=3)


# Hostile values


class Odd:
    """An int with an order of its own that can be told to fail, or to run something."""

    hook = None

    def __init__(self, value):
        self.value = value

    def __lt__(self, other):
        if Odd.hook is not None:
            hook, Odd.hook = Odd.hook, None
            try:
                hook()
            finally:
                Odd.hook = hook
        return self.value < other.value


@pytest.fixture
def odd():
    yield Odd
    Odd.hook = None


def failing():
    raise ZeroDivisionError


def test_comparison_that_raises_changes_no_index(odd):
    table = Table(columns=("a", "b", "c"))
    for column in table.columns:
        table.create_index(column)
    table.insert_many([(n, odd(n), n) for n in range(50)])
    before = list(table)
    odd.hook = failing
    with pytest.raises(ZeroDivisionError):
        table.insert((5, odd(5), 5))
    with pytest.raises(ZeroDivisionError):
        table.insert_many([(5, odd(5), 5), (6, odd(6), 6)])
    with pytest.raises(ZeroDivisionError):
        table.update(7, a=70, b=odd(70), c=70)
    with pytest.raises(ZeroDivisionError):
        table.delete(7)
    odd.hook = None
    assert list(table) == before
    table.check()
    assert len(table.index_scan("a", 7)) == len(table.index_scan("c", 7)) == 1
    assert table.insert((5, odd(5), 5)) >= 50


def test_comparison_that_changes_the_table_is_refused_and_changes_nothing(odd):
    table = Table(columns=("a", "b"))
    table.create_index("a")
    table.create_index("b")
    table.insert_many([(n, odd(n)) for n in range(50)])
    for change in (
        lambda: table.insert((1, odd(1))),
        lambda: table.delete(3),
        lambda: table.update(3, a=7),
        lambda: table.drop_index("a"),
        lambda: table.create_index("a", name="again"),
    ):
        odd.hook = change
        with pytest.raises(TreeChanged, match="must not be changed while another change is under way"):
            table.insert((5, odd(5)))
        odd.hook = None
    assert len(table) == 50
    table.check()


def test_predicate_may_change_the_table_and_sees_the_rows_as_they_were():
    table = people()

    def predicate(row):
        table.insert({"name": "new"})
        return True

    assert names(table.scan(predicate)) == ["ann", "bob", "cid", "dan", "eve"]
    assert len(table) == 10


def test_rows_whose_values_have_no_order_are_refused_by_an_index_only():
    numbers = Table([{"v": Decimal("nan")}])
    with pytest.raises(ArithmeticError):
        numbers.create_index("v")
    table = Table([{"v": {"a": 1}}, {"v": {"b": 2}}])
    with pytest.raises(TypeError):
        table.create_index("v")
    assert table.select(v={"b": 2}) == [{"v": {"b": 2}}]
    assert table.indexes == {}


# Against a list of rows

VALUES = st.one_of(
    st.none(), st.integers(-3, 12), st.sampled_from([0.5, 2.0, -0.0, math.inf, math.nan, 2**70, True])
)
ROWS = st.fixed_dictionaries({}, optional={"a": VALUES, "b": VALUES, "c": st.sampled_from("xyz")})


def conditions_on(values):
    return st.one_of(
        values,
        values.filter(lambda v: v is not None).flatmap(
            lambda v: st.sampled_from([at_least(v), at_most(v), above(v), below(v)])
        ),
        st.tuples(values, values, st.booleans(), st.booleans())
        .filter(lambda four: four[0] is not None or four[1] is not None)
        .map(lambda four: between(four[0], four[1], include=four[2:])),
        st.sampled_from([absent(), present()]),
    )


QUERIES = st.fixed_dictionaries(
    {},
    optional={
        "a": conditions_on(VALUES),
        "b": conditions_on(VALUES),
        "c": conditions_on(st.sampled_from("xyz")),
    },
)


class TableMachine(RuleBasedStateMachine):
    """Every way to the rows finds what a loop over all of them finds."""

    def __init__(self):
        super().__init__()
        self.table = Table()
        self.rows = {}
        for columns in (("a",), ("b", "a"), ("c", "b", "a")):
            self.table.create_index(*columns)

    @rule(row=ROWS)
    def insert(self, row):
        self.rows[self.table.insert(row)] = row

    @rule(rows=st.lists(ROWS, max_size=30))
    def insert_many(self, rows):
        self.rows.update(zip(self.table.insert_many(rows), rows, strict=True))

    @precondition(lambda self: self.rows)
    @rule(data=st.data(), changes=ROWS)
    def update(self, data, changes):
        row_id = data.draw(st.sampled_from(sorted(self.rows)))
        self.rows[row_id] = self.rows[row_id] | changes
        self.table.update(row_id, changes)

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def delete(self, data):
        row_id = data.draw(st.sampled_from(sorted(self.rows)))
        assert self.table.delete(row_id) == self.rows.pop(row_id)

    @rule()
    def make_the_index_again(self):
        self.table.drop_index("a")
        self.table.create_index("a")

    @rule(query=QUERIES)
    def ask(self, query):
        if any(column not in self.table.columns for column in query):
            return
        plan = self.table.explain(query)
        expected = [
            row for row in self.rows.values() if all(met(c, row.get(k)) for k, c in plan.conditions.items())
        ]
        for path in (plan.path, *plan.others):
            assert self.table._rows_by(path, plan.conditions) == expected, (path, query)
            assert path.rows >= len(expected)
        assert self.table.count(query) == len(expected)

    @rule(low=VALUES, high=VALUES, include=st.tuples(st.booleans(), st.booleans()))
    def ask_in_order(self, low, high, include):
        key_type = self.table.indexes["a"].key_type
        if any(v is not None and (v != v or not fits(v, key_type)) for v in (low, high)):
            return
        expected = [
            (row["a"], row_id)
            for row_id, row in self.rows.items()
            if row.get("a") is not None
            and row["a"] == row["a"]
            and (low is None or row["a"] > low or (include[0] and row["a"] == low))
            and (high is None or row["a"] < high or (include[1] and row["a"] == high))
        ]
        found = self.table.index_range_scan("a", low, high, include=include)
        assert [row["a"] for row in found] == [value for value, _ in sorted(expected)]
        assert found == [self.rows[row_id] for _, row_id in sorted(expected)]

    @invariant()
    def agrees(self):
        assert list(self.table) == list(self.rows.values())
        self.table.check()


def met(condition, value):
    if not hasattr(condition, "include"):
        if hasattr(condition, "value"):
            return value is not None and value == condition.value
        return (value is None) == (str(condition) == "is absent")
    low, high, (with_low, with_high) = condition.min, condition.max, condition.include
    return (
        value is not None
        and (low is None or value > low or (with_low and value == low))
        and (high is None or value < high or (with_high and value == high))
    )


TestAgainstAListOfRows = TableMachine.TestCase
TestAgainstAListOfRows.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@settings(deadline=None)
@given(st.lists(st.one_of(st.text(max_size=3), st.binary(max_size=2)), max_size=30), st.text(max_size=2))
def test_prefix_by_index_finds_what_startswith_finds(values, start):
    texts = [value for value in values if isinstance(value, str)]
    table = Table([{"v": value} for value in texts])
    table.create_index("v")
    plan = table.explain(v=prefix(start))
    for path in (plan.path, *plan.others):
        found = table._rows_by(path, plan.conditions) if texts else []
        assert [row["v"] for row in found] == [text for text in texts if text.startswith(start)]
