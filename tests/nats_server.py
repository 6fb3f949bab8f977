"""A real nats-server with JetStream on a free port of the loopback, in a folder of its own."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import engines

PATIENCE = 20  # seconds for a server to start or stop


class NatsServer:
    """Keeps its streams in the folder, over restarts too.

    Attributes:
        port: it listens there on 127.0.0.1, also after a restart.
        pid: of the process, while it runs.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.port = free_port()
        self._folder = folder
        self._program = engines.require("nats-server")
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it and waits until it takes connections."""
        self._folder.mkdir(exist_ok=True)
        log = self._folder / "log"
        self._process = subprocess.Popen(
            [
                self._program, "-js", "-a", "127.0.0.1", "-p", str(self.port),
                "-sd", str(self._folder / "store"), "-l", str(log), *self._arguments,
            ]
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"nats-server does not start: {log.read_text()[-500:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Kills it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def freeze(self) -> None:
        """Lets it hang: the kernel still takes connections for it, and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
