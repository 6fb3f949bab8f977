"""The loop of a load, pure Python. Its compiled twin does the same in csrc/load.c, without the GIL."""

import errno
import selectors
import socket
import struct
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import Literal, NamedTuple

from penstock.clock import NANOSECONDS, monotonic_ns
from penstock.errors import PenstockError
from penstock.observability._histogram_py import HOUR_NS, Histogram
from penstock.probing._response_parser_py import BadResponse, ResponseParser

__all__ = ["LoadCounts", "LoadLoop", "LoadPlan", "LoadSecond", "LoadTarget"]

WINDOW = NANOSECONDS
TICK = 10_000_000
PAUSE = 50_000_000
KEPT_WINDOWS = 14
BUFFER = 65_536
FAILURES = ("connect", "reset", "closed", "timeout", "protocol", "other")
NO_RESOURCES = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EADDRNOTAVAIL,
        errno.EACCES,
        errno.EPERM,
    }
)
SO_TIMESTAMPNS = 35  # of Linux, where it has no name in the socket module
TIMESPEC = struct.Struct("@ll")
STEP = 100_000  # ns by which the wall clock is seen to have been set

LoadFailure = Literal["connect", "reset", "closed", "timeout", "protocol", "other"]


class LoadTarget(NamedTuple):
    """A request, and where to send it.

    Attributes:
        family: socket.AF_INET or AF_INET6.
        sockaddr: as the socket module wants it.
        wire: the encoded request.
        head: whether it is HEAD.
        idempotent: whether it may be sent again.
    """

    family: int
    sockaddr: tuple[str, int] | tuple[str, int, int, int]
    wire: bytes
    head: bool = False
    idempotent: bool = True


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What one loop is to do; checked by Load.

    Attributes:
        targets: asked in turn, beginning with number `first`.
        connections: at most so many are open.
        connecting: and so many on their way at once.
        keep_alive: whether a connection serves more than one request.
        interval: nanoseconds between intended starts, 0 for a closed loop.
        offset: nanoseconds after the beginning of the first one.
        count: requests; None for no limit.
        duration: nanoseconds in which requests start; None for no limit.
        timeout: nanoseconds for each request.
        max_head: bytes of the head of an answer.
        max_body: bytes of its body.
        first: number of the target to begin with.
    """

    targets: tuple[LoadTarget, ...]
    connections: int
    connecting: int
    keep_alive: bool
    interval: float
    offset: float
    count: int | None
    duration: int | None
    timeout: int
    max_head: int = 65_536
    max_body: int = 1 << 20
    first: int = 0


@dataclass(slots=True)
class LoadCounts:
    """What has happened so far, and the latencies.

    Attributes:
        began_at: monotonic nanoseconds at the beginning; 0 before.
        now: monotonic nanoseconds at the last turn of the loop; at the end, the end.
        started: requests, also those that found no connection.
        sent: requests of which a byte went out; one that is sent again counts again.
        answered: whole answers, or truncated ones.
        failed: requests that got none.
        unsent: requests that were intended, before the end or the stop, and never started.
        abandoned: requests in flight when the run was stopped.
        retried: requests sent again, for the server had closed an idle connection.
        opened: connections.
        stamped: answers timed by the kernel.
        voided: stamps of the kernel that were not believed, for the wall clock had been set.
        truncated: answers longer than may be read.
        bytes_in: bytes received.
        bytes_out: bytes sent.
        body_bytes: bytes of the bodies of whole answers, chunk framing not counted.
        in_flight: requests without an answer yet.
        cpu: nanoseconds of processor.
        failures: requests that failed, by kind.
        statuses: answers by status.
        service: nanoseconds from the first byte handed to the kernel to the last byte of the answer.
        total: nanoseconds from the intended start to the last byte; of an open loop.
        lag: nanoseconds that the loop was late: for its ticks, or in an open loop for intended starts.
    """

    began_at: int = 0
    now: int = 0
    started: int = 0
    sent: int = 0
    answered: int = 0
    failed: int = 0
    unsent: int = 0
    abandoned: int = 0
    retried: int = 0
    opened: int = 0
    stamped: int = 0
    voided: int = 0
    truncated: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    body_bytes: int = 0
    in_flight: int = 0
    cpu: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)
    service: Histogram = field(default_factory=Histogram)
    total: Histogram = field(default_factory=Histogram)
    lag: Histogram = field(default_factory=Histogram)


class LoadSecond(NamedTuple):
    """What happened within one second of one loop.

    Attributes:
        sent: requests.
        answered: answers.
        failed: requests.
        latency: of the answers, nanoseconds: total in an open loop, else service; two digits.
    """

    sent: int
    answered: int
    failed: int
    latency: Histogram


def packed_address(family: int, sockaddr: tuple[str, int] | tuple[str, int, int, int]) -> bytes:
    """A sockaddr_in or sockaddr_in6, as the system lays it out."""
    fields = (*sockaddr, 0, 0)
    host, port, flow, scope = str(fields[0]), *(int(number) for number in fields[1:4])
    packed = socket.inet_pton(family, host.partition("%")[0])
    size = 28 if family == socket.AF_INET6 else 16
    begin = bytes((size, family)) if sys.platform not in ("linux", "win32") else struct.pack("=H", family)
    if family == socket.AF_INET6:
        return begin + struct.pack("!HI16s", port, flow, packed) + struct.pack("=I", scope)
    return begin + struct.pack("!H4s8x", port, packed)


class SecondNotOver(PenstockError, IndexError):
    """The figures of a second are there when it is over."""


def not_over(number: int, over: int) -> SecondNotOver:
    """The error for a second that is not over."""
    return SecondNotOver(f"number must be >= 0 and < {over}, the seconds that are over, got {number}")


class LoopUsed(PenstockError, RuntimeError):
    """A loop runs once."""


class LoopStarved(PenstockError, MemoryError):
    """A loop needs memory, and files of its own."""


def starved() -> LoopStarved:
    """The error for a loop that cannot be made."""
    return LoopStarved(
        "a loop must have its memory, and up to two files of its own, got an error of the system"
    )


def used_twice() -> LoopUsed:
    """The error for a loop that is run again."""
    return LoopUsed("a loop must run once, got another run")


class State(Enum):
    """What a connection is about; the same as in csrc/load.c."""

    VACANT = 0
    IDLE = 1
    CONNECTING = 2
    SENDING = 3
    RECEIVING = 4
    RESTING = 5
    ENDING = 6


BUSY = (State.CONNECTING, State.SENDING, State.RECEIVING)
PAUSING = (State.RESTING, State.ENDING)


class Connection:
    """One of the connections of a loop."""

    __slots__ = (
        "intended",
        "parser",
        "sent",
        "sent_at",
        "since",
        "sock",
        "state",
        "target",
        "used",
        "watched",
    )

    def __init__(self, plan: LoadPlan) -> None:
        self.parser = ResponseParser(max_head=plan.max_head, max_body=plan.max_body)
        self.sock: socket.socket | None = None
        self.state = State.VACANT
        self.target = plan.targets[0]
        self.used = False
        self.sent = self.watched = 0
        self.intended = self.since = self.sent_at = 0


Connections = dict[Connection, None]
"""In the order in which they came."""


class Window:
    """The figures of a second that is not over."""

    __slots__ = ("answered", "failed", "latency", "sent")

    def __init__(self) -> None:
        self.sent = self.answered = self.failed = 0
        self.latency = Histogram(digits=2)


class LoadLoop:
    """HTTP/1.1 requests over plain TCP, as many and as fast as a plan says; one loop, for one thread.

    csrc/load.h says how it goes. One thread calls `run`, and any may call the others meanwhile.

    Args:
        plan: what to do; nothing in it is checked here.

    Raises:
        MemoryError: memory, or the files that it needs itself, are missing.

    Source: RFC 9112; Gil Tene, How NOT to Measure Latency, 2013.
    """

    __slots__ = (
        "_blocked",
        "_buffer",
        "_busy",
        "_connecting",
        "_counts",
        "_cpu_began",
        "_end",
        "_idle",
        "_now",
        "_over",
        "_pausing",
        "_plan",
        "_selector",
        "_stepped",
        "_stopping",
        "_target",
        "_tick",
        "_used",
        "_vacant",
        "_wall",
        "_window",
        "_window_end",
        "_windows",
        "_windows_done",
    )  # fmt: skip

    def __init__(self, plan: LoadPlan, /) -> None:
        self._plan = plan
        try:
            self._selector = selectors.DefaultSelector()
        except OSError:
            raise starved() from None
        self._counts = LoadCounts()
        self._buffer = bytearray(BUFFER)
        self._used = self._over = self._stopping = self._blocked = self._stepped = False
        self._vacant: Connections = {Connection(plan): None for _ in range(plan.connections)}
        self._idle: dict[object, Connections] = {target.sockaddr: {} for target in plan.targets}
        self._busy: Connections = {}
        self._pausing: Connections = {}
        self._connecting: set[Connection] = set()
        self._target = plan.first % len(plan.targets)
        self._windows: deque[tuple[int, Window]] = deque(maxlen=KEPT_WINDOWS)
        self._windows_done = 0
        self._window = Window()

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self._over

    @property
    def seconds_over(self) -> int:
        """How many of its seconds are over, the last one perhaps a shorter one."""
        return self._windows_done

    def run(self) -> None:
        """Does all of the plan; returns when every answer is there, or has timed out, or after `stop`.

        Raises:
            RuntimeError: it has run before.
        """
        if self._used:
            raise used_twice()
        self._used = True
        with self._selector:
            self._begin()
            while self._step():
                pass
            self._end_run()

    def stop(self) -> None:
        """Ends the run within some hundredths of a second, without waiting for answers."""
        self._stopping = True

    def counts(self) -> LoadCounts:
        """What has happened so far: a copy, which is exact once the run is over."""
        counts = self._counts
        copy = LoadCounts(**{name: getattr(counts, name) for name in LoadCounts.__slots__})
        copy.failures, copy.statuses = dict(counts.failures), dict(counts.statuses)
        copy.service, copy.total, copy.lag = Histogram(), Histogram(), Histogram()
        for name in ("service", "total", "lag"):
            getattr(copy, name).merge(getattr(counts, name))
        return copy

    def second(self, number: int, /) -> LoadSecond | None:
        """What happened in one of the seconds that are over; None when that was too long ago.

        Args:
            number: 0 for the first; below `seconds_over`.

        Raises:
            IndexError: it is not over.
        """
        if not 0 <= number < self._windows_done:
            raise not_over(number, self._windows_done)
        window = dict(self._windows.copy()).get(number)
        if window is None:
            return None
        return LoadSecond(window.sent, window.answered, window.failed, window.latency)

    # --- time ---

    def _begin(self) -> None:
        self._now = monotonic_ns()
        self._wall = time.time_ns() - self._now
        self._cpu_began = time.thread_time_ns()
        self._end: float = inf if self._plan.duration is None else self._now + self._plan.duration
        self._tick = self._now + TICK
        self._window_end = self._now + WINDOW
        self._counts.began_at = self._counts.now = self._now
        self._start_due()

    def _step(self) -> bool:
        """One turn; False when the run is over."""
        planned = self._plan.interval and not self._blocked and self._is_planned()
        wake = min(self._tick, self._intended_start()) if planned else self._tick
        events = self._wait_for_events(max(wake - monotonic_ns(), 0) / NANOSECONDS)
        self._read_clocks()
        while self._now >= self._window_end:
            self._end_window()
        for key, happened in events:
            if key.fileobj is key.data.sock:  # else it was closed by an event before
                self._handle(key.data, happened)
        if self._now >= self._tick:
            self._pass_tick()
        self._start_due()
        return not self._stopping and (self._is_planned() or bool(self._busy))

    def _wait_for_events(self, timeout: float) -> list[tuple[selectors.SelectorKey, int]]:
        if self._selector.get_map():
            return self._selector.select(timeout)
        time.sleep(timeout)  # Windows does not wait for no sockets at all
        return []

    def _read_clocks(self) -> None:
        wall = time.time_ns()
        self._now = self._counts.now = monotonic_ns()
        ahead = wall - self._now
        self._stepped = abs(ahead - self._wall) > STEP
        self._wall = ahead

    def _pass_tick(self) -> None:
        if not self._plan.interval:
            self._counts.lag.record(min(self._now - self._tick, HOUR_NS))
        self._tick = self._now + TICK
        self._counts.cpu = time.thread_time_ns() - self._cpu_began
        while self._busy and self._now - next(iter(self._busy)).since >= self._plan.timeout:
            self._fail(next(iter(self._busy)), "timeout")
        while self._pausing and self._now - next(iter(self._pausing)).since >= PAUSE:
            self._vacate(next(iter(self._pausing)))

    def _end_window(self) -> None:
        self._windows.append((self._windows_done, self._window))
        self._windows_done += 1
        self._window = Window()
        self._window_end += WINDOW

    def _end_run(self) -> None:
        self._counts.abandoned = len(self._busy)
        self._counts.unsent = self._unsent()
        for c in [*self._busy, *self._pausing, *(c for idle in self._idle.values() for c in idle)]:
            self._vacate(c)
        self._counts.cpu = time.thread_time_ns() - self._cpu_began
        self._end_window()
        self._over = True

    def _unsent(self) -> int:
        """Requests that should have started before the end, and have not."""
        plan = self._plan
        if not plan.interval:
            return 0
        length = min(self._now, self._end) - self._counts.began_at
        planned = max(int((length - plan.offset) / plan.interval) - 1, 0)
        while self._start_after(planned) < length:
            planned += 1
        if plan.count is not None:
            planned = min(planned, plan.count)
        return max(planned - self._counts.started, 0)

    # --- what starts when ---

    def _start_after(self, n: int) -> float:
        return self._plan.offset + n * self._plan.interval

    def _intended_start(self) -> int:
        if not self._plan.interval:
            return self._now
        return self._counts.began_at + int(self._start_after(self._counts.started))

    def _is_planned(self) -> bool:
        count = self._plan.count
        if count is not None and self._counts.started >= count:
            return False
        return self._now < self._end and self._intended_start() < self._end

    def _start_due(self) -> None:
        while self._is_planned():
            intended = self._intended_start()
            if intended > self._now:
                break
            target = self._plan.targets[self._target]
            c = self._free_connection(target)
            if c is None:
                self._blocked = True
                return
            if self._plan.interval and not self._blocked:
                self._counts.lag.record(min(self._now - intended, HOUR_NS))
            self._target = (self._target + 1) % len(self._plan.targets)
            self._start(c, target, intended)
            # What fails at once leaves its connection to the next request, and so on until none is due: then
            # the turn would last as long as all that are due, and more would be at the next.
            if self._plan.interval and c.state not in BUSY:
                break
        self._blocked = False

    def _free_connection(self, target: LoadTarget) -> Connection | None:
        """An open one of that server; else a closed one; else one of another server, which is closed."""
        while self._idle[target.sockaddr]:
            c = next(reversed(self._idle[target.sockaddr]))
            if c.since == self._now or is_quiet(c):  # idle since this turn: it was just looked at
                return c
            self._vacate(c)
        if len(self._connecting) >= self._plan.connecting:
            return None
        if not self._vacant:
            others = next((idle for idle in self._idle.values() if idle), None)
            if others is None:
                return None
            self._vacate(next(iter(others)))
        return next(reversed(self._vacant))

    def _start(self, c: Connection, target: LoadTarget, intended: int) -> None:
        self._counts.started += 1
        self._leave_list(c)  # while its target is the one before
        self._busy[c] = None
        self._counts.in_flight = len(self._busy)
        c.target, c.intended, c.since, c.sent = target, intended, self._now, 0
        c.parser.reset(target.head)
        if c.sock is None:
            self._open(c)
        else:
            c.state = State.SENDING
            self._send(c)

    # --- connections ---

    def _leave_list(self, c: Connection) -> None:
        if c.state is State.VACANT:
            del self._vacant[c]
        elif c.state is State.IDLE:
            del self._idle[c.target.sockaddr][c]
        elif c.state in PAUSING:
            del self._pausing[c]
        else:
            del self._busy[c]

    def _become(self, c: Connection, state: State) -> None:
        """From one of the lists to another; what is busy got there by _start."""
        self._leave_list(c)
        c.state = state
        if state is State.VACANT:
            self._vacant[c] = None
        elif state is State.IDLE:
            self._idle[c.target.sockaddr][c] = None
        else:
            self._pausing[c] = None
        self._counts.in_flight = len(self._busy)

    def _close(self, c: Connection) -> None:
        if c.sock is not None:
            if c.watched:
                self._selector.unregister(c.sock)
            c.sock.close()
        c.sock = None
        c.used = False
        c.watched = 0
        self._connecting.discard(c)

    def _vacate(self, c: Connection) -> None:
        self._close(c)
        self._become(c, State.VACANT)

    def _watch(self, c: Connection, events: int) -> None:
        assert c.sock is not None
        if c.watched == 0:
            self._selector.register(c.sock, events, c)
        elif c.watched != events:
            self._selector.modify(c.sock, events, c)
        c.watched = events

    def _open(self, c: Connection) -> None:
        c.state = State.CONNECTING
        self._connecting.add(c)
        try:
            c.sock = socket.socket(c.target.family, socket.SOCK_STREAM)
            c.sock.setblocking(False)
            c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if sys.platform == "linux":
                c.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        except OSError:
            self._fail(c, "other")
            return
        error = c.sock.connect_ex(c.target.sockaddr)
        if error not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
            self._fail(c, failure_of(c, error))
            return
        self._watch(c, selectors.EVENT_WRITE)

    def _fail(self, c: Connection, failure: LoadFailure) -> None:
        self._counts.failed += 1
        self._counts.failures[failure] = self._counts.failures.get(failure, 0) + 1
        self._window.failed += 1
        if self._plan.interval or failure == "timeout":
            self._vacate(c)
            return
        self._close(c)
        c.since = self._now
        self._become(c, State.RESTING)

    def _lose(self, c: Connection, failure: LoadFailure) -> None:
        """Fails, unless the server may only have closed the connection before it saw the request."""
        if not (c.used and not c.parser.begun and c.target.idempotent):
            self._fail(c, failure)
            return
        self._counts.retried += 1
        self._close(c)
        c.sent = 0
        c.parser.reset(c.target.head)
        self._open(c)

    # --- sending and receiving ---

    def _handle(self, c: Connection, happened: int) -> None:
        if c.state in (State.IDLE, State.ENDING):  # closed, or something that nobody asked for
            self._vacate(c)
        elif c.state is State.CONNECTING:
            self._finish_connecting(c)
        else:
            if happened & selectors.EVENT_READ:  # some answer early, and then do not read on
                self._receive(c)
            if c.state is State.SENDING and happened & selectors.EVENT_WRITE:
                self._send(c)
        self._start_due()

    def _finish_connecting(self, c: Connection) -> None:
        assert c.sock is not None
        error = c.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._fail(c, failure_of(c, error))
        else:
            self._send(c)

    def _send(self, c: Connection) -> None:
        assert c.sock is not None
        if c.sent == 0:
            c.sent_at = monotonic_ns()
        try:
            n = c.sock.send(c.target.wire[c.sent :])
        except (BlockingIOError, InterruptedError):
            n = 0
        except OSError as error:
            self._lose(c, failure_of(c, error.errno or 0))
            return
        if c.state is State.CONNECTING:
            self._counts.opened += 1
            self._connecting.discard(c)
        if c.sent == 0 and n:
            self._counts.sent += 1
            self._window.sent += 1
        c.sent += n
        self._counts.bytes_out += n
        whole = c.sent == len(c.target.wire)
        c.state = State.RECEIVING if whole else State.SENDING
        self._watch(c, selectors.EVENT_READ if whole else selectors.EVENT_READ | selectors.EVENT_WRITE)

    def _receive(self, c: Connection) -> None:
        assert c.sock is not None
        try:
            n, stamp = self._receive_bytes(c.sock)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(c, failure_of(c, error.errno or 0))
            return
        if n:
            self._take(c, n, stamp)
            return
        try:
            c.parser.eof()
        except BadResponse:
            self._lose(c, "closed")
        else:
            self._complete(c, self._end_of(c, 0), usable=False)

    def _receive_bytes(self, sock: socket.socket) -> tuple[int, int]:
        """Bytes received, and when the kernel got the last of them; 0 where it does not say."""
        if sys.platform != "linux":
            return sock.recv_into(self._buffer), 0
        n, control, _, _ = sock.recvmsg_into([self._buffer], socket.CMSG_SPACE(TIMESPEC.size))
        for level, kind, data in control:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) == TIMESPEC.size:
                seconds, nanoseconds = TIMESPEC.unpack(data)
                return n, seconds * NANOSECONDS + nanoseconds
        return n, 0

    def _take(self, c: Connection, n: int, stamp: int) -> None:
        self._counts.bytes_in += n
        try:
            consumed = c.parser.feed(memoryview(self._buffer)[:n])
        except BadResponse:
            self._fail(c, "protocol")
            return
        if c.parser.done:  # a full buffer may have left some behind
            usable = consumed == n and (n < BUFFER or is_quiet(c))
            self._complete(c, self._end_of(c, stamp), usable=usable)

    def _end_of(self, c: Connection, stamp: int) -> int:
        """The end of an answer, monotonic: what the kernel noted (0 if nothing), or now."""
        now = monotonic_ns()
        if stamp == 0:
            return now
        end = stamp - self._wall
        if self._stepped or not c.sent_at <= end <= now:
            self._counts.voided += 1
            return now
        self._counts.stamped += 1
        return end

    def _complete(self, c: Connection, end: int, *, usable: bool) -> None:
        self._count_answer(c, end)
        parser = c.parser
        if usable and parser.keep_alive and self._plan.keep_alive and c.sent == len(c.target.wire):
            c.used = True
            c.since = self._now
            self._watch(c, selectors.EVENT_READ)
            self._become(c, State.IDLE)
        elif usable and not parser.keep_alive and not parser.truncated:
            c.since = self._now
            self._watch(c, selectors.EVENT_READ)
            self._become(c, State.ENDING)  # who closes first has to keep the port for a minute: the server
        else:
            self._vacate(c)

    def _count_answer(self, c: Connection, end: int) -> None:
        counts, plan = self._counts, self._plan
        service, total = min(end - c.sent_at, HOUR_NS), min(end - c.intended, HOUR_NS)
        counts.service.record(service)
        if plan.interval:
            counts.total.record(total)
        self._window.latency.record(total if plan.interval else service)
        self._window.answered += 1
        counts.answered += 1
        counts.statuses[c.parser.status] = counts.statuses.get(c.parser.status, 0) + 1
        counts.body_bytes += c.parser.size
        counts.truncated += c.parser.truncated


def is_quiet(c: Connection) -> bool:
    """Whether nothing has arrived that was not received.

    No end, and no bytes that nobody asked for, which would be taken for the next answer.
    """
    assert c.sock is not None
    try:
        c.sock.recv(1, socket.MSG_PEEK)
    except (BlockingIOError, InterruptedError):
        return True
    except OSError:
        return False
    return False


def failure_of(c: Connection, error: int) -> LoadFailure:
    """The kind of an error of the system."""
    if error in NO_RESOURCES:
        return "other"
    return "connect" if c.state is State.CONNECTING else "reset"
