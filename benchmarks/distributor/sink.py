"""Analyzers that do no work: one process listens on a port for each, and counts packets and hashes of ids.

    python -m benchmarks.distributor.sink [PORT ...]

Without ports it takes four free ones. The ports are printed as a JSON array. Further requests, on any port:

    GET /figures     {"packets", "hash": sum of hashes, "distinct", "first_at": monotonic seconds, "last_at"}
    GET /remember    from now on ids are kept, so that `distinct` can be told
    GET /fail        from now on every packet is refused for good
    GET /ids         the ids that were kept, one a line

PYTHONHASHSEED must be that of the clients.
"""

import json
import re
import select
import socket
import sys
import time

__all__ = ["MODES"]

HASH_MASK = (1 << 64) - 1
MODES = ("remember", "fail")
ID = re.compile(rb'"id":"([^"]+)","retry_count":')
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Sink:
    """Counts what is delivered."""

    def __init__(self, ports):
        self.poll = select.epoll()
        self.listeners, self.connections = {}, {}
        for port in ports:
            listener = socket.create_server(("127.0.0.1", port), backlog=64)
            self.listeners[listener.fileno()] = listener
            self.poll.register(listener, select.EPOLLIN)
        self.packets = self.hash = 0
        self.first_at = self.last_at = None
        self.seen, self.fails = None, False

    @property
    def ports(self):
        return [listener.getsockname()[1] for listener in self.listeners.values()]

    def run(self):
        while True:
            for descriptor, _ in self.poll.poll():
                if descriptor in self.listeners:
                    self.welcome(self.listeners[descriptor])
                elif not self.receive(*self.connections[descriptor]):
                    self.poll.unregister(descriptor)
                    self.connections.pop(descriptor)[0].close()

    def welcome(self, listener):
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections[connection.fileno()] = connection, bytearray()
        self.poll.register(connection, select.EPOLLIN)

    def receive(self, connection, received):
        """Reads what there is and answers the request when it is whole; False when the peer is gone."""
        try:
            data = connection.recv(1 << 20)
        except ConnectionError:
            return False
        received += data
        head = received.find(b"\r\n\r\n")
        if head >= 0:
            length = LENGTH.search(received, 0, head)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(received) >= end:
                target = bytes(received[:head]).split(b" ", 2)[1].decode()
                body = self.answer(target, bytes(received[head + 4 : end]))
                received.clear()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        return bool(data)

    def answer(self, target, body):
        if target.startswith("/packets"):
            return self.count(body)
        if target == "/figures":
            return json.dumps(self.figures()).encode()
        if target == "/remember":
            self.seen = set()
        elif target == "/fail":
            self.fails = True
        elif target == "/ids":
            return b"\n".join(self.seen)
        return b""

    def count(self, body):
        self.last_at = time.monotonic()
        if self.first_at is None:
            self.first_at = self.last_at
        ids = ID.findall(body)
        self.packets += len(ids)
        self.hash += sum(map(hash, ids))
        if self.seen is not None:
            self.seen.update(ids)
        if self.fails:
            failed = [{"id": id_.decode(), "error": "refused for good", "status": 422} for id_ in ids]
            return json.dumps({"failed": failed}).encode()
        return b""

    def figures(self):
        return {
            "packets": self.packets,
            "hash": self.hash & HASH_MASK,
            "distinct": None if self.seen is None else len(self.seen),
            "first_at": self.first_at,
            "last_at": self.last_at,
        }


def main():
    sink = Sink([int(port) for port in sys.argv[1:]] or [0] * 4)
    print(json.dumps(sink.ports), flush=True)
    sink.run()


if __name__ == "__main__":
    main()
