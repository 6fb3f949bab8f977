"""A store that tests hold in their hands."""

import asyncio

from penstock.cache.store import MemoryStore, StoreError


class HeldStore(MemoryStore):
    """Keeps entries in a dict and does what a test tells it.

    Attributes:
        calls: what it was asked, in order: ("get" | "set" | "delete", keys).
        mode: "ok"; "fail" at once; "half" does half of a batch, then fails; "hang" until cancelled.
        poison: keys that make a batch fail before anything of it is stored.
        latency: seconds that a call takes.
        gate: when set to a future, calls wait for it.
    """

    __slots__ = ("calls", "gate", "latency", "mode", "poison")

    def __init__(self, entries=None):
        super().__init__(entries)
        self.calls = []
        self.mode = "ok"
        self.poison = set()
        self.latency = 0
        self.gate = None

    async def get_many(self, keys):
        found = await super().get_many(keys)  # as of now, however long the answer takes
        await self._answer("get", keys)
        return found

    async def set_many(self, items):
        await self._answer("set", items)
        if self.mode == "half":
            await super().set_many(dict(list(items.items())[: len(items) // 2]))
            raise StoreError("half of it is stored")
        await super().set_many(items)

    async def delete_many(self, keys):
        await self._answer("delete", keys)
        await super().delete_many(keys)

    def keys_of(self, operation):
        """The keys of each call."""
        return [keys for called, keys in self.calls if called == operation]

    async def _answer(self, operation, keys):
        self.calls.append((operation, list(keys)))
        if self.latency:
            await asyncio.sleep(self.latency)
        if self.gate is not None:
            await self.gate
        if self.mode == "hang":
            await asyncio.get_running_loop().create_future()
        if self.mode == "fail" or self.poison & set(keys):
            raise StoreError("the store is down")
