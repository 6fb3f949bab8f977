"""Connections of the simulated server on a clock that is moved by hand."""

import pytest

from penstock.clock import ManualClock
from penstock.services.lab.config import Behaviour, Config
from penstock.services.lab.connection import Connection
from penstock.services.lab.site import Site

GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
DATA = b"GET /data HTTP/1.1\r\nHost: x\r\n\r\n"


class FakeTransport:
    """Keeps what is written; closes as told."""

    def __init__(self):
        self.written = b""
        self.is_reading = True
        self.state = "open"

    def set_write_buffer_limits(self, high):
        self.high = high

    def write(self, data):
        self.written += data

    def pause_reading(self):
        self.is_reading = False

    def resume_reading(self):
        self.is_reading = True

    def close(self):
        self.state = "closed"

    def abort(self):
        self.state = "aborted"


class FakeHandle:
    """A call that can be cancelled."""

    def __init__(self, timer, call):
        self.timer, self.call = timer, call

    def cancel(self):
        if self.call in self.timer.calls:
            self.timer.calls.remove(self.call)


class FakeTimer:
    """Runs what is due when the clock has been moved."""

    def __init__(self, clock):
        self.clock = clock
        self.calls = []

    def call_at(self, at_ns, callback):
        call = (at_ns, callback)
        self.calls.append(call)
        return FakeHandle(self, call)

    def run(self):
        while self.turn():
            pass

    def turn(self):
        due = [call for call in self.calls if call[0] <= self.clock.now]
        self.calls = [call for call in self.calls if call[0] > self.clock.now]
        for _, callback in due:
            callback()
        return bool(due)


@pytest.fixture
def clock():
    return ManualClock(5)


@pytest.fixture
def timer(clock):
    return FakeTimer(clock)


@pytest.fixture
def connect(clock, timer):
    """A function that makes a connection: it, its transport and its site."""

    def connect(site=None, **behaviour):
        settings = {"latency": "constant", "full_rate": 0.0, "error_rate": 0.0, "overload": 0} | behaviour
        site = site or Site(Behaviour(**settings), Config(idle_timeout=75.0), timer, clock)
        connection, transport = Connection(site), FakeTransport()
        connection.connection_made(transport)
        return connection, transport, site

    return connect


def test_an_answer_leaves_when_it_is_due_and_not_before(connect, clock, timer):
    connection, transport, _ = connect(max_latency=0.3)
    connection.data_received(DATA)
    clock.advance(0.299999999)
    timer.run()
    assert (transport.written, connection.is_busy) == (b"", True)
    clock.advance(0.000000001)
    timer.run()
    assert transport.written.startswith(b"HTTP/1.1 200 OK\r\n")
    assert not connection.is_busy


def test_lateness_is_in_the_figures(connect, clock, timer):
    connection, _, site = connect(max_latency=0.3)
    connection.data_received(DATA)
    clock.advance(0.301)
    timer.run()
    figures = site.figures()
    assert (figures["delay_seconds_total"], figures["lateness_seconds_max"]) == (0.3, 0.001)


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab", GET]
)
def test_a_silent_connection_is_ended(connect, clock, sent):
    connection, transport, site = connect()
    if sent:
        connection.data_received(sent)
    clock.advance(75)
    site.sweep()
    assert transport.state == "open"
    clock.advance(1)
    site.sweep()
    assert transport.state == "aborted"


def test_a_connection_that_waits_for_its_answer_is_not_silent(connect, clock, timer):
    connection, transport, site = connect(max_latency=60, servers=1)
    others = [connect(site) for _ in range(2)]
    for each, _, _ in [(connection, transport, site), *others]:
        each.data_received(DATA)
    clock.advance(120)
    site.sweep()
    assert transport.state == "open"
    clock.advance(60)
    timer.run()
    assert all(other.written for _, other, _ in others)


def test_a_request_that_trickles_in_does_not_hold_its_connection(connect, clock):
    connection, transport, site = connect()
    for byte in GET:
        connection.data_received(bytes([byte]))
        clock.advance(10)
        site.sweep()
        if transport.state != "open":
            break
    assert (transport.state, transport.written) == ("aborted", b"")


def test_an_answer_is_due_from_when_its_request_was_whole(connect, clock, timer):
    connection, transport, _ = connect(max_latency=0.3)
    connection.data_received(DATA[:9])
    clock.advance(5)
    connection.data_received(DATA[9:])
    clock.advance(0.2)
    timer.run()
    assert transport.written == b""
    clock.advance(0.1)
    timer.run()
    assert transport.written.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("behaviour", [{"hang": 1.0}, {"reset": 1.0}, {}])
def test_a_client_that_goes_away_leaves_nothing_to_call(connect, timer, behaviour):
    connection, _, site = connect(**behaviour)
    connection.data_received(DATA)
    assert len(timer.calls) == 1
    connection.connection_lost(None)
    assert timer.calls == []
    assert site.figures()["answers_total"] == 0


def test_what_is_sent_after_the_last_request_of_a_connection_is_not_answered(connect):
    connection, transport, site = connect()
    connection.data_received(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + DATA)
    assert (transport.written.count(b"HTTP/1.1"), transport.state) == (1, "closed")
    assert site.state.counts.total() == 0


def test_what_hangs_is_let_go_in_the_end(connect, clock, timer):
    connection, transport, site = connect(hang=1.0)
    connection.data_received(DATA)
    clock.advance(74)
    timer.run()
    assert transport.state == "open"
    clock.advance(1)
    timer.run()
    assert (transport.state, transport.written) == ("aborted", b"")
    assert site.state.counts == {"hang": 1}


def test_what_is_sent_ahead_of_an_answer_is_bounded(connect, clock, timer):
    connection, transport, _ = connect(max_latency=0.001)
    connection.data_received(DATA)
    while transport.is_reading:
        connection.data_received(GET * 100)
    assert len(connection._received) < 65_536 + 100 * len(GET) + 1
    clock.advance(1)
    timer.run()
    assert transport.is_reading
    assert not connection._received
    assert transport.written.count(b"HTTP/1.1 200") > 1_000


def test_a_client_that_sends_much_ahead_lets_others_have_their_turn(connect, timer):
    connection, transport, site = connect()
    connection.data_received(GET * 100)
    connection.data_received(GET * 100)
    answered = transport.written.count(b"HTTP/1.1 200")
    assert answered < 50
    other, others, _ = connect(site)
    other.data_received(GET)
    assert others.written.startswith(b"HTTP/1.1 200")
    assert connection.eof_received()
    timer.turn()
    assert answered < transport.written.count(b"HTTP/1.1 200") < 100
    timer.run()
    assert (transport.written.count(b"HTTP/1.1 200"), transport.state) == (200, "closed")


def test_a_client_that_does_not_read_is_not_answered_on(connect, timer):
    connection, transport, _ = connect()
    connection.pause_writing()
    connection.data_received(GET * 10)
    assert transport.written == b""
    while transport.is_reading:
        connection.data_received(GET * 100)
    connection.resume_writing()
    timer.run()
    assert transport.is_reading
    assert transport.written.count(b"HTTP/1.1 200") > 1_000


def test_a_client_that_has_said_all_is_answered_and_then_left(connect, clock, timer):
    connection, transport, _ = connect(max_latency=0.1)
    connection.data_received(DATA + GET)
    assert connection.eof_received()
    clock.advance(1)
    timer.run()
    assert transport.written.count(b"HTTP/1.1 200") == 2
    assert transport.state == "closed"


def test_a_client_that_has_said_all_and_reads_later_gets_every_answer(connect):
    connection, transport, _ = connect()
    connection.pause_writing()
    connection.data_received(GET * 3)
    assert connection.eof_received()
    connection.resume_writing()
    assert transport.written.count(b"HTTP/1.1 200") == 3
    assert transport.state == "closed"


def test_a_piece_of_a_request_is_not_waited_for_when_nothing_more_comes(connect, clock, timer):
    connection, transport, _ = connect(max_latency=0.1)
    connection.data_received(DATA + GET[:9])
    assert connection.eof_received()
    clock.advance(1)
    timer.run()
    assert (transport.written.count(b"HTTP/1.1 200"), transport.state) == (1, "closed")


def test_a_client_that_has_said_nothing_more_to_do_is_left(connect):
    connection, _, _ = connect()
    assert not connection.eof_received()


def test_heads_that_are_known_are_bounded(connect):
    connection, transport, site = connect()
    for number in range(1_000):
        connection.data_received(b"GET /livez?%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
    assert transport.written.count(b"HTTP/1.1 200") == 1_000
    assert len(site._heads) <= 256
