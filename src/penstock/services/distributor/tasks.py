"""Tasks without which the service cannot go on: none of them ends by an error unnoticed."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Tasks"]

log = logging.getLogger(__name__)


class Tasks:
    """A set of running tasks.

    Args:
        failed: told of the error of a task that ended by one.
    """

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Starts a task."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.critical("%s ended by an error", task.get_name(), exc_info=error)
        self._failed(error)

    @property
    def running(self) -> set[asyncio.Task[None]]:
        """Those that have not ended."""
        return set(self._running)

    async def wait(self, seconds: float) -> None:
        """Waits until all have ended, so many seconds at the most."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)

    async def cancel(self) -> None:
        """Cancels all, and returns when they have ended."""
        running = self.running
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
