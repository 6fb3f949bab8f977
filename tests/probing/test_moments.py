"""Phases of moments."""

from penstock.probing.exchange import Exchange, Phases
from penstock.probing.moments import Moments


def moments(**at):
    made = Moments(1_000)
    for name, value in at.items():
        setattr(made, name, value)
    return made


WHOLE = {
    "dns": 100,
    "queued": 50,
    "connecting": 1_200,
    "connected": 1_300,
    "secured": 1_500,
    "sent": 1_510,
    "first": 1_600,
    "last": 1_650,
}


def test_phases_are_what_lies_between_the_moments():
    assert moments(**WHOLE).phases(0, secure=True) == Phases(100, 100, 200, 90, 50, 600)
    assert moments(**WHOLE).phases(0, secure=True).service == 140


def test_a_kept_connection_was_not_made():
    at = {name: WHOLE[name] for name in ("sent", "first", "last")}
    assert moments(**at).phases(0, secure=False) == Phases(0, 0, 0, 90, 50, 650)


def test_the_phase_that_failed_has_lasted_until_then():
    steps = list(WHOLE)

    def failed_after(name):
        at = {step: WHOLE[step] for step in steps[: steps.index(name) + 1]}
        return moments(**at).phases(2_000, secure=True)[:5]

    assert failed_after("dns") == (100, 0, 0, 0, 0)
    assert failed_after("connecting") == (100, 800, 0, 0, 0)
    assert failed_after("connected") == (100, 100, 700, 0, 0)
    assert failed_after("sent") == (100, 100, 200, 490, 0)
    assert failed_after("first") == (100, 100, 200, 90, 400)


def test_headers_are_read_from_the_head():
    exchange = Exchange(head=b"HTTP/1.1 200 OK\r\nA: 1\r\nB:2 \r\na: 3\r\n\r\n")
    assert exchange.headers == [("a", "1"), ("b", "2"), ("a", "3")]
    assert (exchange.header("a"), exchange.header("b"), exchange.header("c")) == ("1, 3", "2", None)


def test_headers_are_read_though_their_lines_end_without_cr():
    exchange = Exchange(head=b"HTTP/1.1 200 OK\nA: 1\nB: 2\n\n")
    assert exchange.headers == [("a", "1"), ("b", "2")]
