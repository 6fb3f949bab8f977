"""Why there is no answer, in plain words, and when to ask again."""

import errno
import socket
from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp.http_exceptions import BadStatusLine
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.http_client import reason_of, retry_after_seconds

NOON = datetime(2025, 1, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "connection refused"),
        (aiohttp.ClientOSError(errno.EPIPE, "x"), "connection reset"),
        (OSError(errno.EADDRNOTAVAIL, "x"), "cannot assign requested address"),
        (socket.gaierror(socket.EAI_NONAME, "x"), "name not resolved"),
        (OSError("no number"), "OSError: no number"),
        (aiohttp.ServerDisconnectedError(), "connection closed without an answer"),
        (aiohttp.ClientPayloadError("x"), "answer cut short"),
        (BadStatusLine("x"), "not a valid HTTP answer"),
        (aiohttp.ServerTimeoutError(), "no answer in time"),
        (TimeoutError(), "no answer in time"),
        (UnicodeError("x"), "name not resolved: not a host name"),
        (RuntimeError("odd"), "RuntimeError: odd"),
    ],
)
def test_error_is_told_in_words_that_need_no_library(error, words):
    assert reason_of(error) == words


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("9" * 400, 999_999_999.0),
        ("Sat, 25 Jan 2025 12:01:30 GMT", 90.0),
        ("Sat, 25 Jan 2025 11:00:00 GMT", None),
        ("Sat, 25 Jan 2025 12:01:30 -0000", None),
        ("Mon, 01 Jan 9999999999999999999999 00:00:00 GMT", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("inf", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_to_come(header, seconds):
    assert retry_after_seconds(header, NOON) == seconds


@given(st.text())
def test_no_retry_after_breaks_the_client(header):
    seconds = retry_after_seconds(header, NOON)
    assert seconds is None or seconds >= 0
