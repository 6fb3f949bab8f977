"""A real PostgreSQL server on a free port of the loopback, in a folder of its own."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import engines
from real_server import ENDED, PATIENCE, RealServer, unprivileged, wait_for_threads

DEBIAN = Path("/usr/lib/postgresql")  # /VERSION/bin, which Debian leaves out of PATH
USER = "penstock"


class PostgreSQLServer(RealServer):
    """Starts with the program's defaults: a commit that was answered is on the disk.

    PostgreSQL refuses to run as root; for root it runs as the user `postgres`, or else `nobody`.
    """

    ended_by = signal.SIGQUIT  # quickly, but in order

    def __init__(self) -> None:
        self._programs = programs()
        # not in pytest's folder: the other user could not come through to it, and a socket's path is short
        folder = Path(tempfile.mkdtemp(prefix="penstock-pg-"))
        user = unprivileged("postgres", "nobody")
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        super().__init__(str(self._programs / "postgres"), folder, user=user)

    def __enter__(self) -> Self:
        self._run("initdb", "-D", "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        shutil.rmtree(self._folder)

    @property
    def dsn(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def kill(self) -> None:
        """Kills it and all processes that it has for connections, as a power cut would."""
        self.freeze()  # or it starts another one meanwhile
        _, *children = self._pids()
        self._end(signal.SIGKILL)
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            wait_for_threads(pid, ENDED)  # or the next start finds their shared memory in use

    def _arguments(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self._folder,
        }
        return [
            "-D",
            "data",
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ]

    def _is_ready(self) -> bool:
        """Whether it answers, recovered from whatever stopped it."""
        asked = self._popen(str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port))
        return asked.wait(PATIENCE) == 0

    def _pids(self) -> Iterator[int]:
        yield self.pid
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        yield from map(int, children.split())

    def _run(self, program: str, *arguments: str) -> None:
        process = self._popen(
            str(self._programs / program), *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output, _ = process.communicate(timeout=PATIENCE)
        if process.returncode:
            raise RuntimeError(f"{program} fails: {output.decode(errors='replace')[-500:]}")


def programs() -> Path:
    """The folder with `initdb` and `postgres`."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent  # a link in PATH leads to the folder with all of them
    newest = max(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]), default=None)
    return newest.parent if newest is not None else engines.missing("postgresql")
