"""Durations as arguments: seconds or timedelta come in, within bounds, and seconds go on."""

from datetime import timedelta

from penstock.errors import InvalidType, InvalidValue

__all__ = ["LEAST_SECONDS", "checked_seconds"]

LEAST_SECONDS = 0.001
"""The least time that is worth waiting for."""


def checked_seconds(name: str, value: object, least: float, most: float) -> float:
    """`value` in seconds.

    Raises:
        ValueError: not least <= value <= most.
        TypeError: it is neither a number nor a timedelta.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise InvalidType(f"{name} must be seconds or a timedelta, got {type(value).__name__}")
    if not least <= seconds <= most:  # nan is neither
        raise InvalidValue(f"{name} must be >= {least:g} and <= {most:g} seconds, got {seconds!r}")
    return float(seconds)
