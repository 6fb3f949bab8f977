"""Requests that a load makes of a server on loopback, which takes most of the time."""

import socket
import threading
from importlib import import_module

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100
WIRE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def serve(listener):
    """One connection after the other, until the listener is closed."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            while connection.recv(65_536):
                connection.sendall(ANSWER)


class LoadLoop:
    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        self.twin = import_module(f"penstock.probing._load_{impl}")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.server = threading.Thread(target=serve, args=(self.listener,), daemon=True)
        self.server.start()

    def teardown(self, impl):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.server.join()

    def plan(self, **changes):
        module = import_module("penstock.probing._load_py")
        address = self.listener.getsockname()
        settings = {
            "connections": 1, "connecting": 1, "keep_alive": True, "interval": 0, "offset": 0, "count": 1000,
            "duration": None, "timeout": 10**10,
        }  # fmt: skip
        return module.LoadPlan((module.LoadTarget(socket.AF_INET, address, WIRE),), **settings | changes)

    def time_1k_requests_on_one_connection(self, impl):
        self.twin.LoadLoop(self.plan()).run()

    def time_1k_connections(self, impl):
        self.twin.LoadLoop(self.plan(keep_alive=False)).run()

    def time_loop_of_1k_connections_is_made(self, impl):
        self.twin.LoadLoop(self.plan(connections=1000))

    def time_counts(self, impl):
        self.twin.LoadLoop(self.plan()).counts()
