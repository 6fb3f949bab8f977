"""What the watch knows of its targets: which are down, how they did lately. No I/O, no clock of its own."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from penstock.errors import InvalidValue
from penstock.services.pinger.kept import kept
from penstock.services.pinger.model import PingResult, Target
from penstock.services.printable import printable

__all__ = ["Bar", "Change", "Condition", "Watch", "Watched", "public_url", "title"]

Condition = Literal["waiting", "up", "down"]
"""Of a target: `waiting` until enough pings in a row agree for the first time."""

BAR_SECONDS = 1_800
BARS = 48
"""A day in half hours."""

LEAST_INTERVAL = 0.01
"""Seconds from one ping of a target to its next, at least."""

POINTS = 60
"""Latest pings of a target that are held for its curve."""


class Point(NamedTuple):
    """One ping of the curve."""

    at: float
    """Seconds since 1970."""
    seconds: float | None
    """How long its answer took; None when it failed."""


@dataclass(slots=True)
class Bar:
    """The pings of half an hour.

    Attributes:
        start: seconds since 1970, a multiple of 1,800.
        good: pings that were good.
        failed: pings that were not.
        slowest: seconds of the slowest good one, 0 without any.
    """

    start: int
    good: int = 0
    failed: int = 0
    slowest: float = 0.0


class Change(NamedTuple):
    """A target has gone down or come up.

    Attributes:
        target: which.
        now: what it is from here on.
        at: when the first of the pings that decided it began, UTC.
        before: seconds that it was the other, 0 when it was not.
        result: the ping that decided it.
        pings: how many in a row decided it.
    """

    target: Target
    now: Literal["up", "down"]
    at: datetime
    before: float
    result: PingResult
    pings: int


@dataclass(slots=True)
class Streak:
    """Pings in a row that disagree with what a target is held for."""

    found: Literal["up", "down"]
    began: datetime
    pings: int = 0


class Watched:
    """One target and how it does.

    Args:
        target: which.
        fall: failed pings in a row that mark it down, >= 1.
        rise: good pings in a row that mark it up again, >= 1; the first time, one is enough.

    Attributes:
        condition: see Condition.
        since: when that began, UTC; None while it is waiting.
        last: its last ping, as kept() leaves it; None before the first.
        good: good pings since the watch began.
        failed: failed ones.
        missed: turns that were left out because the one before had not ended, or this process was late.
        bars: of the last day, oldest first, none for half hours without a ping.
        points: its latest pings, oldest first.
    """

    def __init__(self, target: Target, fall: int, rise: int) -> None:
        self.target = target
        self.condition: Condition = "waiting"
        self.since: datetime | None = None
        self.last: PingResult | None = None
        self.good = self.failed = self.missed = 0
        self.bars: deque[Bar] = deque()
        self.points: deque[Point] = deque(maxlen=POINTS)
        self._fall, self._rise = fall, rise
        self._streak: Streak | None = None
        self._number = 0

    def add(self, result: PingResult) -> Change | None:
        """Takes a ping; returns what it changes."""
        self.last = kept(result)
        self.missed += max(result.number - self._number - 1, 0)
        self._number = result.number
        self.good += result.ok
        self.failed += not result.ok
        moment = result.timestamp.timestamp()
        self._count(moment, result.ok, result.total / 1e9)
        return self._judge(result)

    def remember(self, bars: Iterable[Bar], points: Iterable[Point]) -> None:
        """Takes what an earlier life of this process knew, out of the history; oldest first."""
        self.bars.extend(bars)
        self.points.extend(points)

    def resume(self, condition: Condition, since: datetime | None) -> None:
        """Goes on from what an earlier life of this process knew, so that nothing is told twice."""
        self.condition, self.since = condition, since

    def uptime(self, now: float) -> float | None:
        """Good pings of all in the last day, 0 to 1; None without any.

        Args:
            now: seconds since 1970.
        """
        recent = [bar for bar in self.bars if bar.start > now - BARS * BAR_SECONDS]
        good, failed = sum(bar.good for bar in recent), sum(bar.failed for bar in recent)
        return good / (good + failed) if good + failed else None

    def _count(self, at: float, ok: bool, seconds: float) -> None:
        start = int(at) // BAR_SECONDS * BAR_SECONDS
        while self.bars and self.bars[-1].start > start + BAR_SECONDS:
            self.bars.pop()  # the clock was far ahead, and what it said then would hide what comes now
        if not self.bars or start > self.bars[-1].start:
            self.bars.append(Bar(start))
            while self.bars[0].start <= start - BARS * BAR_SECONDS:
                self.bars.popleft()
        bar = self.bars[-1]  # also for a ping that began in the last one, or a clock that was set back
        bar.good += ok
        bar.failed += not ok
        if ok:
            bar.slowest = max(bar.slowest, seconds)
        self.points.append(Point(at, seconds if ok else None))

    def _judge(self, result: PingResult) -> Change | None:
        found: Literal["up", "down"] = "up" if result.ok else "down"
        if found == self.condition:
            self._streak = None
            return None
        if self._streak is None or self._streak.found != found:
            self._streak = Streak(found, result.timestamp)
        self._streak.pings += 1
        first_good = found == "up" and self.condition == "waiting"
        if self._streak.pings < (1 if first_good else self._rise if found == "up" else self._fall):
            return None
        lasted = 0.0 if self.since is None else (self._streak.began - self.since).total_seconds()
        change = Change(self.target, found, self._streak.began, max(lasted, 0.0), result, self._streak.pings)
        self.condition, self.since, self._streak = found, change.at, None
        return None if first_good else change  # that is what everybody expected


class Watch:
    """All targets.

    Args:
        targets: their names, or URLs where they have none, must differ.
        fall: see Watched.
        rise: see Watched.

    Raises:
        ValueError: two are called the same, one would show its password, or is to be pinged without a pause.
    """

    def __init__(self, targets: Iterable[Target], fall: int, rise: int) -> None:
        self._watched: dict[str, Watched] = {}
        for target in targets:
            if not target.name and "@" in urlsplit(target.url).netloc:
                raise InvalidValue("a target with a user in its URL must have a name, for people to see")
            if target.interval is not None and target.interval < LEAST_INTERVAL:
                raise InvalidValue(
                    f"the interval of {title(target)!r} must be >= {LEAST_INTERVAL} s, got {target.interval}"
                )
            if title(target) in self._watched:
                raise InvalidValue(f"names of targets must differ, got {title(target)!r} twice")
            self._watched[title(target)] = Watched(target, fall, rise)

    def __iter__(self) -> Iterator[Watched]:
        return iter(self._watched.values())

    def __len__(self) -> int:
        return len(self._watched)

    def get(self, name: str) -> Watched | None:
        """The target of that name, or of that URL when it has none; None for what is not watched."""
        return self._watched.get(name)

    def add(self, result: PingResult) -> Change | None:
        """Takes a ping; returns what it changes."""
        return self._watched[result.title].add(result)

    @property
    def down(self) -> int:
        """Targets that are down."""
        return sum(watched.condition == "down" for watched in self)


def public_url(url: str) -> str:
    """A URL without user and password, for everybody to see."""
    parts = urlsplit(printable(url))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def title(target: Target) -> str:
    """What a target is called, as its results say it: its name, or its URL."""
    return target.name or printable(target.url)
