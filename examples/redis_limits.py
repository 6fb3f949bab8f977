"""Two clients share a limit that a Redis server keeps, and go on when it is gone.

Starts a redis-server of its own on a free port of this machine; needs that program and redis-py.
"""

import asyncio
import shutil
import socket
import subprocess
import sys
import tempfile

try:
    from penstock.ratelimit.engines.redis import RedisRateLimiter
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
            await share_a_limit(f"redis://127.0.0.1:{port}", server)
        finally:
            server.kill()
            server.wait()


async def share_a_limit(url: str, server: subprocess.Popen[bytes]) -> None:
    quotas = ("5/second", "8/minute")
    async with (
        RedisRateLimiter(*quotas, nodes=url, on_error="refuse", retry_node_after=0.05) as one,
        RedisRateLimiter(*quotas, nodes=url, on_error="allow") as other,
    ):
        if not await one.acquire("user:17", timeout=10):  # refused until the server has started
            raise SystemExit("redis-server does not start")
        for request in range(2, 8):
            limiter = one if request % 2 else other
            result = await limiter.check("user:17")
            left = f"{result.remaining} left" if result else f"again in {result.retry_after:.2f} s"
            print(f"request {request}: {'allowed' if result else 'refused'}, {left}")

        server.kill()
        server.wait()
        print("the server is gone")
        print(f"refuse: {await one.allow('user:17')}, allow: {await other.allow('user:17')}")
        print(other.stats())


if __name__ == "__main__":
    found = shutil.which("redis-server")
    if found:
        asyncio.run(main(found))
    else:
        print("nothing to show: redis-server is not installed; scripts/setup-engines installs it")
