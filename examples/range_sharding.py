"""User ids in ranges over three shards; the hot range is split while it is written to."""

import asyncio
import tempfile
from pathlib import Path

from penstock.sharding import DictShard, Range, RangeShards, SQLiteShard


async def main(folder: Path) -> None:
    shards = [DictShard[int, dict[str, str]]() for _ in range(3)]
    users = RangeShards(
        [Range(1, 10_000, shards[0]), Range(10_001, 20_000, shards[1]), Range(20_001, 30_000, shards[2])]
    )
    await users.put(500, {"name": "Alice", "plan": "free"})
    await users.put(15_000, {"name": "Bob", "plan": "pro"})
    await users.put(25_000, {"name": "Charlie", "plan": "enterprise"})
    print("GET 15000:", await users.get(15_000))
    print("scan [9000, 11000]:", len([row async for row in users.scan(9_000, 11_000)]), "records")
    print("scan [1, 20000]:", [value["name"] async for _, value in users.scan(1, 20_000)])
    try:
        await users.put(30_001, {"name": "Nobody"})
    except LookupError as error:
        print("PUT 30001:", error)

    # whoever is new gets the next id, so all writes come to the last range
    for user in range(25_001, 27_001):
        await users.put(user, {"name": f"user {user}", "plan": "free"})
    print(users.traffic())

    async with SQLiteShard[int, dict[str, str]](folder / "users.sqlite3", int) as new_shard:
        at = users.traffic().hottest.split_at
        splitting = asyncio.create_task(users.split(at, new_shard))
        for user in range(27_001, 28_001):
            await users.put(user, {"name": f"user {user}", "plan": "free"})
            await asyncio.sleep(0)  # a dict answers at once, and would never let the split have its turn
        done = await splitting
        assert [key async for key, _ in users.scan(25_001)] == list(range(25_001, 28_001))
        print(f"split at {at}: {done.rows:,} rows were copied while 1,000 more came")
        print(f"map {done.epoch} is in force, and no user was lost")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))
