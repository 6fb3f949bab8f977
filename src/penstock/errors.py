"""The root of every exception that penstock raises on purpose."""

__all__ = ["InvalidType", "InvalidValue", "PenstockError"]


class PenstockError(Exception):
    """Root of penstock's own exceptions; each also derives from the builtin it resembles.

    The message gives name, rule and value: `rate must be > 0 per second, got -1.0`.
    """


class InvalidValue(PenstockError, ValueError):
    """An argument or setting has a value that is not allowed."""


class InvalidType(PenstockError, TypeError):
    """An argument or setting has a type that is not allowed."""
