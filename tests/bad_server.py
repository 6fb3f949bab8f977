"""A local HTTP server that misbehaves in the way its path names."""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable


class BadServer:
    """Serves /ok, /status/N, /stall, /reset and more; counts what it was asked.

    Attributes:
        requests: requests by path.
        heads: the head of each request.
        actions: what further paths do, path -> callable that gets the stream writer.
    """

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.heads: list[str] = []
        self.actions: dict[str, Callable[[asyncio.StreamWriter], Awaitable[None]]] = {}
        self._handlers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "BadServer":
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0, backlog=1024)
        self._dead = socket.socket()  # bound and never listening: its port refuses
        self._dead.bind(("127.0.0.1", 0))
        return self

    async def __aexit__(self, *error: object) -> None:
        self._dead.close()
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        await self._server.wait_closed()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{path}"

    @property
    def dead_url(self) -> str:
        return f"http://127.0.0.1:{self._dead.getsockname()[1]}/"

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._handlers.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1].partition("?")[0]
            self.requests[path] += 1
            self.heads.append(head)
            await self._answer(path, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has hung up, or the test is over
        finally:
            self._handlers.discard(task)
            writer.close()

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        match path.split("/")[1:]:
            case _ if path in self.actions:
                await self.actions[path](writer)
            case ["ok"]:
                answer(writer)
            case ["status", status]:
                answer(writer, status=int(status), body=b"")
            case ["redirect", target]:
                answer(writer, status=302, headers=f"Location: /{target}\r\n")
            case ["loop"]:
                answer(writer, status=302, headers="Location: /loop\r\n")
            case ["away"]:
                answer(writer, status=302, headers="Location: ftp://127.0.0.1/\r\n")
            case ["stall"]:
                await forever()
            case ["stall-in-body"]:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhe")
                await forever()
            case ["close"]:
                pass
            case ["reset"]:
                reset(writer)
            case ["reset-in-body"]:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhe")
                await writer.drain()
                reset(writer)
            case ["short"]:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhe")
            case ["bad-chunk"]:
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n")
            case ["endless"]:
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    writer.write(bytes(65_536))
                    await writer.drain()
            case ["endless-head"]:
                writer.write(b"HTTP/1.1 200 OK\r\n")
                while True:
                    writer.write(b"X-More: " + b"x" * 60_000)
                    await writer.drain()
            case ["no-gzip"]:
                answer(writer, headers="Content-Encoding: gzip\r\n", body=b"this is not gzip")
            case ["status-000"]:
                writer.write(b"HTTP/1.1 000 Because\r\nContent-Length: 0\r\n\r\n")
            case ["garbage"]:
                writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\x00\xff\r\n\r\n")
            case _:
                answer(writer, status=404)


def answer(
    writer: asyncio.StreamWriter, *, status: int = 200, headers: str = "", body: bytes = b"hello"
) -> None:
    head = f"HTTP/1.1 {status} Because\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)


def reset(writer: asyncio.StreamWriter) -> None:
    """Closes so that the other side gets RST and not FIN."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def forever() -> None:
    await asyncio.Event().wait()
