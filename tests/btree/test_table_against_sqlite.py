"""Tables against SQLite: any changes, any conditions, and by every way the rows that SQL selects."""

import sqlite3

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.btree.conditions import above, absent, at_least, at_most, below, between, prefix, present
from penstock.btree.table import DuplicateKey, Table

COLUMNS = ("a", "b", "c")
NUMBERS = st.sampled_from([*range(-2, 8), 0.5, 2.5, 3.0, -0.0, 2**53 + 1, 2.0**53, -(2**63), 1e300])
TEXTS = st.sampled_from(["", "a", "ab", "abc", "ab\U0010ffff", "b", "é", "\ue000", "\U00010000"])
ROW = st.fixed_dictionaries(
    {}, optional={"a": st.none() | NUMBERS, "b": st.none() | st.integers(0, 3), "c": st.none() | TEXTS}
)
COMPARISONS = {above: ">", at_least: ">=", at_most: "<=", below: "<"}


def conditions_on(column, values):
    """Pairs of a condition and the same in SQL with its arguments."""
    compared = st.tuples(st.sampled_from(list(COMPARISONS)), values).map(
        lambda pair: (pair[0](pair[1]), f"{column} {COMPARISONS[pair[0]]} ?", (pair[1],))
    )
    ranges = st.tuples(values, values, st.booleans(), st.booleans()).map(
        lambda four: (
            between(four[0], four[1], include=four[2:]),
            f"{column} >{'=' * four[2]} ? AND {column} <{'=' * four[3]} ?",
            four[:2],
        )
    )
    return st.one_of(
        values.map(lambda value: (value, f"{column} = ?", (value,))),
        compared,
        ranges,
        st.just((absent(), f"{column} IS NULL", ())),
        st.just((None, f"{column} IS NULL", ())),
        st.just((present(), f"{column} IS NOT NULL", ())),
    )


PREFIXES = TEXTS.map(lambda start: (prefix(start), "substr(c, 1, length(?)) = ?", (start, start)))
QUERY = st.fixed_dictionaries(
    {},
    optional={
        "a": conditions_on("a", NUMBERS),
        "b": conditions_on("b", st.integers(-1, 4)),
        "c": conditions_on("c", TEXTS) | PREFIXES,
    },
)


class TableMachine(RuleBasedStateMachine):
    """Rows are told apart by their ids, which both sides have."""

    def __init__(self):
        super().__init__()
        self.table = Table(columns=(*COLUMNS, "id"))
        self.db = sqlite3.connect(":memory:")
        self.db.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, a, b, c)")
        self.db.execute("CREATE UNIQUE INDEX b_c ON rows (b, c)")
        for columns in (("a",), ("b",), ("c",), ("b", "a"), ("c", "b", "a")):
            self.table.create_index(*columns)
        self.table.create_index("b", "c", unique=True)
        self.next_id = 0

    def teardown(self):
        self.db.close()

    def ids(self):
        return [row_id for row_id, _ in self.table.items()]

    def both(self, in_table, statement, *values):
        """A change on both sides, or refused by both for the same reason; whether it was made."""
        try:
            self.db.execute(statement, values)
        except sqlite3.IntegrityError:
            with pytest.raises(DuplicateKey):
                in_table()
            return False
        in_table()
        return True

    @rule(row=ROW)
    def insert(self, row):
        self.both(
            lambda: self.table.insert({**row, "id": self.next_id}),
            "INSERT INTO rows VALUES (?, ?, ?, ?)",
            self.next_id,
            *map(row.get, COLUMNS),
        )
        self.next_id += 1  # an id that was refused is skipped

    @rule(rows=st.lists(ROW, min_size=1, max_size=20))
    def insert_many(self, rows):
        ids = range(self.next_id, self.next_id + len(rows))
        values = [value for n, row in zip(ids, rows, strict=True) for value in (n, *map(row.get, COLUMNS))]
        self.both(
            lambda: self.table.insert_many({**row, "id": n} for n, row in zip(ids, rows, strict=True)),
            f"INSERT INTO rows VALUES {', '.join(['(?, ?, ?, ?)'] * len(rows))}",
            *values,
        )
        self.next_id = ids.stop

    @precondition(lambda self: len(self.table))
    @rule(data=st.data(), changes=ROW.filter(bool))
    def update(self, data, changes):
        row_id = data.draw(st.sampled_from(self.ids()))
        self.both(
            lambda: self.table.update(row_id, changes),
            f"UPDATE rows SET {', '.join(f'{column} = ?' for column in changes)} WHERE id = ?",
            *changes.values(),
            row_id,
        )

    @precondition(lambda self: len(self.table))
    @rule(data=st.data())
    def delete(self, data):
        row_id = data.draw(st.sampled_from(self.ids()))
        self.both(lambda: self.table.delete(row_id), "DELETE FROM rows WHERE id = ?", row_id)

    @rule(query=QUERY)
    def ask(self, query):
        asked = {column: condition for column, (condition, _, _) in query.items()}
        where = " AND ".join(f"({sql})" for _, sql, _ in query.values()) or "1"
        values = [value for _, _, values in query.values() for value in values]
        expected = [n for (n,) in self.db.execute(f"SELECT id FROM rows WHERE {where} ORDER BY id", values)]
        plan = self.table.explain(asked)
        for path in (plan.path, *plan.others):
            found = [row["id"] for row in self.table._rows_by(path, plan.conditions)]
            assert found == expected, (path, query)
            assert path.rows >= len(expected)
        assert self.table.count(asked) == len(expected)
        assert str(plan)

    @rule(low=st.none() | NUMBERS, high=st.none() | NUMBERS)
    def ask_in_order(self, low, high):
        expected = self.db.execute(
            "SELECT id FROM rows WHERE a IS NOT NULL AND a >= coalesce(?, a) AND a <= coalesce(?, a)"
            " ORDER BY a, id",
            (low, high),
        )
        if any(value is not None and abs(value) > 2**63 for value in (low, high)):
            return  # refused by an index of int64
        found = self.table.index_range_scan("a", low, high)
        assert [row["id"] for row in found] == [n for (n,) in expected]

    @invariant()
    def agrees(self):
        rows = [tuple(map(row.get, ("id", *COLUMNS))) for row in self.table]
        assert rows == self.db.execute("SELECT * FROM rows ORDER BY id").fetchall()
        self.table.check()


TestAgainstSqlite = TableMachine.TestCase
TestAgainstSqlite.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
