"""Whatever strangers send, a terminal shows it as text and a log keeps it on one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.printable import one_line, printable


@pytest.mark.parametrize("sign", ["\x1b", "\x07", "\n", "\r", "\x00", "\x9b", "\u2028", "\u202e", "\ud800"])
def test_characters_that_do_something_are_replaced(sign):
    assert printable(f"a{sign}[2Jb") == "a\N{REPLACEMENT CHARACTER}[2Jb"


def test_plain_text_of_any_language_stays():
    assert printable("größer, 日本語 ✓") == "größer, 日本語 ✓"


def test_line_ends_become_spaces_in_one_line():
    assert one_line("  not\r\n\tfound \x1b[31m", 100) == "not found \N{REPLACEMENT CHARACTER}[31m"


@given(st.text(st.characters()), st.integers(0, 50))
def test_one_line_is_bounded_printable_and_can_be_stored(text, length):
    line = one_line(text, length)
    assert len(line) <= length
    assert line.isprintable()
    line.encode()
