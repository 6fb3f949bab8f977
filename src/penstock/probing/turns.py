"""Turns to connect: so many connections in the making at once, and none may hold its turn for long."""

import asyncio
from collections import deque

__all__ = ["LONGEST_TURN", "Turn", "Turns"]

LONGEST_TURN = 0.05
"""Seconds. By then this process has done its part of a connection, which is what turns are for; what is left
is the network's, and a host that never answers must not keep others waiting."""


class Turns:
    """Lets `limit` at once, in the order in which they come.

    Args:
        limit: >= 1.
    """

    def __init__(self, limit: int) -> None:
        self.free = limit
        self.waiting: deque[asyncio.Future[None]] = deque()

    def take_now(self) -> "Turn | None":
        """A turn if there is one."""
        if self.free <= 0:
            return None
        self.free -= 1
        return Turn(self, waited=False)

    async def take(self) -> "Turn":
        """A turn, as soon as it is there."""
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.give()  # it came together with the cancellation
            raise
        return Turn(self, waited=True)

    def give(self) -> None:
        """Lets the next one, who is not gone meanwhile."""
        while self.waiting:
            next_one = self.waiting.popleft()
            if not next_one.done():
                next_one.set_result(None)
                return
        self.free += 1


class Turn:
    """One turn; ends when it is told to, and by itself after LONGEST_TURN."""

    __slots__ = ("timer", "turns", "waited")

    def __init__(self, turns: Turns, *, waited: bool) -> None:
        self.waited = waited
        self.turns: Turns | None = turns
        self.timer = asyncio.get_running_loop().call_later(LONGEST_TURN, self.end)

    def end(self) -> None:
        """Lets the next one; the second time nothing happens."""
        turns, self.turns = self.turns, None
        if turns is not None:
            self.timer.cancel()
            turns.give()
