"""Durations as people write and read them."""

import pytest

from penstock.services.pinger.durations import duration_words, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("300ms", 0.3),
        (" 1.5 S ", 1.5),
        (".5s", 0.5),
        ("2m", 120),
        ("1h", 3600),
        ("14d", 1_209_600),
    ],
)
def test_duration_has_its_unit(text, seconds):
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "-1s", "1 week", "1e3s", "nan s", "1s1s", "9" * 13 + "s", "١s"])
def test_what_is_no_duration_is_none(text):
    assert seconds_of(text) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.000213, "0.213 ms"),
        (0.0872, "87.2 ms"),
        (0.3, "300.0 ms"),
        (1.5, "1.5 s"),
        (1200, "1200 s"),
        (7200, "2.0 h"),
        (1_209_600, "14.0 d"),
        (-90_000, "-25.0 h"),
    ],
)
def test_duration_is_told_in_the_unit_that_suits_it(seconds, words):
    assert duration_words(seconds) == words
