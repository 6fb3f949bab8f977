"""One process of several that share a Redis: reads all keys, writes its own, and tells what it saw when.

    python tiered_process.py URL NUMBER PROCESSES READS

Prints `ready`, waits for a line, hammers, and prints one JSON line:

    writes   [key, version, ns when the write had returned]
    reads    [key, version or null, ns when the read began], only where the version of a key is another
             than at the read before, and the last read of that version
    hits     of the front

Then it reads lines of JSON, {key: version}, and answers `ok` as soon as it reads just that, with no way back.
Versions of a key only grow; a deleted key has none.
"""

import asyncio
import json
import random
import sys
import time

from redis.asyncio import Redis

from penstock.cache.tiered import TieredCache

KEYS_EACH = 4
PATIENCE = 20  # seconds


async def main(url, number, processes, reads):
    client = Redis.from_url(url)
    keys = [f"{owner}:{index}" for owner in range(processes) for index in range(KEYS_EACH)]
    own = [key for key in keys if key.startswith(f"{number}:")]
    async with TieredCache(client, timeout=PATIENCE) as cache:
        say("ready")
        await hear()
        seen = await hammer(cache, random.Random(number), keys, own, reads)
        say(json.dumps({**seen, "hits": cache.stats().front_hits}))
        while line := await hear():
            await expect(cache, json.loads(line))
            say("ok")
    await client.aclose()


async def hammer(cache, dice, keys, own, count):
    writes, reads, last, highest = [], [], {}, {}
    versions = dict.fromkeys(own, 0)
    for step in range(count):
        if step % 25 == 0:
            key = dice.choice(own)
            if dice.random() < 0.2:
                await cache.delete(key)
                assert await cache.get(key) is None, "our own delete is not seen"
            versions[key] += 1
            await cache.set(key, versions[key], ttl=60)
            writes.append([key, versions[key], time.monotonic_ns()])
            assert await cache.get(key) == versions[key], "our own write is not seen"
        if step % 5 == 0:
            await asyncio.sleep(0)  # a hit of the front lets nobody else run, not even who hears the news
        key = dice.choice(keys)
        began = time.monotonic_ns()
        version = await cache.get(key)
        newest = last.get(key)
        if newest is not None and newest[1] == version:
            newest[2] = began
            continue
        if version is not None:
            assert highest.get(key, 0) <= version, f"{key} went back from {highest[key]} to {version}"
            highest[key] = version
        last[key] = [key, version, began]
        reads.append(last[key])
    return {"writes": writes, "reads": reads}


async def expect(cache, truth):
    deadline = time.monotonic() + PATIENCE
    while await cache.get_many(truth) != truth:
        assert time.monotonic() < deadline, "the front keeps an old value"
        await asyncio.sleep(0.001)
    for _ in range(100):
        assert await cache.get_many(truth) == truth, "an old value has come back"


def say(line):
    print(line, flush=True)


async def hear():
    return await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
