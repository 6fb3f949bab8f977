"""The page as a person sees it.

Its clock is Playwright's and stands still between polls, so no test waits a second for one.
"""

from datetime import datetime, timedelta

from playwright.async_api import Page, expect

NOON = datetime(2025, 1, 25, 12)  # noqa: DTZ001  (Playwright takes it as the browser's local time, UTC here)


class View:
    """The page as a person sees it, and the hand on its clock."""

    def __init__(self, page: Page, url: str):
        self.page = page
        self.url = url
        self.now = NOON
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    async def open(self):
        await self.page.clock.install(time=self.now)
        await self.pause_at(self.now + timedelta(seconds=1))
        await self.page.goto(self.url)
        await self.answered()

    async def pause_at(self, time):
        self.now = time
        await self.page.clock.pause_at(time)

    async def run_for(self, seconds):
        self.now += timedelta(seconds=seconds)
        await self.page.clock.run_for(seconds * 1000)

    async def skip(self, seconds):
        """Time passes at once, as on a machine that slept: what was due meanwhile happens once."""
        self.now += timedelta(seconds=seconds)
        await self.page.clock.fast_forward(seconds * 1000)

    async def poll(self, times=1):
        for _ in range(times):
            await self.run_for(1)
            await self.answered()

    async def answered(self):
        await expect(self.find("#contact")).to_have_text(f"last answer {self.now:%H:%M:%S}")

    async def poll_in_vain(self):
        await self.run_for(1)
        await expect(self.find("#contact")).to_contain_text("retrying")

    def find(self, selector):
        return self.page.locator(selector)

    def value(self, name):
        return self.find(f".sheet [data-value={name}]").first

    def button(self, name):
        return self.page.get_by_role("button", name=name, exact=True)

    def row(self, name):
        return self.page.get_by_role("row").filter(has_text=name)

    def cell(self, row, name):
        return self.row(row).locator(f"[data-value={name}]")

    async def shows(self, **values):
        for name, value in values.items():
            await expect(self.value(name)).to_have_text(value)

    async def announces(self, words):
        await expect(self.find("#announcer")).to_have_text(words)

    def forgive_lost_connections(self):
        """Chromium itself writes a line for each; the page cannot keep it from that."""
        self.complaints = [text for text in self.complaints if "Failed to load resource" not in text]
