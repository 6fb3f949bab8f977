"""Rates as options write them."""

import re
from fractions import Fraction

import click

from penstock.ratelimit import Quota

__all__ = ["per_second", "request_rate"]

RATE = re.compile(r"\s*(\d{1,10}(?:\.\d{1,9})?|\.\d{1,9})\s*(?:/([^;]+))?", re.ASCII)


def request_rate(text: str) -> float:
    """Requests a second: `5`, `0.5`, `5/s`, `100/minute`."""
    found = RATE.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        rate = Fraction(found[1]) * (1 if found[2] is None else Quota.parse(f"1/{found[2]}").rate)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no rate such as 5, 0.5, 5/s or 100/minute") from None
    if not rate:
        raise click.BadParameter(f"a rate must be > 0, got {text!r}")
    return float(rate)


def per_second(text: str) -> float:
    """A number a second, > 0 and at most 1e9; a range of click's own lets nan through."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1e9:
        raise click.BadParameter(f"{text!r} is no number > 0 and <= 1e9")
    return rate
