"""What is kept of a ping for long."""

from datetime import UTC, datetime

import pytest

from penstock.probing.exchange import Exchange, Phases
from penstock.services.pinger.kept import announced_length, kept
from penstock.services.pinger.model import Attempt, Hop, PingResult


def test_what_a_server_can_make_large_goes_and_the_figures_stay():
    head = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 60_000 + b"\r\nContent-Length: 12\r\n\r\n"
    last = Exchange(status=200, reason="y" * 60_000, head=head, body=b"z" * 1_000_000, phases=Phases(wait=7))
    tries = tuple(Attempt((Hop("http://a.example/", last),) * 10, 200, "") for _ in range(10))
    ping = PingResult(datetime.now(UTC), "http://a.example/", 200, 1.0, "", 10, tries=tries)
    small = kept(ping)
    assert len(repr(small)) < 10_000
    assert (small.attempts, small.state, len(small.hops)) == (10, ping.state, 10)
    assert (small.last.phases, small.last.header("content-length")) == (last.phases, "12")
    assert ping.last.body  # others still look at it


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n"])
def test_whether_there_was_a_head_can_still_be_told(head):
    tries = (Attempt((Hop("http://a.example/", Exchange(status=200, head=head)),), 200, ""),)
    ping = kept(PingResult(datetime.now(UTC), "http://a.example/", 200, 1.0, "", 1, tries=tries))
    assert bool(ping.last.head) == bool(head)
    assert ping.last.header("content-length") is None


@pytest.mark.parametrize(
    ("text", "length"), [("12", 12), (None, None), ("", None), ("-1", None), ("²", None), ("9" * 5_000, None)]
)
def test_a_length_is_a_number_that_some_body_could_have(text, length):
    assert announced_length(text) == length
