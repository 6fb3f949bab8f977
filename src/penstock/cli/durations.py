"""Durations on the command line: `1200ms`, `1.5s`, `2m`, `1h`, or plain seconds."""

import re
from typing import Any

import click

__all__ = ["DURATION", "Duration"]

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
PATTERN = re.compile(r"(\d{1,12}(?:\.\d{0,12})?|\.\d{1,12}) *(ms|s|m|h|)", re.ASCII)
MAX_SECONDS = 31_536_000  # a year


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """A time > 0 and at most a year; the command gets seconds as a float."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, (int, float)):
            amount = float(value)
        elif match := PATTERN.fullmatch(str(value).strip().lower()):
            amount = float(match[1]) * UNITS[match[2]]
        else:
            self.fail(f"{value!r} is not a duration such as 1200ms, 1.5s or 2m", param, ctx)
        if not 0 < amount <= MAX_SECONDS:
            self.fail(f"a duration must be > 0 and at most a year, got {value!r}", param, ctx)
        return amount


DURATION = Duration()
"""The type itself, for `type=DURATION`."""
