"""Durations as people type them."""

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.durations import DURATION


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1200ms", 1.2),
        ("1s", 1.0),
        ("0.5s", 0.5),
        (".5s", 0.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("3", 3.0),
        ("2.5", 2.5),
        ("10 MS", 0.01),
        (7, 7.0),
    ],
)
def test_amount_and_unit_become_seconds(text, seconds):
    assert DURATION.convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "fast", "1x", "1s2", "-1s", "s", "1e3", "nan", "inf", "٣s", "1" * 99 + "s"]
)
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(click.BadParameter, match=r"is not a duration such as 1200ms, 1\.5s or 2m"):
        DURATION.convert(text, None, None)


@pytest.mark.parametrize("text", ["0", "0ms", "0.0s", "9000h", float("nan"), float("inf")])
def test_duration_of_no_use_is_refused(text):
    with pytest.raises(click.BadParameter, match="must be > 0 and at most a year"):
        DURATION.convert(text, None, None)


@given(st.text())
def test_any_text_is_a_duration_or_refused(text):
    try:
        seconds = DURATION.convert(text, None, None)
    except click.BadParameter:
        return
    assert seconds > 0
