"""The metaclass of messages: a class statement, or a schema, becomes a slotted class with a descriptor."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform, get_origin, get_type_hints

from penstock.protobuf.descriptors import FieldDescriptor, MessageDescriptor
from penstock.protobuf.errors import SchemaError
from penstock.protobuf.fields import Declared, resolved

if TYPE_CHECKING:
    from penstock.protobuf.message import Message
    from penstock.protobuf.methods import MessageMethods

__all__ = ["MessageMeta", "declare", "describe", "slot"]


@dataclass_transform(kw_only_default=True)
class MessageMeta(type):
    """Makes the class of a message: one slot a field, its descriptor resolved when it is first used."""

    __describe__: Callable[[], MessageDescriptor]
    __descriptor__: MessageDescriptor | None

    def __new__(
        meta,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        package: str = "",
        full_name: str = "",
        message_set: bool = False,
        **others: Any,
    ) -> MessageMeta:
        """The class of a class statement; `package` or `full_name` say what the schema calls it.

        `others` go to the `__init_subclass__` of a base.
        """
        parents = [base for base in bases if isinstance(base, MessageMeta)]
        if not parents:  # the root itself
            return super().__new__(meta, name, bases, namespace)
        told = {key: value for key, value in namespace.items() if isinstance(value, Declared)}
        owners = {owner_of(parent) for parent in parents if hasattr(parent, "__describe__")}
        check_declaration(name, parents[0], namespace, told)
        if owners:
            check_derivation(name, owners, told)
        body = {key: value for key, value in namespace.items() if key not in told}
        body["__slots__"] = tuple(told)
        full_name = full_name or (f"{package}.{name}" if package else name)
        made = super().__new__(meta, name, bases, body, **others)
        if made.__dictoffset__ or made.__weakrefoffset__:
            raise SchemaError(f"{name}: a message has slots only, so its other bases need __slots__ = ()")
        if owners:
            check_visible(made, owners.pop())
        else:
            made.__describe__ = partial(described, made, full_name, told, message_set=message_set)
            made.__descriptor__ = None
        return made


def declare(
    root: type[Message],
    name: str,
    fields: Sequence[str],
    describe: Callable[[type[Message]], MessageDescriptor],
    *,
    module: str,
    qualname: str = "",
) -> type[Message]:
    """The class of a message whose fields are known by name only, so far.

    Args:
        root: the twin of `Message` to derive from.
        name: of the class.
        fields: the Python attributes, in the order of their declaration.
        describe: called once, with the class, when it is first used: all its fields, in the same order.
        module: what the class says it comes from, for pickle and for people.
        qualname: the same with the classes around it; `name` unless given.
    """
    meta = type(root)
    namespace = {"__slots__": tuple(fields), "__module__": module, "__qualname__": qualname or name}
    made = type.__new__(meta, name, (root,), namespace)
    made.__describe__ = partial(describe, made)
    made.__descriptor__ = None
    return made


def describe(message: type[MessageMethods] | MessageMethods) -> MessageDescriptor:
    """What the schema says of a message, or of the class of a message.

    Raises:
        SchemaError: an annotation of the class cannot be resolved, or is no type of a field.
    """
    cls: type = message if isinstance(message, type) else type(message)
    if not isinstance(cls, MessageMeta) or not hasattr(cls, "__describe__"):
        raise SchemaError(f"a message is an instance of a class with fields, got {cls.__name__}")
    found: MessageDescriptor | None = cls.__descriptor__
    if found is None:
        owner = owner_of(cls)
        found = owner.__describe__()
        check_numbers(found)
        for each in found.fields:
            if each.has_declared_default and not isinstance(owner.__dict__[each.name], DefaultField):
                type.__setattr__(owner, each.name, DefaultField(slot(owner, each.name), each.default))
        type.__setattr__(owner, "__descriptor__", found)
    return found


def owner_of(cls: MessageMeta) -> MessageMeta:
    """The class that has the fields; those derived from it only add methods."""
    return next(
        each for each in cls.__mro__ if isinstance(each, MessageMeta) and "__describe__" in each.__dict__
    )


def slot(cls: type, name: str) -> Any:
    """The descriptor of the slot of a field, which holds None where the field is not set."""
    for each in cls.__mro__:
        if name in each.__dict__:
            found = each.__dict__[name]
            return found.member if isinstance(found, DefaultField) else found
    raise AttributeError(name)


class DefaultField:
    """Reads as the declared default of a field while its slot holds None."""

    __slots__ = ("default", "member")

    def __init__(self, member: Any, default: Any) -> None:
        self.member, self.default = member, default

    def __get__(self, message: Any, owner: type | None = None) -> Any:
        if message is None:
            return self
        value = self.member.__get__(message, owner)
        return self.default if value is None else value

    def __set__(self, message: Any, value: Any) -> None:
        self.member.__set__(message, value)

    def __delete__(self, message: Any) -> None:
        self.member.__delete__(message)


def described(
    cls: MessageMeta, full_name: str, told: dict[str, Declared], *, message_set: bool
) -> MessageDescriptor:
    """The descriptor of a declared class; its annotations may name classes that came after it."""
    around = {cls.__name__: cls} | classes_in(cls)
    outer = module = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split(".")[:-1]:  # classes around this one, where they can be found
        outer = getattr(outer, part, None)
        if isinstance(outer, type):
            around |= classes_in(outer)
    annotated = SimpleNamespace(__annotations__={name: cls.__annotations__[name] for name in told})
    try:
        hints = get_type_hints(annotated, vars(module) if module else {}, around, include_extras=True)
    except NameError as error:
        raise SchemaError(
            f"{cls.__qualname__}: its annotations name {error.name!r}, which {cls.__module__} does not define"
        ) from None
    except Exception as error:  # an annotation in quotes can be any expression
        raise SchemaError(f"{cls.__qualname__}: its annotations make no types: {error}") from error
    fields = tuple(resolved(cls.__name__, name, hints[name], each) for name, each in told.items())
    for each in fields:
        if each.message is not None and root_of(each.message) is not root_of(cls):
            raise SchemaError(
                f"{cls.__name__}.{each.name}: a sub-message must be of the same twin of Message,"
                f" got {each.message.__name__}"
            )
    return MessageDescriptor(full_name, fields, message_set=message_set)


def classes_in(owner: type) -> dict[str, type]:
    """The classes among its attributes; copied first, as another thread may add one meanwhile."""
    return {name: value for name, value in vars(owner).copy().items() if isinstance(value, type)}


def root_of(cls: type) -> type:
    """The twin of Message that a class derives from."""
    return [each for each in cls.__mro__ if isinstance(each, MessageMeta)][-1]


def check_declaration(
    name: str, parent: MessageMeta, namespace: dict[str, Any], told: dict[str, Declared]
) -> None:
    """Refuses what no message can be, at the class statement."""
    if "__slots__" in namespace:
        raise SchemaError(f"{name}: a message has a slot for each field and no other, got __slots__")
    annotations = namespace.get("__annotations__", {})
    for each in told:
        if each not in annotations:
            raise SchemaError(f"{name}.{each}: a field needs an annotation: `{each}: Int32 = field(1)`")
        if each.startswith("__") or (hasattr(parent, each) and not hasattr(type, each)):
            raise SchemaError(
                f"{name}.{each}: Message has that name itself; write `{each}_: ... = field(N, name={each!r})`"
            )
    for each, annotation in annotations.items():
        if each not in told and not is_class_variable(annotation):
            raise SchemaError(f"{name}.{each}: what is annotated is a field: `{each}: ... = field(NUMBER)`")


def check_derivation(name: str, owners: set[MessageMeta], told: dict[str, Declared]) -> None:
    """Refuses fields beside those of a base: the slots of one message are those of one class statement."""
    bases = ", ".join(sorted(each.__name__ for each in owners))
    if told:
        raise SchemaError(f"{name}: a message adds no fields to another, got {bases} as its base")
    if len(owners) > 1:
        raise SchemaError(f"{name}: a class has the fields of one message, got the bases {bases}")


def check_visible(cls: MessageMeta, owner: MessageMeta) -> None:
    """Refuses attributes that stand before the fields of the message that a class derives from."""
    for name in owner.__dict__["__slots__"]:
        found = next(each for each in cls.__mro__ if name in each.__dict__)
        if found is not owner:
            raise SchemaError(f"{cls.__name__}.{name}: {found.__name__} hides the field of {owner.__name__}")


def is_class_variable(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return re.match(r"(\w+\.)*ClassVar\b", annotation) is not None
    return annotation is ClassVar or get_origin(annotation) is ClassVar


def check_numbers(descriptor: MessageDescriptor) -> None:
    seen: dict[int, FieldDescriptor] = {}
    for each in descriptor.fields:
        other = seen.setdefault(each.number, each)
        if other is not each:
            raise SchemaError(
                f"{descriptor.full_name}: {other.name} and {each.name} have one field number, {each.number}"
            )
