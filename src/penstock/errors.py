"""The root of every exception that penstock raises on purpose."""

__all__ = ["InvalidType", "InvalidValue", "PenstockError", "shown"]

SHOWN = 80  # characters of a value in a message


class PenstockError(Exception):
    """Root of penstock's own exceptions; each also derives from the builtin it resembles.

    The message gives name, rule and value: `rate must be > 0 per second, got -1.0`.
    """


class InvalidValue(PenstockError, ValueError):
    """An argument or setting has a value that is not allowed."""


class InvalidType(PenstockError, TypeError):
    """An argument or setting has a type that is not allowed."""


def shown(value: object) -> str:
    """`value` as a message shows it, however long it is and whatever its repr does."""
    if isinstance(value, str | bytes) and len(value) > SHOWN:
        value = value[:SHOWN]  # so that the repr of a megabyte is not made
    try:
        text = repr(value)
    except Exception:  # an int of too many digits, or code of the user
        return f"<int of {value.bit_length()} bits>" if type(value) is int else f"<{type(value).__name__}>"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
