"""Users on four shards by the hash of their name; then a fifth shard comes, while they are in use."""

import asyncio

from penstock.sharding import DictShard, HashShards

USERS = {
    "user:alice": {"age": 30, "plan": "pro"},
    "user:bob": {"age": 25, "plan": "free"},
    "user:charlie": {"age": 35, "plan": "enterprise"},
    "user:diana": {"age": 28, "plan": "pro"},
    "user:eve": {"age": 22, "plan": "free"},
    "user:frank": {"age": 40, "plan": "enterprise"},
    "user:grace": {"age": 31, "plan": "pro"},
    "user:henry": {"age": 27, "plan": "free"},
}


async def main() -> None:
    shards = HashShards([DictShard() for _ in range(4)], hash="md5-be32")
    for key, user in USERS.items():
        await shards.put(key, user)
        print(f"{key} is on shard {shards.route(key)}")
    print("user:alice:", await shards.get("user:alice"))
    print("users on each shard:", await shards.distribution_stats())

    found = [user async for _, user in shards.scatter_gather_all()]
    print("pro users on all shards:", sum(user["plan"] == "pro" for user in found))

    await shards.put_many(
        (f"user:{number}", {"age": number % 90, "plan": "free"}) for number in range(20_000)
    )
    shards.attach(4, DictShard())
    plan = shards.plan([0, 1, 2, 3, 4])
    print("", plan, sep="\n")
    await shards.migrate(plan)
    print("", await shards.distribution_report(), sep="\n")


if __name__ == "__main__":
    asyncio.run(main())
