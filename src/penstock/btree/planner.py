"""The planner: whether a query reads the whole table or an index, at what cost, and why.

Costs are in row visits: 1 is what a sequential scan spends on a row. The number of rows that an index would
visit is no guess: the tree counts any range in O(log n). What a row costs by an index, and what it costs
to begin, are constants; benchmarks/btree_table.py measures INDEX_START and INDEX_ROW, and shows where the
two ways really cross and how far from there the planner changes its mind.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import NamedTuple

from penstock.btree.btree import MultiMapTree
from penstock.btree.conditions import Condition
from penstock.btree.table_index import Bounds, TableIndex

__all__ = ["Path", "Plan", "paths_for", "plan_for"]

INDEX_START = 60.0
"""Row visits: to choose a path, to go down a tree, and to begin the answer."""

KEY_ROW = 1.0
"""Row visits: to take one row of a single key from an index and to fetch it."""

INDEX_ROW = 1.6 if MultiMapTree.__module__.endswith("_c") else 4.5
"""Row visits: the same for a range of keys, whose rows are first sorted by id; dearer in pure Python."""

WIDTH = 80
"""Columns of a printed plan."""

TEST = 1.0
"""Row visits: to test one further condition on a row that was fetched, or that met the first in a scan."""


class Path(NamedTuple):
    """One way to the rows."""

    index: str | None  # type: ignore[assignment]  # nobody misses the method of tuples
    """The index read; None for the scan of the whole table."""
    rows: int
    """Rows visited, exactly."""
    cost: float
    """In row visits, estimated."""
    answers: tuple[str, ...] = ()
    """Columns whose conditions the index answers; the others are tested on each row."""
    seconds: float | None = None
    """Measured; None until then."""
    bounds: Bounds | None = None

    @property
    def name(self) -> str:
        """In words."""
        return "scan of the table" if self.index is None else f"index {self.index}"

    def __str__(self) -> str:
        measured = "" if self.seconds is None else f", took {self.seconds * 1000:.3f} ms"
        return f"{self.name}: {counted(self.rows)} to visit, cost {self.cost:,.0f}{measured}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the planner chose for a query, and why; printed, it is the whole answer."""

    path: Path
    """The way chosen."""
    others: tuple[Path, ...]
    """The other ways, the cheapest first."""
    unusable: Mapping[str, str]
    """Indexes that do not help, each with the reason."""
    conditions: Mapping[str, Condition]
    table_rows: int
    found: int | None = None
    """Rows that met the conditions; None until they were read."""

    @property
    def index(self) -> str | None:
        """The index chosen; None for the scan."""
        return self.path.index

    @property
    def rows_at_most(self) -> int:
        """No more rows than these can meet the conditions."""
        return min(path.rows for path in (self.path, *self.others))

    @property
    def reason(self) -> str:
        """Why this way, in a sentence."""
        path = self.path
        if path.index is None:
            indexes = [other for other in self.others if other.index is not None]
            if not indexes:
                return "no index answers any of the conditions"
            best = indexes[0]
            if self.table_rows <= INDEX_START:
                return f"the table is so small that to begin with {best.name} costs more than all rows"
            visits = best.cost - INDEX_START
            to_begin = f", to begin as much as {INDEX_START:g}" if visits < self.table_rows else ""
            return (
                f"{best.name} would visit {best.rows / self.table_rows:.0%} of the rows,"
                f" and one costs {visits / best.rows:g} times what a scan does{to_begin}"
            )
        scan = next(other for other in self.others if other.index is None)
        share = path.rows / max(self.table_rows, 1)
        times = scan.cost / path.cost
        why = f"{path.name} visits {share:.2%} of the rows, {times:,.1f} times cheaper than a scan"
        if rivals := [other for other in self.others if other.index is not None]:
            why += f"; {rivals[0].name} would visit {rivals[0].rows:,}"
        return why

    def __str__(self) -> str:
        asked = ", ".join(f"{column} {condition}" for column, condition in self.conditions.items())
        lines = [f"select where {asked or 'anything'}, of {counted(self.table_rows)}", f"  {self.path}"]
        if self.path.index is not None:
            tested = [column for column in self.conditions if column not in self.path.answers]
            if tested:
                lines.append(f"    then tests {', '.join(tested)}")
        if self.found is not None:
            lines.append(f"    found {counted(self.found)}")
        lines.append(f"  because {self.reason}")
        lines += [f"  instead of {other}" for other in self.others]
        lines += [f"  not index {name}: {reason}" for name, reason in self.unusable.items()]
        return "\n".join(map(wrapped, lines))

    def measured(self, seconds: Mapping[str | None, float], found: int) -> "Plan":
        """With what every way took, by its index."""
        path, *others = (way._replace(seconds=seconds[way.index]) for way in (self.path, *self.others))
        return replace(self, path=path, others=tuple(others), found=found)


def counted(rows: int) -> str:
    return f"{rows:,} row" if rows == 1 else f"{rows:,} rows"


def wrapped(line: str) -> str:
    """A line of a plan, continued further in where it is longer than WIDTH."""
    further = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.fill(line, WIDTH, subsequent_indent=further, break_on_hyphens=False) or line


def plan_for(rows: int, indexes: Iterable[TableIndex], conditions: Mapping[str, Condition]) -> Plan:
    """What to do for the rows of a table that meet all conditions, O(indexes * log rows)."""
    unusable: dict[str, str] = {}
    paths = paths_for(rows, indexes, conditions, unusable)
    return Plan(paths[0], tuple(paths[1:]), unusable, conditions, rows)


def paths_for(
    rows: int, indexes: Iterable[TableIndex], conditions: Mapping[str, Condition], unusable: dict[str, str]
) -> list[Path]:
    """All ways, the cheapest first; indexes that are none go to `unusable` with the reason."""
    paths = []
    for index in indexes:
        path = path_by(index, conditions)
        if isinstance(path, Path):
            paths.append(path)
        else:
            unusable[index.name] = path
    paths.insert(0, scan_of(rows, len(conditions), paths))
    paths.sort(key=attrgetter("cost"))  # stable: the scan stays first among equals
    return paths


def scan_of(rows: int, conditions: int, by_index: Sequence[Path]) -> Path:
    """The way through the whole table: the first condition is tested on every row, others on what is left.

    How much that is, is taken to be what the best index leaves.
    """
    left = min((path.rows for path in by_index), default=rows)
    return Path(None, rows, rows + TEST * left * max(0, conditions - 1))


def path_by(index: TableIndex, conditions: Mapping[str, Condition]) -> Path | str:
    """The way by an index; why there is none as a str."""
    bounds = index.bounds_of(conditions)
    if isinstance(bounds, str):
        return bounds
    try:
        visited = index.count(bounds)
    except Exception as error:  # of a comparison; the scan has the last word on what compares
        return f"its keys do not compare with the conditions: {error}"
    further = len(conditions) - len(bounds.columns)
    each = KEY_ROW if bounds.is_key else INDEX_ROW
    cost = INDEX_START + visited * (each + TEST * further)
    return Path(index.name, visited, cost, bounds.columns, bounds=bounds)
