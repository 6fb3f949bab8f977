"""Crawl a small site of this process, politely, and print what its pages are called and what is broken."""

import asyncio
from contextlib import asynccontextmanager

from aiohttp import web

from penstock.services.scraper.config import ScrapeSettings
from penstock.services.scraper.crawler import open_crawler
from penstock.services.scraper.model import Start

PAGES = {
    "/robots.txt": "User-agent: *\nDisallow: /private/",
    "/": "<title>Home</title><a href=/news>news</a> <a href=/./news#a>again</a> <a href=/private/x>x</a>",
    "/news": "<title>News</title><p class=price>12 €</p><p class=price>15 €</p><a href=/gone>gone</a>",
}


async def answer(request: web.Request) -> web.Response:
    text = PAGES.get(request.path)
    return web.Response(text=text or "not found", status=200 if text else 404, content_type="text/html")


@asynccontextmanager
async def served():
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}/".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


async def main() -> None:
    settings = ScrapeSettings(rate=50, allow_private=True, selectors={"prices": ".price"})
    async with served() as url, open_crawler(settings) as crawler:
        pages = []
        await crawler.crawl([Start(url)], [pages.append])
        for page in pages:
            path = page.url.removeprefix(url[:-1])
            what = page.error or page.title or "broken"
            print(f"{page.status:3}  {path:12} {what:25} {page.selected.get('prices', '')}")


if __name__ == "__main__":
    asyncio.run(main())
