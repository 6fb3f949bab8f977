"""A run as a whole: its figures, what was in flight, how late this process was, and whether to believe it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from penstock.clock import NANOSECONDS, Clock, monotonic_ns
from penstock.services.pinger.assertions import Assertion
from penstock.services.pinger.durations import duration_words
from penstock.services.pinger.figures import Figures, TargetFigures
from penstock.services.pinger.in_flight import InFlight
from penstock.services.pinger.lag import Lag
from penstock.services.pinger.model import PingResult, Verdict

__all__ = ["Recorder", "RunSummary"]

MOST_LAG = 1_000_000
"""Nanoseconds of lag that are no matter."""

MOST_LAG_SHARE = 0.05
"""Share of the median latency that the lag may be."""

MOST_SHORTFALL = 0.01
"""Share of the asked rate that may be missing."""

NO_LAG = Lag()

Load = Literal["closed", "open"]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What there is to say of a run when it ends, or while it goes on.

    Attributes:
        started_at: when it began, UTC.
        seconds: that it took.
        engine: the name of the one that was used.
        load: `open` when a schedule said when pings were due, else `closed`.
        asked_rate: pings to be started a second; None when no rate was asked for.
        rate: pings that were started a second; None with less than two.
        overall: figures of all pings.
        targets: figures of each target.
        slice_ns: nanoseconds of each sample of `in_flight`.
        in_flight: the most that were in flight in each slice of time.
        lag: of this process.
        kernel_clock: whether all answers were timed by the kernel, so that lag cannot be in their end.
        retries_refused: retries that there was no budget for.
        left_out: pings that were due and not made, as there was no free slot in time.
        verdicts: of the assertions on the run.
        interrupted: whether it ended before its time.
    """

    started_at: datetime
    seconds: float
    engine: str
    load: Load
    asked_rate: float | None
    rate: float | None
    overall: Figures
    targets: TargetFigures
    slice_ns: int
    in_flight: Sequence[int]
    lag: Lag = NO_LAG
    kernel_clock: bool = False
    retries_refused: int = 0
    left_out: int = 0
    verdicts: tuple[Verdict, ...] = ()
    interrupted: bool = False

    @property
    def ok(self) -> bool:
        """No ping failed, and no assertion on the run."""
        return not self.overall.failed and all(verdict.severity != "fail" for verdict in self.verdicts)

    @property
    def shortfall(self) -> float:
        """Share of the asked rate that was not reached; 0 when it was, or none was asked for."""
        if self.asked_rate is None or self.rate is None:
            return 0.0
        return max(1 - self.rate / self.asked_rate, 0.0)

    @property
    def left_out_share(self) -> float:
        """Pings that were due and not made, of all that were due."""
        due = self.overall.pings + self.left_out
        return self.left_out / due if due else 0.0

    @property
    def distrust(self) -> tuple[str, ...]:
        """Why the latencies cannot be trusted, in plain words; empty when they can."""
        reasons = []
        median = self.overall.total.percentile(0.5)
        bound = max(MOST_LAG, MOST_LAG_SHARE * (median or 0))
        if median is not None and self.lag.p99 > bound:
            reasons.append(
                f"this process was late by {duration_words(self.lag.p99 / 1e9)} (p99 of {self.lag.ticks:,} "
                f"ticks), more than {duration_words(bound / 1e9)}"
            )
        if self.shortfall > MOST_SHORTFALL:
            reasons.append(
                f"{self.shortfall:.1%} of the asked rate was not reached: raise the concurrency, or lower it"
            )
        elif self.left_out_share > MOST_SHORTFALL:
            reasons.append(
                f"{self.left_out:,} pings that were due were not made, {self.left_out_share:.1%} of all: "
                "raise the concurrency, or ping less often"
            )
        return tuple(reasons)


@dataclass(slots=True)
class Recorder:
    """Watches a run, for its summary.

    Args:
        load: see RunSummary, as for asked_rate.
        asked_rate: pings to be started a second.
        assertions: those on the run are judged.
        clock: returns monotonic nanoseconds.
    """

    load: Load = "closed"
    asked_rate: float | None = None
    assertions: tuple[Assertion, ...] = ()
    clock: Clock = monotonic_ns
    engine: str = ""
    lag: Lag = NO_LAG
    retries_refused: int = 0
    left_out: int = 0
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    overall: Figures = field(default_factory=Figures)
    targets: TargetFigures = field(default_factory=TargetFigures)
    in_flight: InFlight = field(init=False)
    begin: int = field(init=False)
    user_clock: int = 0
    starts: int = 0
    first_start: int = 0
    last_start: int = 0

    def __post_init__(self) -> None:
        self.begin = self.clock()
        self.in_flight = InFlight(self.begin)

    def opened(self, engine: str, begin: int | None = None) -> None:
        """The run begins, with the engine of that name: now, or at `begin` of the clock."""
        self.engine = engine
        self.begin = self.clock() if begin is None else begin
        self.in_flight = InFlight(self.begin)

    def started(self) -> None:
        """A ping begins now."""
        now = self.clock()
        if not self.starts:
            self.first_start = now
        self.starts += 1
        self.last_start = now
        self.in_flight.enter(now)

    def leave_out(self, count: int) -> None:
        """So many pings are due and will not be made."""
        self.left_out += count

    def ended(self) -> None:
        """A ping has ended now, well or not."""
        self.in_flight.leave(self.clock())

    def add(self, result: PingResult) -> None:
        """Counts one result; a sink."""
        self.overall.add(result)
        self.targets.add(result)
        self.user_clock += result.status > 0 and result.last is not None and result.last.clock != "kernel"

    @property
    def rate(self) -> float | None:
        """Pings that were started a second; None with less than two."""
        passed = self.last_start - self.first_start
        return (self.starts - 1) * NANOSECONDS / passed if self.starts > 1 and passed else None

    def summary(self, *, interrupted: bool = False) -> RunSummary:
        """What there is to say now."""
        now = self.clock()
        judged = JudgedRun(self.overall, self.rate, self.lag)
        return RunSummary(
            started_at=self.started_at,
            seconds=(now - self.begin) / NANOSECONDS,
            engine=self.engine,
            load=self.load,
            asked_rate=self.asked_rate,
            rate=self.rate,
            overall=self.overall,
            targets=self.targets,
            slice_ns=self.in_flight.slice_ns,
            in_flight=self.in_flight.most(now),
            lag=self.lag,
            kernel_clock=bool(self.overall.answered) and not self.user_clock,
            retries_refused=self.retries_refused,
            left_out=self.left_out,
            verdicts=tuple(assertion.judge(judged) for assertion in self.assertions if assertion.of_run),
            interrupted=interrupted,
        )


class JudgedRun:
    """The figures of a run as assertions look at them: see RunFigures there."""

    def __init__(self, overall: Figures, rate: float | None, lag: Lag) -> None:
        self.percentile = overall.percentile
        self.least = overall.least
        self.most = overall.most
        self.mean = overall.mean
        self.error_share = overall.error_share
        self.failed = overall.failed
        self.rate = rate
        self.lag = lag.p99 / 1e9
