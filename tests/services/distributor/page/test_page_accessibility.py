"""Whether the distributor's page can be used by everybody, as axe-core sees it."""

import asyncio
from importlib.resources import files

import pytest
from playwright.async_api import expect

from services.distributor.page.scripted_distributor import analyzer

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]

AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
RUN = "axe.run(document, { resultTypes: ['violations'] })"


async def violations(view):
    """What is wrong, with an example of each."""
    async with asyncio.timeout(30):
        found = (await view.page.evaluate(RUN))["violations"]
    return [(one["id"], one["help"], one["nodes"][0]["html"]) for one in found]


def much_to_show(distributor):
    distributor.stats["analyzers"] |= {
        "b": analyzer("b", 3) | {"group": "errors", "tier": 1, "is_healthy": False}
    }
    distributor.stats["analyzers"]["a1"] |= {
        "override": "drain",
        "override_ends_in": 600,
        "is_healthy": False,
    }
    distributor.stats["inputs"] = {"otlp": {"received": 7, "stored": 6, "refused": 1}}
    distributor.stats["fleet"] = {"nodes": {"one": {"accepted": 3, "seen_seconds_ago": 40}}}
    distributor.stats |= {"lost": 3, "conservation_error": 1}
    for level in ["ERROR", "WARN", "INFO"]:
        distributor.bury(level, {"level": level, "message": "lost", "source": "api"})
    happened = [
        {"at": "2025-01-25T10:00:00Z", "what": what} for what in ("accepted", "retry", "dead", "replayed")
    ]
    distributor.stories["ERROR"] = [*happened, {"what": "delivered"}]


async def show_everything(view, distributor):
    await view.find("summary").first.click()
    await view.find(".letter[open] .replay-one").click()
    await view.find("#story-id").fill("ERROR")
    await view.button("Tell").click()
    await expect(view.find("#story li")).to_have_count(5)
    await view.button("Start").click()
    await distributor.watched()
    for what in ["accepted", "delivered", "retry", "dead", "replayed"]:
        distributor.pass_by(what, what=what, id=what, error="why", at="2025-01-25T10:00:00Z")
    await expect(view.find("#tail li")).to_have_count(5)


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
)
async def test_the_page_keeps_the_rules_of_wcag(view, distributor, width, scheme):
    await view.page.set_viewport_size({"width": width, "height": 844})
    await view.page.emulate_media(color_scheme=scheme)
    much_to_show(distributor)
    await view.page.goto(view.url)  # by the browser's own clock, which axe needs
    await view.page.evaluate(AXE)
    await show_everything(view, distributor)
    assert await violations(view) == []
    for opening, closing in [
        ("Add analyzer…", "Cancel"),
        ("Change Analyzer A", "Close"),
        ("Purge all…", "Cancel"),
    ]:
        await view.button(opening).click()
        await view.button(closing).wait_for()
        assert await violations(view) == [], opening
        await view.button(closing).click()


async def test_the_form_for_a_key_keeps_them_too(view, distributor):
    distributor.key = "a-key-of-sixteen-letters"
    await view.page.goto(view.url)
    await expect(view.find("#state")).to_have_text("key wanted")
    await view.page.evaluate(AXE)
    assert await violations(view) == []
    view.forgive_lost_connections()


async def test_everything_can_be_reached_and_done_by_keyboard(opened, distributor):
    async def tab_to(selector):
        for _ in range(80):
            await opened.page.keyboard.press("Tab")
            if await opened.page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        pytest.fail(f"no way to {selector}")

    await tab_to("#theme")
    await tab_to(".sections a")
    await tab_to("#chart")
    await tab_to("[aria-label='Change Analyzer B']")
    await opened.page.keyboard.press("Enter")
    await tab_to("#override [type=radio]")
    await opened.page.keyboard.press("ArrowDown")
    await tab_to("#override [name=reason]")
    await opened.page.keyboard.press("Enter")
    await expect(opened.find("#control")).to_be_hidden()
    assert distributor.asked == [("POST", "/api/v1/analyzers/a1/health", {"state": "down", "reason": ""})]
    for selector in ["#search", "#story-id", "#tail-start", "#tail-filter [name=level]", "#tail", "#copy"]:
        await tab_to(selector)
