"""Numbers that are arguments, checked."""

from penstock.errors import InvalidType, InvalidValue
from penstock.sharding.keys import shown

__all__ = ["checked_number", "checked_seconds", "checked_whole"]

MAX_SECONDS = 1e9


def checked_whole(name: str, value: object, least: int, most: int | None = None, unit: str = "") -> int:
    """An int within bounds.

    Raises:
        ValueError: it is out of them.
        TypeError: it is no int.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidType(f"{name} must be an int, got {type(value).__name__}")
    if value < least or (most is not None and value > most):
        bounds = f">= {least}" if most is None else f">= {least} and <= {most}"
        raise InvalidValue(f"{name} must be {bounds}{unit}, got {shown(value)}")
    return value


def checked_number(name: str, value: object, what: str = "a number") -> int | float:
    """An int or float.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidType(f"{name} must be {what}, got {type(value).__name__}")
    return value


def checked_seconds(name: str, value: object) -> float:
    """A time to wait.

    Raises:
        ValueError: it is not > 0 and at most a billion seconds.
        TypeError: it is no number.
    """
    seconds = checked_number(name, value, "a number of seconds")
    if not 0 < seconds <= MAX_SECONDS:  # NaN is not
        raise InvalidValue(f"{name} must be > 0 and <= {MAX_SECONDS:g} seconds, got {shown(value)}")
    return float(seconds)
