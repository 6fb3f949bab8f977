"""How long exchanges take on each engine, against a server in another thread that answers at once."""

import asyncio
import socketserver
import threading
from importlib import import_module

from penstock.probing.engine import EngineSettings
from penstock.probing.pooled_engine import PooledEngine
from penstock.probing.request import Request
from penstock.probing.resolver import SystemResolver

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100


class Answering(socketserver.StreamRequestHandler):
    def handle(self):
        self.request.settimeout(30)
        while self.request.recv(65_536):
            self.request.sendall(ANSWER)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 1024
    block_on_close = False


class Engines:
    params = (("Sockets", "Transports"), ("c", "py"))
    param_names = ("engine", "impl")

    def setup(self, engine, impl):
        module = import_module(f"penstock.probing._{engine.lower()}_{impl}")
        self.connections = getattr(module, engine)
        self.server = Server(("127.0.0.1", 0), Answering)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"

    def teardown(self, engine, impl):
        self.server.shutdown()
        self.server.server_close()

    def exchange(self, request, count, at_once):
        async def main():
            names = SystemResolver()
            settings = EngineSettings(resolver=names)
            engine = PooledEngine("bench", settings, self.connections(settings))

            async def some():
                for _ in range(count // at_once):
                    await engine.exchange(request, 30)

            await asyncio.gather(*(some() for _ in range(at_once)))
            await engine.aclose()
            names.close()

        asyncio.run(main())

    def time_1k_exchanges_on_kept_connections_16_at_once(self, engine, impl):
        self.exchange(Request(self.url, keep_alive=True), 1_000, 16)

    def time_1k_exchanges_on_new_connections_16_at_once(self, engine, impl):
        self.exchange(Request(self.url), 1_000, 16)


class Requests:
    def time_1k_requests(self):
        for number in range(1_000):
            Request(f"https://example.com/page/{number}?a=b", headers=[("X-Number", str(number))])
