"""Result of a limiter, pure Python. Its compiled twin is a struct that makes numbers when asked for them."""

from collections.abc import Callable
from fractions import Fraction
from math import ceil

from penstock.clock import NANOSECONDS
from penstock.errors import InvalidType, InvalidValue
from penstock.ratelimit.quota import shown

__all__ = ["RateLimitResult"]

MAX_INTEGER = (1 << 63) - 1  # of units and nanoseconds: what the compiled twin holds
MAX_FIELD = 999_999_999_999_999  # what an integer of RFC 9651 may be

Fields = tuple[bool, int, int, int, int, int]
"""allowed, limit and remaining, and in nanoseconds retry_after, reset_after and window."""


def checked_fields(
    allowed: object, limit: int, remaining: int, retry_after: float, reset_after: float, window: float
) -> Fields:
    """What a new result holds, for both twins.

    Raises:
        ValueError, TypeError: see RateLimitResult.
    """
    for name, value in (("limit", limit), ("remaining", remaining)):
        if not isinstance(value, int):
            raise InvalidType(f"{name} must be an int, got {type(value).__name__}")
    if not 0 <= remaining <= limit <= MAX_INTEGER:
        got = f"{shown(remaining)} of {shown(limit)}"
        raise InvalidValue(f"remaining must be >= 0 and <= limit, and limit < 2**63, got {got}")
    times = (("retry_after", retry_after), ("reset_after", reset_after), ("window", window))
    retry_ns, reset_ns, window_ns = (nanoseconds(name, value) for name, value in times)
    return bool(allowed), limit, remaining, retry_ns, reset_ns, window_ns


def nanoseconds(name: str, value: object) -> int:
    if not isinstance(value, (int, float, Fraction)):
        raise InvalidType(f"{name} must be a number of seconds, got {type(value).__name__}")
    if not 0 <= value * NANOSECONDS < MAX_INTEGER:  # nan is neither
        raise InvalidValue(f"{name} must be >= 0 seconds and < 2**63 ns, got {shown(value)}")
    return round(value * NANOSECONDS)


def headers(result: "RateLimitResult", policy_name: str) -> dict[str, str]:
    """What RateLimitResult.headers returns, for both twins.

    Raises:
        ValueError, TypeError: see there.
    """
    if not isinstance(policy_name, str):
        raise InvalidType(f"policy_name must be a string, got {type(policy_name).__name__}")
    if not (policy_name.isascii() and policy_name.isprintable()):  # all that a string of RFC 9651 may hold
        raise InvalidValue(f"policy_name must be printable ASCII, got {policy_name!r}")
    name = policy_name.replace("\\", "\\\\").replace('"', '\\"')
    fields = {
        "RateLimit-Policy": f'"{name}";q={min(result.limit, MAX_FIELD)};w={ceil(result.window)}',
        "RateLimit": f'"{name}";r={min(result.remaining, MAX_FIELD)};t={ceil(result.reset_after)}',
    }
    if not result.allowed:
        fields["Retry-After"] = str(max(1, ceil(result.retry_after)))
    return fields


class RateLimitResult:
    """What a limiter decided about one request. True in a condition when it was allowed.

    Times are kept to the nanosecond.

    Args:
        allowed: whether the request may go.
        limit: units that the tightest limit allows at once.
        remaining: units of it that are left, 0 to `limit`.
        retry_after: seconds until the request would be allowed if there are no others until then; 0.0 when
            it was.
        reset_after: seconds until the limit is as if it had never been used.
        window: seconds in which `limit` units become available.

    Raises:
        ValueError: not 0 <= remaining <= limit, or a time is negative, not finite or over 292 years.
        TypeError: an argument is no number of its kind.
    """

    __slots__ = ("_allowed", "_limit", "_remaining", "_reset_ns", "_retry_ns", "_window_ns")

    def __init__(
        self,
        allowed: bool,
        limit: int,
        remaining: int,
        retry_after: float = 0.0,
        reset_after: float = 0.0,
        window: float = 1.0,
    ) -> None:
        fields = checked_fields(allowed, limit, remaining, retry_after, reset_after, window)
        self._allowed, self._limit, self._remaining, self._retry_ns, self._reset_ns, self._window_ns = fields

    @property
    def allowed(self) -> bool:
        """Whether the request may go."""
        return self._allowed

    @property
    def limit(self) -> int:
        """Units that the limit allows at once."""
        return self._limit

    @property
    def count(self) -> int:
        """Units of the limit that are in use, with this request's if it was allowed."""
        return self._limit - self._remaining

    @property
    def remaining(self) -> int:
        """Units that are left."""
        return self._remaining

    @property
    def retry_after(self) -> float:
        """Seconds until the request would be allowed; 0.0 when it was."""
        return self._retry_ns / 1e9  # a float, as C divides

    @property
    def reset_after(self) -> float:
        """Seconds until the limit is as if it had never been used."""
        return self._reset_ns / 1e9

    @property
    def window(self) -> float:
        """Seconds in which `limit` units become available."""
        return self._window_ns / 1e9

    def headers(self, policy_name: str = "default") -> dict[str, str]:
        """The fields of an HTTP answer: RateLimit-Policy and RateLimit, and Retry-After on a refusal.

        Args:
            policy_name: what the policy is called, printable ASCII.

        Returns:
            Field names and values; seconds are rounded up, Retry-After to at least 1. Units above 10**15 - 1,
            the most that a field can hold, are told as that.

        Raises:
            ValueError: policy_name holds other characters.
            TypeError: policy_name is no string.

        Source: draft-ietf-httpapi-ratelimit-headers-10; RFC 9651, section 3.3.3; RFC 9110, section 10.2.3.
        """
        return headers(self, policy_name)

    def __bool__(self) -> bool:
        return self._allowed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RateLimitResult):
            return NotImplemented
        return self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        return (
            f"RateLimitResult(allowed={self.allowed}, limit={self.limit}, remaining={self.remaining}, "
            f"retry_after={self.retry_after}, reset_after={self.reset_after}, window={self.window})"
        )

    def __reduce__(self) -> tuple[Callable[..., "RateLimitResult"], Fields]:
        from penstock.ratelimit.result import restored  # here, for that module imports this one

        return restored, self._fields()

    def _fields(self) -> Fields:
        return self._allowed, self._limit, self._remaining, self._retry_ns, self._reset_ns, self._window_ns


def result_of(
    allowed: bool, limit: int, remaining: int, retry_ns: int, reset_ns: int, window_ns: int
) -> RateLimitResult:
    """A result of nanoseconds, as limiters have them."""
    result = RateLimitResult.__new__(RateLimitResult)
    result._allowed = allowed
    result._limit = limit
    result._remaining = remaining
    result._retry_ns = retry_ns
    result._reset_ns = reset_ns
    result._window_ns = window_ns
    return result
