"""A real redis-server on a free port of the loopback, in a folder of its own."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import engines

PATIENCE = 20  # seconds for a server to start or stop


class RedisServer:
    """Starts with the program's defaults, but for what `settings` say; nothing is saved to disk.

    Attributes:
        port: it listens there on 127.0.0.1, also after a restart.
        pid: of the process, while it runs.
    """

    def __init__(self, folder: Path, *settings: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self._folder = folder
        self._program = engines.require("redis-server")
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[redis.Redis] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it and waits until it takes connections."""
        self._folder.mkdir(exist_ok=True)
        common = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder))
        quiet = ("--save", "", "--appendonly", "no", "--enable-debug-command", "local", "--logfile", "log")
        self._process = subprocess.Popen([self._program, *common, *quiet, *self._settings])
        deadline = time.monotonic() + PATIENCE
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(
                    f"redis-server does not start: {(self._folder / 'log').read_text()[-500:]}"
                )
            time.sleep(0.01)

    def stop(self) -> None:
        """Kills it at once, as a crash would."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def freeze(self) -> None:
        """Lets it hang: the kernel still takes connections for it, and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def client(self, **options: object) -> redis.Redis:
        """A blocking client that asks once, and is closed when the server stops."""
        client = redis.Redis(host="127.0.0.1", port=self.port, retry=Retry(NoBackoff(), 0), **options)
        self._clients.append(client)
        return client


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
