"""What a comparison's processes run: `python -m penstock.services.lab.child`.

The first line of standard input is a Task as JSON; lines of JSON come out. A child ends when its standard
input does, so none outlives the comparison, however that ends.
"""

import asyncio
import os
import signal
import sys
from importlib.util import find_spec
from threading import Thread

import msgspec

from penstock.services.lab.measured import Measured
from penstock.services.lab.patterns import Settings

__all__ = ["Done", "Figures", "Finished", "Listening", "Message", "RunTask", "ServeTask"]


class ServeTask(msgspec.Struct, tag="serve"):
    """Be the simulated server, with this Behaviour."""

    behaviour: dict[str, object]


class RunTask(msgspec.Struct, tag="run"):
    """Run one pattern."""

    pattern: str
    settings: Settings


class Listening(msgspec.Struct, tag="listening"):
    """The server takes requests."""

    url: str


class Figures(msgspec.Struct, tag="figures"):
    """What the server says of itself at its end."""

    figures: dict[str, object]


class Done(msgspec.Struct, tag="done"):
    """So many requests have ended."""

    requests: int


class Finished(msgspec.Struct, tag="finished"):
    """All have."""

    measured: Measured


Message = Listening | Figures | Done | Finished


def tell(message: Message) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


async def be_server(task: ServeTask) -> None:
    from penstock.services.lab.app import running
    from penstock.services.lab.config import Behaviour, Config

    behaviour = msgspec.convert(task.behaviour, Behaviour)
    async with running(behaviour, Config(port=0, drain_timeout=0.0)) as (url, site):
        tell(Listening(url))
        await asyncio.to_thread(sys.stdin.buffer.read)
        tell(Figures(site.figures()))


async def run_task(task: RunTask) -> None:
    from penstock.services.lab.run import run_pattern

    Thread(target=leave_with_parent, daemon=True).start()
    tell(Finished(await run_pattern(task.pattern, task.settings, lambda done: tell(Done(done)))))


def leave_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def main() -> None:
    """Does the task of the first line."""
    from penstock.services.lab.memory import allow_most_files

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the comparison ends its children
    allow_most_files()
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=ServeTask | RunTask)
    work = run_task(task) if isinstance(task, RunTask) else be_server(task)
    if find_spec("uvloop") is None:
        asyncio.run(work)
    else:
        import uvloop

        uvloop.run(work)


if __name__ == "__main__":
    main()
