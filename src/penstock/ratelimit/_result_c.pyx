"""Result of a limiter, compiled: the twin of _result_py.py."""

cimport cython

from penstock.ratelimit._result_py import checked_fields, headers

__all__ = ["RateLimitResult"]

cdef double NANOSECONDS = 1e9


@cython.final
@cython.freelist(8)
cdef class RateLimitResult:
    """RateLimitResult(allowed, limit, remaining, retry_after=0.0, reset_after=0.0, window=1.0)\n--\n
    What a limiter decided about one request. True in a condition when it was allowed.

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

    def __init__(self, allowed, limit, remaining, retry_after=0.0, reset_after=0.0, window=1.0):
        fields = checked_fields(allowed, limit, remaining, retry_after, reset_after, window)
        self._allowed, self._limit, self._remaining, self._retry_ns, self._reset_ns, self._window_ns = fields

    @property
    def allowed(self):
        """Whether the request may go."""
        return self._allowed

    @property
    def limit(self):
        """Units that the limit allows at once."""
        return self._limit

    @property
    def count(self):
        """Units of the limit that are in use, with this request's if it was allowed."""
        return self._limit - self._remaining

    @property
    def remaining(self):
        """Units that are left."""
        return self._remaining

    @property
    def retry_after(self):
        """Seconds until the request would be allowed; 0.0 when it was."""
        return <double>self._retry_ns / NANOSECONDS

    @property
    def reset_after(self):
        """Seconds until the limit is as if it had never been used."""
        return <double>self._reset_ns / NANOSECONDS

    @property
    def window(self):
        """Seconds in which `limit` units become available."""
        return <double>self._window_ns / NANOSECONDS

    def headers(self, policy_name="default"):
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

    def __bool__(self):
        return self._allowed

    def __eq__(self, other):
        if not isinstance(other, RateLimitResult):
            return NotImplemented
        return self.fields() == (<RateLimitResult>other).fields()

    def __hash__(self):
        return hash(self.fields())

    def __repr__(self):
        return (
            f"RateLimitResult(allowed={self.allowed}, limit={self.limit}, remaining={self.remaining}, "
            f"retry_after={self.retry_after}, reset_after={self.reset_after}, window={self.window})"
        )

    def __reduce__(self):
        from penstock.ratelimit.result import restored  # here, for that module imports this one

        return restored, self.fields()

    cdef tuple fields(self):
        return (self._allowed, self._limit, self._remaining, self._retry_ns, self._reset_ns, self._window_ns)
