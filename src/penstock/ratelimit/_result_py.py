"""Result of a limiter, pure Python. Its compiled twin is a struct that makes numbers when asked for them."""

from math import ceil

from penstock.clock import NANOSECONDS

__all__ = ["RateLimitResult"]


def headers(result: "RateLimitResult", policy_name: str) -> dict[str, str]:
    """What RateLimitResult.headers returns, for both twins."""
    name = policy_name.replace("\\", "\\\\").replace('"', '\\"')
    fields = {
        "RateLimit-Policy": f'"{name}";q={result.limit};w={ceil(result.window)}',
        "RateLimit": f'"{name}";r={result.remaining};t={ceil(result.reset_after)}',
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
        self._allowed = bool(allowed)
        self._limit = limit
        self._remaining = remaining
        self._retry_ns = round(retry_after * NANOSECONDS)
        self._reset_ns = round(reset_after * NANOSECONDS)
        self._window_ns = round(window * NANOSECONDS)

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
        return self._retry_ns / NANOSECONDS

    @property
    def reset_after(self) -> float:
        """Seconds until the limit is as if it had never been used."""
        return self._reset_ns / NANOSECONDS

    @property
    def window(self) -> float:
        """Seconds in which `limit` units become available."""
        return self._window_ns / NANOSECONDS

    def headers(self, policy_name: str = "default") -> dict[str, str]:
        """The fields of an HTTP answer: RateLimit-Policy and RateLimit, and Retry-After on a refusal.

        Args:
            policy_name: what the policy is called, printable ASCII.

        Returns:
            Field names and values; seconds are rounded up, Retry-After to at least 1.

        Source: draft-ietf-httpapi-ratelimit-headers-10; RFC 9110, section 10.2.3.
        """
        return headers(self, policy_name)

    def __bool__(self) -> bool:
        return self._allowed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RateLimitResult):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self.__slots__))

    def __repr__(self) -> str:
        return (
            f"RateLimitResult(allowed={self.allowed}, limit={self.limit}, remaining={self.remaining}, "
            f"retry_after={self.retry_after}, reset_after={self.reset_after}, window={self.window})"
        )

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return RateLimitResult, (
            self.allowed, self.limit, self.remaining, self.retry_after, self.reset_after, self.window
        )  # fmt: skip


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
