"""Shards that tests hold in their hands, and servers for real ones."""

import asyncio

from penstock.sharding import DictShard, ShardError


class HeldShard(DictShard):
    """Keeps entries in a dict and does what a test tells it.

    Attributes:
        calls: what it was asked, in order: ("get" | "put" | "page" | "delete", number of keys).
        mode: "ok"; "fail" at once; "hang" until cancelled; "late" does its work, then hangs.
        only: the operations that the mode is for.
        turns: of the event loop that each call takes before its work, and again after it.
        gate: when set to an event, calls wait for it.
    """

    __slots__ = ("calls", "gate", "mode", "only", "turns")

    def __init__(self, entries=()):
        super().__init__(entries)
        self.calls = []
        self.mode = "ok"
        self.only = ("get", "put", "page", "delete")
        self.turns = 0
        self.gate = None

    async def get(self, key, default=None):
        return await self._answer("get", [key], super().get, key, default)

    async def put(self, key, value):
        await self._answer("put", [key], super().put, key, value)

    async def put_many(self, items):
        items = list(items)
        await self._answer("put", items, super().put_many, items)

    async def delete_many(self, keys):
        keys = list(keys)
        return await self._answer("delete", keys, super().delete_many, keys)

    async def page(self, first=None, last=None, **how):
        return await self._answer("page", [], super().page, first, last, **how)

    async def _answer(self, operation, keys, work, *arguments, **how):
        self.calls.append((operation, len(keys)))
        for _ in range(self.turns):
            await asyncio.sleep(0)
        mode = self.mode if operation in self.only else "ok"
        if self.gate is not None and operation in self.only:
            await self.gate.wait()
        if mode == "hang":
            await asyncio.get_running_loop().create_future()
        if mode == "fail":
            raise ShardError("the shard is down")
        result = await work(*arguments, **how)
        if mode == "late":
            await asyncio.get_running_loop().create_future()
        for _ in range(self.turns):
            await asyncio.sleep(0)
        return result


def entries(shard):
    """All that a DictShard has, read at once."""
    page = DictShard.page(shard, limit=10**6)
    try:
        page.send(None)
    except StopIteration as done:
        return dict(done.value)
    raise AssertionError("a dict answers at once")
