"""A real memcached on a free port of the loopback."""

from pathlib import Path

from real_server import RealServer, unprivileged


class MemcachedServer(RealServer):
    """Starts with the program's defaults, and forgets everything when it stops."""

    def __init__(self, folder: Path) -> None:
        super().__init__("memcached", folder, user=unprivileged("nobody"))  # it refuses to be root

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _arguments(self) -> list[str]:
        return ["-l", "127.0.0.1", "-p", str(self.port), "-U", "0"]
