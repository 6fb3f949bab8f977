"""Places for keys: so many at most, handed out in the order of arrival."""

import asyncio
from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["Room"]

K = TypeVar("K")


class Room(Generic[K]):
    """At most `size` keys are inside. A key that is inside may come again at no cost, and leaves as often.

    Args:
        size: keys inside at most, >= 1.
    """

    __slots__ = ("_held", "_line", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: dict[K, int] = {}
        self._line: OrderedDict[asyncio.Future[None], K] = OrderedDict()  # from any place of it one may go

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._line)

    def visits(self, key: K) -> int:
        """How often `key` is inside."""
        return self._held.get(key, 0)

    def try_enter(self, key: K) -> bool:
        """Lets `key` in if that needs no waiting."""
        if key in self._held or (len(self._held) < self._size and not self._line):
            self.force(key)
            return True
        return False

    async def enter(self, key: K) -> None:
        """Lets `key` in as soon as there is a place and nobody has come before."""
        if self.try_enter(key):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line[turn] = key
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._line.pop(turn, None)
                self._call_in()
            elif turn.exception() is None:  # it was let in, but is not there to come
                self.leave(key)
            raise

    def force(self, key: K) -> None:
        """Lets `key` in although there may be no place."""
        self._held[key] = self._held.get(key, 0) + 1

    def leave(self, key: K) -> None:
        """Takes back one entering of `key`."""
        visits = self._held[key] - 1
        if visits:
            self._held[key] = visits
        else:
            del self._held[key]
            self._call_in()

    def send_home(self, error: Exception) -> None:
        """Whoever waits gets `error`."""
        line, self._line = self._line, OrderedDict()
        for turn in line:
            if not turn.done():
                turn.set_exception(error)

    def _call_in(self) -> None:
        while self._line:
            turn, key = next(iter(self._line.items()))
            if turn.done():  # it has given up
                del self._line[turn]
            elif key in self._held or len(self._held) < self._size:
                del self._line[turn]
                self.force(key)
                turn.set_result(None)
            else:
                return
