"""Times of foreign protocols as RFC 3339, exact to the nanosecond; None for what is not one instant."""

import re
from datetime import datetime, timedelta
from functools import lru_cache

__all__ = ["of_nanoseconds", "of_number", "of_seconds", "of_text"]

NANOSECONDS = 1_000_000_000
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - only added to
FIRST = -62_135_596_800
"""Seconds of 0001-01-01T00:00:00Z."""
LAST = 253_402_300_799
"""Seconds of 9999-12-31T23:59:59Z."""

EPOCH_UNITS = ((10**9, 9), (10**12, 6), (10**15, 3), (10**18, 0))
"""September 2001 in seconds, milli-, micro- and nanoseconds, and the digits that are missing to nanoseconds.

Four times as much is 2096, so none overlaps.
"""

NUMBER = re.compile(r"(-?)([0-9]{1,20})(?:\.([0-9]{0,40}))?(?:[eE]([+-]?[0-9]{1,2}))?")

TEXT = re.compile(
    r"([0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01]))[Tt ]"
    r"((?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60))(?:[.,]([0-9]{1,9}))?"
    r" ?(?:([Zz]|UTC|GMT)|([+-](?:[01][0-9]|2[0-3])):?([0-5][0-9]))"
)


def of_nanoseconds(nanoseconds: int) -> str | None:
    """The instant of a count since 1970."""
    seconds, fraction = divmod(nanoseconds, NANOSECONDS)
    if not FIRST <= seconds <= LAST:
        return None
    return f"{of_second(seconds)}.{f'{fraction:09}'.rstrip('0')}Z" if fraction else of_second(seconds) + "Z"


@lru_cache(maxsize=1024)  # records come in the order of their times
def of_second(seconds: int) -> str:
    return (EPOCH + timedelta(seconds=seconds)).isoformat()


def of_seconds(number: str) -> str | None:
    """The instant of seconds since 1970, written as JSON writes numbers."""
    nanoseconds = shifted(number, 9)
    return None if nanoseconds is None else of_nanoseconds(nanoseconds)


def of_number(number: str) -> str | None:
    """The instant of a count since 1970 in seconds, milli-, micro- or nanoseconds: its size tells which."""
    if number.isdigit() and number.isascii() and len(number) < 20:  # most are, and this is the quick way
        for least, missing in EPOCH_UNITS:
            if least <= int(number) < 4 * least:
                return of_nanoseconds(int(number) * 10**missing)
        return None
    whole = shifted(number, 0)
    for least, missing in EPOCH_UNITS:
        if whole is not None and least <= whole < 4 * least:
            nanoseconds = shifted(number, missing)
            return None if nanoseconds is None else of_nanoseconds(nanoseconds)
    return None


def of_text(text: str) -> str | None:
    """A time that is RFC 3339, or nearly: with a comma for the point, or an offset without its colon."""
    parts = TEXT.fullmatch(text)
    if parts is None:
        return None
    day, clock, fraction, utc, hours, minutes = parts.groups()
    offset = "Z" if utc else f"{hours}:{minutes}"
    return f"{day}T{clock}.{fraction}{offset}" if fraction else f"{day}T{clock}{offset}"


def shifted(number: str, digits: int) -> int | None:
    """A number times 10 to the `digits`, cut to an integer; None when it is none, or out of all bounds."""
    parts = NUMBER.fullmatch(number)
    if parts is None:
        return None
    sign, whole, fraction, exponent = parts.groups()
    fraction = fraction or ""
    places = len(fraction) - digits - int(exponent or 0)  # digits behind the point that is wanted
    if not -40 <= places <= 80:
        return None
    magnitude = int(whole + fraction)
    magnitude = magnitude // 10**places if places > 0 else magnitude * int(10**-places)
    return -magnitude if sign else magnitude
