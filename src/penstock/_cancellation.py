"""A cancelled task stays cancelled, whatever the library that it waits in makes of it."""

from asyncio import CancelledError, current_task
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["cancellation_kept"]


@contextmanager
def cancellation_kept() -> Iterator[None]:
    """Raises CancelledError at its end if the task was cancelled inside and nothing has come of it.

    `asyncio.wait_for` of Python 3.11 swallows a cancellation that comes in the same turn of the event loop
    as what it waits for. redis-py sends each command through it.
    """
    task = current_task()
    assert task is not None
    before = task.cancelling()
    yield
    if task.cancelling() > before:
        raise CancelledError
