"""Slow start: a member that is new, or back, gets its share step by step."""

from dataclasses import dataclass

from penstock.balancing._weighted_round_robin_py import shown
from penstock.clock import NANOSECONDS
from penstock.errors import InvalidType, InvalidValue

__all__ = ["SlowStart"]

MAX_NUMBER = 1_000_000_000
STEPS = 100  # in which the weight rises: members are weighed again at each, not at every pick


@dataclass(frozen=True, slots=True)
class SlowStart:
    """How the weight of a member rises after it joined, was marked up, or came back from an ejection.

    After `t` seconds it counts `weight * max(min_weight, (t / window) ** (1 / aggression))`, in steps of
    a hundredth of the window.

    Args:
        window: seconds until it counts in full, > 0.
        aggression: 1 rises in a straight line; more rises faster at first, less later; > 0.
        min_weight: the share of its weight that it has from the start; > 0 and <= 1.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is no number.

    Source: Envoy, slow start mode, `slow_start_config`.
    """

    window: float
    aggression: float = 1.0
    min_weight: float = 0.1

    def __post_init__(self) -> None:
        require_positive("window", self.window, "seconds")
        require_positive("aggression", self.aggression)
        require_positive("min_weight", self.min_weight)
        if self.min_weight > 1:
            raise InvalidValue(f"min_weight must be > 0 and <= 1, got {self.min_weight!r}")

    @property
    def window_ns(self) -> int:
        """The window in ns."""
        return max(round(self.window * NANOSECONDS), 1)

    @property
    def step_ns(self) -> int:
        """The ns from one step to the next."""
        return max(self.window_ns // STEPS, 1)

    def factor(self, elapsed: float) -> float:
        """The share of its weight that a member has after so many seconds."""
        if elapsed >= self.window:
            return 1.0
        risen: float = (max(elapsed, 0.0) / self.window) ** (1.0 / self.aggression)
        return max(self.min_weight, risen)


def require_positive(name: str, value: object, unit: str = "") -> None:
    """Refuses what is no number above 0, or too large for a count of nanoseconds."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise InvalidType(f"{name} must be a number, got {type(value).__name__}")
    if not 0 < value <= MAX_NUMBER:  # NaN is neither
        rule = f"> 0 and <= {MAX_NUMBER} {unit}".strip()
        raise InvalidValue(f"{name} must be {rule}, got {shown(value)}")
