"""All patterns, one after the other, each beside a server that has just begun."""

import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from typing import Any, Protocol

import msgspec

from penstock.services.lab.config import Behaviour
from penstock.services.lab.measured import Measured
from penstock.services.lab.patterns import Settings
from penstock.services.lab.process import measure_in_process, server_in_process

__all__ = ["Comparison", "Observer", "compare"]


class Observer(Protocol):
    """Who wants to know how far a comparison is."""

    def begin(self, pattern: str, requests: int) -> None:
        """A pattern begins."""

    def advance(self, done: int) -> None:
        """So many of its requests have ended."""

    def finish(self, measured: Measured) -> None:
        """All have."""


@dataclass
class Comparison:
    """What was measured, and how.

    Attributes:
        settings: the same for every pattern.
        behaviour: of the lab's server; None for another server.
        measured: what there is so far.
    """

    settings: Settings
    behaviour: Behaviour | None
    measured: list[Measured] = field(default_factory=list)

    def as_json(self) -> bytes:
        """Everything, indented."""
        members: dict[str, Any] = {
            "settings": asdict(self.settings),
            "server": None if self.behaviour is None else asdict(self.behaviour),
            "machine": machine(),
            "patterns": [
                msgspec.to_builtins(each) | {"errors": each.errors, "goodput": round(each.goodput, 3)}
                for each in self.measured
            ],
        }
        return msgspec.json.format(msgspec.json.encode(members), indent=1) + b"\n"


def machine() -> dict[str, object]:
    """Where it was measured."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "loop": "asyncio" if find_spec("uvloop") is None else "uvloop",
    }


async def compare(comparison: Comparison, patterns: Iterable[str], observer: Observer) -> None:
    """Runs the patterns and puts what was measured into the comparison, each as it ends.

    Args:
        comparison: with the settings; without a URL in them a server is started for each pattern.
        patterns: their names.
        observer: told how far it is.

    Raises:
        ChildFailed: a process has ended before it was done.
    """
    for pattern in patterns:
        observer.begin(pattern, comparison.settings.requests)
        measured = await measure(pattern, comparison, observer)
        comparison.measured.append(measured)
        observer.finish(measured)


async def measure(pattern: str, comparison: Comparison, observer: Observer) -> Measured:
    settings = comparison.settings
    if comparison.behaviour is None:
        return await measure_in_process(pattern, settings, observer.advance)
    async with server_in_process(comparison.behaviour) as server:
        settings = replace(settings, url=f"{server.url}/data")
        measured = await measure_in_process(pattern, settings, observer.advance)
        return msgspec.structs.replace(measured, server=await server.stop())
