"""An HTTP server that limits each client's IP address, and two clients: one in a hurry, one polite."""

import asyncio

from aiohttp import ClientSession, TCPConnector, web

from penstock.ratelimit import RateLimiter
from penstock.ratelimit.middleware.aiohttp import RateLimitMiddleware

CLIENTS = {"127.0.0.1": 20, "127.0.0.2": 4}
"""Address and requests a second."""
SECONDS = 2


async def hello(request: web.Request) -> web.Response:
    return web.Response(text=f"hello {request.remote}\n")


async def start_server(limits: RateLimitMiddleware) -> tuple[web.AppRunner, str]:
    app = web.Application(middlewares=[limits])
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    return runner, f"http://{host}:{port}/"


async def call(url: str, address: str, rate: int) -> str:
    """Requests at an even pace; a sign for each answer."""
    signs = ""
    async with ClientSession(connector=TCPConnector(local_addr=(address, 0))) as session:
        for _ in range(rate * SECONDS):
            async with session.get(url) as answer:
                signs += "." if answer.status == 200 else "x"
            await asyncio.sleep(1 / rate)
    return signs


async def main() -> None:
    limits = RateLimitMiddleware(RateLimiter("5/second; burst=3"))
    runner, url = await start_server(limits)
    try:
        calls = [call(url, address, rate) for address, rate in CLIENTS.items()]
        answers = dict(zip(CLIENTS, await asyncio.gather(*calls), strict=True))
        async with ClientSession() as session, session.get(url) as answer:
            fields = {name: answer.headers[name] for name in ("RateLimit-Policy", "RateLimit")}
    finally:
        await runner.cleanup()
    print("Every client may send 5 requests a second, 3 at once.\n")
    print("client       sent  passed  refused  one by one (x: refused)")
    for address, signs in answers.items():
        print(f"{address:<11}{len(signs):6}{signs.count('.'):8}{signs.count('x'):9}  {signs}")
    print("\nEvery answer tells the limit:")
    for name, value in fields.items():
        print(f"  {name}: {value}")


if __name__ == "__main__":
    asyncio.run(main())
