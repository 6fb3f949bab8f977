"""Lean clients of the distributor: each is a process of one thread that keeps its connections busy.

    python -m benchmarks.distributor.load http HOST PORT [--connections 8] [--packets 100] [--seconds 10]
    python -m benchmarks.distributor.load syslog HOST PORT [--connections 4] [--seconds 10]

Packets are the reference's sample of three messages, syslog lines are of RFC 5424 and 256 bytes. What was
sent and answered is printed as JSON. PYTHONHASHSEED must be that of the sink: hashes of ids are added up.
"""

import argparse
import json
import select
import socket
import sys
import time
from contextlib import suppress

import msgspec

__all__ = ["SAMPLE", "request_of", "syslog_line"]

SAMPLE = {
    "messages": [
        {
            "level": "INFO",
            "message": "User login successful",
            "source": "auth-service",
            "metadata": {
                "user_id": "user_12345",
                "ip_address": "192.168.1.100",
                "session_id": "sess_abc123",
            },
        },
        {
            "level": "DEBUG",
            "message": "Session token generated",
            "source": "auth-service",
            "metadata": {"user_id": "user_12345", "token_expiry": "2025-01-25T21:30:00Z"},
        },
        {
            "level": "ERROR",
            "message": "Multiple login attempts detected",
            "source": "security-monitor",
            "metadata": {
                "user_id": "user_12345",
                "attempt_count": 5,
                "last_attempt": "2025-01-25T20:25:00Z",
            },
        },
    ]
}
LINE_BYTES = 256
HASH_MASK = (1 << 64) - 1
PATIENCE = 30.0
"""Seconds without any answer after which the client gives up."""


class Accepted(msgspec.Struct):
    """What is looked at of an answer."""

    processed_packets: list[str] = []


def request_of(packets, host, port):
    body = json.dumps([SAMPLE] * packets, separators=(",", ":")).encode()
    return (
        f"POST /api/v1/logs HTTP/1.1\r\nHost: {host}:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def syslog_line():
    start = b"<134>1 2025-01-25T20:30:00.123456Z web-03 checkout 4711 ID47 - "
    return start + b"x" * (LINE_BYTES - len(start) - 1) + b"\n"


class HttpLoad:
    """Sends the same request on every connection again as soon as it was answered."""

    def __init__(self, host, port, packets, patient, until_refused):
        self.address = host, port
        self.request = request_of(packets, host, port)
        self.patient, self.until_refused = patient, until_refused
        self.poll = select.epoll()
        self.connections = {}
        self.latencies, self.refusals, self.statuses = [], [], {}
        self.ids, self.accepted, self.hash = None, 0, 0
        self.decode = msgspec.json.Decoder(Accepted).decode

    def connect(self, connections):
        for _ in range(connections):
            connection = socket.create_connection(self.address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            self.connections[connection.fileno()] = [connection, 0.0, b""]
            self.poll.register(connection, select.EPOLLIN)

    def send(self, state):
        state[1] = time.perf_counter()
        state[0].sendall(self.request)

    def run(self, seconds, most):
        """Returns how long it took."""
        start = time.perf_counter()
        end = start + seconds
        try:
            for state in self.connections.values():
                self.send(state)
            busy = len(self.connections)
            while busy:
                events = self.poll.poll(PATIENCE)
                if not events:
                    raise SystemExit(f"no answer within {PATIENCE:g} s")
                for descriptor, _ in events:
                    state = self.connections[descriptor]
                    if not self.answered(state):
                        continue
                    if time.perf_counter() < end and self.accepted < most and not self.is_full:
                        self.send(state)
                    else:
                        busy -= 1
        except ConnectionError:
            if not self.patient:
                raise
        return time.perf_counter() - start

    @property
    def is_full(self):
        return self.until_refused and bool(self.refusals)

    def answered(self, state):
        """Takes what has come; whether it was the whole answer."""
        data = state[0].recv(1 << 18)
        if not data:
            raise ConnectionResetError("the service closed a connection")
        if state[2]:
            data = state[2] + data
        head, _, body = data.partition(b"\r\n\r\n")
        length = head.lower().find(b"content-length:")
        if length < 0 or len(body) < int(head[length + 15 :].split(b"\r", 1)[0]):
            state[2] = data
            return False
        state[2] = b""
        status = int(head[9:12])
        self.statuses[status] = self.statuses.get(status, 0) + 1
        took = time.perf_counter() - state[1]
        if status not in (202, 207):
            self.refusals.append(took)
            return True
        self.latencies.append(took)
        ids = self.decode(body).processed_packets
        self.accepted += len(ids)
        self.hash += sum(map(hash, [id_.encode() for id_ in ids]))
        if self.ids is not None:
            self.ids += ids
        return True


def percentiles(seconds):
    """The median and the 99th percentile in milliseconds."""
    ordered = sorted(seconds)
    return [ordered[int(part * (len(ordered) - 1))] * 1000 if ordered else None for part in (0.5, 0.99)]


def run_http(options):
    load = HttpLoad(options.host, options.port, options.packets, options.patient, options.until_refused)
    if options.ids:
        load.ids = []
    load.connect(options.connections)
    took = load.run(options.seconds, options.most)
    if options.ids:
        with open(options.ids, "w") as file:
            file.writelines(f"{id_}\n" for id_ in load.ids)
    return {
        "seconds": took,
        "accepted": load.accepted,
        "hash": load.hash & HASH_MASK,
        "requests": len(load.latencies),
        "statuses": load.statuses,
        "ms": percentiles(load.latencies),
        "refused_ms": percentiles(load.refusals),
        "request_bytes": len(load.request),
    }


def run_syslog(options):
    chunk = syslog_line() * 256
    connections = [socket.create_connection((options.host, options.port)) for _ in range(options.connections)]
    start, sent = time.monotonic(), 0
    end = start + options.seconds
    while time.monotonic() < end and sent < options.most:
        for connection in connections:
            connection.sendall(chunk)
            sent += 256
    for connection in connections:
        connection.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            connection.settimeout(PATIENCE)
            connection.recv(1)
        connection.close()
    return {"started": start, "seconds": time.monotonic() - start, "lines": sent, "bytes": LINE_BYTES * sent}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=["http", "syslog"])
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--packets", type=int, default=100, help="in a request")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--most", type=int, default=1 << 62, help="packets or lines in all, about")
    parser.add_argument("--patient", action="store_true", help="the service may be killed meanwhile")
    parser.add_argument("--until-refused", action="store_true", help="ends at the first refusal")
    parser.add_argument("--ids", help="file for the ids of what was acknowledged")
    options = parser.parse_args()
    json.dump((run_http if options.kind == "http" else run_syslog)(options), sys.stdout)


if __name__ == "__main__":
    main()
