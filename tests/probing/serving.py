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

    with served_in_a_thread(refuse) as port:
        yield port


@contextmanager
def tls_server_that_sends(data, *, kind, at_once=False):
    """A server that hangs up behind `data` without ending TLS; its port.

    Args:
        data: what it sends.
        kind: of its certificate, see server_context.
        at_once: whether it waits for no request, and sends `data` together with the end of the handshake.
    """

    def serve(connection):
        come, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = server_context(kind).wrap_bio(come, out, server_side=True)

        def until_it_works(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    connection.sendall(out.read())
                    if not come.write(connection.recv(65_536)):
                        raise ConnectionError("the client is gone") from None

        until_it_works(tls.do_handshake)
        if not at_once:
            until_it_works(lambda: tls.read(65_536))
        tls.write(data)
        connection.sendall(out.read())
        connection.shutdown(socket.SHUT_WR)
        if at_once:
            connection.recv(65_536)  # or else it would be a reset

    with served_in_a_thread(serve) as port:
        yield port


@contextmanager
def served_in_a_thread(handle):
    """A server that calls handle(socket) for each connection, one after the other; its port."""

    def serve():
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection, suppress(OSError):
                    connection.settimeout(30)
                    handle(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()
