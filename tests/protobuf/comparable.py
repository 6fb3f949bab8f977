"""What can be compared of classes that are not the same, but should be alike."""

from dataclasses import replace

from penstock.protobuf.declaration import describe
from penstock.protobuf.enums import Enum


def comparable(cls):
    """All that a schema says of a message or an enum, with names in place of classes."""
    if issubclass(cls, Enum):
        return cls.__full_name__, cls.__closed__, dict(cls.__members__), cls.__proto_names__
    described = describe(cls)
    fields = [
        (
            repr(replace(each, message=None, enum=None)),  # as text, as a NaN does not equal itself
            each.message and describe(each.message).full_name,
            each.enum and each.enum.__full_name__,
        )
        for each in described.fields
    ]
    return described.full_name, described.message_set, fields
