"""An event loop that never sleeps: when all its tasks wait, its clock jumps to the next timer.

    loop = VirtualTimeLoop(clock)          # a ManualClock, which the tested objects read too
    loop.run_until_complete(...)

Time passes exactly, at once, and only while nothing can run. What another thread calls in with
call_soon_threadsafe is heard between jumps. Where sockets or threads are at work, `may_pass` holds time back:
as long as it is false, the loop waits for them as every loop does, and the clock stands still.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import pytest

from penstock.clock import NANOSECONDS, ManualClock


class JumpingSelector(selectors.DefaultSelector):
    """Where a loop would sleep, moves the clock instead; `lateness` nanoseconds further, as real loops do."""

    def __init__(self, clock: ManualClock, lateness: Callable[[], int], may_pass: Callable[[], bool]) -> None:
        super().__init__()
        self.clock = clock
        self.lateness = lateness
        self.may_pass = may_pass

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and (timeout is None or (timeout > 0 and not self.may_pass())):
            ready = super().select(5)  # nothing but a socket or another thread can wake it
        if not ready and timeout is not None and timeout > 0:
            self.clock.now += round(timeout * NANOSECONDS) + self.lateness()
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(
        self,
        clock: ManualClock,
        lateness: Callable[[], int] = lambda: 0,
        may_pass: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(JumpingSelector(clock, lateness, may_pass))
        self.clock = clock

    def time(self) -> float:
        return self.clock.now / NANOSECONDS


def run_in_virtual_time(
    main: Coroutine[Any, Any, Any],
    clock: ManualClock,
    lateness: Callable[[], int] = lambda: 0,
    may_pass: Callable[[], bool] = lambda: True,
) -> Any:
    """asyncio.run on a loop of `clock`."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(clock, lateness, may_pass)) as runner:
        return runner.run(main)


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs an async test on a loop of its own clock: no pause of the machine makes a time limit pass."""

    @wraps(test)
    def run(*arguments: Any, **how: Any) -> None:
        run_in_virtual_time(test(*arguments, **how), ManualClock())

    return run


def run_once(loop: asyncio.AbstractEventLoop) -> None:
    """What is ready, and whatever that makes ready, without any time passing."""
    for _ in range(5):
        loop.call_soon(loop.stop)
        loop.run_forever()


def virtual_time() -> Any:
    """A fixture that runs a coroutine on a loop of the fixture `clock`."""

    @pytest.fixture(name="virtual")
    def run(clock: ManualClock) -> Callable[[Coroutine[Any, Any, Any]], Any]:
        return lambda main: run_in_virtual_time(main, clock)

    return run
