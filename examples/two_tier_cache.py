"""Two processes' caches share values in Redis, each with a front of its own that hears what the other writes.

Starts a redis-server of its own on a free port of this machine; needs that program and redis-py.
"""

import asyncio
import shutil
import socket
import subprocess
import sys
import tempfile
import time

try:
    from redis.asyncio import Redis
    from redis.exceptions import ConnectionError as RedisConnectionError

    from penstock.cache.tiered import TieredCache
except ImportError as missing:
    print(f"nothing to show: {missing}")
    sys.exit()


async def main(program: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", ""]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: ASYNC220
        try:
            await share_prices(f"redis://127.0.0.1:{port}", server)
        finally:
            server.kill()
            server.wait()


async def share_prices(url: str, server: subprocess.Popen[bytes]) -> None:
    async with Redis.from_url(url) as client:
        await answer(client)
        async with (
            TieredCache[float](client, ttl=60, on_error="bypass") as one,
            TieredCache[float](client, ttl=60, on_error="bypass") as other,  # stands for another process
        ):
            caches = (one, other)
            prices = await asyncio.gather(*(cache.get_or_compute("tea", ask_the_shop) for cache in caches))
            print(f"both have {prices}, and the shop was asked once")

            start = time.perf_counter()
            await one.get("tea")
            print(f"from Redis: {(time.perf_counter() - start) * 1e6:.1f} us")
            start = time.perf_counter()
            await one.get("tea")
            print(f"from the front: {(time.perf_counter() - start) * 1e6:.1f} us")

            start = time.perf_counter()
            await other.set("tea", 5.2)
            while await one.get("tea") != 5.2:  # noqa: ASYNC110
                await asyncio.sleep(0)
            print(f"a new price is seen after {(time.perf_counter() - start) * 1000:.1f} ms")

            server.kill()
            server.wait()
            while one.stats().connected:  # noqa: ASYNC110
                await asyncio.sleep(0)
            print(f"without Redis: {await one.get_or_compute('tea', ask_the_shop)}")
            seen = one.stats()
            print(f"{seen.front_hits} hits in front, {seen.redis_hits} in Redis, {seen.misses} miss")


async def answer(client: Redis) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await client.ping()
                break
            except RedisConnectionError:
                await asyncio.sleep(0.01)


async def ask_the_shop(item: str) -> float:
    print(f"the shop is asked for the price of {item}")
    await asyncio.sleep(0.05)
    return 4.8


if __name__ == "__main__":
    found = shutil.which("redis-server")
    if found:
        asyncio.run(main(found))
    else:
        print("nothing to show: redis-server is not installed; scripts/setup-engines installs it")
