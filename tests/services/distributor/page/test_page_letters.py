"""Dead letters on the distributor's page: shown, searched, replayed, purged."""

import pytest
from playwright.async_api import expect

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]


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
    await view.poll(6)
    await expect(view.find("#letters-note")).to_have_text("6 of 26 match")
    await box.fill("timeout")
    await view.run_for(0.3)
    await expect(view.find("#letters-note")).to_have_text("20 of 26 match")
    distributor.bury("packet-26", {"message": "timeout"})
    await view.poll(6)
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


def three_letters(distributor):
    distributor.bury("packet-1", {"message": "disk full"})
    distributor.bury("packet-2", {"message": "timeout"})
    distributor.bury("packet-3", {"message": "timeout"})


async def test_letters_that_were_replayed_or_purged_are_not_counted(view, distributor):
    three_letters(distributor)
    distributor.take_out({"seqs": [1]}, "purged")
    distributor.take_out({"seqs": [2]}, "replayed")
    await view.open()
    await expect(view.find("#letters-note")).to_have_text("1")
    distributor.take_out({"seqs": [3]}, "purged")
    await view.poll(5)
    await expect(view.find("#letters-note")).to_have_text("none")
    await expect(view.find(".letter")).to_have_count(0)
    await expect(view.button("Replay all…")).to_be_disabled()


async def test_more_letters_are_shown_when_asked_for(view, distributor):
    for i in range(45):
        distributor.bury(f"packet-{i}")
    await view.open()
    await view.button("Show more").click()
    await expect(view.find("#letters-note")).to_have_text("last 40 of 45")
    await view.button("Show more").click()
    await expect(view.find("#letters-note")).to_have_text("45")
    await expect(view.button("Show more")).to_be_hidden()


async def test_one_letter_is_replayed_without_a_question(view, distributor):
    three_letters(distributor)
    await view.open()
    await view.find("summary").first.click()
    await view.page.get_by_role("button", name="Replay", exact=True).click()
    await expect(view.find("#replay-note")).to_have_text("replayed 0 of 1")
    assert distributor.asked == [("POST", "/api/v1/dead-letter/replay", {"seqs": [3]})]
    distributor.take_out({"seqs": [3]}, "replayed")
    distributor.replay |= {"replayed": 1, "done": True}
    await view.poll()
    await expect(view.find("#replay-note")).to_have_text("replayed 1 of 1; done")
    await expect(view.button("Stop")).to_be_hidden()
    await view.poll(4)
    await expect(view.find(".letter code")).to_have_text(["packet-2", "packet-1"])


async def test_all_that_match_are_counted_first_and_replayed_at_a_rate(view, distributor):
    three_letters(distributor)
    await view.open()
    await view.page.get_by_role("searchbox", name="Search dead letters").fill("timeout")
    await view.run_for(0.3)
    await view.button("Replay those found…").click()
    question = view.page.get_by_role("alertdialog", name="Replay 2 dead letters that match “timeout”?")
    await question.get_by_role("spinbutton", name="packets/s").fill("50")
    await question.get_by_role("button", name="Replay").click()
    await expect(view.find("#replay-note")).to_have_text("replayed 0 of 2")
    wanted = [{"q": "timeout", "dry_run": True}, {"q": "timeout", "rate": 50}]
    assert [body for *_, body in distributor.asked] == wanted
    distributor.replay |= {"replayed": 1, "gone": 0}
    await view.poll()
    await expect(view.find("#replay-note")).to_have_text("replayed 1 of 2")
    await expect(view.page.get_by_role("progressbar", name="Replay of dead letters")).to_have_attribute(
        "max", "2"
    )
    await view.button("Stop").click()
    await expect(view.find("#replay-note")).to_have_text("replayed 1 of 2; ended: it was cancelled")


async def test_a_replay_that_somebody_else_began_is_followed(view, distributor):
    three_letters(distributor)
    await view.open()
    distributor.replay = {"total": 3, "replayed": 1, "gone": 1, "done": False}
    distributor.stats["replayed"] += 1
    await view.poll()
    await expect(view.find("#replay-note")).to_have_text("replayed 1 of 3, 1 were gone")


async def test_nothing_is_replayed_or_purged_when_the_answer_is_no(view, distributor):
    three_letters(distributor)
    await view.open()
    for name in ["Replay all…", "Purge all…"]:
        await view.button(name).click()
        await view.button("Cancel").click()
        await expect(view.page.get_by_role("alertdialog")).to_be_hidden()
    assert [body for *_, body in distributor.asked] == [{"all": True, "dry_run": True}] * 2
    await expect(view.button("Purge all…")).to_be_enabled()


async def test_purging_says_how_many_go_for_good(view, distributor):
    three_letters(distributor)
    await view.open()
    await view.button("Purge all…").click()
    question = view.page.get_by_role("alertdialog", name="Purge 3 dead letters?")
    await expect(question).to_contain_text("removed for good")
    await question.get_by_role("button", name="Purge 3").click()
    await view.announces("3 dead letters purged")
    assert [body for *_, body in distributor.asked] == [
        {"all": True, "dry_run": dry} for dry in (True, False)
    ]
    await expect(view.find(".letter")).to_have_count(0)


async def test_what_is_purged_is_what_was_counted(view, distributor):
    """New letters come all the time; a second of the service's clock separates them."""
    distributor.stats["timestamp"] = "2025-01-25T10:00:03Z"
    three_letters(distributor)
    await view.open()
    await view.button("Purge all…").click()
    await view.button("Purge 3").click()
    await view.announces("3 dead letters purged")
    until = "2025-01-25T10:00:04.000Z"
    assert [body for *_, body in distributor.asked] == [
        {"until": until, "dry_run": dry} for dry in (True, False)
    ]


async def test_an_open_letter_stays_when_newer_ones_push_it_out_but_not_when_it_is_gone(view, distributor):
    for i in range(20):
        distributor.bury(f"packet-{i}", {"message": f"lost {i}"})
    await view.open()
    for row in [19, 10]:
        await view.find("summary").nth(row).click()
    for i in range(20, 40):
        distributor.bury(f"packet-{i}")
    await view.poll(5)
    await expect(view.find(".letter[open] code")).to_have_text(["packet-9", "packet-0"])
    await expect(view.find(".letter")).to_have_count(22)
    distributor.take_out({"all": True}, "purged")
    await view.poll(5)
    await expect(view.find(".letter")).to_have_count(0)


async def test_one_letter_is_purged_after_a_question(view, distributor):
    three_letters(distributor)
    await view.open()
    await view.find("summary").first.click()
    await view.page.get_by_role("button", name="Purge…").first.click()
    await expect(view.page.get_by_role("alertdialog")).to_contain_text("Packet packet-3 is removed for good")
    await view.button("Purge it").click()
    await expect(view.find(".letter code")).to_have_text(["packet-2", "packet-1"])
    assert [body for *_, body in distributor.asked] == [{"seqs": [3], "dry_run": False}]


async def test_a_search_that_matches_nothing_is_neither_replayed_nor_purged(view, distributor):
    three_letters(distributor)
    await view.open()
    await view.page.get_by_role("searchbox", name="Search dead letters").fill("absent")
    await view.run_for(0.3)
    await view.button("Purge those found…").click()
    told = view.find("#letters-refusal")
    await expect(told).to_have_text("Nothing purged: no dead letter matches")


async def test_the_story_of_a_letter_is_a_click_away(view, distributor):
    three_letters(distributor)
    distributor.stories["packet-3"] = [{"at": "2025-01-25T10:00:00.250Z", "what": "accepted"}]
    await view.open()
    await view.find("summary").first.click()
    await view.button("Story").click()
    await expect(view.find("#story-note")).to_have_text("packet-3: 1 event")
