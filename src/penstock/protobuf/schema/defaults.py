"""The defaults of fields, which a descriptor holds as text."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final

from penstock.protobuf.errors import SchemaError
from penstock.protobuf.kinds import INTEGER_RANGE, Kind

if TYPE_CHECKING:
    from penstock.protobuf.descriptors import Scalar

__all__ = ["parsed_default", "single_precision", "unescaped"]

BOOLS: Final = {"true": True, "false": False}

ESCAPE: Final = re.compile(rb"\\(?:([0-7]{1,3})|[xX]([0-9A-Fa-f]{1,2})|(.)|$)", re.DOTALL)
LETTERS: Final = dict(zip(b"abfnrtv\\'\"?", b"\a\b\f\n\r\t\v\\'\"?", strict=True))


def parsed_default(kind: Kind, text: str) -> Scalar:
    """The default of a scalar that is no enum, of the text that protoc writes.

    Raises:
        SchemaError: it is no such text, or a number out of its range.
    """
    try:
        if kind is Kind.STRING:
            return text
        if kind is Kind.BYTES:
            return unescaped(text)
        if kind is Kind.BOOL:
            return BOOLS[text]
        if kind not in INTEGER_RANGE:
            return single_precision(float(text)) if kind is Kind.FLOAT else float(text)
        value = int(text)
    except (ValueError, KeyError):
        raise SchemaError(f"a default must be of the kind {kind.name.lower()}, got {text[:60]!r}") from None
    least, most = INTEGER_RANGE[kind]
    if not least <= value <= most:
        raise SchemaError(f"a default must be {least} to {most}, got {text[:60]}")
    return value


def single_precision(value: float) -> float:
    """The float32 nearest to `value`, which is what comes back from the wire."""
    try:
        rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    return rounded


def unescaped(text: str) -> bytes:
    r"""The bytes of a C string, where `\377` or `\xff` stands for what is no printable ASCII.

    Raises:
        ValueError: a backslash is followed by nothing that it could mean, or a number is above 255.
    """

    def byte(escape: re.Match[bytes]) -> bytes:
        octal, hexadecimal, letter = escape.groups()
        if octal is not None:
            return bytes((int(octal, 8),))
        if hexadecimal is not None:
            return bytes((int(hexadecimal, 16),))
        if letter is None or ord(letter) not in LETTERS:
            raise ValueError(f"no escape sequence: {escape.group()!r}")
        return bytes((LETTERS[ord(letter)],))

    return ESCAPE.sub(byte, text.encode())
