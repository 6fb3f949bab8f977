"""Where Google's runtime (upb, in the package protobuf 7) does something else than penstock, and why.

What compares the two asks here, so that nothing else may differ; test_google_differences.py shows each.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format
from google.protobuf.unknown_fields import UnknownFieldSet
from random_messages import is_map, value_field

from penstock.protobuf.kinds import WIRE_TYPE, Kind, WireType
from penstock.protobuf.schema.defaults import single_precision
from penstock.protobuf.wire_reader import WireReader

LEAST_NORMAL_FLOAT = 2.0**-126
STRICTER = {"field number 0 is not allowed"}
"""Reasons of a DecodeError for what Google's runtime lets pass.

In a message without fields upb takes any number. They begin with 1, and the conformance suite wants others
refused (IllegalZeroFieldNum).
"""


def sub_messages(theirs: Any, field: Any) -> list[Any]:
    """The messages that a field of a message of Google's holds."""
    if value_field(field).message_type is None:
        return []
    value = getattr(theirs, field.name)
    if is_map(field):
        return list(value.values())
    return list(value) if field.is_repeated else [value] if theirs.HasField(field.name) else []


def within(theirs: Any) -> Iterator[Any]:
    """A message of Google's and all that it holds."""
    yield theirs
    for field in theirs.DESCRIPTOR.fields:
        for each in sub_messages(theirs, field):
            yield from within(each)


def settled(theirs: Any) -> Any:
    """The message with quiet NaNs instead of signalling ones.

    A Python float is a double, and a signalling NaN of single precision does not survive as one; Google's
    classes keep its bits as long as Python does not see them.
    """
    for message in within(theirs):
        for field in message.DESCRIPTOR.fields:
            if value_field(field).type == Kind.FLOAT:
                make_quiet(message, field, getattr(message, field.name))
    return theirs


def make_quiet(message: Any, field: Any, value: Any) -> None:
    if is_map(field):
        for key, each in value.items():
            value[key] = each
    elif field.is_repeated:
        value[:] = list(value)
    elif math.isnan(value) and (not field.has_presence or message.HasField(field.name)):
        setattr(message, field.name, value)


def same_bytes(data: bytes, theirs: Any) -> bool:
    """Whether these are the bytes of Google's settled message, but for the order of the entries of maps.

    Deterministic output has keys in ascending order here. Google's runtime promises none; in this release it
    writes integers from high to low, negative ones as if they were unsigned.
    """
    expected = theirs.SerializePartialToString(deterministic=True)
    if data == expected:
        return True
    again = settled(type(theirs).FromString(data))  # settled, as an array here keeps its signalling NaNs
    return len(data) == len(expected) and again.SerializePartialToString(deterministic=True) == expected


def unknown_entries(theirs: Any) -> Iterator[tuple[Any, bytes]]:
    """Each entry of a map that is among the unknown fields: the field, and the bytes of the entry."""
    for message in within(theirs):
        for each in UnknownFieldSet(message):
            field = message.DESCRIPTOR.fields_by_number.get(each.field_number)
            if field is not None and is_map(field) and each.wire_type == WireType.LENGTH_DELIMITED:
                yield field, each.data


def has_unknown_within_entries(theirs: Any) -> bool:
    """Whether an entry of a map had a field that no entry has.

    Such a field is passed over, here and in Google's C++; upb puts the whole entry among the unknown fields,
    and its map lacks it.
    """
    return any(has_other_fields(*each) for each in unknown_entries(theirs))


def has_other_fields(field: Any, entry: bytes) -> bool:
    known = {(each.number, WIRE_TYPE[Kind(each.type)]) for each in field.message_type.fields}
    return any((number, wire_type) not in known for number, wire_type, _ in WireReader(entry))


def has_unknown_entries(theirs: Any) -> bool:
    """Whether an entry of a map is unknown because its value, of a closed enum, has no name.

    It is kept as it came here; upb writes it anew, its key first.
    """
    return any(True for _ in unknown_entries(theirs))


def has_broken_text(theirs: Any) -> bool:
    """Whether a text that need not be UTF-8 is none.

    Here its stray bytes are lone surrogates; in Google's classes the text is bytes. JSON has neither.
    """
    return any(isinstance(each, bytes) for message in within(theirs) for each in texts(message))


def has_broken_keys(theirs: Any) -> bool:
    """Whether a map has such a text as its key, by which Google's classes cannot find the value again."""
    try:
        for message in within(theirs):
            texts(message)
    except UnicodeDecodeError:
        return True
    return False


def texts(message: Any) -> list[Any]:
    """All text of one message, the keys of maps included."""
    found: list[Any] = []
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if is_map(field):
            key, of = field.message_type.fields
            keys, values = list(value.keys()), list(value.values())  # of a broken key there is no value
            found += keys if key.type == Kind.STRING else ()
            found += values if of.type == Kind.STRING else ()
        elif field.type == Kind.STRING:
            found += value if field.is_repeated else [value]
    return found


def is_beyond_comparison(theirs: Any) -> bool:
    """Whether Google's runtime read what nothing more can be asked of than that it was read."""
    return has_broken_keys(theirs) or has_unknown_within_entries(theirs)


def same_json(ours: Any, theirs: Any) -> bool:
    """Whether two JSON values are the same, but for subnormal floats.

    Both say the same float of single precision, here with the fewest digits that do.
    """
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same_json(ours[each], theirs[each]) for each in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same_json, ours, theirs))
    if isinstance(theirs, float) and 0 < abs(theirs) < LEAST_NORMAL_FLOAT:
        return single_precision(ours) == single_precision(theirs)
    return bool(ours == theirs)


def parsed_json(google: Any, value: Any) -> Any | None:
    """Google's message of a JSON value; None if it has the greatest float, which it writes and refuses."""
    try:
        return json_format.ParseDict(value, google())
    except json_format.ParseError as error:
        if re.search("Float value too (large|small)", str(error)):
            return None
        raise
