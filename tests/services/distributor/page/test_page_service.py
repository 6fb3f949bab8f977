"""The distributor's page with the distributor itself behind it: what the scripted one cannot promise."""

import asyncio
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import expect

from penstock.services.distributor.config import ApiKey
from penstock.services.distributor.rest.tail import WATCHERS
from services.distributor.page.page_view import View
from services.distributor.serving import serving

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]

SHOWN = {"Authorization": "Bearer a-key-that-may-operate"}
KEYS = (
    ApiKey("operator", "a-key-that-may-operate", may_operate=True),
    ApiKey("reader", "a-key-that-may-only-look", may_send=False, may_read=True),
    ApiKey("sender", "a-key-that-may-only-send"),
)


@asynccontextmanager
async def seen_page(browser, service):
    """The page of a service, by the browser's own clock; afterwards: no complaints but of refusals."""
    context = await browser.new_context(locale="en-GB", timezone_id="UTC")
    view = View(await context.new_page(), service.url + "/")
    await view.page.goto(view.url)
    yield view
    await context.close()
    view.forgive_lost_connections()
    assert view.complaints == []


@pytest_asyncio.fixture(loop_scope="module")
async def served(browser, tmp_path):
    async with serving(tmp_path, max_attempts=1) as service, seen_page(browser, service) as view:
        await expect(view.find("#state")).to_have_text("healthy")
        yield service, view


def packet(id_, message="gone", level="ERROR"):
    return {"id": id_, "messages": [{"level": level, "message": message, "source": "api"}]}


async def test_figures_arrive_where_they_belong(served):
    service, view = served
    await service.logs([packet(f"p{i}") for i in range(10)], 202)
    await view.shows(accepted="10", delivered="10", pending="0", conservation_error="0", durability="os")
    await expect(view.value("accept_p50")).to_contain_text("ms")
    await expect(view.cell("a1", "delivery")).to_contain_text(" ms / ")
    for id_, share in {"a1": "40.0 %", "a2": "30.0 %", "a3": "20.0 %", "a4": "10.0 %"}.items():
        await expect(view.cell(id_, "share")).to_have_text(share)
        await expect(view.cell(id_, "minute")).to_have_text(share)


async def test_an_analyzer_is_drained_weighed_removed_and_added(served):
    service, view = served
    await view.button("Change a3").click()
    await view.page.get_by_role("combobox", name="for").select_option("10 minutes")
    await view.page.get_by_label("reason").fill("disk swap")
    await view.button("Hold").click()
    await expect(view.cell("a3", "health")).to_have_text("draining")
    await expect(view.cell("a3", "override")).to_contain_text(": disk swap")
    circuit = service.distributor.fleet["a3"].circuit
    assert (circuit.overridden, circuit.reason) == ("drain", "disk swap")
    await view.button("Put back a3").click()
    await expect(view.cell("a3", "health")).to_have_text("up")

    await view.button("Change a3").click()
    await view.page.get_by_role("dialog").get_by_label("weight").fill("1.0")
    await expect(view.find("#weighed")).to_have_text("that is 55.6 % of group default, tier 0")
    await view.button("Set weight").click()
    await expect(view.cell("a3", "target")).to_have_text("of 55.6 %")

    await view.button("Change a4").click()
    await view.button("Remove…").click()
    await view.button("Remove it").click()
    await expect(view.find("#up")).to_have_text("3 of 3 up")

    url = service.distributor.config.analyzers[0].url
    await view.button("Add analyzer…").click()
    dialog = view.page.get_by_role("dialog", name="Add an analyzer")
    await dialog.get_by_label("id").fill("a9")
    await dialog.get_by_label("URL").fill(url)
    await dialog.get_by_label("tier").fill("1")
    await dialog.get_by_role("button", name="Add", exact=True).click()
    await expect(view.find("#up")).to_have_text("4 of 4 up")
    await expect(view.find("#analyzers .group").last).to_have_text("default tier 1, 1 of 1 up, in reserve")


async def test_dead_letters_are_found_replayed_and_purged(served):
    service, view = served
    service.books.fails = lambda id_, retry_count: True
    await service.logs([packet(f"p{i}", "disk full" if i % 2 else "timeout") for i in range(6)], 202)
    await expect(view.find("#letters-note")).to_have_text("6", timeout=10_000)
    service.books.fails = lambda id_, retry_count: False
    await view.page.get_by_role("searchbox", name="Search dead letters").fill("timeout")
    await expect(view.find("#letters-note")).to_have_text("3 of 6 match")
    await view.button("Replay those found…").click()
    await expect(view.find("#question-title")).to_have_text("Replay 3 dead letters that match “timeout”?")
    await view.button("Replay").click()
    await expect(view.find("#replay-note")).to_have_text("replayed 3 of 3; done")
    await view.shows(replayed="3", delivered="3", dead="6", conservation_error="0")
    await view.page.get_by_role("searchbox", name="Search dead letters").fill("")
    await expect(view.find("#letters-note")).to_have_text("3")
    await view.button("Purge all…").click()
    await view.button("Purge 3").click()
    await view.announces("3 dead letters purged")
    await expect(view.find("#letters-note")).to_have_text("none", timeout=10_000)
    assert (await service.get("/api/v1/stats")).json["purged"] == 3


async def test_the_tail_shows_what_goes_by_and_leads_to_its_story(served):
    service, view = served
    await view.page.get_by_role("combobox", name="level").fill("warn")
    await view.button("Start").click()
    await expect(view.find("#tail-note")).to_have_text("watching")
    async with asyncio.timeout(10):
        while not service.app[WATCHERS]:
            await asyncio.sleep(0.005)
    await service.logs([packet("quiet", level="INFO"), packet("loud", "<b>bold</b>", level="WARN")], 202)
    rows = view.find("#tail li")
    await expect(rows).to_have_count(2)
    await expect(rows.locator(".what")).to_have_text(["delivered", "accepted"])
    await expect(rows.last.locator(".said")).to_have_text("WARN api <b>bold</b>")
    await rows.last.get_by_role("button", name="Story of loud").click()
    await expect(view.find("#story .what")).to_have_text(["accepted", "delivered"])


async def test_keys_open_what_they_may(browser, tmp_path):
    async with serving(tmp_path, api_keys=KEYS) as service, seen_page(browser, service) as view:
        await expect(view.find("#state")).to_have_text("key wanted")
        for key, note in [
            ("a-key-that-is-not-there", "The service does not take this key."),
            ("a-key-that-may-only-send", "This key may not read: it is one for sending."),
            ("a-key-that-may-only-look", ""),
        ]:
            await view.page.get_by_label("key", exact=True).fill(key)
            await view.button("Use it").click()
            await expect(view.find("#key-note")).to_contain_text(note)
        await expect(view.find("#state")).to_have_text("healthy")
        await view.button("Hold down a1").click()
        await expect(view.find("#refusal")).to_contain_text("the API key of reader must have may_operate")
        await view.button("API key").click()
        await view.page.get_by_label("key", exact=True).fill("a-key-that-may-operate")
        await view.button("Use it").click()
        await view.button("Hold down a1").click()
        await expect(view.cell("a1", "health")).to_have_text("held down")
        assert (await service.get("/api/v1/stats", headers=SHOWN)).json["analyzers"]["a1"]["held_down"]
