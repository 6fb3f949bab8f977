"""A process that writes through a journaled write-back cache until it is killed.

    python write_back_child.py FOLDER FIRST_VALUE [--failing] [--interval]

It says when it begins to open the journal and when that is done. Before each write it says what it intends,
and afterwards that it was acknowledged: a line each, by one write(2) to stdout. Every writer has keys of its
own, so no key has two writes under way.
"""

import asyncio
import logging
import os
import random
import sys
from pathlib import Path

from penstock.cache.journal import Journal
from penstock.cache.sqlite_store import SQLiteStore
from penstock.cache.store import StoreError
from penstock.cache.write_back import WriteBackCache

WRITERS = 8
KEYS = 25


class FailingStore:
    """Takes a random part of every third batch, then fails."""

    def __init__(self, store):
        self.store = store

    async def get_many(self, keys):
        return await self.store.get_many(keys)

    async def set_many(self, items):
        if random.random() < 1 / 3:
            some = random.sample(sorted(items), random.randrange(len(items) + 1))
            await self.store.set_many({key: items[key] for key in some})
            raise StoreError("half the batch is stored")
        await self.store.set_many(items)

    async def delete_many(self, keys):
        if random.random() < 1 / 3:
            await self.store.delete_many(random.sample(keys, random.randrange(len(keys) + 1)))
            raise StoreError("half the batch is removed")
        await self.store.delete_many(keys)


def say(*words):
    os.write(1, " ".join(map(str, words)).encode() + b"\n")


async def write_forever(cache, writer, values):
    while True:
        key = f"{writer}:{random.randrange(KEYS)}"
        value = next(values)
        if random.random() < 0.2:
            say("delete", key, value)
            await cache.delete(key)
        else:
            say("set", key, value)
            await cache.set(key, value)
        say("done", key, value)
        if random.random() < 0.05:
            await asyncio.sleep(0.01)


async def main(folder, first, failing, mode):
    store = SQLiteStore(folder / "store.sqlite3")
    # Small: segments come and go under the kills.
    journal = Journal(folder / "journal", mode=mode, segment_bytes=8192)
    cache = WriteBackCache(
        FailingStore(store) if failing else store,
        journal=journal,
        flush_interval=0.01,
        max_batch=40,
        max_dirty=150,
        retry_delay=lambda failures: 0.005,
    )
    say("starting")
    await cache.start()
    say("ready")
    values = iter(range(first, 1 << 60))
    async with asyncio.TaskGroup() as writers:
        for writer in range(WRITERS):
            writers.create_task(write_forever(cache, writer, values))


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # of the failing store
    mode = "interval" if "--interval" in sys.argv else "always"
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), "--failing" in sys.argv, mode))
