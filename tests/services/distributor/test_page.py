"""What the distributor's page shows and does, in headless Chromium against a scripted distributor.

The page's clock is Playwright's and stands still between polls, so no test waits a second for one.
"""

import base64
import hashlib
import json
import re
from asyncio import Event
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from importlib.resources import files

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page, async_playwright, expect

from engines import require

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]

PAGE = (files("penstock") / "services" / "distributor" / "page.html").read_text(encoding="utf-8")
NOON = datetime(2025, 1, 25, 12)  # noqa: DTZ001  (Playwright takes it as the browser's local time, UTC here)
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
HOSTILE = """"><img src=x onerror="document.title='owned'"><script>document.title='owned'</script>"""


def analyzer(name, weight):
    return {
        "name": f"Analyzer {name}",
        "url": "http://127.0.0.1:9001",
        "is_healthy": True,
        "held_down": False,
        "processed_count": 130 * weight,
        "error_count": 3,
        "weight": weight,
        "target_share": weight / 100,
        "first_assigned": 133 * weight,
        "share": weight / 100 + 0.001,
        "share_error_packets": 0.4,
        "queued": 17,
        "in_flight": 2,
        "last_error": "",
    }


class ScriptedDistributor:
    """Answers as the distributor's API does, with what a test writes into `stats` and `dead_letters`."""

    def __init__(self):
        self.port = 0
        self.dead_letters = []
        self.dead_letter_reads = 0
        self.searched_for = []
        self.health_posts = []
        self.refusal = None  # a problem that health posts are answered with
        self.fault = None  # a response that stats are answered with
        self.flowing = Event()  # cleared: stats are not answered at all
        self.flowing.set()
        self.stats = {
            "packet_channel_util_percent": 23.4,
            "result_channel_util_percent": 78,
            "retry_channel_util_percent": 97.5,
            "uptime_seconds": 323.5,
            "status": "healthy",
            "draining": False,
            "durability": "fsync",
            "accepted": 12_503,
            "messages_accepted": 28_300,
            "delivered": 12_431,
            "dead": 0,
            "pending": 72,
            "retrying": 7,
            "refused": 4,
            "duplicates": 1,
            "conservation_error": 0,
            "analyzers": {f"a{i}": analyzer("ABCD"[i], 40 - 10 * i) for i in range(4)},
        }

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def count(self, seconds=1.0, accepted=0, messages=0, delivered=0):
        gains = {"uptime_seconds": seconds, "accepted": accepted, "messages_accepted": messages}
        for name, gain in (gains | {"delivered": delivered}).items():
            self.stats[name] += gain

    def bury(self, packet_id, *messages, error="analyzer crashed during processing"):
        self.stats["dead"] += 1
        self.dead_letters.append(
            {
                "packet": {"id": packet_id, "messages": messages, "retry_count": 3},
                "final_error": error,
                "failed_at": f"2025-01-25T10:00:{self.stats['dead']:02}Z",
            }
        )

    async def start(self):
        app = web.Application()
        app.router.add_get("/", self.answer_page)
        app.router.add_get("/api/v1/stats", self.answer_stats)
        app.router.add_get("/api/v1/dead-letter", self.answer_dead_letters)
        app.router.add_post("/api/v1/analyzers/{id}/health", self.answer_health)
        self.runner = web.AppRunner(app, shutdown_timeout=0)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self.runner.addresses[0][1]

    async def stop(self):
        await self.runner.cleanup()

    async def answer_page(self, request):
        return web.Response(text=PAGE, content_type="text/html")

    async def answer_stats(self, request):
        await self.flowing.wait()
        return self.fault or web.json_response(self.stats)

    async def answer_dead_letters(self, request):
        self.dead_letter_reads += 1
        self.searched_for.append(query := request.query.get("q", ""))
        if query.endswith(":"):
            refusal = {"title": "Bad Request", "detail": "q cannot be read: a word must follow"}
            return web.json_response(refusal, status=400, content_type="application/problem+json")
        matching = [letter for letter in self.dead_letters if query in json.dumps(letter)]
        told = {"Penstock-Found": str(len(matching)), "Penstock-Searched": str(len(self.dead_letters))}
        return web.json_response(matching[-int(request.query["limit"]) :], headers=told if query else None)

    async def answer_health(self, request):
        told, analyzer_id = await request.json(), request.match_info["id"]
        self.health_posts.append((analyzer_id, request.content_type, told))
        if self.refusal is not None:
            return web.json_response(self.refusal, status=409, content_type="application/problem+json")
        self.stats["analyzers"][analyzer_id].update(is_healthy=told["healthy"], held_down=not told["healthy"])
        return web.json_response({})


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

    def row(self, name):
        return self.page.get_by_role("row").filter(has_text=name)

    def cell(self, row, name):
        return self.row(row).locator(f"[data-value={name}]")

    async def shows(self, **values):
        for name, value in values.items():
            await expect(self.value(name)).to_have_text(value)

    def forgive_lost_connections(self):
        """Chromium itself writes a line for each; the page cannot keep it from that."""
        self.complaints = [text for text in self.complaints if "Failed to load resource" not in text]


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


async def test_the_policy_lets_only_the_pages_own_style_and_script_run():
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', PAGE)[1]
    assert "unsafe" not in policy
    for tag in ["style", "script"]:
        body = re.search(rf"<{tag}\b[^>]*>(.*?)</{tag}>", PAGE, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy, f"write {tag}-src 'sha256-{digest}' into page.html"


async def test_page_shows_the_state_and_the_totals(opened):
    await expect(opened.find("#state")).to_have_text("healthy")
    await expect(opened.page).to_have_title("healthy · penstock")
    await opened.shows(durability="fsync", uptime="0:05:23", accepted="12,503", delivered="12,431", dead="0")
    await opened.shows(pending="72", retrying="7", refused="4", duplicates="1", messages_accepted="28,300")


async def test_page_shows_how_full_the_queues_are(opened):
    await opened.shows(packet_channel_util_percent="23.4 %", result_channel_util_percent="78.0 %")
    meters = opened.page.get_by_role("meter")
    assert [await meter.get_attribute("aria-valuenow") for meter in await meters.all()] == [
        "23.4",
        "78",
        "97.5",
    ]
    assert [await meter.get_attribute("data-level") for meter in await meters.all()] == ["", "high", "full"]


async def test_uptime_of_days_is_readable(view, distributor):
    distributor.stats["uptime_seconds"] = 2 * 86_400 + 3 * 3600 + 4 * 60 + 5.9
    await view.open()
    await view.shows(uptime="2 d 3:04:05")


async def test_rates_are_gains_over_the_servers_own_seconds(opened, distributor):
    await opened.shows(accepted_rate="–", messages_rate="–", delivered_rate="–")
    distributor.count(seconds=2, accepted=2468, messages=9000, delivered=7)
    await opened.poll()
    await opened.shows(accepted="14,971", accepted_rate="1,234", messages_rate="4,500", delivered_rate="3.5")
    distributor.count(seconds=1)
    await opened.poll()
    await opened.shows(accepted_rate="0.0")


async def test_rates_fall_back_to_the_browsers_clock(view, distributor):
    del distributor.stats["uptime_seconds"]
    distributor.stats["uptime"] = "5m23.891s"
    await view.open()
    distributor.stats["accepted"] += 50
    await view.poll()
    await view.shows(uptime="5m23.891s", accepted_rate="50")


@pytest.mark.parametrize("back", [{"uptime_seconds": 0.5}, {"uptime_seconds": 400, "accepted": 3}])
async def test_a_restart_is_marked_and_gives_no_rate(opened, distributor, back):
    distributor.stats |= back
    await opened.poll()
    await opened.shows(accepted_rate="–")
    assert await opened.find("#restarts").get_attribute("d")
    distributor.count(accepted=20)
    await opened.poll()
    await opened.shows(accepted_rate="20")


async def test_chart_draws_both_rates_and_reads_out_a_second(opened, distributor):
    for gain in [100, 200, 150]:
        distributor.count(accepted=gain, delivered=gain // 2)
        await opened.poll()
    assert (await opened.find("#accepted").get_attribute("d")).count(",") == 3
    assert (await opened.find("#delivered").get_attribute("d")).count(",") == 3
    await expect(opened.find("#grid")).to_contain_text("200")
    chart = opened.find("#chart")
    await chart.focus()
    await opened.page.keyboard.press("ArrowLeft")
    await expect(opened.find("#readout")).to_have_text("12:00:03  accepted 200/s  delivered 100/s")
    assert await chart.get_attribute("aria-valuetext") == await opened.find("#readout").text_content()
    await chart.hover(position={"x": (await chart.bounding_box())["width"] - 7, "y": 50})
    await expect(opened.find("#readout")).to_have_text("12:00:04  accepted 150/s  delivered 75/s")
    assert await opened.find("#cursor").get_attribute("d")
    await opened.page.mouse.move(5, 5)
    await expect(opened.find("#readout")).to_be_empty()


async def test_chart_forgets_what_is_older_than_five_minutes(opened, distributor):
    distributor.count(accepted=4000)
    await opened.poll()
    await expect(opened.find("#grid")).to_contain_text("4,000")
    await opened.run_for(301)
    await opened.answered()
    distributor.count(accepted=1)
    await opened.poll()
    await expect(opened.find("#grid")).not_to_contain_text("4,000")


async def test_analyzers_show_their_counts(opened, distributor):
    await expect(opened.find("#up")).to_have_text("4 of 4 up")
    for name, shown in {"id": "a0", "health": "up", "processed": "5,200", "errors": "3"}.items():
        await expect(opened.cell("Analyzer A", name)).to_have_text(shown)
    for name, shown in {"queued": "17", "in_flight": "2", "last_error": "–"}.items():
        await expect(opened.cell("Analyzer A", name)).to_have_text(shown)


async def test_share_stands_beside_its_target(view, distributor):
    distributor.stats["analyzers"]["a3"].update(share=0.05, share_error_packets=-66.25)
    await view.open()
    for name, shown in {"share": "5.0 %", "target": "of 10.0 %", "off": "−66.3 packets"}.items():
        await expect(view.cell("Analyzer D", name)).to_have_text(shown)
    bar = view.row("Analyzer D").locator(".bar")
    full, fill, mark = [await part.bounding_box() for part in [bar, bar.locator("i"), bar.locator("u")]]
    target = mark["x"] + mark["width"] / 2 - full["x"]
    assert fill["width"] == pytest.approx(target / 2, abs=0.6)


async def test_down_analyzer_is_marked_in_words_and_colour_and_announced(opened, distributor):
    colour = "node => getComputedStyle(node).color"
    state = opened.cell("Analyzer B", "health")
    green = await state.evaluate(colour)
    distributor.stats["status"] = "degraded"
    distributor.stats["analyzers"]["a1"].update(is_healthy=False, last_error="connection refused")
    await opened.poll()
    await expect(state).to_have_text("down")
    assert await state.evaluate(colour) != green
    await expect(opened.cell("Analyzer B", "last_error")).to_have_text("connection refused")
    await expect(opened.find("#up")).to_have_text("3 of 4 up")
    await expect(opened.find("#state")).to_have_text("degraded")
    await expect(opened.page.get_by_role("status")).to_have_text("Analyzer B: down")


async def test_analyzers_that_come_and_go_are_followed(opened, distributor):
    del distributor.stats["analyzers"]["a1"]
    distributor.stats["analyzers"]["a9"] = analyzer("Z", 5)
    await opened.poll()
    await expect(opened.find("#analyzers b")).to_have_text(
        ["Analyzer A", "Analyzer C", "Analyzer D", "Analyzer Z"]
    )


async def test_draining_is_a_state_of_its_own(view, distributor):
    distributor.stats["draining"] = True
    await view.open()
    await expect(view.find("#state")).to_have_text("draining")


async def test_a_conservation_error_is_red(opened, distributor):
    error = opened.value("conservation_error")
    await expect(error).not_to_have_class("bad")
    distributor.stats["conservation_error"] = -2
    await opened.poll()
    await expect(error).to_have_text("-2")
    await expect(error).to_have_class("bad")


async def test_hostile_strings_are_text(view, distributor):
    hostile = analyzer(HOSTILE, 10) | {"last_error": HOSTILE, "processed_count": HOSTILE}
    distributor.stats |= {
        "durability": HOSTILE,
        "status": HOSTILE,
        "accepted": HOSTILE,
        "uptime_seconds": HOSTILE,
    }
    distributor.stats["analyzers"] = {HOSTILE: hostile, "__proto__": analyzer("P", 10)}
    distributor.bury(HOSTILE, {"level": HOSTILE, "message": HOSTILE, "source": HOSTILE}, error=HOSTILE)
    distributor.refusal = {"title": HOSTILE, "detail": HOSTILE}
    await view.open()
    await view.find("summary").click()
    await view.find("#analyzers button").first.click()
    await expect(view.find("#refusal")).to_contain_text(HOSTILE)
    await expect(view.find(".messages span")).to_have_text([HOSTILE] * 3)
    await expect(view.cell(HOSTILE, "last_error")).to_have_text(HOSTILE)
    await expect(view.find("#state")).to_have_text(HOSTILE)
    assert distributor.health_posts[0][0] == HOSTILE
    await view.poll(2)
    assert await view.find("img, body script ~ script, td script").count() == 0
    await expect(view.page).not_to_have_title("owned")
    view.forgive_lost_connections()


@pytest.mark.parametrize(
    "stats",
    [
        {},
        [],
        "stats",
        {"analyzers": None},
        {"analyzers": {"a0": None}},
        {"analyzers": [7], "dead": "x", "accepted": {}},
    ],
    ids=str,
)
async def test_absent_and_senseless_fields_are_a_dash(view, distributor, stats):
    distributor.stats = stats
    await view.open()
    await view.poll(2)
    await view.shows(accepted="–", accepted_rate="–", uptime="–", packet_channel_util_percent="–")
    await expect(view.find("#state")).to_have_text("unknown")


async def test_server_that_goes_away_is_missed_and_found_again(opened, distributor):
    distributor.count(accepted=100)
    await opened.poll()
    await distributor.stop()
    await opened.poll_in_vain()
    await expect(opened.find("#contact")).to_have_text("no answer since 12:00:02, retrying")
    await expect(opened.find("#state")).to_have_text("no answer")
    await expect(opened.page.get_by_role("status")).to_have_text("Service: no answer")
    await opened.shows(accepted="12,603", accepted_rate="–")
    distributor.count(seconds=10, accepted=5000)
    await distributor.start()
    await opened.poll()
    await expect(opened.find("#state")).to_have_text("healthy")
    await opened.shows(accepted="17,603", accepted_rate="–")
    distributor.count(accepted=30)
    await opened.poll()
    await opened.shows(accepted_rate="30")
    opened.forgive_lost_connections()


async def test_server_that_hangs_counts_as_gone(opened, distributor):
    distributor.flowing.clear()
    await opened.run_for(1)
    await opened.run_for(4)
    await expect(opened.find("#contact")).to_have_text("no answer since 12:00:01, retrying")
    distributor.flowing.set()
    await opened.poll()
    await expect(opened.find("#state")).to_have_text("healthy")


@pytest.mark.parametrize(("status", "body"), [(503, '{"title": "Draining"}'), (200, "<html>"), (200, "")])
async def test_an_answer_that_is_none_counts_as_gone(opened, distributor, status, body):
    distributor.fault = web.Response(status=status, text=body)
    await opened.poll_in_vain()
    await expect(opened.find("#state")).to_have_text("no answer")
    opened.forgive_lost_connections()


async def test_button_holds_an_analyzer_down_and_puts_it_back(opened, distributor):
    await opened.page.get_by_role("button", name="Hold down Analyzer C").click()
    await expect(opened.cell("Analyzer C", "health")).to_have_text("held down")
    await opened.page.get_by_role("button", name="Put back Analyzer C").click()
    await expect(opened.cell("Analyzer C", "health")).to_have_text("up")
    expected = [("a2", "application/json", {"healthy": healthy}) for healthy in [False, True]]
    assert distributor.health_posts == expected


async def test_refused_hold_down_says_why_until_the_next_try(opened, distributor):
    distributor.refusal = {"title": "Conflict", "detail": "analyzer a2 is the last one up"}
    button = opened.page.get_by_role("button", name="Hold down Analyzer C")
    await button.click()
    told = opened.page.get_by_role("alert")
    await expect(told).to_have_text("a2 not held down: Conflict: analyzer a2 is the last one up")
    await expect(button).to_be_enabled()
    distributor.refusal = None
    await button.click()
    await expect(told).to_be_empty()
    opened.forgive_lost_connections()


async def test_focus_and_selection_survive_an_update(opened, distributor):
    await opened.page.get_by_role("button", name="Hold down Analyzer C").focus()
    distributor.stats["analyzers"]["a2"]["processed_count"] += 1
    await opened.poll()
    await expect(opened.page.get_by_role("button", name="Hold down Analyzer C")).to_be_focused()


async def test_dead_letters_open_to_their_messages_newest_first(view, distributor):
    distributor.bury("packet-1", error="HTTP 500")
    lines = [
        {"level": "ERROR", "message": "Database <b>gone</b>", "source": "api"},
        {"message": "second\nline"},
    ]
    distributor.bury("packet-2", *lines)
    await view.open()
    await expect(view.find(".letter code")).to_have_text(["packet-2", "packet-1"])
    await expect(view.find(".letter .why")).to_have_text(["analyzer crashed during processing", "HTTP 500"])
    await expect(view.find(".letter [data-value=failed_at]").first).to_have_text("2025-01-25 10:00:02")
    await expect(view.find(".letter [data-value=size]")).to_have_text(["2 messages", "0 messages"])
    await view.find("summary").first.click()
    shown = ["ERROR", "api", "Database <b>gone</b>", "–", "–", "second\nline"]
    await expect(view.find(".messages span")).to_have_text(shown)


async def test_dead_letters_are_read_again_only_when_there_are_more_and_stay_open(view, distributor):
    for i in range(25):
        distributor.bury(f"packet-{i}", {"message": f"lost {i}"})
    await view.open()
    await expect(view.find("#letters-note")).to_have_text("last 20 of 25")
    await view.find("summary").first.click()
    await view.poll(6)
    assert distributor.dead_letter_reads == 1
    distributor.bury("packet-25")
    await view.poll()
    await expect(view.find(".letter code").first).to_have_text("packet-25")
    await expect(view.find(".letter[open] .messages")).to_contain_text("lost 24")
    await expect(view.find(".letter")).to_have_count(20)
    distributor.bury("packet-26")
    await view.poll(4)
    assert distributor.dead_letter_reads == 2
    await view.poll()
    await expect(view.find(".letter code").first).to_have_text("packet-26")


async def test_dead_letters_are_searched_as_one_types(view, distributor):
    for i in range(25):
        distributor.bury(f"packet-{i}", {"message": "disk full" if i % 5 == 0 else "timeout"})
    await view.open()
    box = view.page.get_by_role("searchbox", name="Search dead letters")
    await box.press_sequentially("disk & co")
    await view.run_for(0.3)
    await expect(view.find("#letters-note")).to_have_text("0 of 25 match")
    await box.fill(" disk ")
    await view.run_for(0.3)
    await expect(view.find("#letters-note")).to_have_text("5 of 25 match")
    await expect(view.find(".letter code").first).to_have_text("packet-20")
    assert distributor.searched_for == ["", "disk & co", "disk"], "not for every letter that was typed"
    distributor.bury("packet-25", {"message": "disk full"})
    await view.run_for(6)
    await expect(view.find("#letters-note")).to_have_text("6 of 26 match")
    await box.fill("timeout")
    await view.run_for(0.3)
    await expect(view.find("#letters-note")).to_have_text("20 of 26 match")
    distributor.bury("packet-26", {"message": "timeout"})
    await view.run_for(6)
    await expect(view.find("#letters-note")).to_have_text("last 20 of 21 that match")
    await box.fill("")
    await view.run_for(0.3)
    await expect(view.find("#letters-note")).to_have_text("last 20 of 27")


async def test_search_that_cannot_be_read_says_why(view, distributor):
    distributor.bury("packet-1", {"message": "lost"})
    await view.open()
    box = view.page.get_by_role("searchbox", name="Search dead letters")
    await box.fill("level:")
    await view.run_for(0.3)
    await expect(view.find("#letters-note")).to_have_text(
        "not searched: Bad Request: q cannot be read: a word must follow"
    )
    view.forgive_lost_connections()
    await box.fill("lost")
    await view.run_for(0.3)
    await expect(view.find("#letters-note")).to_have_text("1 of 1 match")


async def test_a_large_dead_letter_is_shown_in_part(view, distributor):
    distributor.bury("large", *[{"message": "x" * 5000}] * 103)
    await view.open()
    await view.find("summary").click()
    await expect(view.find(".messages li")).to_have_count(101)
    await expect(view.find(".messages li").last).to_contain_text("and 3 more messages")
    assert len(await view.find(".messages li").first.text_content()) < 2010


async def test_sample_command_is_copied(opened, distributor):
    await opened.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await opened.page.get_by_role("button", name="Copy").click()
    await expect(opened.page.get_by_role("button", name="Copied")).to_be_visible()
    copied = await opened.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"curl -X POST {distributor.url}api/v1/logs \\\n")


async def test_sample_command_is_selected_where_copying_is_forbidden(opened):
    await opened.page.evaluate(
        "() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')) }"
    )
    await opened.page.get_by_role("button", name="Copy").click()
    await expect(opened.page.get_by_role("button", name="Selected: press Ctrl+C")).to_be_visible()
    assert (await opened.page.evaluate("getSelection().toString()")).startswith("curl -X POST")


async def test_footer_links_to_the_api(opened, distributor):
    links = await opened.find("footer a").evaluate_all("links => links.map(link => link.href)")
    paths = ["api/v1/stats", "api/v1/health", "api/v1/analyzers", "metrics"]
    assert links == [distributor.url + path for path in paths]


@pytest.mark.parametrize("width", [320, 390, 768, 1101, 1280])
async def test_nothing_is_wider_than_the_window(view, distributor, width):
    await view.page.set_viewport_size({"width": width, "height": 844})
    long = "unbreakable" * 40
    distributor.stats |= {"accepted": 10**12, "delivered": 10**12, "durability": long[:30]}
    distributor.stats["analyzers"][long] = analyzer(long, 10) | {
        "last_error": long,
        "processed_count": 10**12,
    }
    distributor.bury(long, {"level": long, "message": long, "source": long}, error=long)
    await view.open()
    await view.find("summary").click()
    distributor.count(accepted=10**7, messages=10**8, delivered=10**7)
    await view.poll()
    assert await view.page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("width", [390, 1280])
async def test_nothing_jumps_when_numbers_grow_or_the_server_goes(view, distributor, width):
    await view.page.set_viewport_size({"width": width, "height": 844})
    await view.open()
    tops = (
        "[...document.querySelectorAll('.sheet > *, tbody tr')].map(node => node.getBoundingClientRect().top)"
    )
    before = await view.page.evaluate(tops)
    distributor.count(seconds=1, accepted=123_456, messages=654_321, delivered=99_999)
    distributor.stats["analyzers"]["a1"].update(
        is_healthy=False, last_error="connection refused " * 20, share_error_packets=-1234.5
    )
    distributor.stats |= {
        "status": "unhealthy",
        "pending": 23_529,
        "retrying": 4000,
        "conservation_error": 12,
    }
    await view.poll()
    assert await view.page.evaluate(tops) == before
    await distributor.stop()
    await view.poll_in_vain()
    assert await view.page.evaluate(tops) == before
    view.forgive_lost_connections()


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip([0.2126, 0.7152, 0.0722], linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_has_the_contrast_of_wcag_aa(view, scheme):
    await view.page.emulate_media(color_scheme=scheme)
    await view.open()
    colour = "name => getComputedStyle(document.documentElement).getPropertyValue('--' + name)"
    sheet = luminance((await view.page.evaluate(colour, "sheet") + "fff")[:7])
    for name in ["ink", "dim", "water", "good", "warn", "bad"]:
        lower, upper = sorted([sheet, luminance(await view.page.evaluate(colour, name))])
        assert (upper + 0.05) / (lower + 0.05) >= 4.5, name


async def test_bars_keep_still_for_who_asked_for_less_motion(view):
    await view.page.emulate_media(reduced_motion="reduce")
    await view.open()
    moving = "bar => getComputedStyle(bar).transitionDuration"
    assert await view.find(".bar i").first.evaluate(moving) == "0s"


async def test_headings_and_tables_have_their_roles_on_a_phone_too(view):
    await view.page.set_viewport_size({"width": 390, "height": 844})
    await view.open()
    await expect(view.page.get_by_role("table", name="Analyzers").get_by_role("rowheader")).to_have_count(4)
    await expect(view.page.get_by_role("heading", level=1)).to_have_text("penstock logs distributor")
