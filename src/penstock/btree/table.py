"""Table: rows in memory with any number of B-tree indexes, and a planner that says which it takes.

    orders = Table(rows)
    orders.create_index("user_id")
    orders.select(user_id=5000, amount=between(10, 20))
    print(orders.explain(user_id=5000))

What may be asked of a column besides a value is in conditions.py, how the way is chosen in planner.py.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter
from types import MappingProxyType
from typing import Any

from penstock.btree._arguments import checked_include
from penstock.btree.btree import KeyType
from penstock.btree.conditions import Condition, Equal, Row, condition_of
from penstock.btree.errors import BrokenTree, TreeChanged
from penstock.btree.planner import Path, Plan, paths_for, plan_for
from penstock.btree.table_index import Bounds, DuplicateKey, TableIndex, is_null
from penstock.errors import InvalidType, InvalidValue, PenstockError, shown

__all__ = ["DuplicateKey", "IndexInfo", "Table", "UnknownColumn", "UnknownIndex", "UnknownRow"]

ANALYZE_ROUNDS = 3
"""How often `explain_analyze` takes each way; the fastest counts."""


class UnknownColumn(PenstockError, LookupError):
    """The table has no such column."""


class UnknownIndex(PenstockError, LookupError):
    """The table has no such index."""


class UnknownRow(PenstockError, LookupError):
    """The table has no such row."""


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What a table says of one of its indexes."""

    name: str
    columns: tuple[str, ...]
    unique: bool
    key_type: str
    """Of its tree at present: what it chose, or was told."""
    entries: int
    size_bytes: int
    """Of its tree, without the values."""


class Table:
    """Rows by row id, in the order of insertion, and indexes that find them by their values.

    A row is a mapping of column names to values, copied when it is inserted and read-only when it is given
    out: `dict(row)` is one to change. Row ids count from 0 and are not used again; one that a failed
    insertion had is skipped. Values in an indexed column must have one order and must not change.

    Rows without a value in an index's first column (None, NaN, no such column) are not in the index, and
    no condition but `absent()` and `present()` is met by None or a column that is not there. A unique index
    lets any number of rows lack a value.

    A call that fails changes nothing. While one thread changes the table no other may use it.

    Args:
        rows: to begin with.
        columns: the only columns that rows may have, which then may also be sequences of values in this
            order; None for any.
    """

    __slots__ = ("_changing", "_columns", "_fixed", "_indexes", "_next_id", "_rows")

    def __init__(
        self, rows: Iterable[Row | Sequence[Any]] = (), *, columns: Iterable[str] | None = None
    ) -> None:
        self._fixed = columns is not None
        self._columns: dict[str, None] = {}
        for column in columns or ():
            if column in self._columns:
                raise InvalidValue(f"columns must have each name once, got {shown(column)} again")
            self._columns[self._checked_name(column, "column")] = None
        self._rows: dict[int, Row] = {}
        self._next_id = 0
        self._indexes: dict[str, TableIndex] = {}
        self._changing = False
        self.insert_many(rows)

    @staticmethod
    def _checked_name(name: object, what: str) -> str:
        if not isinstance(name, str) or not name:
            raise InvalidType(f"{what} must be a name, a str that is not empty, got {name!r}")
        return name

    # Reading rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        """The rows, in the order of their ids."""
        return iter(list(self._rows.values()))

    def __contains__(self, row_id: object) -> bool:
        """Whether there is a row with this id."""
        return row_id in self._rows

    def __getitem__(self, row_id: int) -> Row:
        """The row with this id.

        Raises:
            UnknownRow: there is none.
        """
        try:
            return self._rows[row_id]
        except (KeyError, TypeError):  # TypeError: what cannot be hashed
            raise UnknownRow(f"row_id must be of a row in the table, got {shown(row_id)}") from None

    def items(self) -> list[tuple[int, Row]]:
        """Every row with its id, in the order of the ids."""
        return list(self._rows.items())

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it was made with, or all that a row or an index ever had, as they came."""
        return tuple(self._columns)

    @property
    def indexes(self) -> dict[str, IndexInfo]:
        """Every index by its name."""
        return {
            index.name: IndexInfo(
                index.name, index.columns, index.unique, index.key_type, len(index), index.__sizeof__()
            )
            for index in self._indexes.values()
        }

    def __repr__(self) -> str:
        return f"<Table of {len(self):,} rows, indexes: {', '.join(self._indexes) or 'none'}>"

    # Changing rows

    def insert(self, row: Row | Sequence[Any], /) -> int:
        """Adds a row and returns its id, O(log n) an index.

        Raises:
            InvalidType: the row is no mapping, nor a sequence for the columns the table was made with.
            UnknownColumn: the row has a column that the table was not made with.
            DuplicateKey: a unique index has its key already.
            TypeError: a value cannot be compared with the others in its index.
        """
        new = self._checked_row(row)
        with self._change(self._indexes.values()):
            row_id = self._next_id
            self._next_id += 1
            for index in self._indexes.values():
                if (key := index.key_of(new)) is not None:
                    index.add(key, row_id)
            self._put(row_id, new)
        return row_id

    def insert_many(self, rows: Iterable[Row | Sequence[Any]], /) -> range:
        """Adds rows, all or none, and returns their ids; much faster than one by one.

        Raises:
            Exception: as `insert` does.
        """
        checked = [self._checked_row(row) for row in rows]
        with self._change(self._indexes.values(), always_saved=True):
            row_ids = range(self._next_id, self._next_id + len(checked))
            self._next_id = row_ids.stop
            new = dict(zip(row_ids, checked, strict=True))
            for index in self._indexes.values():
                index.add_many(new)
            for row_id, row in new.items():
                self._put(row_id, row)
        return row_ids

    def delete(self, row_id: int, /) -> Row:
        """Removes a row and returns it, O(log n) an index.

        Raises:
            UnknownRow: there is no such row.
        """
        row = self[row_id]
        with self._change(self._indexes.values()):
            for index in self._indexes.values():
                if (key := index.key_of(row)) is not None:
                    index.remove(key, row_id)
            del self._rows[row_id]
        return row

    def update(self, row_id: int, changes: Row | None = None, /, **columns: Any) -> Row:
        """Gives a row new values in some columns and returns it, O(log n) for each index on one of them.

        Rows given out before stay as they were.

        Args:
            row_id: of the row.
            changes: columns and their new values, for names that cannot be keywords.
            columns: the same as keywords.

        Raises:
            UnknownRow: there is no such row.
            Exception: as `insert` does.
        """
        old = self[row_id]
        changed = self._checked_row({**(changes or {}), **columns})
        new = MappingProxyType({**old, **changed})
        affected = [index for index in self._indexes.values() if any(c in changed for c in index.columns)]
        with self._change(affected, always_saved=True):
            for index in affected:
                index.move(index.key_of(old), index.key_of(new), row_id)
            self._put(row_id, new)
        return new

    def _checked_row(self, row: object) -> Row:
        """A copy of a row, read-only."""
        if isinstance(row, Mapping):
            new = dict(row)
        elif self._fixed and isinstance(row, Sequence) and not isinstance(row, (str, bytes, bytearray)):
            if len(row) != len(self._columns):
                raise InvalidValue(
                    f"row must have a value for each of {len(self._columns)} columns, got {len(row)}"
                )
            new = dict(zip(self._columns, row, strict=True))
        else:
            kinds = "a mapping, or a sequence of values for the columns" if self._fixed else "a mapping"
            raise InvalidType(f"row must be {kinds}, got {shown(row)}")
        if not new.keys() <= self._columns.keys():
            for column in new:
                self._checked_name(column, "column")
                if self._fixed and column not in self._columns:
                    raise self._unknown_column(column)
        return MappingProxyType(new)

    def _put(self, row_id: int, row: Row) -> None:
        self._rows[row_id] = row
        if not self._fixed:
            self._columns.update(dict.fromkeys(row))

    @contextmanager
    def _change(self, indexes: Iterable[TableIndex], *, always_saved: bool = False) -> Iterator[None]:
        """Undoes what was done to the indexes when it fails.

        Copies of trees are O(1), but the nodes that are written next have to be copied then; where one tree
        gets one entry or loses one, that is all or nothing by itself.
        """
        if self._changing:  # by code that a comparison of values has run, or by another thread
            raise TreeChanged("the table must not be changed while another change is under way")
        self._changing = True
        affected = list(indexes)
        try:
            saved = [(index, index.state()) for index in affected if always_saved or len(affected) > 1]
            try:
                yield
            except BaseException:
                for index, state in saved:
                    index.restore(state)
                raise
        finally:
            self._changing = False

    # Indexes

    def create_index(
        self, *columns: str, name: str | None = None, unique: bool = False, key_type: KeyType | None = None
    ) -> str:
        """Makes an index on one column, or on several as one, and returns its name; O(n log n).

        An index on (a, b) finds rows by a, and by a and b: values of b are in order only where a is equal.

        Args:
            columns: one or more, the order matters.
            name: the columns' names with `_` between them when None.
            unique: whether no two rows may have the same values there.
            key_type: of the tree, then what is no such key is refused. None: the narrowest of int64, float64,
                str and bytes that all values are, object when they differ; chosen again when another comes.

        Raises:
            InvalidValue: there are no columns, one comes twice, or the name is taken.
            UnknownColumn: a column that the table was not made with.
            DuplicateKey: rows have the same values.
            TypeError: values cannot be compared with each other.
        """
        for column in columns:
            self._checked_name(column, "column")
            if self._fixed and column not in self._columns:
                raise self._unknown_column(column)
        if not columns or len(set(columns)) < len(columns):
            raise InvalidValue(f"columns must be one or more, each once, got {shown(columns)}")
        name = "_".join(columns) if name is None else self._checked_name(name, "name")
        if name in self._indexes:
            raise InvalidValue(f"name must not be that of another index, got {name!r}")
        index = TableIndex(name, columns, unique=unique, key_type=key_type)
        with self._change(()):
            index.add_many(self._rows)
            self._indexes[name] = index
            if not self._fixed:
                self._columns.update(dict.fromkeys(columns))
        return name

    def drop_index(self, name: str, /) -> None:
        """Removes an index.

        Raises:
            UnknownIndex: there is none of that name.
        """
        index = self._index(name)
        with self._change(()):
            del self._indexes[index.name]

    def _index(self, name: str) -> TableIndex:
        try:
            return self._indexes[name]
        except (KeyError, TypeError):
            known = ", ".join(self._indexes) or "none"
            raise UnknownIndex(f"index must be one of the table's, which are {known}, got {name!r}") from None

    def check(self) -> None:
        """Compares every index with the rows, O(n log n).

        Raises:
            BrokenTree: a tree breaks a rule of its own, or does not agree with the rows.
        """
        for index in self._indexes.values():
            index.check()
            keyed = [row_id for row_id, row in self._rows.items() if index.key_of(row) is not None]
            everything = Bounds(None, None, (True, True), index.columns)
            if index.row_ids(everything) != keyed:
                raise BrokenTree(f"index {index.name!r} does not have the rows of the table")
            row_ids = index.row_ids_by_key(everything)
            keys = [index.key_of(self._rows[row_id]) for row_id in row_ids]
            for (key, row_id), (next_key, next_id) in pairwise(zip(keys, row_ids, strict=True)):
                if next_key < key or (not key < next_key and next_id < row_id):
                    raise BrokenTree(f"index {index.name!r} has row {next_id} in a wrong place")

    # Scans

    def scan(self, predicate: Callable[[Row], Any] | Row | None = None, /, **columns: Any) -> list[Row]:
        """Rows that meet a predicate, or all conditions, in the order of row ids: reads the whole table.

        Args:
            predicate: called with each row, true for those wanted; or conditions by column, as `columns`.
            columns: values or conditions (`between`, `at_least`, `prefix`, ...) by column.
        """
        rows = list(self._rows.values())
        if callable(predicate):
            rows = [row for row in rows if predicate(row)]
            predicate = None
        return passing(self._conditions(predicate, columns), rows)

    def index_scan(self, index: str, value: Any, /) -> list[Row]:
        """Rows whose indexed column equals `value`, in the order of row ids, O(log n + k) for k rows.

        Args:
            index: its name.
            value: the value; for an index of several columns a tuple of them, or of the first few: then
                the rows come in the order of the index.

        Raises:
            UnknownIndex: there is none of that name.
            InvalidValue: the value is None, which no index has.
            InvalidType: the value is no key for the index's key type.
        """
        found = self._index(index)
        bounds = self._point(found, value)
        row_ids = found.row_ids(bounds) if bounds.is_key else found.row_ids_by_key(bounds)
        return list(map(self._rows.__getitem__, row_ids))

    def _point(self, index: TableIndex, value: Any) -> Bounds:
        if len(index.columns) == 1:
            values = (value,)
        elif isinstance(value, tuple) and 0 < len(value) <= len(index.columns):
            values = value
        else:
            rule = f"a tuple of 1 to {len(index.columns)} values for index {index.name!r}"
            raise InvalidType(f"value must be {rule}, got {shown(value)}")
        if any(map(is_null, values)):
            raise InvalidValue(f"value must not be None or NaN, which are in no index, got {shown(value)}")
        if len(index.columns) == 1:
            return index.point_at(value)
        bounds = index.bounds_of({c: Equal(v) for c, v in zip(index.columns, values, strict=False)})
        assert isinstance(bounds, Bounds)  # of several columns, with a value for the first: always of use
        return bounds

    def index_range_scan(
        self,
        index: str,
        min: Any = None,  # noqa: A002
        max: Any = None,  # noqa: A002
        *,
        include: tuple[bool, bool] = (True, True),
    ) -> list[Row]:
        """Rows whose indexed column is from `min` to `max`, in the order of (value, row id), O(log n + k).

        Args:
            index: its name; for one of several columns the ends are tuples of values for the first few of
                them, and compared as such: up to (1,) is all with 1 there.
            min: None for no lower end.
            max: None for no upper end.
            include: whether the ends belong to the range.

        Raises:
            UnknownIndex: there is none of that name.
            InvalidValue: an end is NaN.
            InvalidType: `include` is no two bools, or an end is no key for the index's key type.
        """
        found = self._index(index)
        bounds = found.bounds_between(min, max, checked_include(include))
        return list(map(self._rows.__getitem__, found.row_ids_by_key(bounds)))

    # Queries

    def select(self, conditions: Row | None = None, /, **columns: Any) -> list[Row]:
        """Rows that meet all conditions, by the way that the planner finds cheapest, in the order of row ids.

        Args:
            conditions: values or conditions by column, for names that cannot be keywords.
            columns: the same as keywords: a value to be equal to, None for no value, or one of `between`,
                `at_least`, `at_most`, `above`, `below`, `prefix`, `absent` and `present` of penstock.btree.

        Raises:
            UnknownColumn: no row ever had the column.
            TypeError: a value of the table cannot be compared with that of a condition.
        """
        asked = self._conditions(conditions, columns)
        return self._rows_by(self._paths(asked)[0], asked)

    def explain(self, conditions: Row | None = None, /, **columns: Any) -> Plan:
        """What `select` would do with these conditions, at what cost, and why; O(indexes * log n)."""
        asked = self._conditions(conditions, columns)
        return plan_for(len(self._rows), self._indexes.values(), asked)

    def explain_analyze(self, conditions: Row | None = None, /, **columns: Any) -> Plan:
        """As `explain`, with the time that every way takes: all are taken three times, the fastest counts."""
        asked = self._conditions(conditions, columns)
        plan = plan_for(len(self._rows), self._indexes.values(), asked)
        times: dict[str | None, float] = {}
        found: list[Row] = []
        for _ in range(ANALYZE_ROUNDS):
            for path in (plan.path, *plan.others):
                start = perf_counter()
                found = self._rows_by(path, asked)
                taken = perf_counter() - start
                times[path.index] = min(taken, times.get(path.index, taken))
        return plan.measured(times, len(found))

    def count(self, conditions: Row | None = None, /, **columns: Any) -> int:
        """How many rows meet all conditions; O(log n) where one index answers all of them."""
        asked = self._conditions(conditions, columns)
        if not asked:
            return len(self._rows)
        paths = self._paths(asked)
        for path in paths:
            if len(path.answers) == len(asked):
                return path.rows
        return len(self._rows_by(paths[0], asked))

    def _paths(self, conditions: Mapping[str, Condition]) -> list[Path]:
        return paths_for(len(self._rows), self._indexes.values(), conditions, {})

    def _rows_by(self, path: Path, conditions: Mapping[str, Condition]) -> list[Row]:
        if path.index is None or path.bounds is None:
            return passing(conditions, list(self._rows.values()))
        row_ids = self._indexes[path.index].row_ids(path.bounds)
        rows = list(map(self._rows.__getitem__, row_ids))
        return passing({c: test for c, test in conditions.items() if c not in path.answers}, rows)

    def _conditions(self, conditions: Row | None, columns: Row) -> dict[str, Condition]:
        if conditions is not None and not isinstance(conditions, Mapping):
            raise InvalidType(
                f"conditions must be a mapping of columns to conditions, got {shown(conditions)}"
            )
        asked = {column: condition_of(value) for column, value in {**(conditions or {}), **columns}.items()}
        for column in asked:
            if column not in self._columns and (self._fixed or self._columns):
                raise self._unknown_column(column)
        return asked

    def _unknown_column(self, column: object) -> UnknownColumn:
        return UnknownColumn(
            f"column must be one of {', '.join(self._columns) or 'none'}, got {shown(column)}"
        )


def passing(conditions: Mapping[str, Condition], rows: list[Row]) -> list[Row]:
    """The rows that meet all conditions; what is only an equality is tested first, as it is the cheapest."""
    for column, condition in sorted(conditions.items(), key=lambda one: not isinstance(one[1], Equal)):
        rows = condition.passed(column, rows)
    return rows
