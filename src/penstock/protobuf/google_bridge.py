"""Messages to and from Google's runtime (the package `protobuf`), by their bytes.

For code that has classes from protoc, `..._pb2.py`, or gets messages from a library that has: read them
here, or hand them ours::

    order = from_google(shop_pb2_order)
    shop_pb2_order = to_google(order, shop_pb2.Order)
"""

from __future__ import annotations

from typing import Any, TypeVar, overload
from weakref import WeakKeyDictionary

from penstock.errors import InvalidType
from penstock.protobuf.declaration import describe
from penstock.protobuf.message import Message
from penstock.protobuf.options import MOST, DecodeOptions
from penstock.protobuf.schema.descriptor_proto import FileDescriptorProto, FileDescriptorSet
from penstock.protobuf.schema.schema import Schema, build

try:
    from google.protobuf.message import Message as GoogleMessage
except ImportError as error:
    raise ImportError(
        f"penstock.protobuf.google_bridge needs protobuf: pip install 'penstock[google]' ({error})"
    ) from error

__all__ = ["class_of", "from_google", "to_google"]

Ours = TypeVar("Ours", bound=Message)
Theirs = TypeVar("Theirs", bound=GoogleMessage)

TRUSTED = DecodeOptions(**MOST, partial=True)  # type: ignore[arg-type]  # bytes that Google's runtime wrote here

schemas: WeakKeyDictionary[type[GoogleMessage], Schema] = WeakKeyDictionary()
"""Google's class -> the schema that our class of it is from."""


@overload
def from_google(message: GoogleMessage, cls: None = None, /) -> Any: ...
@overload
def from_google(message: GoogleMessage, cls: type[Ours], /) -> Ours: ...
def from_google(message: GoogleMessage, cls: type[Message] | None = None, /) -> Any:
    """One of ours with the same fields, set or unknown.

    Args:
        message: one of Google's.
        cls: our class of it, declared, generated or from a schema; `class_of(type(message))` unless given.

    Raises:
        TypeError: it is no message of Google's, or `cls` is the class of a message of another name.
    """
    if not isinstance(message, GoogleMessage):
        raise InvalidType(f"message must be a message of Google's runtime, got {type(message).__name__}")
    target = class_of(type(message)) if cls is None else cls
    check_names(describe(target).full_name, type(message))
    return target.from_bytes(message.SerializePartialToString(), TRUSTED)


def to_google(message: Message, google_class: type[Theirs], /) -> Theirs:
    """One of Google's with the same fields, set or unknown.

    Raises:
        EncodeError: the message cannot be written.
        TypeError: `google_class` is none of Google's, or the class of a message of another name.
        google.protobuf.message.DecodeError: it is nested deeper than Google's runtime reads: 100 levels.
    """
    check_names(describe(message).full_name, google_class)
    return google_class.FromString(message.to_bytes())


def class_of(google_class: type[GoogleMessage], /) -> type[Message]:
    """Our class of a class of Google's: the same one each time.

    It is made from the file of the message and those which that imports. Two files that both import a third
    one, and are asked for one after the other, may have two classes for its messages; where that matters,
    load one schema for all (`load_descriptor_set`) and name its classes to `from_google`.

    Raises:
        TypeError: it is no class of Google's.
        SchemaError: its files define what penstock cannot read.
    """
    check_google_class(google_class)
    name = google_class.DESCRIPTOR.full_name
    schema = schemas.get(google_class)
    if schema is None:
        schema = schemas.setdefault(google_class, known_schema(google_class) or new_schema(google_class))
    return schema.messages[name]


def known_schema(google_class: type[GoogleMessage]) -> Schema | None:
    """The schema of another class that has this one, too."""
    name, pool = google_class.DESCRIPTOR.full_name, google_class.DESCRIPTOR.file.pool
    for other, schema in list(schemas.items()):
        if other.DESCRIPTOR.file.pool is pool and name in schema:
            return schema
    return None


def new_schema(google_class: type[GoogleMessage]) -> Schema:
    return build(FileDescriptorSet(file=[ours(each) for each in with_imports(google_class.DESCRIPTOR.file)]))


def with_imports(file: Any) -> list[Any]:
    """The file and all that it imports, directly or not, each behind those that it imports itself."""
    found: dict[str, Any] = {}
    todo = [(file, False)]
    while todo:
        each, imports_are_in = todo.pop()
        if imports_are_in:
            found.setdefault(each.name, each)
        elif each.name not in found:
            todo.append((each, True))
            todo += [(imported, False) for imported in each.dependencies]
    return list(found.values())


def ours(file: Any) -> FileDescriptorProto:
    return FileDescriptorProto.from_bytes(file.serialized_pb, TRUSTED)


def check_names(ours_is: str, google_class: type[GoogleMessage]) -> None:
    check_google_class(google_class)
    theirs_is = google_class.DESCRIPTOR.full_name
    if ours_is != theirs_is:
        raise InvalidType(f"both classes must be of one message, got {ours_is} and Google's {theirs_is}")


def check_google_class(google_class: Any) -> None:
    if not (isinstance(google_class, type) and issubclass(google_class, GoogleMessage)):
        raise InvalidType(f"google_class must be a class of Google's runtime, got {google_class!r}")
