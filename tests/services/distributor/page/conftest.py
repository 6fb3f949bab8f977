"""Fixtures of the tests of the page."""

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from engines import require
from services.distributor.page.page_view import View
from services.distributor.page.scripted_distributor import ScriptedDistributor

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest_asyncio.fixture(loop_scope="module")
async def distributor() -> AsyncIterator[ScriptedDistributor]:
    """What stands behind the page; only this fixture knows that it is scripted."""
    scripted = ScriptedDistributor()
    await scripted.start()
    yield scripted
    scripted.flowing.set()
    await scripted.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    executable = require("chromium")
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="module")
async def view(browser: Browser, distributor: ScriptedDistributor) -> AsyncIterator[View]:
    """The page in a fresh profile, not opened yet. Afterwards: no complaints, and no request elsewhere."""
    context = await browser.new_context(
        locale="en-GB", timezone_id="UTC", viewport={"width": 1280, "height": 900}
    )
    seen = View(await context.new_page(), distributor.url)
    yield seen
    await context.close()
    assert seen.complaints == []
    assert {url for url in seen.requests if not url.startswith(distributor.url)} == set()


@pytest_asyncio.fixture(loop_scope="module")
async def opened(view: View) -> View:
    await view.open()
    return view
