"""Analyzers in all the moods that a network knows, which tell the oracle what they have really processed."""

import asyncio
import gzip
import json
import zlib
from contextlib import asynccontextmanager

from backports import zstd

MOODS = {
    "well": 60, "partly": 8, "error": 6, "busy": 4, "too_many": 1, "refused": 1, "slow": 6, "hangs_before": 1,
    "hangs_after": 1, "closes_before": 3, "closes_after": 2, "lies_longer": 2, "half_a_head": 2, "garbage": 3,
}  # fmt: skip
"""What an analyzer does with a delivery, and how often, while it is moody."""


class MoodyAnalyzer:
    """A server on a port that it keeps over restarts.

    Args:
        oracle: is told what was processed.
        dice: decide on the moods.
        patience: seconds after which the distributor gives up on an answer.
    """

    def __init__(self, oracle, dice, patience):
        self._oracle = oracle
        self._dice = dice
        self._patience = patience
        self._connections = set()
        self._server = None
        self._port = 0
        self.moody = True

    @property
    def url(self):
        return f"http://127.0.0.1:{self._port}/packets"

    async def start(self):
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self._port, limit=2**22, reuse_address=True
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self):
        """Closes the port and breaks off what is under way."""
        self._server.close()
        connections = list(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._connections.add(task)
        try:
            while await self._answer(reader, writer):
                pass
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        except (ValueError, LookupError, TypeError, zlib.error, zstd.ZstdError) as error:
            self._oracle.broken.append(f"a delivery that cannot be read: {error!r}")
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _answer(self, reader, writer):
        """Answers a request; tells whether the connection stays open."""
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        body = unpacked(head, await reader.readexactly(length))
        if head.startswith(b"get"):
            writer.write(response(b"200 OK"))
            return True
        names = list(MOODS)
        mood = self._dice.choices(names, MOODS.values())[0] if self.moody else "well"
        return await getattr(self, mood)([json.loads(line) for line in body.splitlines()], writer)

    def _process(self, packets, *, unclear=False):
        tokens = [self._oracle.token_of(packet) for packet in packets]
        self._oracle.processed(tokens, asyncio.get_running_loop().time(), unclear=unclear)

    # The moods

    async def well(self, packets, writer):
        self._process(packets)
        writer.write(response(b"200 OK", b"{}"))
        return True

    async def slow(self, packets, writer):
        await asyncio.sleep(self._dice.uniform(0, 0.5 * self._patience))
        return await self.well(packets, writer)

    async def partly(self, packets, writer):
        failed = [packet for packet in packets if self._dice.random() < 0.3]
        self._process([packet for packet in packets if packet not in failed])
        said = [self._failure(packet) for packet in failed]
        writer.write(response(b"200 OK", json.dumps({"failed": said}).encode()))
        return True

    def _failure(self, packet):
        said = self._dice.choice(({}, {"status": 503}, {"status": 422}, {"retry_after": 0.1}))
        return {"id": packet["id"], "error": "in a mood"} | said

    async def error(self, packets, writer):
        writer.write(response(b"500 Oh No"))
        return True

    async def busy(self, packets, writer):
        writer.write(response(b"503 Busy", headers=b"Retry-After: 0\r\n"))
        return True

    async def too_many(self, packets, writer):
        writer.write(response(b"429 Too Many Requests", headers=b"Retry-After: 1\r\n"))
        return True

    async def refused(self, packets, writer):
        writer.write(response(b"413 Content Too Large" if len(packets) > 1 else b"422 No"))
        return True

    async def hangs_before(self, packets, writer):
        await asyncio.sleep(4 * self._patience)
        return False

    async def hangs_after(self, packets, writer):
        self._process(packets, unclear=True)
        return await self.hangs_before(packets, writer)

    async def closes_before(self, packets, writer):
        return False

    async def closes_after(self, packets, writer):
        self._process(packets, unclear=True)
        return False

    async def lies_longer(self, packets, writer):
        """Names a length that never comes."""
        self._process(packets, unclear=True)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")
        await writer.drain()
        return False

    async def half_a_head(self, packets, writer):
        self._process(packets, unclear=True)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-")
        await writer.drain()
        return False

    async def garbage(self, packets, writer):
        writer.write(self._dice.randbytes(50))
        await writer.drain()
        return False


def unpacked(head, body):
    if b"content-encoding: gzip" in head:
        return gzip.decompress(body)
    return zstd.decompress(body) if b"content-encoding: zstd" in head else body


def response(status, body=b"", headers=b""):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), headers, body)


@asynccontextmanager
async def moody_analyzers(oracle, dice, count, patience):
    analyzers = [MoodyAnalyzer(oracle, dice, patience) for _ in range(count)]
    for analyzer in analyzers:
        await analyzer.start()
    try:
        yield analyzers
    finally:
        for analyzer in analyzers:
            await analyzer.stop()
