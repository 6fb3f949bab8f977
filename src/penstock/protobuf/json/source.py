"""The source of the function that writes messages of one class as JSON.

A loop over the fields of a message costs more for those that are not set than for those that are; straight
source with a test for each field takes a third of the time. Only numbers and attributes of the class stand
in it; all else is a variable around it, such as `write_7`, `zero_7` and `slot_7` for the field 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from penstock.protobuf.descriptors import FieldDescriptor, Presence, Shape
from penstock.protobuf.kinds import Kind

__all__ = ["writer_source"]

SOURCE: Final = """
def write(message, writing):
    if not isinstance(message, cls):
        raise no_instance(cls, message)
    writing.enter()
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
        if {is_set}:
            at = {at}
            made[names[{at}]] = {written}
"""
REQUIRED: Final = """
        else:
            at = {at}
            raise Refused(required)
"""


def writer_source(fields: Sequence[FieldDescriptor]) -> str:
    """The definition of `write(message, writing)`, for fields in the order in which they are written."""
    return SOURCE.format(fields="".join(map(field_source, range(len(fields)), fields)) or "        pass")


def field_source(at: int, field: FieldDescriptor) -> str:
    value = f"slot_{at}(message)" if field.has_declared_default else f"message.{field.name}"
    source = FIELD.format(at=at, value=value, is_set=set_test(at, field), written=written_source(at, field))
    return source + REQUIRED.format(at=at) if field.presence is Presence.REQUIRED else source


def set_test(at: int, field: FieldDescriptor) -> str:
    """The expression that tells whether `value` is to be written."""
    if field.presence is not Presence.IMPLICIT:
        return "value is not None"
    if field.shape is not Shape.SINGULAR:
        usual = "dict" if field.shape is Shape.MAP else "list"
        return f"(value if type(value) is {usual} else not is_empty(value))"
    if field.kind is Kind.DOUBLE:
        return "value is not None and not is_positive_zero(value)"
    if field.kind is Kind.FLOAT:
        return "value is not None and not rounds_to_zero(value)"
    if field.default:  # an enum without a zero
        return f"value is not None and value != zero_{at}"
    return "value"


def written_source(at: int, field: FieldDescriptor) -> str:
    """The expression for the JSON of `value`; of most texts that is the text itself."""
    call = f"write_{at}(value, writing)"
    if field.kind is Kind.STRING and field.shape is Shape.SINGULAR:
        return f"value if type(value) is str and value.isascii() else {call}"
    return call
