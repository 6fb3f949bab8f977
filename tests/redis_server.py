"""A real redis-server on a free port of the loopback, in a folder of its own."""

from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from real_server import RealServer


class RedisServer(RealServer):
    """Starts with the program's defaults, but for what `settings` say; nothing is saved to disk."""

    def __init__(self, folder: Path, *settings: str, port: int | None = None) -> None:
        super().__init__("redis-server", folder, port=port)
        self._settings = settings
        self._clients: list[redis.Redis] = []

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options: Any) -> redis.Redis:
        """A blocking client that asks once, and is closed when the server stops."""
        client = redis.Redis(host="127.0.0.1", port=self.port, retry=Retry(NoBackoff(), 0), **options)
        self._clients.append(client)
        return client

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()
        super().stop()

    def _arguments(self) -> list[str]:
        where = ("--bind", "127.0.0.1", "--port", str(self.port))
        unsaved = ("--save", "", "--appendonly", "no")
        return [*where, *unsaved, "--enable-debug-command", "local", *self._settings]
