"""The source of the function that writes messages of one class as JSON.

A loop over the fields of a message costs more for those that are not set than for those that are; straight
source with a test for each field takes a third of the time. Only numbers and attributes of the class stand
in it; all else is a variable around it, such as `write_7`, `zero_7` and `slot_7` for the field 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from penstock.protobuf.descriptors import FieldDescriptor, Presence, Shape
from penstock.protobuf.json.scalars import QUOTED
from penstock.protobuf.kinds import Kind

__all__ = ["writer_source"]

SOURCE: Final = """
def write(message, writing):
    if not isinstance(message, cls):
        raise no_instance(cls, message)
    if writing.depth >= max_depth:
        writing.enter()  # which refuses it; calling it for each message would take its time
    writing.depth += 1
    names = proto_names if writing.preserving_names else json_names
    made = {{}}
    at = 0
    try:
{fields}
    except Refused as refused:
        refused.steps.append(steps[at])
        raise
    except AttributeError:
        if not has_deleted_slot(message):
            raise
        writing.depth -= 1
        return write(restored(message), writing)
    if writing.including_defaults:
        add_defaults(made, names, defaults, writing)
    if message.unknown_fields:
        made.update(write_extensions(message, writing))
    writing.depth -= 1
    return made
"""
FIELD: Final = """
        value = {value}
        if value is not None:
            at = {at}
            made[names[{at}]] = {written}
"""
REQUIRED: Final = """
        else:
            at = {at}
            raise Refused(required)
"""
WITHOUT_PRESENCE: Final = """
        value = {value}
        if {is_given}:
            at = {at}
            written = {written}
            if {counts}:
                made[names[{at}]] = written
"""


def writer_source(fields: Sequence[FieldDescriptor]) -> str:
    """The definition of `write(message, writing)`, for fields in the order in which they are written."""
    return SOURCE.format(fields="".join(map(field_source, range(len(fields)), fields)) or "        pass")


def field_source(at: int, field: FieldDescriptor) -> str:
    value = f"slot_{at}(message)" if field.has_declared_default else f"message.{field.name}"
    written = written_source(at, field)
    if field.presence is Presence.IMPLICIT:
        tests = {"is_given": given_test(at, field), "counts": count_test(at, field)}
        return WITHOUT_PRESENCE.format(at=at, value=value, written=written, **tests)
    source = FIELD.format(at=at, value=value, written=written)
    return source + REQUIRED.format(at=at) if field.presence is Presence.REQUIRED else source


def given_test(at: int, field: FieldDescriptor) -> str:
    """The expression that tells whether `value` is other than what a new message has, at no great cost."""
    if field.shape is Shape.SINGULAR:
        return f"value is not zero_{at} and value is not None"
    usual = "dict" if field.shape is Shape.MAP else "list"
    return f"(value if type(value) is {usual} else value is not None)"


def count_test(at: int, field: FieldDescriptor) -> str:
    """The expression that tells of a `value` of the right type whether it is other than zero or empty."""
    if field.shape is not Shape.SINGULAR:
        return "written"
    if field.kind is Kind.ENUM:
        return f"value != zero_{at}"
    if field.kind in (Kind.DOUBLE, Kind.FLOAT):
        return "written or is_negative_zero(written)"
    return "written != '0'" if field.kind in QUOTED else "written"


def written_source(at: int, field: FieldDescriptor) -> str:
    """The expression for the JSON of `value`; of most texts that is the text itself."""
    call = f"write_{at}(value, writing)"
    if field.kind is Kind.STRING and field.shape is Shape.SINGULAR:
        return f"value if type(value) is str and value.isascii() else {call}"
    return call
