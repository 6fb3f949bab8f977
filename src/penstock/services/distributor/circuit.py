"""Circuit: whether an analyzer is well, as probes, deliveries and people say."""

from typing import Literal

from penstock.clock import NANOSECONDS, Clock
from penstock.errors import InvalidValue

__all__ = ["LONGEST_OVERRIDE", "Circuit", "Override"]

Override = Literal["up", "drain", "down"]

OVERRIDES = ("up", "drain", "down")
LONGEST_OVERRIDE = 31_536_000.0
"""Seconds, a year; longer words need no end."""


class Circuit:
    """The health of one analyzer, and what a person has said about it.

    It is up until probes or deliveries fail so many times in a row. Then it gets nothing, until so many
    probes in a row are answered; then it takes packets again, and gets one delivery as a trial: if that
    succeeds it is up, if it fails it is down.

    A person's word stands above that, for good or for a time: `up` uses it whatever its health, `down` does
    not, `drain` lets it finish what it has, as its health allows, and gives it nothing new. Health goes on
    being observed meanwhile, and counts again when the word is over.

    The methods that report something return whether what it gets is another now: packets at all
    (`takes_packets`), or deliveries of what it has (`may_deliver`), however many at a time.

    Args:
        probes_to_fall: failed probes in a row after which it is down, >= 1.
        errors_to_fall: failed deliveries in a row after which it is down, >= 1.
        probes_to_rise: answered probes in a row after which one that is down gets a trial, >= 1.
        clock: nanoseconds; measures how long a person's word holds.

    Raises:
        ValueError: one of the numbers is below 1.

    Attributes:
        state: its health: `up`, `trial` or `down`.
        overridden: what a person has said, None when nobody has.
        reason: why, in that person's words.
        failed_probes: in a row, until now.
        errors_in_a_row: failed deliveries, until now.
    """

    __slots__ = (
        "_answered_probes", "_clock", "_errors_to_fall", "_expires", "_probes_to_fall", "_probes_to_rise",
        "errors_in_a_row", "failed_probes", "overridden", "reason", "state",
    )  # fmt: skip

    def __init__(
        self, *, probes_to_fall: int, errors_to_fall: int, probes_to_rise: int, clock: Clock
    ) -> None:
        self._probes_to_fall = at_least_one("probes_to_fall", probes_to_fall)
        self._errors_to_fall = at_least_one("errors_to_fall", errors_to_fall)
        self._probes_to_rise = at_least_one("probes_to_rise", probes_to_rise)
        self._clock = clock
        self.state: Literal["up", "trial", "down"] = "up"
        self.overridden: Override | None = None
        self.reason = ""
        self._expires: int | None = None
        self.failed_probes = self.errors_in_a_row = self._answered_probes = 0

    @property
    def takes_packets(self) -> bool:
        """Whether packets may be assigned to it; in a trial too, which needs something to try."""
        if self.overridden is not None:
            return self.overridden == "up"
        return self.state != "down"

    def may_deliver(self, in_flight: int) -> bool:
        """Whether a delivery to it may begin while so many are under way."""
        if self.overridden == "up":
            return True
        if self.overridden == "down" or self.state == "down":
            return False
        return self.state == "up" or in_flight == 0

    # What probes and deliveries say

    def probe_succeeded(self) -> bool:
        """A probe was answered well."""
        self.failed_probes = 0
        if self.state != "down":
            return False
        self._answered_probes += 1
        return self._answered_probes >= self._probes_to_rise and self._turn("trial")

    def probe_failed(self) -> bool:
        """A probe was not answered, or not well."""
        self.failed_probes += 1
        self._answered_probes = 0
        return self.failed_probes >= self._probes_to_fall and self._turn("down")

    def delivery_succeeded(self) -> bool:
        """A delivery was answered, whatever the answer says of the packets in it."""
        self.errors_in_a_row = 0
        return self.state == "trial" and self._turn("up")

    def delivery_failed(self) -> bool:
        """A delivery got no answer, or one that says that the analyzer itself is in trouble."""
        self.errors_in_a_row += 1
        most = 1 if self.state == "trial" else self._errors_to_fall
        return self.errors_in_a_row >= most and self._turn("down")

    def _turn(self, state: Literal["up", "trial", "down"]) -> bool:
        if self.state == state:
            return False
        got = self._gets
        self.state = state
        self.errors_in_a_row = self._answered_probes = 0
        return self._gets != got

    @property
    def _gets(self) -> tuple[bool, bool]:
        return self.takes_packets, self.may_deliver(0)

    # What a person says

    def override(self, state: Override | None, ttl: float | None = None, reason: str = "") -> bool:
        """Does as a person says; None leaves it to its health again.

        Args:
            state: `up`, `drain`, `down`, or None.
            ttl: seconds for which this holds, > 0 and at most a year. None: until somebody says otherwise.
            reason: why, for others to read.

        Raises:
            ValueError: there is no such state, or ttl is out of its range; nothing changes.
        """
        if state is not None and state not in OVERRIDES:
            raise InvalidValue(f"override must be up, drain, down or None, got {state!r}")
        if ttl is not None and not 0 < ttl <= LONGEST_OVERRIDE:
            raise InvalidValue(f"ttl must be > 0 and <= {LONGEST_OVERRIDE:.0f} seconds, got {ttl!r}")
        got = self._gets
        self.overridden = state
        self.reason = reason if state else ""
        self._expires = self._clock() + round(ttl * NANOSECONDS) if state and ttl is not None else None
        return self._gets != got

    @property
    def expires_in(self) -> float | None:
        """Seconds until a person's word is over, at least 0; None when it has no end, or there is none."""
        return None if self._expires is None else max(0, self._expires - self._clock()) / NANOSECONDS

    def expire(self) -> bool:
        """Ends a person's word whose time is over; it holds until this is called."""
        return self.expires_in == 0 and self.override(None)

    def take_word_of(self, other: "Circuit") -> None:
        """What a person said of another one goes for this one."""
        self.overridden, self.reason, self._expires = other.overridden, other.reason, other._expires

    def put_back(self) -> bool:
        """A person says that it is well: it is up until it fails again."""
        got = self._gets
        self.override(None)
        self._turn("up")
        self.failed_probes = self.errors_in_a_row = 0
        return self._gets != got


def at_least_one(name: str, number: int) -> int:
    """The number.

    Raises:
        ValueError: it is below 1.
    """
    if number < 1:
        raise InvalidValue(f"{name} must be >= 1, got {number}")
    return number
