"""What strangers send, made safe to show and to log."""

__all__ = ["one_line", "printable"]


def printable(text: str) -> str:
    """`text` with U+FFFD for every character that would move a cursor, break a line or not encode."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def one_line(text: str, length: int) -> str:
    """The words of `text`, printable, with a space between them and cut to so many characters."""
    return printable(" ".join(text[: 2 * length].split()))[:length]
