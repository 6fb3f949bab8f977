"""Durations in assertions and target files: `250us`, `300ms`, `1.5s`, `2m`, `1h`, `14d`."""

import re

__all__ = ["duration_words", "seconds_of"]

UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
PATTERN = re.compile(r"(\d{1,12}(?:\.\d{0,12})?|\.\d{1,12}) *(us|µs|ms|s|m|h|d)", re.ASCII)


def seconds_of(text: str) -> float | None:
    """The seconds that a duration with its unit says; None for what is none."""
    match = PATTERN.fullmatch(text.strip().lower())
    return float(match[1]) * UNITS[match[2]] if match else None


def duration_words(seconds: float) -> str:
    """A duration for people, in the unit that suits it: `0.21 ms`, `87.2 ms`, `1.5 s`, `12.3 d`."""
    size = abs(seconds)
    if size < 1:
        return f"{seconds * 1000:.3g} ms" if size < 0.1 else f"{seconds * 1000:.1f} ms"
    if size < 3600:
        return f"{seconds:.3g} s" if size < 100 else f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h" if size < 2 * 86_400 else f"{seconds / 86_400:.1f} d"
