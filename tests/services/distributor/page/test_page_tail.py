"""Packets on the distributor's page: the live tail, and the story of one."""

import pytest
from playwright.async_api import expect

from services.distributor.page.scripted_distributor import HOSTILE

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]


def packet(id_, *messages):
    return {"id": id_, "messages": messages or [{"level": "ERROR", "source": "api", "message": "gone"}]}


async def started(view, distributor):
    await view.button("Start").click()
    await distributor.watched()


async def passed(view, text):
    """What has come is shown, and the note says so."""
    for _ in range(50):
        await view.run_for(0.25)
        if text in (await view.find("#tail-note").text_content()):
            return
    await expect(view.find("#tail-note")).to_contain_text(text)


async def test_nothing_is_watched_until_somebody_wants_to(opened, distributor):
    await opened.poll(3)
    assert distributor.tails == []


async def test_events_are_shown_as_they_come_the_newest_on_top(opened, distributor):
    await started(opened, distributor)
    at = "2025-01-25T12:00:01.250Z"
    distributor.pass_by(
        "accepted", at=at, what="accepted", id="p1", group="default", analyzer="a0", packet=packet("p1")
    )
    lines = [{"message": "first"}, {"message": "second"}, {"message": "third"}]
    distributor.pass_by(
        "retry", at=at, what="retry", id="p2", analyzer="a1", error="timed out", packet=packet("p2", *lines)
    )
    await passed(opened, "watching, 2 events")
    rows = opened.find("#tail li")
    await expect(rows.nth(0).locator(".said")).to_have_text("timed out · first (+2)")
    await expect(rows.nth(1).locator("> *")).to_have_text(
        ["12:00:01.250", "accepted", "a0", "ERROR api gone", "p1"]
    )


async def test_the_filter_is_the_services_and_a_change_of_it_asks_anew(opened, distributor):
    form = opened.page.get_by_role("form", name="What the live tail shows")
    await form.get_by_role("combobox", name="level").fill("error, warn")
    await form.get_by_role("textbox", name="source").fill("api & co")
    await form.get_by_role("combobox", name="what").select_option("dead")
    await form.get_by_role("combobox", name="analyzer").select_option("a2")
    await started(opened, distributor)
    wanted = [("level", "error"), ("level", "warn"), ("source", "api & co")]
    assert distributor.tails == [[*wanted, ("what", "dead"), ("analyzer", "a2")]]
    await form.get_by_role("combobox", name="what").select_option("everything")
    await form.get_by_role("combobox", name="sample").select_option("1 of 10")
    await opened.run_for(0.5)
    await distributor.watched(2)
    assert distributor.tails[1] == [*wanted, ("analyzer", "a2"), ("sample", "0.1")]


async def test_a_filter_written_just_before_the_start_does_not_ask_twice(opened, distributor):
    await opened.page.get_by_role("combobox", name="level").fill("warn")
    await started(opened, distributor)
    await opened.poll(2)
    assert distributor.tails == [[("level", "warn")]]


async def test_a_flood_is_shown_in_part_and_what_was_passed_over_is_counted(opened, distributor):
    await started(opened, distributor)
    for i in range(500):
        distributor.pass_by("accepted", what="accepted", id=f"p{i}")
    distributor.pass_by("missed", missed=1234)
    distributor.pass_by("accepted", what="accepted", id="last")
    await passed(opened, "501 events")
    await expect(opened.find("#tail-note")).to_contain_text("1,234 dropped")
    shown = await opened.find("#tail li").count()
    assert 25 <= shown <= 200
    await expect(opened.find("#tail-note")).to_contain_text(f"{501 - shown} passed over")
    await expect(opened.find("#tail .id").first).to_have_text("last")


async def test_rows_are_bounded(opened, distributor):
    await started(opened, distributor)
    for batch in range(12):
        for i in range(20):
            distributor.pass_by("accepted", what="accepted", id=f"p{batch * 20 + i}")
        await passed(opened, f"{batch * 20 + 20} events")
    await expect(opened.find("#tail li")).to_have_count(200)
    await expect(opened.find("#tail .id").last).to_have_text("p40")


async def test_a_pause_keeps_the_rows_still(opened, distributor):
    await started(opened, distributor)
    distributor.pass_by("accepted", what="accepted", id="before")
    await passed(opened, "1 events")
    await opened.button("Pause").click()
    distributor.pass_by("accepted", what="accepted", id="during")
    await passed(opened, "paused, 2 events")
    await expect(opened.find("#tail .id")).to_have_text(["before"])
    await opened.button("Go on").click()
    await expect(opened.find("#tail .id")).to_have_text(["during", "before"])
    await opened.button("Clear").click()
    await expect(opened.find("#tail li")).to_have_count(0)


async def test_a_stream_that_ends_is_asked_for_again(opened, distributor):
    await started(opened, distributor)
    distributor.end_tails()
    await passed(opened, "the stream has ended")
    await opened.run_for(3)
    await distributor.watched(2)
    distributor.pass_by("accepted", what="accepted", id="again")
    await passed(opened, "watching")
    await opened.button("Stop").click()
    await expect(opened.find("#tail-note")).to_contain_text("stopped")
    await opened.announces("Live tail: stopped")
    await opened.run_for(10)
    assert len(distributor.tails) == 2


async def test_hostile_events_are_text(opened, distributor):
    await started(opened, distributor)
    message = {"level": HOSTILE, "source": HOSTILE, "message": HOSTILE}
    distributor.pass_by(
        "dead",
        at=HOSTILE,
        what=HOSTILE,
        id=HOSTILE,
        analyzer=HOSTILE,
        error=HOSTILE,
        packet=packet(1, message),
    )
    distributor.pass_by("dead", at=7, what=None, id=[], packet={"messages": "none"})
    distributor.pass_by("dead", packet={"messages": [None]})
    await passed(opened, "3 events")
    await expect(opened.find("#tail li")).to_have_count(3)
    assert await opened.find("#tail img, #tail script").count() == 0
    await expect(opened.page).not_to_have_title("owned")


async def test_the_story_of_a_packet_is_a_time_line(opened, distributor):
    distributor.stories["p/1 ?"] = [
        {"at": "2025-01-25T10:00:00.250Z", "what": "accepted", "analyzer": "a0"},
        {
            "at": "2025-01-25T10:00:00.300Z",
            "what": "retry",
            "analyzer": "a0",
            "error": "timed out",
            "attempt": 1,
        },
        {"at": "2025-01-25T10:00:12.300Z", "what": "delivered", "analyzer": "a1"},
    ]
    await opened.page.get_by_role("searchbox", name="Id of a packet").fill(" p/1 ? ")
    await opened.page.keyboard.press("Enter")
    await expect(opened.find("#story-note")).to_have_text("p/1 ?: 3 events in 12.1 s")
    chapters = opened.find("#story li")
    await expect(chapters.nth(1).locator("> *")).to_have_text(
        ["2025-01-25 10:00:00.300", "+50 ms", "retry", "a0", "attempt 1: timed out"]
    )
    await opened.announces("p/1 ?: 3 events in 12.1 s")


async def test_a_packet_that_nobody_knows_has_no_story(opened, distributor):
    await opened.page.get_by_role("searchbox", name="Id of a packet").fill("unknown")
    await opened.button("Tell").click()
    told = "No story: Not Found: the journal knows nothing of a packet 'unknown', or no more"
    await expect(opened.find("#story-note")).to_have_text(told)
    opened.forgive_lost_connections()


async def test_an_event_leads_to_the_story_of_its_packet(opened, distributor):
    distributor.stories["p1"] = [{"at": "2025-01-25T10:00:00.250Z", "what": "accepted"}]
    await started(opened, distributor)
    distributor.pass_by("accepted", what="accepted", id="p1")
    await passed(opened, "1 events")
    await opened.button("Story of p1").click()
    await expect(opened.find("#story-note")).to_have_text("p1: 1 event")
    await expect(opened.page.get_by_role("searchbox", name="Id of a packet")).to_be_focused()
