"""What a fuzzed parser is, and how inputs for it are made of valid ones."""

import random
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

MAX_BYTES = 4096
MEMORY = 1 << 30
"""Bytes that a process may take beyond what it has; a parser that wants more gets a MemoryError."""

INTERESTING = (0, 1, 9, 10, 13, 32, 34, 44, 58, 60, 91, 92, 93, 123, 125, 127, 128, 192, 224, 240, 255)
NUMBERS = (b"0", b"-1", b"1e999", b"-0", b"0.1", b"9223372036854775808", b"18446744073709551616", b"1" * 50)


class Parser(NamedTuple):
    """A parser of bytes from outside, and what it is fuzzed with."""

    run: Callable[[bytes], None]
    """Runs it on any bytes; raises, an AssertionError or anything else, when it breaks its promises."""
    samples: tuple[bytes, ...]
    """Valid inputs, of which mutants are made."""
    words: tuple[bytes, ...] = ()
    """Pieces of its language that are put anywhere."""


@contextmanager
def little_memory() -> Iterator[None]:
    """Within it, the process cannot take all the memory of the machine, whatever a parser asks for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class Mutator:
    """Makes inputs: the case of a number is the same whenever it is asked for.

    Args:
        parser: whose samples and words are used.
        seed: another one makes other cases.
    """

    def __init__(self, parser: Parser, seed: int) -> None:
        self._samples = parser.samples
        self._words = parser.words + NUMBERS
        self._seed = seed << 40
        self._dice = random.Random()
        self._mutations = (
            self._flip, self._set, self._insert, self._delete, self._repeat, self._word, self._splice,
            self._cut, self._swap,
        )  # fmt: skip

    def cases(self, first: int, count: int) -> Iterator[tuple[int, bytes]]:
        """The numbers and inputs of so many cases."""
        for number in range(first, first + count):
            yield number, self.case(number)

    def case(self, number: int) -> bytes:
        """The input of one case: a sample of which one to eight things were changed, or noise."""
        dice = self._dice
        dice.seed(self._seed + number)
        if dice.random() < 0.03:
            return dice.randbytes(int(dice.random() ** 3 * 200))
        data = bytearray(self._samples[int(dice.random() * len(self._samples))])
        for _ in range(1 + int(dice.random() ** 2 * 8)):
            self._mutations[int(dice.random() * len(self._mutations))](data)
        return bytes(data[:MAX_BYTES])

    def _place(self, data: bytearray) -> int:
        return int(self._dice.random() * (len(data) + 1))

    def _span(self, data: bytearray) -> slice:
        start = self._place(data)
        return slice(start, start + 1 + int(self._dice.random() ** 3 * 64))

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self._place(data) - 1] ^= 1 << int(self._dice.random() * 8)

    def _set(self, data: bytearray) -> None:
        if data:
            data[self._place(data) - 1] = INTERESTING[int(self._dice.random() * len(INTERESTING))]

    def _insert(self, data: bytearray) -> None:
        place = self._place(data)
        data[place:place] = self._dice.randbytes(1 + int(self._dice.random() ** 3 * 16))

    def _delete(self, data: bytearray) -> None:
        del data[self._span(data)]

    def _repeat(self, data: bytearray) -> None:
        span = self._span(data)
        data[span.stop : span.stop] = data[span] * (1 + int(self._dice.random() ** 4 * 60))

    def _word(self, data: bytearray) -> None:
        place = self._place(data)
        word = self._words[int(self._dice.random() * len(self._words))]
        data[place : place + (len(word) if self._dice.random() < 0.5 else 0)] = word

    def _splice(self, data: bytearray) -> None:
        other = self._samples[int(self._dice.random() * len(self._samples))]
        data[self._place(data) :] = other[int(self._dice.random() * len(other)) :]

    def _cut(self, data: bytearray) -> None:
        del data[self._place(data) :]

    def _swap(self, data: bytearray) -> None:
        one, other = self._span(data), self._span(data)
        data[one], data[other] = data[other], data[one]
