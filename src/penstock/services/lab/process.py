"""Children of a comparison: a fresh server, and a pattern in a fresh process."""

import asyncio
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import BinaryIO

import msgspec

from penstock.errors import PenstockError
from penstock.services.lab.child import Done, Figures, Finished, Listening, Message, RunTask, ServeTask
from penstock.services.lab.config import Behaviour
from penstock.services.lab.measured import Measured
from penstock.services.lab.patterns import Settings
from penstock.services.printable import one_line

__all__ = ["ChildFailed", "Server", "measure_in_process", "server_in_process"]

COMMAND = (sys.executable, "-m", "penstock.services.lab.child")
LONGEST_LINE = 4 * 1024 * 1024
GRACE = 5.0  # seconds to end by itself
LAST_WORDS = 4_096

MESSAGES: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


class ChildFailed(PenstockError, ChildProcessError):
    """A process of the comparison has ended before it was done."""


class Child:
    """A started child, and what it says."""

    def __init__(self, process: Process, what: str, errors: BinaryIO) -> None:
        self._process, self._what, self._errors = process, what, errors

    async def hear(self) -> Message:
        """The next thing that it says.

        Raises:
            ChildFailed: it ended.
        """
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if line:
            return MESSAGES.decode(line)
        code = await self._process.wait()
        raise ChildFailed(f"{self._what} ended with exit code {code}{self._last_words()}")

    def let_go(self) -> None:
        """Closes its standard input, which ends it."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _last_words(self) -> str:
        self._errors.seek(0, 2)
        self._errors.seek(max(0, self._errors.tell() - LAST_WORDS))
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = next((line for line in reversed(lines) if line.strip()), "")
        return f": {one_line(said, 300)}" if said else ""


@asynccontextmanager
async def started(task: ServeTask | RunTask, what: str) -> AsyncIterator[Child]:
    """A child that does the task; it has ended when the context has."""
    with tempfile.TemporaryFile() as errors:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, stdin=PIPE, stdout=PIPE, stderr=errors, limit=LONGEST_LINE
        )
        child = Child(process, what, errors)
        try:
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(task) + b"\n")
            yield child
        finally:
            child.let_go()
            await ended(process)


async def ended(process: Process) -> None:
    """Waits for a process to end by itself, and ends it when it does not."""
    try:
        async with asyncio.timeout(GRACE):
            await process.wait()
    except (TimeoutError, asyncio.CancelledError) as reason:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if isinstance(reason, asyncio.CancelledError):
            raise


class Server:
    """A lab server in a process of its own.

    Attributes:
        url: where it answers.
    """

    def __init__(self, child: Child, url: str) -> None:
        self._child = child
        self.url = url

    async def stop(self) -> dict[str, object]:
        """Stops it; returns what it says of itself."""
        self._child.let_go()
        last = await self._child.hear()
        return last.figures if isinstance(last, Figures) else {}


@asynccontextmanager
async def server_in_process(behaviour: Behaviour) -> AsyncIterator[Server]:
    """A server that has just begun.

    Raises:
        ChildFailed: it has ended.
    """
    async with started(ServeTask(asdict(behaviour)), "the lab's server") as child:
        first = await child.hear()
        assert isinstance(first, Listening)
        yield Server(child, first.url)


async def measure_in_process(pattern: str, settings: Settings, progress: Callable[[int], None]) -> Measured:
    """Runs a pattern in a fresh process, so that memory and collections are its own.

    Args:
        pattern: its name.
        settings: the same for all.
        progress: told now and then how many requests have ended.

    Raises:
        ChildFailed: the process has ended before it was done.
    """
    async with started(RunTask(pattern, settings), f"the process of {pattern}") as child:
        while True:
            message = await child.hear()
            if isinstance(message, Finished):
                return message.measured
            if isinstance(message, Done):
                progress(message.requests)
