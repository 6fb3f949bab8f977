"""An event loop that never sleeps: when all its tasks wait, its clock jumps to the next timer.

    loop = VirtualTimeLoop(clock)          # a ManualClock, which the tested objects read too
    loop.run_until_complete(...)

Time passes exactly, at once, and only while nothing can run. What another thread calls in with
call_soon_threadsafe is heard between jumps.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from penstock.clock import NANOSECONDS, ManualClock


class JumpingSelector(selectors.DefaultSelector):
    """Where a loop would sleep, moves the clock instead; `lateness` nanoseconds further, as real loops do."""

    def __init__(self, clock: ManualClock, lateness: Callable[[], int]) -> None:
        super().__init__()
        self.clock = clock
        self.lateness = lateness

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout is None:
            return ready or super().select(5)  # nothing but another thread can wake it
        if timeout > 0:
            self.clock.now += round(timeout * NANOSECONDS) + self.lateness()
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: ManualClock, lateness: Callable[[], int] = lambda: 0) -> None:
        super().__init__(JumpingSelector(clock, lateness))
        self.clock = clock

    def time(self) -> float:
        return self.clock.now / NANOSECONDS


def run_in_virtual_time(
    main: Coroutine[Any, Any, Any], clock: ManualClock, lateness: Callable[[], int] = lambda: 0
) -> Any:
    """asyncio.run on a loop of `clock`."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(clock, lateness)) as runner:
        return runner.run(main)


def virtual_time() -> Any:
    """A fixture that runs a coroutine on a loop of the fixture `clock`."""

    @pytest.fixture(name="virtual")
    def run(clock: ManualClock) -> Callable[[Coroutine[Any, Any, Any]], Any]:
        return lambda main: run_in_virtual_time(main, clock)

    return run
