"""An HTTP client over three servers: one is twice as strong, one breaks, and its requests go elsewhere."""

import asyncio
from collections import Counter

from aiohttp import web

from penstock.balancing import LeastConnections, RoundRobin
from penstock.balancing.session import BalancedSession


async def serve(name: str) -> tuple[str, web.AppRunner]:
    """Starts a server on a free port that says its name."""

    async def say(_: web.Request) -> web.Response:
        return web.Response(text=name)

    app = web.Application()
    app.router.add_get("/", say)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}", runner


async def ask(session: BalancedSession, n: int) -> Counter[str]:
    answers: Counter[str] = Counter()
    for _ in range(n):
        async with session.get("/") as response:
            answers[await response.text()] += 1
    return answers


async def main() -> None:
    servers = [await serve(name) for name in ("one", "two", "strong")]
    urls = [url for url, _ in servers]
    async with BalancedSession(dict(zip(urls, [1, 1, 2], strict=True))) as session:
        print("by weight:     ", dict(await ask(session, 40)))
        await servers[0][1].cleanup()
        print("one is gone:   ", dict(await ask(session, 30)))
        failures = [figures.failures for figures in session.balancer.stats().values()]
        print("failures seen: ", failures)
        session.balancer.remove(urls[0])
        print("and removed:   ", dict(await ask(session, 30)))

    for policy in (RoundRobin(), LeastConnections()):
        async with BalancedSession(dict.fromkeys(urls[1:], 1), policy=policy) as session:
            print(f"{type(policy).__name__:15}", dict(await ask(session, 10)))
    for _, runner in servers[1:]:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
