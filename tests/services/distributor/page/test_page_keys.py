"""What the distributor's page does where the service wants an API key, and what it keeps."""

import pytest
from playwright.async_api import expect

from services.distributor.page.scripted_distributor import problem

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]

KEY = "a-key-of-sixteen-letters"


@pytest.fixture
def locked(view, distributor):
    distributor.key = KEY
    return view


async def wanted(view):
    await view.page.clock.install(time=view.now)
    await view.page.goto(view.url)
    await expect(view.find("#state")).to_have_text("key wanted")


async def show(view, key):
    await view.page.get_by_label("key", exact=True).fill(key)
    await view.button("Use it").click()


async def test_a_key_is_asked_for_and_kept_in_this_tab_only(locked):
    await wanted(locked)
    await expect(locked.page.get_by_label("key", exact=True)).to_be_focused()
    await expect(locked.find("#key-note")).to_have_text(
        "The service wants an API key. It is kept in this tab only."
    )
    await show(locked, KEY)
    await expect(locked.find("#state")).to_have_text("healthy")
    await expect(locked.find("#key")).to_be_hidden()
    await locked.page.reload()
    await expect(locked.find("#state")).to_have_text("healthy")
    assert await locked.page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]") == [
        1,
        0,
        "",
    ]
    assert not any(KEY in url for url in locked.requests)
    locked.forgive_lost_connections()


async def test_a_wrong_key_is_said_to_be_wrong(locked):
    await wanted(locked)
    await show(locked, "another-key-of-letters")
    await expect(locked.find("#key-note")).to_have_text("The service does not take this key.")
    await show(locked, KEY)
    await expect(locked.find("#state")).to_have_text("healthy")
    locked.forgive_lost_connections()


async def test_a_key_that_may_not_read_is_told_so_and_another_one_is_asked_for(locked, distributor):
    await wanted(locked)
    distributor.fault = problem(403, "Forbidden", "the API key of eve must have may_read for this")
    await show(locked, KEY)
    await expect(locked.find("#contact")).to_have_text("this API key may not read")
    await expect(locked.find("#state")).to_have_text("key wanted")
    await expect(locked.find("#key-note")).to_have_text(
        "This key may not read: it is one for sending. The page wants one with may_read."
    )
    await expect(locked.page.get_by_label("key", exact=True)).to_be_focused()
    distributor.fault = None
    await show(locked, KEY)
    await expect(locked.find("#state")).to_have_text("healthy")
    await expect(locked.find("#key")).to_be_hidden()
    locked.forgive_lost_connections()


async def test_a_key_is_forgotten(locked):
    await wanted(locked)
    await show(locked, KEY)
    await expect(locked.find("#state")).to_have_text("healthy")
    await locked.button("API key").click()
    await locked.button("Forget it").click()
    await expect(locked.find("#state")).to_have_text("key wanted")
    assert await locked.page.evaluate("sessionStorage.length") == 0
    locked.forgive_lost_connections()


async def test_the_form_for_another_key_stays_open_until_it_is_closed(locked):
    await wanted(locked)
    await show(locked, KEY)
    await expect(locked.find("#state")).to_have_text("healthy")
    await locked.button("API key").click()
    await locked.page.clock.run_for(3000)
    await expect(locked.page.get_by_label("key", exact=True)).to_be_focused()
    await locked.button("API key").click()
    await expect(locked.find("#key")).to_be_hidden()
    locked.forgive_lost_connections()


async def test_what_is_typed_is_not_taken_away_by_the_next_refusal(locked):
    await wanted(locked)
    await locked.page.get_by_label("key", exact=True).fill("half a k")
    await locked.page.clock.run_for(11_000)
    await expect(locked.find("#state")).to_have_text("key wanted")
    await expect(locked.page.get_by_label("key", exact=True)).to_have_value("half a k")
    locked.forgive_lost_connections()


async def test_the_live_tail_shows_the_key_too(locked, distributor):
    await wanted(locked)
    await show(locked, KEY)
    await expect(locked.find("#state")).to_have_text("healthy")
    await locked.button("Start").click()
    for _ in range(50):
        await locked.page.clock.run_for(250)
        if distributor.tails:
            break
    assert distributor.tails == [[]]
    locked.forgive_lost_connections()


async def test_a_key_that_may_not_operate_is_told_what_to_do(locked, distributor):
    await wanted(locked)
    await show(locked, KEY)
    await expect(locked.find("#state")).to_have_text("healthy")
    distributor.refusal = lambda: problem(
        403, "Forbidden", "the API key of eve must have may_operate for this"
    )
    await locked.button("Hold down Analyzer A").click()
    await expect(locked.find("#refusal")).to_have_text(
        "a0 not held down: Forbidden: the API key of eve must have may_operate for this"
        " (“API key” above takes another one)"
    )
    await expect(locked.button("API key")).to_be_visible()
    await locked.button("API key").click()
    await expect(locked.page.get_by_label("key", exact=True)).to_be_focused()
    locked.forgive_lost_connections()


async def test_the_theme_is_the_systems_until_a_person_chooses(view):
    await view.page.emulate_media(color_scheme="dark")
    await view.open()
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = await view.page.evaluate(ground)
    await view.button("Theme: auto").click()
    light = await view.page.evaluate(ground)
    assert light != dark
    await view.page.reload()
    await expect(view.button("Theme: light")).to_be_visible()
    assert await view.page.evaluate(ground) == light
    await view.button("Theme: light").click()
    assert await view.page.evaluate(ground) == dark
    await view.button("Theme: dark").click()
    await expect(view.button("Theme: auto")).to_be_visible()
