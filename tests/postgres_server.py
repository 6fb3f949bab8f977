"""A real PostgreSQL server on a free port of the loopback, in a folder of its own."""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import engines
from redis_server import free_port

PATIENCE = 60  # seconds for a server to start or stop
DEBIAN = Path("/usr/lib/postgresql")  # /VERSION/bin, which Debian leaves out of PATH
USER = "penstock"
PR_SET_PDEATHSIG = 1  # of Linux


class PostgreSQLServer:
    """Starts with the program's defaults: a commit that was answered is on the disk.

    PostgreSQL refuses to run as root; for root it runs as the user `postgres`, or else `nobody`.

    Attributes:
        port: it listens there on 127.0.0.1, also after a restart.
        pid: of the process, while it runs.
    """

    def __init__(self) -> None:
        self._programs = programs()
        self.port = free_port()
        # not in pytest's folder: the other user could not come through to it, and a socket's path is short
        self._folder = Path(tempfile.mkdtemp(prefix="penstock-pg-"))
        self._user = other_user()
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._run("initdb", "-D", "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    @property
    def dsn(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Starts it and waits until it answers, recovered from whatever stopped it."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self._folder,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = self._popen("postgres", "-D", "data", *options, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while self._popen("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)).wait(PATIENCE):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"postgres does not start: {(self._folder / 'log').read_text()[-500:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends it quickly, but in order."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """Kills it and all processes that it has for connections, as a power cut would."""
        children = self._children()
        self._end(signal.SIGKILL)
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def freeze(self) -> None:
        """Lets all of it hang: the kernel still takes connections for it, and nobody answers."""
        for pid in (self.pid, *self._children()):
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in (self.pid, *self._children()):
            os.kill(pid, signal.SIGCONT)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _children(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            self._process = None

    def _run(self, program: str, *arguments: str) -> None:
        process = self._popen(program, *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = process.communicate(timeout=PATIENCE)
        if process.returncode:
            raise RuntimeError(f"{program} fails: {output.decode(errors='replace')[-500:]}")

    def _popen(self, program: str, *arguments: str, **streams: object) -> "subprocess.Popen[bytes]":
        as_user = {} if self._user is None else {"user": self._user.pw_uid, "group": self._user.pw_gid}
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            [self._programs / program, *arguments],
            cwd=self._folder,
            preexec_fn=end_with_the_tests,
            **({"extra_groups": []} if as_user else {}),
            **as_user,
            **streams,
        )


def end_with_the_tests() -> None:
    """Has this process ended when its parent dies, even by `kill -9`: no server stays behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


def programs() -> Path:
    """The folder with `initdb` and `postgres`."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent  # a link in PATH leads to the folder with all of them
    newest = max(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]), default=None)
    return newest.parent if newest is not None else engines.missing("postgresql")


def other_user() -> pwd.struct_passwd | None:
    """Whom the server runs as when we are root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
