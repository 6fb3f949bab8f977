"""A real memcached on a free port of the loopback."""

import os
import socket
import subprocess
import time
from typing import Self

import engines
from redis_server import free_port

PATIENCE = 20  # seconds for a server to start or stop


class MemcachedServer:
    """Starts with the program's defaults, and forgets everything when it stops.

    Attributes:
        port: it listens there on 127.0.0.1.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self._program = engines.require("memcached")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it and waits until it takes connections."""
        command = [self._program, "-l", "127.0.0.1", "-p", str(self.port), "-U", "0"]
        if os.getuid() == 0:
            command += ["-u", "nobody"]  # it refuses to be root
        self._process = subprocess.Popen(command)
        deadline = time.monotonic() + PATIENCE
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"memcached does not start on port {self.port}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Kills it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None
