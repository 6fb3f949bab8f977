"""What the twins are held to: a tree as two sorted lists, as a table of SQLite, and keys of all kinds."""

# ruff: noqa: A002 -- arguments are called as those of the trees

import sqlite3
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, count, pairwise
from typing import Any

import numpy as np

MISSING = object()
MOST, LEAST = 2**63 - 1, -(2**63)
DTYPES = {"int64": np.int64, "uint64": np.uint64, "float64": np.float64}
CLASSES = {"map": "MapTree", "set": "SetTree", "multimap": "MultiMapTree"}


class Text(str):
    """A str that is none exactly."""

    __slots__ = ()


class Number(int):
    """An int that is none exactly."""


# ---- keys: what a small number stands for, in every type of key ----


@dataclass(frozen=True)
class Keys:
    """Keys of one type, each by a number: from 0 on as `nth` says, negative ones from `edges`."""

    key_type: str
    nth: Callable[[int], Any]
    edges: tuple[Any, ...]
    stored: Callable[[Any], Any]  # the key as the tree gives it back
    sql: Callable[[Any], Any]  # what SQLite orders as the tree orders keys

    def __getitem__(self, code: int) -> Any:
        return self.nth(code) if code >= 0 else self.edges[code % len(self.edges)]


def as_is(key):
    return key


def spread(code):
    """Numbers close together, and some far away."""
    return (code - 3000) * (2**40 if code % 7 == 3 else 5)


def text(code):
    """Words with long common beginnings, and of all three widths a str may have inside."""
    beginning = ("", "a", "a common beginning ", "\xe9", "\u65e5\u672c", "\U0001f40d", "z" * 7)[code % 7]
    return f"{beginning}{code * 7919 % 10007:04x}"


def text_bytes(key):
    return key.encode("utf-8", "surrogatepass")


def packed(number):
    """Bytes in the order of ints of any size up to 160 bits."""
    return (number + 2**160).to_bytes(21, "big")


def packed_tuple(key):
    number, *texts = key
    whole = number * 1024  # an exact int for what the tests take: ints, and floats with few bits
    assert whole == int(whole)
    shifted = [bytes(byte + 1 for byte in text_bytes(each)) for each in texts]  # so that 0 may end a text
    return packed(int(whole)) + b"".join(b"\x01" + each + b"\x00" for each in shifted)


SURROGATES = ("\ud800", "a\udfff", "\uffff", "\U00010000")  # of which UTF-16 would make another order

KEYS = {
    "int64": Keys("int64", spread, (LEAST, LEAST + 1, -1, 0, 1, True, MOST - 1, MOST, Number(7)), int, as_is),
    "uint64": Keys(
        "uint64",
        lambda code: code * (2**47 if code % 7 == 3 else 5),
        (0, 1, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1, True),
        int,
        lambda key: key - 2**63,
    ),
    "float64": Keys(
        "float64",
        lambda code: spread(code) / 8,
        (float("-inf"), -1.7e308, -5e-324, -0.0, 0.0, 5e-324, 1, 2.5, 1e300, float("inf"), 2**60, False),
        lambda key: float(key) + 0.0,
        as_is,
    ),
    "str": Keys(
        "str",
        text,
        ("", "\x00", "a", "a\x00", "\x7f", "\x80", "\xff", "\u0100", Text("a"), *SURROGATES),
        as_is,
        text_bytes,
    ),
    "bytes": Keys(
        "bytes",
        lambda code: (
            (b"", b"\x00", b"a common beginning ", b"\xff\xff")[code % 4]
            + struct.pack(">H", code * 7 % 65536)
        ),
        (
            b"",
            b"\x00",
            b"\x00\x00",
            b"\x7f",
            b"\x80",
            b"\xff",
            b"\xff" * 8,
            b"\xff" * 9,
            b"\x00" * 8,
            b"\x00" * 9,
        ),
        as_is,
        as_is,
    ),
    "object_str": Keys(
        "object",
        text,
        ("", "a", "a\x00", "\xff", "\u0100", Text("a"), Text("zz"), *SURROGATES),
        as_is,
        text_bytes,
    ),
    "object_int": Keys(
        "object",
        spread,
        (LEAST - 1, LEAST, -1, 0, 1, True, MOST, MOST + 1, 2**64, 2**100, 2**100 + 1, -(2**100), Number(7)),
        as_is,
        packed,
    ),
    "object_float": Keys(
        "object",
        lambda code: spread(code) / 8,
        (float("-inf"), -0.0, 0.0, 5e-324, float("inf")),
        as_is,
        as_is,
    ),
    "object_mixed": Keys(
        "object",
        lambda code: spread(code) if code % 3 else spread(code) / 2,
        (
            0,
            0.0,
            -0.0,
            False,
            True,
            1,
            1.0,
            2**53,
            2.0**53,
            2**53 + 1,
            MOST,
            2.0**63,
            float("inf"),
            float("-inf"),
        ),
        as_is,
        as_is,
    ),
    "object_tuple": Keys(
        "object",
        lambda code: (code // 10, text(code)) if code % 2 else (code // 10,),
        (
            (0,),
            (0, ""),
            (0, "", ""),
            (-1,),
            (2**70,),
            (2**70, "a"),
            (1.5, "a"),
            (True,),
            (1, "\x00"),
            (1, "a", "b"),
            (-(2**70), "a"),
        ),
        as_is,
        packed_tuple,
    ),
}
VALUES = {
    "object": lambda code: f"value {code}",
    "int64": lambda code: (LEAST, MOST, -1, 0)[code] if code < 4 else code,
    "float64": lambda code: (float("-inf"), -0.0, 1e300, 5e-324)[code] if code < 4 else code / 8,
}


# ---- the models ----


class Model:
    """A tree of any kind: keys in order, and the value of each beside it."""

    def __init__(self, kind: str, keys: Keys, value_type: str | None, entries=()):
        self.kind, self.spec, self.value_type = kind, keys, value_type
        self.keys = [key for key, _ in entries]
        self.values = [value for _, value in entries]

    def __len__(self):
        return len(self.keys)

    def __iter__(self):
        return iter(self.keys)

    def __reversed__(self):
        return reversed(self.keys)

    def __contains__(self, key):
        low, high = self.equals(key)
        return low < high

    # ---- places ----

    def equals(self, key):
        key = self.spec.stored(key)
        return bisect_left(self.keys, key), bisect_right(self.keys, key)

    def within(self, min, max, include):
        low = 0 if min is None else self.equals(min)[not include[0]]
        high = len(self) if max is None else self.equals(max)[include[1]]
        return low, high if high > low else low

    def item(self, index):
        return self.keys[index] if self.kind == "set" else (self.keys[index], self.values[index])

    def item_or_none(self, index):
        return self.item(index) if 0 <= index < len(self) else None

    def take(self, index):
        item = self.item(index)
        self.cut(index, index + 1)
        return item

    def cut(self, low, high):
        del self.keys[low:high], self.values[low:high]
        return high - low

    def entries(self):
        return list(zip(self.keys, self.values, strict=True))

    def items(self):
        return list(self.keys) if self.kind == "set" else self.entries()

    def copy(self):
        return Model(self.kind, self.spec, self.value_type, self.entries())

    # ---- all three ----

    def clear(self):
        self.cut(0, len(self))

    def first_item(self):
        if not self.keys:
            raise KeyError
        return self.item(0)

    def last_item(self):
        if not self.keys:
            raise KeyError
        return self.item(len(self) - 1)

    def pop_first(self):
        self.first_item()
        return self.take(0)

    def pop_last(self):
        self.last_item()
        return self.take(len(self) - 1)

    def floor_item(self, key):
        return self.item_or_none(self.equals(key)[1] - 1)

    def lower_item(self, key):
        return self.item_or_none(self.equals(key)[0] - 1)

    def ceiling_item(self, key):
        return self.item_or_none(self.equals(key)[0])

    def higher_item(self, key):
        return self.item_or_none(self.equals(key)[1])

    def rank(self, key):
        return self.equals(key)[0]

    def rank_right(self, key):
        return self.equals(key)[1]

    def select(self, index):
        if not -len(self) <= index < len(self):
            raise IndexError
        return self.item(index % len(self))

    def pop_at(self, index):
        self.select(index)
        return self.take(index % len(self))

    def count(self, min=None, max=None, *, include=(True, False)):
        low, high = self.within(min, max, include)
        return high - low

    def range(self, min=None, max=None, *, include=(True, False), reverse=False, limit=None):
        found = self.items()[slice(*self.within(min, max, include))]
        return iter((found[::-1] if reverse else found)[:limit])

    def keys_range(self, *bounds, **options):
        return (item if self.kind == "set" else item[0] for item in self.range(*bounds, **options))

    def values_range(self, *bounds, **options):
        return (value for _, value in self.range(*bounds, **options))

    def range_arrays(self, min=None, max=None, *, include=(True, False)):
        place = slice(*self.within(min, max, include))
        keys = np.array(self.keys[place], DTYPES[self.spec.key_type])
        return keys if self.kind == "set" else (keys, self.array_of_values(self.values[place]))

    def array_of_values(self, values):
        if self.value_type != "object":
            return np.array(values, DTYPES[self.value_type])
        found = np.empty(len(values), object)
        found[:] = values
        return found

    def rank_many(self, keys):
        return np.array([self.rank(key) for key in keys], np.int64)

    def contains_many(self, keys):
        return np.array([key in self for key in keys], bool)

    def delete_many(self, keys):
        return sum([self.cut(*self.equals(key)) for key in keys])

    def delete_range(self, min=None, max=None, *, include=(True, False)):
        return self.cut(*self.within(min, max, include))

    def split_off(self, key):
        low = self.rank(key)
        right = Model(self.kind, self.spec, self.value_type, self.entries()[low:])
        self.cut(low, len(self))
        return right

    def _entries_at(self, start, stop):
        return self.items()[start:stop]

    def put(self, key, value):
        """What `t[key] = value` and `add` do: whether there is an entry more."""
        low, high = self.equals(key)
        if low == high or self.kind == "multimap":
            self.keys.insert(high, self.spec.stored(key))
            self.values.insert(high, value)
            return True
        self.values[low] = value
        return False

    def insert_many(self, keys, values=None, *, sorted=False):
        if sorted:
            stored = [self.spec.stored(key) for key in keys]
            if any(later < earlier for earlier, later in pairwise(stored)):
                raise ValueError
        return sum([self.put(*pair) for pair in zip(keys, values or [None] * len(keys), strict=True)])

    # ---- maps ----

    def __getitem__(self, key):
        found = self.get(key, MISSING)
        if found is MISSING:
            raise KeyError
        return found

    def __setitem__(self, key, value):
        self.put(key, value)

    def __delitem__(self, key):
        if not self.cut(*self.equals(key)):
            raise KeyError

    def get(self, key, default=None):
        low, high = self.equals(key)
        return self.values[low] if low < high else default

    def setdefault(self, key, default=None):
        if key not in self:
            self.put(key, default)
        return self.get(key)

    def pop(self, key, default=MISSING):
        found = self.get(key, default)
        if found is MISSING:
            raise KeyError
        self.cut(*self.equals(key))
        return found

    def get_many(self, keys, default=MISSING):
        if self.kind == "multimap":
            groups = [self.get_all(key) for key in keys]
            offsets = np.cumsum([0, *map(len, groups)], dtype=np.int64)
            return self.batch(list(chain(*groups))), offsets
        found = [self.get(key, default) for key in keys]
        if any(value is MISSING for value in found):
            raise KeyError
        return self.batch(found)

    def batch(self, values):
        if self.spec.key_type in DTYPES and self.value_type != "object":
            return self.array_of_values(values)
        return values

    # ---- sets and multimaps ----

    def add(self, key, value=None):
        self.put(key, value)

    def discard(self, key):
        self.cut(*self.equals(key))

    def remove(self, key, value=None):
        for index in range(*self.equals(key)):
            if self.kind == "set" or self.values[index] == value:
                self.take(index)
                return
        raise KeyError

    def get_all(self, key):
        return self.values[slice(*self.equals(key))]

    def pop_all(self, key):
        found = self.get_all(key)
        if not found:
            raise KeyError
        self.cut(*self.equals(key))
        return found


class Table:
    """The same entries in SQLite, which knows nothing of our order but what `Keys.sql` tells."""

    def __init__(self, kind, keys):
        self.kind, self.spec, self.numbers = kind, keys, count()
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        unique = "" if kind == "multimap" else "UNIQUE"
        self.connection.execute(f"CREATE TABLE entries (key {unique}, value, number)")
        self.connection.execute("CREATE INDEX by_key ON entries (key, number)")

    def close(self):
        self.connection.close()

    def row(self, key, value):
        """An entry as it stands in the table."""
        return self.spec.sql(key), repr(value)

    def put(self, *entries):
        clash = {
            "map": "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            "set": "ON CONFLICT DO NOTHING",
        }
        self.connection.executemany(
            f"INSERT INTO entries VALUES (?, ?, ?) {clash.get(self.kind, '')}",
            [(*self.row(key, value), next(self.numbers)) for key, value in entries],
        )

    def where(self, min, max, include):
        conditions, bounds = ["1"], []
        if min is not None:
            conditions.append("key >= ?" if include[0] else "key > ?")
            bounds.append(self.spec.sql(min))
        if max is not None:
            conditions.append("key <= ?" if include[1] else "key < ?")
            bounds.append(self.spec.sql(max))
        return f"WHERE {' AND '.join(conditions)}", bounds

    def rows(self, min=None, max=None, *, include=(True, False), reverse=False, limit=None):
        where, bounds = self.where(min, max, include)
        order = "DESC" if reverse else "ASC"
        return self.connection.execute(
            f"SELECT key, value FROM entries {where} ORDER BY key {order}, number {order} LIMIT ?",
            [*bounds, -1 if limit is None else limit],
        ).fetchall()

    def count(self, min=None, max=None, *, include=(True, False)):
        where, bounds = self.where(min, max, include)
        return self.connection.execute(f"SELECT count(*) FROM entries {where}", bounds).fetchone()[0]

    def delete_range(self, min=None, max=None, *, include=(True, False)):
        where, bounds = self.where(min, max, include)
        return self.connection.execute(f"DELETE FROM entries {where}", bounds).rowcount

    def delete(self, key):
        return self.delete_range(key, key, include=(True, True))

    def delete_end(self, *, last):
        """The first entry, or the last one."""
        order = "DESC" if last else "ASC"
        self.connection.execute(
            "DELETE FROM entries WHERE rowid ="
            f" (SELECT rowid FROM entries ORDER BY key {order}, number {order} LIMIT 1)"
        )

    def delete_at(self, index):
        self.connection.execute(
            "DELETE FROM entries WHERE rowid ="
            " (SELECT rowid FROM entries ORDER BY key, number LIMIT 1 OFFSET ?)",
            [index],
        )

    def delete_one(self, key, value):
        self.connection.execute(
            "DELETE FROM entries WHERE rowid ="
            " (SELECT rowid FROM entries WHERE key = ? AND value = ? ORDER BY number LIMIT 1)",
            self.row(key, value),
        )
