"""The metaclass of messages: a class statement, or a schema, becomes a slotted class with a descriptor."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
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
    ) -> MessageMeta:
        """The class of a class statement; `package` or `full_name` say what the schema calls it."""
        parent = next((base for base in bases if isinstance(base, MessageMeta)), None)
        if parent is None:  # the root itself
            return super().__new__(meta, name, bases, namespace)
        told = {key: value for key, value in namespace.items() if isinstance(value, Declared)}
        check_declaration(name, parent, namespace, told)
        body = {key: value for key, value in namespace.items() if key not in told}
        body["__slots__"] = tuple(told)
        full_name = full_name or (f"{package}.{name}" if package else name)
        made = super().__new__(meta, name, bases, body)
        if made.__dictoffset__ or made.__weakrefoffset__:
            raise SchemaError(f"{name}: a message has slots only, so its other bases need __slots__ = ()")
        if told or "__describe__" not in parent.__dict__:
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
    around = {cls.__name__: cls} | {
        name: value for name, value in vars(cls).items() if isinstance(value, type)
    }
    outer = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split(".")[:-1]:  # classes around this one, where they can be found
        outer = getattr(outer, part, None)
        if isinstance(outer, type):
            around |= {name: value for name, value in vars(outer).items() if isinstance(value, type)}
    try:
        hints = get_type_hints(cls, localns=around, include_extras=True)
    except NameError as error:
        raise SchemaError(
            f"{cls.__qualname__}: its annotations name {error.name!r}, which {cls.__module__} does not define"
        ) from None
    fields = tuple(resolved(cls.__name__, name, hints[name], each) for name, each in told.items())
    for each in fields:
        if each.message is not None and root_of(each.message) is not root_of(cls):
            raise SchemaError(
                f"{cls.__name__}.{each.name}: a sub-message must be of the same twin of Message,"
                f" got {each.message.__name__}"
            )
    return MessageDescriptor(full_name, fields, message_set=message_set)


def root_of(cls: type) -> type:
    """The twin of Message that a class derives from."""
    return [each for each in cls.__mro__ if isinstance(each, MessageMeta)][-1]


def check_declaration(
    name: str, parent: MessageMeta, namespace: dict[str, Any], told: dict[str, Declared]
) -> None:
    """Refuses what no message can be, at the class statement."""
    if "__describe__" in parent.__dict__ and told:
        raise SchemaError(f"{name}: a message adds no fields to another, got {parent.__name__} as its base")
    if "__slots__" in namespace:
        raise SchemaError(f"{name}: a message has a slot for each field and no other, got __slots__")
    annotations = namespace.get("__annotations__", {})
    own_names = dir(parent)  # without `mro` and the like, which are the metaclass's: a field may have those
    for each in told:
        if each not in annotations:
            raise SchemaError(f"{name}.{each}: a field needs an annotation: `{each}: Int32 = field(1)`")
        if each in own_names or each.startswith("__"):
            raise SchemaError(
                f"{name}.{each}: Message has that name itself; write `{each}_: ... = field(N, name={each!r})`"
            )
    for each, annotation in annotations.items():
        if each not in told and not is_class_variable(annotation):
            raise SchemaError(f"{name}.{each}: what is annotated is a field: `{each}: ... = field(NUMBER)`")


def is_class_variable(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.startswith(("ClassVar", "typing.ClassVar"))
    return annotation is ClassVar or get_origin(annotation) is ClassVar


def check_numbers(descriptor: MessageDescriptor) -> None:
    seen: dict[int, FieldDescriptor] = {}
    for each in descriptor.fields:
        other = seen.setdefault(each.number, each)
        if other is not each:
            raise SchemaError(
                f"{descriptor.full_name}: {other.name} and {each.name} have one field number, {each.number}"
            )
