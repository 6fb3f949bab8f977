"""Settings are checked where they are made, in words that say what is allowed."""

import re
from dataclasses import fields
from math import inf, nan

import pytest

from penstock.errors import PenstockError
from penstock.probing.request import InvalidRequest
from penstock.services.scraper.config import ABOVE_ZERO, AT_LEAST, AT_MOST, ScrapeSettings
from penstock.services.scraper.fetch import Fetcher, utc_now


@pytest.mark.parametrize(("name", "least"), AT_LEAST.items())
def test_a_number_below_its_least_is_refused(name, least):
    ScrapeSettings(**{name: least})
    for value in (least - 1, nan, inf):
        with pytest.raises(
            ValueError, match=f"^{name} must be >= {least} and finite, got {value}$"
        ) as caught:
            ScrapeSettings(**{name: value})
        assert isinstance(caught.value, PenstockError)


@pytest.mark.parametrize("name", ABOVE_ZERO)
def test_a_time_or_rate_that_is_not_above_zero_is_refused(name):
    for value in (0, -1.5, nan, inf):
        with pytest.raises(ValueError, match=f"^{name} must be > 0 and finite, got {value}$"):
            ScrapeSettings(**{name: value})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"concurrency": 10_001}, "concurrency must be <= 10000, got 10001"),
        ({"scope": "web"}, "scope must be one of host, domain, any, got 'web'"),
        ({"on_interrupted": "retry"}, "on_interrupted must be one of refetch, skip, got 'retry'"),
        ({"engine": "curl"}, "engine must be one of auto, aiohttp, protocol, socket, got 'curl'"),
        ({"user_agent": " "}, "user_agent must be printable and begin with a name, got ' '"),
        ({"user_agent": "/1.0"}, "user_agent must be printable and begin with a name, got '/1.0'"),
        (
            {"user_agent": "me\r\nX: y"},
            r"user_agent must be printable and begin with a name, got 'me\r\nX: y'",
        ),
    ],
)
def test_what_is_none_of_the_choices_is_refused_with_the_choices(settings, words):
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        ScrapeSettings(**settings)


@pytest.mark.parametrize(("name", "most"), AT_MOST.items())
def test_a_number_above_its_most_is_refused(name, most):
    ScrapeSettings(**{name: most})
    for value in (most + 1, 1e300):
        with pytest.raises(ValueError, match=re.escape(f"{name} must be <= {most}, got {value}")):
            ScrapeSettings(**{name: value})


def test_a_rate_of_less_than_a_request_in_thirty_years_is_refused():
    ScrapeSettings(rate=1e-9)
    with pytest.raises(ValueError, match=r"^rate must be >= 1e-09 requests a second, got 1e-10$"):
        ScrapeSettings(rate=1e-10)


def test_every_time_has_a_most():
    times = {name for name in (*AT_LEAST, *ABOVE_ZERO) if name.endswith(("timeout", "delay", "ttl", "after"))}
    assert times - {"give_up_after"} <= set(AT_MOST)


def test_every_number_has_a_bound():
    checked = {*AT_LEAST, *ABOVE_ZERO}
    numbers = {field.name for field in fields(ScrapeSettings) if isinstance(field.default, (int, float))}
    flags = {field.name for field in fields(ScrapeSettings) if isinstance(field.default, bool)}
    assert numbers - flags <= checked


def test_a_header_that_breaks_out_of_its_line_is_refused_before_any_request():
    with pytest.raises(InvalidRequest):
        Fetcher(None, ScrapeSettings(headers=(("X", "a\r\nb: c"),)), utc_now)
