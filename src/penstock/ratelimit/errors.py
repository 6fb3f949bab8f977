"""What limiters raise."""

from penstock.errors import PenstockError
from penstock.ratelimit.result import RateLimitResult

__all__ = ["LimiterFull", "RateLimitExceeded", "RateLimiterUnavailable"]

MAX_KEY = 100  # characters of a key in a message


def shortened(text: str) -> str:
    return text if len(text) <= MAX_KEY else f"{text[: MAX_KEY - 3]}..."


def digits(seconds: float) -> str:
    """Three digits, and all of those before the point."""
    return f"{seconds:.3g}" if seconds < 999.5 else f"{seconds:.0f}"


class RateLimitExceeded(PenstockError, RuntimeError):
    """A call was refused because its limit is reached.

    Attributes:
        key: whose limit; None where a limit has no keys.
        result: the refusal: what the limit is, and when to come again.
    """

    def __init__(self, key: object, result: RateLimitResult) -> None:
        whose = "" if key is None else f" for {shortened(repr(key))}"
        super().__init__(
            f"at most {result.limit} in {digits(result.window)} s are allowed{whose}, "
            f"try again in {digits(result.retry_after)} s"
        )
        self.key = key
        self.result = result

    def __reduce__(self) -> tuple[type, tuple[object, RateLimitResult]]:
        return type(self), (self.key, self.result)

    @property
    def retry_after(self) -> float:
        """Seconds until the call would be allowed, if nobody else calls until then."""
        return self.result.retry_after


class LimiterFull(PenstockError, RuntimeError):
    """A limiter is full: of keys that it cannot forget without letting somebody off, or of those who wait."""


class RateLimiterUnavailable(PenstockError, ConnectionError):
    """The server that keeps a limit gives no answer, or cannot write at present: nothing is decided."""
