"""A program that serves on a port of the loopback: tests start, hang and kill it, and it ends with them."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import engines
from ports import free_port

PATIENCE = 60  # seconds for a server to start, hang or stop
ENDED = set("ZX")  # states of a thread that runs no more
STOPPED = ENDED | set("Tt")


class RealServer(ABC):
    """Runs in a folder, with what it prints in the file `log` there.

    Attributes:
        port: it listens there on 127.0.0.1, also after a restart.
        pid: of the process, while it runs.
    """

    ended_by = signal.SIGKILL  # at once, as a crash would; also when the tests are killed

    def __init__(
        self, program: str, folder: Path, *, port: int | None = None, user: pwd.struct_passwd | None = None
    ) -> None:
        self.port = port or free_port()
        self._program = program
        self._folder = folder
        self._user = user  # None: ours
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it and waits until it takes connections."""
        self._folder.mkdir(exist_ok=True)
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = self._popen(self._program, *self._arguments(), stdout=output, stderr=output)
        deadline = time.monotonic() + PATIENCE
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                said = log.read_text(errors="replace")[-500:]
                raise RuntimeError(f"{Path(self._program).name} does not start: {said}")
            time.sleep(0.01)

    def stop(self) -> None:
        self._end(self.ended_by)

    def freeze(self) -> None:
        """Lets it hang: the kernel still takes connections for it, and nobody answers.

        When this returns all of its threads stand still: none answers what was asked before.
        """
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)
            wait_for_threads(pid, STOPPED)

    def thaw(self) -> None:
        for pid in self._pids():
            os.kill(pid, signal.SIGCONT)

    @abstractmethod
    def _arguments(self) -> list[str]: ...

    def _is_ready(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _pids(self) -> Iterator[int]:
        """Of all its processes; each is hung before the next is looked for."""
        yield self.pid

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)  # one that hangs hears of nothing but SIGKILL
            self._process.wait(PATIENCE)
            self._process = None

    def _popen(self, program: str, *arguments: str, **streams: object) -> "subprocess.Popen[bytes]":
        as_user: dict[str, object] = {}
        if self._user is not None:
            as_user = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        command = [*bound_to_us(self.ended_by), engines.require(program), *arguments]
        return subprocess.Popen(command, cwd=self._folder, **as_user, **streams)  # type: ignore[call-overload,no-any-return]


def bound_to_us(last_signal: signal.Signals) -> list[str]:
    """A command before a command: it gets the signal when we die, even by `kill -9`."""
    setpriv = shutil.which("setpriv")  # and no preexec_fn: Python code between fork and exec may hang
    return [] if setpriv is None else [setpriv, "--pdeathsig", last_signal.name[3:], "--"]


def states(pid: int) -> set[str]:
    """In which states the threads of a process are, as /proc names them: signals reach them one by one."""
    found = set()
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # this thread has gone
            found.add(stat.read_text().rpartition(")")[2].split()[0])
    return found


def wait_for_threads(pid: int, rest: set[str]) -> None:
    """Waits until all threads of a process are in such states, or gone."""
    deadline = time.monotonic() + PATIENCE
    while not states(pid) <= rest:
        assert time.monotonic() < deadline, f"process {pid} does not come to rest"
        time.sleep(0.001)


def unprivileged(*names: str) -> pwd.struct_passwd | None:
    """The first of these users that there is when we are root, and None when we are not."""
    if os.geteuid() != 0:
        return None
    known = {user.pw_name: user for user in pwd.getpwall()}
    return next(known[name] for name in names if name in known)
