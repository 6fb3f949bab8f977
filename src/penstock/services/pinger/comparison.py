"""Two runs beside each other: what became slower, or failed more."""

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.errors import InvalidValue
from penstock.services.pinger.summary_file import SavedFigures

__all__ = ["Change", "Tolerance", "compared"]

SHARES = (0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How much worse the second run may be.

    Attributes:
        slower: share by which a percentile may grow, >= 0.
        floor: nanoseconds by which it may grow in any case, >= 0: fast answers vary by more than a share.
        errors: by which the share of failed pings may grow, >= 0.
        answers: so many answers a percentile must have on both sides, >= 1; p99 needs a hundred times as many
            as the median to say anything, so each is judged from `answers / (1 - share)` on.
    """

    slower: float = 0.1
    floor: int = 1_000_000
    errors: float = 0.0
    answers: int = 5

    def __post_init__(self) -> None:
        for name in ("slower", "floor", "errors"):
            if not getattr(self, name) >= 0:
                raise InvalidValue(f"{name} must be >= 0, got {getattr(self, name)!r}")
        if self.answers < 1:
            raise InvalidValue(f"answers must be >= 1, got {self.answers!r}")


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of a target in both runs.

    Attributes:
        title: of the target, empty for all together.
        figure: `p50`, `p90`, `p99`, or `errors`.
        before: nanoseconds, or the share that failed; None where there is none.
        after: the same in the second run.
        judged: whether there is enough to judge by.
        worse: whether it is worse than tolerated.
    """

    title: str
    figure: str
    before: float | None
    after: float | None
    judged: bool
    worse: bool

    @property
    def growth(self) -> float | None:
        """The growth as a share of before; None where there is nothing to grow from."""
        if not self.before or self.after is None:
            return None
        return self.after / self.before - 1


def compared(
    before: Sequence[SavedFigures], after: Sequence[SavedFigures], tolerance: Tolerance
) -> list[Change]:
    """The figures of all pings, then of every target that is in both runs.

    Args:
        before: of the first run: all together, then target by target.
        after: of the second run.
        tolerance: what is not worse.
    """
    earlier = {figures.title: figures for figures in before}
    changes = []
    for figures in after:
        if figures.title in earlier:
            changes += changes_of(earlier[figures.title], figures, tolerance)
    return changes


def changes_of(before: SavedFigures, after: SavedFigures, tolerance: Tolerance) -> list[Change]:
    changes = []
    for share in SHARES:
        was, now = before.total.percentile(share), after.total.percentile(share)
        judged = min(before.total.count, after.total.count) * (1 - share) >= tolerance.answers * 0.999
        worse = judged and was is not None and now is not None
        worse = worse and (now or 0) > (was or 0) + max(tolerance.slower * (was or 0), tolerance.floor)
        changes.append(Change(after.title, f"p{share * 100:g}", was, now, judged, worse))
    grown = after.error_share - before.error_share
    judged = bool(before.pings and after.pings)
    changes.append(
        Change(
            after.title,
            "errors",
            before.error_share,
            after.error_share,
            judged,
            judged and grown > tolerance.errors + 1e-12,
        )
    )
    return changes
