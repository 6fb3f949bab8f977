"""What can be wrong with bytes, with a message, with a schema."""

from penstock.errors import PenstockError

__all__ = ["DecodeError", "EncodeError", "EncodeTypeError", "SchemaError"]


class DecodeError(PenstockError, ValueError):
    """Bytes, or JSON, that are no such message, or are more than the limits allow.

    Attributes:
        reason: which rule was broken, and by what.
        offset: bytes from the start of the input to the tag of the field that broke it; -1 where there is
            none, as in JSON.
        path: the way to that field, such as `Order.items[2].name`; empty without a schema.
    """

    def __init__(self, reason: str, *, offset: int = -1, path: str = "") -> None:
        self.reason, self.offset, self.path = reason, offset, path
        place = f"{path} at byte {offset}" if path and offset >= 0 else path or f"byte {offset}"
        super().__init__(f"{place}: {reason}" if path or offset >= 0 else reason)

    def __reduce__(self) -> tuple[object, ...]:
        return _decode_error, (type(self), self.reason, self.offset, self.path)


class EncodeError(PenstockError, ValueError):
    """A message that cannot be written: a value out of its range, text that is no Unicode, a cycle.

    Attributes:
        reason: which rule was broken, and by what.
        path: the way to the field, such as `Order.items[2].quantity`.
    """

    def __init__(self, reason: str, *, path: str = "") -> None:
        self.reason, self.path = reason, path
        super().__init__(f"{path} {reason}" if path else reason)

    def __reduce__(self) -> tuple[object, ...]:
        return _encode_error, (type(self), self.reason, self.path)


class EncodeTypeError(EncodeError, TypeError):
    """A message that cannot be written, because a value has another type than its field."""


class SchemaError(PenstockError, ValueError):
    """A class or a `.proto` text that declares no possible message; the text says where."""


def _decode_error(kind: type[DecodeError], reason: str, offset: int, path: str) -> DecodeError:
    return kind(reason, offset=offset, path=path)


def _encode_error(kind: type[EncodeError], reason: str, path: str) -> EncodeError:
    return kind(reason, path=path)
