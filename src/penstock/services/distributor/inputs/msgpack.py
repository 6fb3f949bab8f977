"""MessagePack from outside: where each object of a stream ends, and what is in it.

No length that the bytes claim is believed before as many bytes are there: the walk over a stream allocates
nothing, and what is decoded afterwards is whole.

Source: the MessagePack specification.
"""

from collections.abc import Callable, Iterator
from struct import unpack_from
from typing import Any

import msgspec

from penstock.errors import PenstockError

__all__ = ["BadMessagePack", "MessagePackStream", "decoded", "elements", "split"]

DEEPEST = 64
"""Levels of arrays and maps in each other that are decoded."""


class BadMessagePack(PenstockError, ValueError):
    """Bytes that are no MessagePack, or more than is taken."""


def heads() -> list[tuple[int, int, int, int]]:
    """What the first byte of an object says.

    Bytes of it and of what follows, those bytes of it that are a length (or a count) behind the first
    one, how many bytes each of that length stands for, how many objects.
    """
    table = [(1, 0, 0, 0)] * 256  # the small integers, nil, false, true
    for n in range(16):
        table[0x80 + n] = (1, 0, 0, -2 * n)
        table[0x90 + n] = (1, 0, 0, -n)
    for n in range(32):
        table[0xA0 + n] = (1 + n, 0, 0, 0)
    table[0xC1] = (0, 0, 0, 0)
    for at, width in enumerate((1, 2, 4)):
        table[0xC4 + at] = table[0xD9 + at] = (1 + width, width, 1, 0)
        table[0xC7 + at] = (2 + width, width, 1, 0)
    for at, width in enumerate((2, 4)):
        table[0xDC + at] = (1 + width, width, 0, 1)
        table[0xDE + at] = (1 + width, width, 0, 2)
    for at, size in enumerate((4, 8, 1, 2, 4, 8, 1, 2, 4, 8)):
        table[0xCA + at] = (1 + size, 0, 0, 0)
    for at in range(5):
        table[0xD4 + at] = (2 + 2**at, 0, 0, 0)
    return table


HEADS = heads()


def walk(data: bytes | bytearray, at: int, left: int, most: int) -> tuple[int, int]:
    """Goes over `left` objects from `at` on.

    Returns:
        Where it came to, and how many objects are left there, for want of bytes; it can go on from there.

    Raises:
        BadMessagePack: there is a byte that begins no object, or more objects than `most` bytes can be.
    """
    size = len(data)
    while left and at < size:
        fixed, width, each, objects = HEADS[data[at]]
        if not fixed:
            raise BadMessagePack("0xc1 begins no object of MessagePack")
        if width:
            if at + 1 + width > size:
                break
            length = int.from_bytes(data[at + 1 : at + 1 + width], "big")
            end, inside = at + fixed + length * each, length * objects
        else:
            end, inside = at + fixed, -objects
        if end + inside + left - 1 > most:
            raise BadMessagePack(f"an object must be at most {most} bytes, got one that claims more")
        if end > size:
            break
        at = end
        left += inside - 1
    return at, left


class MessagePackStream:
    """Takes a stream apart into its objects.

    Args:
        most: bytes of the longest object; so much is held.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._data = bytearray()
        self._at = 0  # all before is walked over
        self._left = 1  # objects of the one at hand that are not
        self._needed = 0

    @property
    def held(self) -> int:
        """Bytes of an object that is not whole yet."""
        return len(self._data)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The objects that are whole with this chunk, as they are asked for.

        Raises:
            BadMessagePack: it is none, or too long.
        """
        self._data += chunk
        start = 0
        while True:
            self._at, self._left = walk(self._data, self._at, self._left, start + self._most)
            if self._left:
                break
            yield bytes(memoryview(self._data)[start : self._at])
            start, self._left = self._at, 1
        del self._data[:start]
        self._at -= start


def split(data: bytes, at: int = 0) -> Iterator[bytes]:
    """Objects that stand one behind the other, from `at` to the end.

    Raises:
        BadMessagePack: the last one is not whole, or it is none.
    """
    size = len(data)
    while at < size:
        end, left = walk(data, at, 1, size)
        if left:
            raise BadMessagePack("the last object is not whole")
        yield data[at:end]
        at = end


def elements(data: bytes) -> tuple[int, int]:
    """How many elements an array has, and where the first begins.

    Raises:
        BadMessagePack: it is no array.
    """
    first = data[0] if data else 0
    if first & 0xF0 == 0x90:
        return first & 0x0F, 1
    if first == 0xDC and len(data) >= 3:
        return int.from_bytes(data[1:3], "big"), 3
    if first == 0xDD and len(data) >= 5:
        return int.from_bytes(data[1:5], "big"), 5
    raise BadMessagePack("it must be an array")


# ---- decoding ----


def replaced(text: bytes) -> str:
    """Text, with U+FFFD for what is no UTF-8."""
    return text.decode("utf-8", "replace")


def decoded(data: bytes, text: Callable[[bytes], Any] = replaced) -> Any:
    """What a whole object is: as JSON has it, but for bytes, times, and (type, bytes) of other extensions.

    Args:
        data: the object.
        text: makes a value of each string, which may be no UTF-8.

    Raises:
        BadMessagePack: it is nested too deeply, or not one whole object.
    """
    if text is replaced:
        try:
            return fast_decode(data)
        except (msgspec.DecodeError, RecursionError):  # strings that are none, keys that are no keys
            pass
    try:
        value, end = Slowly(data, text).value(0, 0)
    except (IndexError, OverflowError) as error:
        raise BadMessagePack("it is cut off") from error
    if end != len(data):
        raise BadMessagePack("there is something behind it")
    return value


def extension(kind: int, data: memoryview) -> tuple[int, bytes]:
    """An extension that nobody knows."""
    return kind, bytes(data)


fast_decode = msgspec.msgpack.Decoder(ext_hook=extension).decode


class Slowly:
    """Decodes what msgspec does not take."""

    def __init__(self, data: bytes, text: Callable[[bytes], Any]) -> None:
        self._data = data
        self._text = text

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        """The object at a place, and the place behind it."""
        if depth > DEEPEST:
            raise BadMessagePack(f"it must be nested at most {DEEPEST} deep")
        data = self._data
        first = data[at]
        fixed, width, each, objects = HEADS[first]
        if width:
            length = int.from_bytes(data[at + 1 : at + 1 + width], "big")
            end, inside = at + fixed + length * each, length * objects
        else:
            end, inside = at + fixed, -objects
        if end > len(data) or not fixed:
            raise BadMessagePack("it is cut off")
        if inside or first in (0x80, 0x90, 0xDC, 0xDD, 0xDE, 0xDF):
            return self._container(end, inside, depth, is_map=first in (0xDE, 0xDF) or first & 0xF0 == 0x80)
        return self._scalar(first, at, end, 1 + width), end

    def _container(self, at: int, inside: int, depth: int, *, is_map: bool) -> tuple[Any, int]:
        values = []
        for _ in range(inside):
            value, at = self.value(at, depth + 1)
            values.append(value)
        if not is_map:
            return values, at
        return {key_of(values[i]): values[i + 1] for i in range(0, inside, 2)}, at

    def _scalar(self, first: int, at: int, end: int, head: int) -> Any:
        data = self._data
        if first < 0x80:
            return first
        if first >= 0xE0:
            return first - 256
        if first in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[first]
        if first in (0xCA, 0xCB):
            return unpack_from(">f" if first == 0xCA else ">d", data, at + 1)[0]
        if 0xCC <= first <= 0xD3:
            return int.from_bytes(data[at + 1 : end], "big", signed=first >= 0xD0)
        if 0xA0 <= first < 0xC0 or 0xD9 <= first <= 0xDB:
            return self._text(data[at + head : end])
        if 0xC4 <= first <= 0xC6:
            return data[at + head : end]
        kind = data[at + head]
        return kind - 256 if kind > 127 else kind, data[at + head + 1 : end]


def key_of(key: Any) -> Any:
    """A key that a dict takes."""
    if isinstance(key, list | dict):
        raise BadMessagePack("a key must be neither array nor map")
    return key
