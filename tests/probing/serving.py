"""Servers of one test, which leave nothing behind."""

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager, contextmanager, suppress
from threading import Thread

from tls_servers import server_context


@asynccontextmanager
async def serving(handle, *, tls=None):
    """A server that calls handle(reader, writer) for each connection, and hangs up after it; its port."""
    handlers = set()

    async def serve(reader, writer):
        handlers.add(asyncio.current_task())
        try:
            await handle(reader, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has hung up, or the test is over
        finally:
            writer.transport.abort() if writer.transport.is_closing() else writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            handlers.discard(asyncio.current_task())

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls and server_context(tls))
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for handler in list(handlers):
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        await server.wait_closed()


@contextmanager
def server_that_wants_a_certificate():
    """A server in a thread, since asyncio's would not tell why it hangs up; its port."""

    def serve():
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    connection.settimeout(30)
                    refuse(connection)

    def refuse(connection):
        come, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = server_context("wants a certificate").wrap_bio(come, out, server_side=True)
        with suppress(ssl.SSLError):
            while True:
                come.write(connection.recv(65_536))
                with suppress(ssl.SSLWantReadError):
                    tls.do_handshake()
                connection.sendall(out.read())
        connection.sendall(out.read())
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()
