"""A real nats-server with JetStream on a free port of the loopback, in a folder of its own."""

from pathlib import Path

from real_server import RealServer


class NatsServer(RealServer):
    """Keeps its streams in the folder, over restarts too."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        super().__init__("nats-server", folder)
        self._more = arguments

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def _arguments(self) -> list[str]:
        return [
            "-js",
            "-a",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-sd",
            str(self._folder / "store"),
            *self._more,
        ]
