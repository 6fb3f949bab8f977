"""What was in flight over the time of a run, in bounded memory, and a picture of it."""

from itertools import pairwise

__all__ = ["InFlight", "merged", "spark_line"]

SLICES = 512
FIRST_SLICE_NS = 5_000_000
BARS = " ▁▂▃▄▅▆▇█"


class InFlight:
    """Counts what is in flight; remembers the most of each slice of time.

    There are at most 512 slices, of 5 ms at first: when they are used up, each two become one of twice the
    length.

    Args:
        begin: nanoseconds of the clock that `enter` and `leave` are told.

    Attributes:
        now: in flight.
        slice_ns: nanoseconds of a slice.
    """

    def __init__(self, begin: int) -> None:
        self.now = 0
        self.slice_ns = FIRST_SLICE_NS
        self._begin = begin
        self._most = [0]  # of each slice, the current one last

    def enter(self, at: int) -> None:
        """One more is in flight."""
        self._pass_to(at)
        self.now += 1
        self._most[-1] = max(self._most[-1], self.now)

    def leave(self, at: int) -> None:
        """One less is in flight."""
        self._pass_to(at)
        self.now -= 1

    def see(self, at: int, now: int) -> None:
        """So many are in flight, as somebody else has counted."""
        self._pass_to(at)
        self.now = now
        self._most[-1] = max(self._most[-1], now)

    def resume(self, slice_ns: int, most: list[int], now: int) -> None:
        """Goes on from what another has counted."""
        self.slice_ns, self._most, self.now = slice_ns, list(most), now

    def most(self, at: int) -> list[int]:
        """The most that were in flight in each slice up to now."""
        self._pass_to(at)
        return list(self._most)

    def _pass_to(self, at: int) -> None:
        index = (at - self._begin) // self.slice_ns
        if index < len(self._most):
            return
        while index >= SLICES:
            self._most = halved(self._most)
            self.slice_ns *= 2
            index = (at - self._begin) // self.slice_ns
        self._most += [self.now] * (index + 1 - len(self._most))


def halved(counts: list[int]) -> list[int]:
    return [max(counts[at : at + 2]) for at in range(0, len(counts), 2)]


def merged(runs: list[tuple[int, list[int]]]) -> tuple[int, list[int]]:
    """Slices of several runs that began together, added up: nanoseconds of a slice, and the counts.

    Peaks of one slice need not be of one moment, so the sum is an upper bound.
    """
    longest = max(slice_ns for slice_ns, _ in runs)
    aligned = []
    for slice_ns, counts in runs:
        while slice_ns < longest:
            counts, slice_ns = halved(counts), slice_ns * 2
        aligned.append(counts)
    length = max(map(len, aligned))
    return longest, [sum(counts[at] for counts in aligned if at < len(counts)) for at in range(length)]


def spark_line(counts: list[int], width: int) -> str:
    """The counts as bars of a text line, as wide as there are counts, at most `width`."""
    most = max(counts, default=0)
    if not most:
        return ""
    width = min(width, len(counts))
    edges = [at * len(counts) // width for at in range(width + 1)]
    peaks = [max(counts[start:end]) for start, end in pairwise(edges)]
    return "".join(BARS[-(-peak * 8 // most)] for peak in peaks)
