"""Copying and comparing whole messages, pure Python, without recursion: nesting needs no stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.protobuf import faults
from penstock.protobuf._plan_py import Plan, plan_of
from penstock.protobuf.descriptors import FieldDescriptor, Presence, Shape
from penstock.protobuf.errors import EncodeError, EncodeTypeError
from penstock.protobuf.methods import MessageMethods, is_empty
from penstock.protobuf.values import elements, is_numpy

if TYPE_CHECKING:
    from penstock.protobuf._message_py import Message

    Pair = tuple[Any, Any, int]
    """Two messages and how deep they are nested."""

__all__ = ["copied", "equal", "make_ready", "unknown_of"]

DEEPEST = 1000


def copied(message: Message) -> Any:
    """A message of the same class with equal fields that shares no list, dict, array or message with it.

    Raises:
        EncodeError: it is nested too deep, perhaps in itself.
    """
    made = blank_like(message)
    waiting: list[Pair] = [(message, made, 1)]
    while waiting:
        source, target, depth = waiting.pop()
        if depth > DEEPEST:
            raise EncodeError(faults.TOO_NESTED, path=type(message).__name__)
        plan = plan_of(type(source))
        target.__unknown__ = unknown_of(source)
        for field in plan.descriptor.fields:
            plan.puts[field.name](target, copy_of_value(field, held(plan, field, source), waiting, depth + 1))
    return made


def blank_like(message: Any) -> Any:
    return plan_of(type(message)).blank()


def unknown_of(message: Message) -> bytes:
    """The unknown fields of a message, also of one whose class does not call our `__init__`."""
    return bytes(getattr(message, "__unknown__", b""))


def held(plan: Plan, field: FieldDescriptor, message: Any) -> Any:
    """What a slot holds, None if it was deleted."""
    try:
        return plan.gets[field.name](message)
    except AttributeError:
        return None


def copy_of_value(field: FieldDescriptor, value: Any, waiting: list[Pair], depth: int) -> Any:
    """A copy of what a slot holds; its sub-messages are empty and wait to be filled.

    What is no such thing as the field should hold is taken over as it is: writing it will say what is wrong.
    """

    def of_message(inner: Any) -> Any:
        if not isinstance(inner, MessageMethods):
            return inner
        made = blank_like(inner)
        waiting.append((inner, made, depth))
        return made

    if field.array and is_numpy(value, "ndarray"):
        return value.copy()
    if field.shape is Shape.MAP and isinstance(value, dict):
        return {key: of_message(each) for key, each in list(value.items())}
    if field.shape is Shape.REPEATED and isinstance(value, list | tuple):
        return [of_message(each) for each in value]
    return of_message(value)


def equal(one: Message, other: Message) -> bool:
    """Whether two messages of one class have equal fields, set and not set alike, and unknown fields.

    Raises:
        EncodeError: they are nested too deep, perhaps in themselves.
    """
    waiting: list[Pair] = [(one, other, 1)]
    while waiting:
        one, other, depth = waiting.pop()
        if depth > DEEPEST:
            raise EncodeError(faults.TOO_NESTED, path=type(one).__name__)
        if type(one) is not type(other) or unknown_of(one) != unknown_of(other):
            return False
        plan = plan_of(type(one))
        for field in plan.descriptor.fields:
            left, right = held(plan, field, one), held(plan, field, other)
            if not equal_values(field, left, right, waiting, depth + 1):
                return False
    return True


def means_unset(field: FieldDescriptor, value: Any) -> bool:
    """Whether a value means the same as None."""
    if field.shape is not Shape.SINGULAR:
        return is_empty(value)
    return field.presence is Presence.IMPLICIT and bool(value == field.default)


def equal_values(field: FieldDescriptor, one: Any, other: Any, waiting: list[Pair], depth: int) -> bool:
    """Whether two values are equal, as far as they are no messages; pairs of those wait for their turn."""
    if one is other:
        return True
    if one is None or other is None:
        return means_unset(field, other if one is None else one)
    if field.array or (field.shape is Shape.REPEATED and not (is_sequence(one) and is_sequence(other))):
        return equal_arrays(one, other)
    if field.message is None:
        return bool(one == other)
    if field.shape is Shape.SINGULAR:
        pairs = [(one, other)]
    elif field.shape is Shape.MAP:
        if not (isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys()):
            return False
        pairs = [(value, other[key]) for key, value in one.items()]
    else:
        if type(one) is not type(other) or len(one) != len(other):
            return False
        pairs = list(zip(one, other, strict=True))
    for left, right in pairs:
        if isinstance(left, MessageMethods) and isinstance(right, MessageMethods):
            if left is not right:
                waiting.append((left, right, depth))
        elif left != right:
            return False
    return True


def is_sequence(value: Any) -> bool:
    return isinstance(value, list | tuple)


def equal_arrays(one: Any, other: Any) -> bool:
    import numpy as np

    return bool(np.array_equal(one, other))


def make_ready(message: Message) -> None:
    """Gives a message, and those in it that more may be merged into, the lists, dicts and arrays they need.

    Raises:
        EncodeError: a slot holds something else, or the message itself; it is as it was.
    """
    waiting: list[tuple[Any, str, int]] = [(message, type(message).__name__, 1)]
    changes = []
    while waiting:
        inner, path, depth = waiting.pop()
        if depth > DEEPEST:
            raise EncodeError(faults.TOO_NESTED, path=type(message).__name__)
        plan = plan_of(type(inner))
        for field in plan.descriptor.fields:
            value, place = held(plan, field, inner), f"{path}.{field.name}"
            if field.shape is not Shape.SINGULAR:
                changes.append((plan.puts[field.name], inner, container(field, value, place)))
            elif value is None:
                changes.append((plan.puts[field.name], inner, None))  # it may have been deleted
            elif field.message is not None:
                if not isinstance(value, field.message):
                    wanted = faults.a(field.message.__name__)
                    raise EncodeTypeError(faults.wrong_type(wanted, value), path=place)
                waiting.append((value, place, depth + 1))
    for put, inner, value in changes:
        put(inner, value)


def container(field: FieldDescriptor, value: Any, path: str) -> Any:
    """A list, dict or array of what a slot holds; itself, if it is one."""
    try:
        if field.array:
            from penstock.protobuf.arrays import array_of

            return array_of(field.kind, () if value is None else value)
        if field.shape is Shape.REPEATED:
            return value if isinstance(value, list) else list(elements(() if value is None else value))
    except EncodeError as error:
        raise type(error)(error.reason, path=path + error.path) from None
    if value is not None and not isinstance(value, dict):
        raise EncodeTypeError(faults.wrong_type("a dict", value), path=path)
    return {} if value is None else value
