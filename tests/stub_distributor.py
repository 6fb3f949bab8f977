"""A logs distributor for tests: keeps to the contract of POST /api/v1/logs and misbehaves when told to."""

import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from aiohttp import web
from aiohttp.test_utils import TestServer

MiB = 1 << 20


class StubDistributor:
    """Accepts what the contract allows, once, and remembers it.

    Attributes:
        packets: accepted packets by id.
        refused: packets that break the contract, each with the reason.
        bodies: each request's packets, as sent.
        script: called instead of the usual handling, one for each request until none is left.
    """

    def __init__(self) -> None:
        self.packets: dict[str, dict] = {}
        self.refused: list[tuple[dict, str]] = []
        self.bodies: list[list[dict]] = []
        self.repeated = 0
        self.encodings: list[str] = []
        self.script: deque[Callable[[web.Request, list[dict]], Awaitable[web.StreamResponse]]] = deque()
        self.url = ""

    @property
    def messages(self) -> list[dict]:
        return [message for packet in self.packets.values() for message in packet["messages"]]

    async def receive(self, request: web.Request) -> web.StreamResponse:
        assert request.content_type == "application/json"
        body = await request.read()
        assert len(body) <= 16 * MiB
        self.encodings.append(request.headers.get("Content-Encoding", ""))
        packets = json.loads(body)
        assert 1 <= len(packets) <= 1000
        self.bodies.append(packets)
        if self.script:
            return await self.script.popleft()(request, packets)
        return self.answer(packets)

    def answer(self, packets: list[dict], refuse: Callable[[int, dict], str | None] = lambda i, p: None):
        """The usual answer; `refuse` may give a code with which a packet is refused."""
        processed, errors = [], []
        for index, packet in enumerate(packets):
            code = refuse(index, packet)
            if code is None and (fault := fault_of(packet)):
                code = "invalid"
                self.refused.append((packet, fault))
            if code:
                errors.append({"index": index, "id": packet["id"], "code": code, "error": f"it is {code}"})
            else:
                self.repeated += packet["id"] in self.packets
                self.packets.setdefault(packet["id"], packet)
                processed.append(packet["id"])
        full = any(error["code"] == "queue_full" for error in errors)
        status = 202 if not errors else 207 if processed else 503 if full else 422
        return web.json_response(
            {
                "total_packets": len(packets),
                "successful": len(processed),
                "failed": len(errors),
                "processed_packets": processed,
                "errors": errors,
            },
            status=status,
            headers={"Retry-After": "2"} if status == 503 else None,
        )


def fault_of(packet: dict) -> str | None:
    """Which rule of the contract a packet breaks."""
    if not 0 < len(packet["id"]) <= 128:
        return "id"
    if not 1 <= len(packet["messages"]) <= 1000:
        return "messages"
    if len(json.dumps(packet)) > 6 * MiB or sum(size(m["message"]) for m in packet["messages"]) > MiB:
        return "packet size"
    for message in packet["messages"]:
        if not message.keys() <= {"level", "message", "source", "timestamp", "metadata"}:
            return f"fields {message.keys()}"
        if not 1 <= len(message["level"]) <= 32:
            return "level"
        if not 1 <= size(message["message"]) <= 10_000:
            return "message"
        if size(message["source"]) > 256:
            return "source"
        if "timestamp" in message and datetime.fromisoformat(message["timestamp"]).tzinfo is None:
            return "timestamp"
        if not isinstance(message.get("metadata", {}), dict):
            return "metadata"
    return None


def size(text: str) -> int:
    return len(text.encode())  # a lone surrogate raises, as it must not be sent


@asynccontextmanager
async def stub_distributor() -> AsyncIterator[StubDistributor]:
    """A stub that listens on a free port of the loopback interface."""
    stub = StubDistributor()
    app = web.Application(client_max_size=17 * MiB)
    app.router.add_post("/api/v1/logs", stub.receive)
    server = TestServer(app)
    await server.start_server()
    stub.url = f"http://127.0.0.1:{server.port}"
    try:
        yield stub
    finally:
        await server.close()
