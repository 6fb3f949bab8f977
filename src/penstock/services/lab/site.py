"""Where requests of all connections meet the one state of the simulated server."""

from collections.abc import Callable
from functools import partial
from typing import Any

from penstock.clock import NANOSECONDS, Clock
from penstock.services.lab.config import Behaviour, Config
from penstock.services.lab.connection import Connection
from penstock.services.lab.request_head import BadRequest, Head, read_head
from penstock.services.lab.responses import Responses
from penstock.services.lab.state import Answer, ServerState
from penstock.timer import Timer

__all__ = ["Site"]

UNREADABLE = Head("GET", "", 0, keep_alive=False)
MOST_HEADS = 256  # that are known; a client sends the same bytes again and again
ALLOWED = "Allow: GET, HEAD\r\n"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
WORDS = {
    429: "more requests than the limit allows",
    500: "the request had no luck",
    503: "the server is in its error state, or its queue is full",
}

METRICS = (
    ("in_flight", "gauge", "Requests being worked on."),
    ("rate", "gauge", "Requests a second, lately."),
    ("error_state", "gauge", "Whether the server is in its error state."),
    ("connections", "gauge", "Connections open."),
    ("answers_total", "counter", "Answers given."),
    ("delay_seconds_total", "counter", "Time that answers were to take, together."),
    ("lateness_seconds_total", "counter", "Time by which answers were written too late, together."),
    ("lateness_seconds_max", "gauge", "The greatest of these."),
)


class Site:
    """Answers requests, each when it is due.

    Args:
        behaviour: what becomes of requests to /data.
        config: the bounds.
        timer: calls back when an answer is due.
        clock: the one of the timer.
    """

    def __init__(self, behaviour: Behaviour, config: Config, timer: Timer, clock: Clock) -> None:
        self.state = ServerState(behaviour, clock)
        self.clock = clock
        self.is_draining = False
        self._config = config
        self._timer = timer
        self._responses = Responses()
        self._connections: set[Connection] = set()
        self._heads: dict[bytes, Head] = {}
        self._routes = {
            "/livez": self._live,
            "/readyz": self._ready,
            "/metrics": self._metrics,
            "/": self._tell,
        }
        self._answers = self._delayed = self._late = self._latest = 0

    # Connections

    def admit(self, connection: Connection) -> bool:
        """Whether a new connection may stay."""
        if len(self._connections) >= self._config.max_connections:
            return False
        self._connections.add(connection)
        return True

    def dismiss(self, connection: Connection) -> None:
        """A connection has ended."""
        self._connections.discard(connection)

    def sweep(self) -> None:
        """Ends the connections that have brought no whole request for too long."""
        since = self.clock() - round(self._config.idle_timeout * NANOSECONDS)
        for connection in list(self._connections):
            if connection.active_at < since and not connection.is_busy:
                connection.abort()

    @property
    def busy(self) -> int:
        """Connections with a request in progress."""
        return sum(connection.is_busy for connection in self._connections)

    def abort_all(self) -> None:
        """Ends all connections at once."""
        for connection in list(self._connections):
            connection.abort()

    def soon(self, callback: Callable[[], None]) -> None:
        """Calls back when the other connections have had their turn."""
        self._timer.call_at(self.clock(), callback)

    # Requests

    def head_of(self, head: bytes) -> Head:
        """What a head asks for.

        Raises:
            BadRequest: it cannot be read.
        """
        known = self._heads.get(head)
        if known is None:
            known = read_head(head)
            if len(self._heads) >= MOST_HEADS:
                self._heads.clear()
            self._heads[head] = known
        return known

    def ask(self, connection: Connection, head: Head) -> bytes | None:
        """The response to a request; None when it is not due yet, then the connection gets it later."""
        if head.path != "/data" and head.path not in self._routes:
            return self._responses.problem(head, 404, f"there is nothing at {head.path}")
        if head.method not in ("GET", "HEAD"):
            return self._responses.problem(
                head, 405, f"{head.path} takes GET, HEAD, got {head.method}", ALLOWED
            )
        if head.path != "/data":
            return self._routes[head.path](head)
        return self._data(connection, head)

    def refusal(self, error: BadRequest) -> bytes:
        """The response to what cannot be read."""
        return self._responses.problem(UNREADABLE, error.status, f"this request cannot be read: {error}")

    def _data(self, connection: Connection, to: Head) -> bytes | None:
        answer = self.state.arrive()
        if answer.fate == "hang":
            patience = self.clock() + round(self._config.idle_timeout * NANOSECONDS)
            connection.wait_for(self._timer.call_at(patience, connection.abort))
            return None
        due = connection.active_at + answer.delay_ns  # from when the request was read
        if answer.fate == "reset":
            connection.wait_for(self._timer.call_at(due, connection.reset))
            return None
        response = self._response(answer, to)
        if not answer.delay_ns:
            self._answers += 1
            return response
        give = partial(self._give, connection, response, due, answer.delay_ns)
        connection.wait_for(self._timer.call_at(due, give))
        return None

    def _give(self, connection: Connection, response: bytes, due: int, delay: int) -> None:
        connection.answer(response)
        late = self.clock() - due
        self._answers += 1
        self._delayed += delay
        self._late += late
        self._latest = max(self._latest, late)

    def _response(self, answer: Answer, to: Head) -> bytes:
        if answer.status == 200:
            members: dict[str, object] = {"status": "success", "latency": answer.delay_ns / NANOSECONDS}
            return self._responses.json(to, 200, members)
        headers = f"Retry-After: {answer.retry_after}\r\n" if answer.retry_after else ""
        return self._responses.problem(to, answer.status, WORDS[answer.status], headers)

    # What it says of itself

    def _live(self, to: Head) -> bytes:
        return self._responses.json(to, 200, {"status": "alive"})

    def _ready(self, to: Head) -> bytes:
        if self.is_draining:
            return self._responses.problem(to, 503, "the server is stopping")
        return self._responses.json(to, 200, {"status": "ready"})

    def _tell(self, to: Head) -> bytes:
        return self._responses.json(to, 200, self.figures())

    def figures(self) -> dict[str, Any]:
        """Settings and figures, with times in seconds."""
        behaviour, state = self.state.behaviour, self.state
        return {
            "behaviour": {name: getattr(behaviour, name) for name in behaviour.__slots__},
            "in_flight": state.in_flight,
            "rate": round(state.rate, 3),
            "error_state": state.in_error_state,
            "connections": len(self._connections),
            "answers_total": self._answers,
            "delay_seconds_total": self._delayed / NANOSECONDS,
            "lateness_seconds_total": self._late / NANOSECONDS,
            "lateness_seconds_max": self._latest / NANOSECONDS,
            "requests": {str(outcome): count for outcome, count in sorted(state.counts.items(), key=str)},
        }

    def _metrics(self, to: Head) -> bytes:
        """The figures in the Prometheus text format 0.0.4."""
        figures = self.figures()
        lines = []
        for name, kind, what in METRICS:
            full = f"penstock_lab_{name}"
            lines += [f"# HELP {full} {what}", f"# TYPE {full} {kind}", f"{full} {float(figures[name]):g}"]
        lines += ["# HELP penstock_lab_requests_total Requests to /data, by what came of them."]
        lines += ["# TYPE penstock_lab_requests_total counter"]
        outcomes = figures["requests"].items()
        lines += [
            f'penstock_lab_requests_total{{outcome="{outcome}"}} {count}' for outcome, count in outcomes
        ]
        body = ("\n".join(lines) + "\n").encode()
        return self._responses.write(to, 200, body, content_type=METRICS_TYPE)
