"""Fields of documents: texts that are searched, and numbers that filter."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from penstock.errors import InvalidType, InvalidValue, PenstockError, shown
from penstock.search._arguments import MOST_COLUMNS, MOST_FIELDS, checked_field_weight
from penstock.search.analyzer import Analyzer
from penstock.search.query import check_field
from penstock.search.query_parser import FieldKind, Schema

if TYPE_CHECKING:
    from array import array

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Field", "Integer", "Layout", "Number", "Text", "UnknownField", "checked_analyzer"]

Words: TypeAlias = str | Sequence[str] | None
"""What an index of terms takes for a text: text that it takes apart itself, words, or nothing."""

Document: TypeAlias = str | Sequence[str] | Mapping[str, Any]
"""A text, its words, or a mapping of fields to texts, words and numbers."""


class UnknownField(PenstockError, LookupError):
    """The index has no such field, or it is not one of text, or of numbers, where that is needed."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text that is searched.

    Args:
        boost: how often a word in this field counts, where several fields are searched as one; above 0.
        analyzer: what takes texts of this field apart, or its name; None: that of the index.
    """

    boost: float = 1.0
    analyzer: Analyzer | str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "boost", checked_field_weight(self.boost))
        if self.analyzer is not None:
            object.__setattr__(self, "analyzer", checked_analyzer(self.analyzer))


@dataclass(frozen=True, slots=True)
class Number:
    """A column of float64.

    A document without a number has NaN there, which no `Range` holds.
    """

    kind: ClassVar[str] = "number"

    def cell(self, name: str, value: object) -> int:
        """A value as the bits that the index keeps."""
        if value is None:
            return NAN_CELL
        if isinstance(value, bool) or not hasattr(value, "__float__"):
            raise InvalidType(f"{name} must be a number or None, got {shown(value)}")
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise InvalidValue(f"{name} must be a number that a float can hold, got {shown(value)}") from None
        return NAN_CELL if isnan(number) else bits(number)

    def column(self, cells: "array[int]") -> "NDArray[np.float64]":
        """(n,) cells as numbers."""
        import numpy as np

        return np.frombuffer(cells, np.float64) if cells else np.empty(0)

    def within(
        self, values: "NDArray[Any]", low: Any, high: Any, ends: tuple[bool, bool]
    ) -> "NDArray[np.bool_]":
        """(n,) which numbers lie between two others; `ends`: whether these do themselves."""
        found: NDArray[np.bool_] = ~(values != values)
        if low is not None:
            found &= (values >= low) if ends[0] else (values > low)
        if high is not None:
            found &= (values <= high) if ends[1] else (values < high)
        return found


@dataclass(frozen=True, slots=True)
class Integer:
    """A column of int64, from -2^63 + 1.

    A document without a number has `Integer.missing`, -2^63, there, which no `Range` holds.
    """

    kind: ClassVar[str] = "integer"
    missing: ClassVar[int] = -(1 << 63)

    def cell(self, name: str, value: object) -> int:
        """A value as the bits that the index keeps."""
        if value is None:
            return 1 << 63
        try:
            number = index(value)  # type: ignore[arg-type]  # what is no integer raises
        except TypeError:
            raise InvalidType(f"{name} must be an int or None, got {shown(value)}") from None
        if not self.missing < number < 1 << 63:
            raise InvalidValue(f"{name} must be from -2**63 + 1 to 2**63 - 1, got {shown(value)}")
        return number & (1 << 64) - 1

    def column(self, cells: "array[int]") -> "NDArray[np.int64]":
        """(n,) cells as numbers."""
        import numpy as np

        return np.frombuffer(cells, np.int64) if cells else np.empty(0, np.int64)

    def within(
        self, values: "NDArray[Any]", low: Any, high: Any, ends: tuple[bool, bool]
    ) -> "NDArray[np.bool_]":
        """(n,) which numbers lie between two others; `ends`: whether these do themselves."""
        least = LEAST_INT if low is None else max(first_int(low, ends[0]), LEAST_INT)
        greatest = GREATEST_INT if high is None else min(-first_int(-high, ends[1]), GREATEST_INT)
        if least > GREATEST_INT or greatest < LEAST_INT:
            least, greatest = 1, 0  # what numpy cannot hold is held by nothing
        found: NDArray[np.bool_] = (values >= least) & (values <= greatest)
        return found


Field: TypeAlias = Text | Number | Integer

NAN_CELL = 0x7FF8000000000000
LEAST_INT, GREATEST_INT = -(1 << 63) + 1, (1 << 63) - 1


def bits(number: float) -> int:
    found: int = struct.unpack("<Q", struct.pack("<d", number))[0]
    return found


def first_int(low: float, included: bool) -> int:
    """The least int that is at `low` or above; above it, unless included.

    Beyond 64 bits it may be any such.
    """
    if isinstance(low, float):
        if abs(low) >= 1 << 65:  # infinities too
            return 1 << 65 if low > 0 else -(1 << 65)
        whole = int(low // 1)
        return whole if whole == low and included else whole + 1
    return low if included else low + 1


def checked_analyzer(analyzer: object, name: str = "analyzer") -> Analyzer:
    """An analyzer, or that of a name."""
    if isinstance(analyzer, Analyzer):
        return analyzer
    if isinstance(analyzer, str):
        return Analyzer(analyzer)
    raise InvalidType(f"{name} must be an Analyzer or the name of one, got {shown(analyzer)}")


class Layout:
    """Which fields documents have, and how they lie in an index of terms.

    Args:
        fields: texts and columns by name; None: one text, "text", which needs no name.
        analyzer: of texts that have none of their own.
    """

    __slots__ = (
        "all_groups",
        "analyzer",
        "analyzers",
        "boosts",
        "columns",
        "everywhere",
        "fields",
        "lone",
        "names",
        "native",
        "plain",
        "text_numbers",
        "unnamed",
    )

    def __init__(self, fields: Mapping[str, Field] | None, analyzer: Analyzer) -> None:
        self.unnamed = fields is None
        self.fields: dict[str, Field] = checked_fields(fields)
        self.analyzer = analyzer
        texts = {name: field for name, field in self.fields.items() if isinstance(field, Text)}
        self.names = tuple(texts)
        self.text_numbers = {name: number for number, name in enumerate(texts)}
        self.boosts = tuple(field.boost for field in texts.values())
        self.analyzers = tuple(
            analyzer if field.analyzer is None else checked_analyzer(field.analyzer)
            for field in texts.values()
        )
        self.everywhere = dict(enumerate(self.boosts))
        """What to search if nobody says: all fields, with their own boosts."""
        self.all_groups: list[tuple[Analyzer, list[tuple[int, float]]]] = []
        self.all_groups = self.groups(self.everywhere)
        rules = analyzer.rules
        self.native = tuple(rules is not None and each == analyzer for each in self.analyzers)
        """Whether the index of terms takes texts of a field apart itself, by number of the field."""
        self.columns = {
            name: (number, field)
            for number, (name, field) in enumerate(
                (name, field) for name, field in self.fields.items() if not isinstance(field, Text)
            )
        }
        self.lone = len(texts) == 1 and self.boosts[0] == 1
        """Whether words of a query are looked for in the one field that there is."""
        self.plain = self.unnamed and self.native[0]
        """Whether a document is one text, which the index of terms takes as it is."""

    # Documents

    def taken_apart(self, document: Document) -> tuple[tuple[Words, ...], tuple[int, ...]]:
        """A document as an index of terms takes it: texts or words of fields, and cells of columns.

        Raises:
            InvalidType, InvalidValue: it is no document, or a value is not allowed.
            UnknownField: it has a field that the index does not have.
        """
        if isinstance(document, Mapping):
            return self._texts(document), self._cells(document)
        if self.unnamed:
            return (self.words(0, document),), ()
        raise InvalidType(f"document must be a mapping of fields to values, got {shown(document)}")

    def _texts(self, document: Mapping[str, Any]) -> tuple[Words, ...]:
        if not document.keys() <= self.fields.keys():
            raise self.unknown(next(name for name in document if name not in self.fields))
        return tuple(self.words(number, document.get(name)) for number, name in enumerate(self.names))

    def _cells(self, document: Mapping[str, Any]) -> tuple[int, ...]:
        return tuple(field.cell(name, document.get(name)) for name, (_, field) in self.columns.items())

    def words(self, number: int, value: object) -> Words:
        """A text, or its words where the index of terms cannot take it apart; words as they are."""
        if isinstance(value, str):
            return value if self.native[number] else self.analyzers[number].tokens(value)
        if value is None and not self.unnamed:
            return None
        if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
            # no code of the caller's may run while the index is changed
            return value if type(value) in (list, tuple) else list(value)
        raise InvalidType(f"{self.names[number]} must be a text or a sequence of words, got {shown(value)}")

    # Names

    def number(self, name: str) -> int:
        """The number of a text.

        Raises:
            UnknownField: there is none of that name.
        """
        try:
            return self.text_numbers[name]
        except (KeyError, TypeError):
            if isinstance(name, str) and name in self.columns:
                raise UnknownField(
                    f"field must be one of text, which are {listed(self.names)}, got {name!r}, a column"
                ) from None
            raise self.unknown(name) from None

    def column(self, name: str) -> tuple[int, Number | Integer]:
        """The number and the kind of a column.

        Raises:
            UnknownField: there is none of that name.
        """
        try:
            return self.columns[name]
        except (KeyError, TypeError):
            raise UnknownField(f"column must be one of {listed(self.columns)}, got {shown(name)}") from None

    def unknown(self, name: object) -> UnknownField:
        """What to raise for a name that no field has."""
        return UnknownField(f"field must be one of {listed(self.fields)}, got {shown(name)}")

    def weights(self, fields: object) -> Mapping[int, float]:
        """The numbers of the fields to search, each with its boost.

        Args:
            fields: None for all; names; or a mapping of names to boosts that take the place of the fields'
                own.
        """
        if fields is None:
            return self.everywhere
        if isinstance(fields, Mapping):
            return {self.number(name): checked_field_weight(boost) for name, boost in fields.items()}
        if isinstance(fields, str):
            raise InvalidType(
                f"fields must be names or a mapping of names to boosts, got {fields!r}: [{fields!r}]"
            )
        try:
            numbers = [self.number(name) for name in fields]  # type: ignore[attr-defined]  # TypeError if not
        except TypeError:
            raise InvalidType(
                f"fields must be names or a mapping of names to boosts, got {shown(fields)}"
            ) from None
        return {number: self.boosts[number] for number in numbers}

    def groups(self, weights: Mapping[int, float]) -> list[tuple[Analyzer, list[tuple[int, float]]]]:
        """Fields of one analyzer together, as one text; each a number and a boost."""
        if weights is self.everywhere and self.all_groups:
            return self.all_groups
        found: dict[Analyzer, list[tuple[int, float]]] = {}
        for number, weight in weights.items():
            found.setdefault(self.analyzers[number], []).append((number, weight))
        return list(found.items())

    def schema(self, positions: bool) -> Schema:
        """What a parser of queries must know."""
        kinds: dict[str, FieldKind] = {
            name: "text" if isinstance(field, Text) else "number" for name, field in self.fields.items()
        }
        return Schema(kinds, positions)


def checked_fields(fields: object) -> dict[str, Field]:
    if fields is None:
        return {"text": Text()}
    if not isinstance(fields, Mapping):
        raise InvalidType(
            f"fields must be a mapping of names to Text, Number or Integer, got {shown(fields)}"
        )
    found: dict[str, Field] = {}
    for name, field in fields.items():
        if name is None:
            raise InvalidType("field must be the name of a field, got None")
        check_field(name)
        if isinstance(field, type) and issubclass(field, Text | Number | Integer):
            field = field()  # Text for Text(): what else could be meant
        if not isinstance(field, Text | Number | Integer):
            raise InvalidType(f"field {name} must be a Text, a Number or an Integer, got {shown(field)}")
        found[name] = field
    texts = sum(isinstance(field, Text) for field in found.values())
    if not 1 <= texts <= MOST_FIELDS:
        raise InvalidValue(f"fields must hold 1 to {MOST_FIELDS} of text, got {texts}")
    if len(found) - texts > MOST_COLUMNS:
        raise InvalidValue(f"fields must hold at most {MOST_COLUMNS} of numbers, got {len(found) - texts}")
    return found


def listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
