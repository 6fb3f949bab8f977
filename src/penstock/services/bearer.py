"""Showing an API key in the head of a request."""

from penstock.errors import InvalidValue

__all__ = ["bearer"]

CHARACTERS = frozenset(map(chr, range(0x21, 0x7F)))


def bearer(api_key: str) -> str:
    """The Authorization field that shows a key.

    Raises:
        ValueError: no field can hold it, such as a key that was read from a file with the end of its line. It
            is not told: this ends up in logs.
    """
    if not api_key or set(api_key) - CHARACTERS:
        raise InvalidValue(
            f"an API key must be printable ASCII without spaces, got {len(api_key)} characters not all such"
        )
    return f"Bearer {api_key}"
