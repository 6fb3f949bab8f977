"""What limiters answer to copy and pickle."""

from typing import NoReturn

from penstock.errors import InvalidType

__all__ = ["refuse_copy"]


def refuse_copy(limiter: object, why: str = "both would allow the limit") -> NoReturn:
    """Raises the error of copying or pickling `limiter`."""
    name = type(limiter).__name__
    raise InvalidType(f"{name} must not be copied or pickled: {why}")
