"""Analyzers on the distributor's page: held, put back, weighed, added, removed; groups, tiers, shares."""

import pytest
from playwright.async_api import expect

from services.distributor.page.scripted_distributor import analyzer, problem

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]


async def test_button_holds_an_analyzer_down_and_puts_it_back(opened, distributor):
    await opened.page.get_by_role("button", name="Hold down Analyzer C").click()
    await expect(opened.cell("Analyzer C", "health")).to_have_text("held down")
    await opened.page.get_by_role("button", name="Put back Analyzer C").click()
    await expect(opened.cell("Analyzer C", "health")).to_have_text("up")
    expected = [("POST", "/api/v1/analyzers/a2/health", {"healthy": healthy}) for healthy in [False, True]]
    assert distributor.asked == expected


async def test_refused_hold_down_says_why_until_the_next_try(opened, distributor):
    distributor.refusal = lambda: problem(409, "Conflict", "analyzer a2 is the last one up")
    button = opened.page.get_by_role("button", name="Hold down Analyzer C")
    await button.click()
    told = opened.find("#refusal")
    await expect(told).to_have_text("a2 not held down: Conflict: analyzer a2 is the last one up")
    await expect(button).to_be_enabled()
    distributor.refusal = None
    await button.click()
    await expect(told).to_be_empty()
    opened.forgive_lost_connections()


@pytest.mark.parametrize("state", ["drain", "down", "up"])
async def test_an_analyzer_is_held_for_a_time_and_a_reason(opened, distributor, state):
    await opened.button("Change Analyzer C").click()
    dialog = opened.page.get_by_role("dialog", name="Analyzer C")
    await dialog.get_by_role("radio", name=state).check()
    await dialog.get_by_role("combobox", name="for").select_option("1 hour")
    await dialog.get_by_role("textbox", name="reason").fill(" disk swap ")
    await dialog.get_by_role("button", name="Hold").click()
    await expect(dialog).to_be_hidden()
    wanted = {"state": state, "ttl": 3600, "reason": "disk swap"}
    assert distributor.asked == [("POST", "/api/v1/analyzers/a2/health", wanted)]
    shown = {"drain": "draining", "down": "held down", "up": "held up"}[state]
    await expect(opened.cell("Analyzer C", "health")).to_have_text(shown)
    await expect(opened.cell("Analyzer C", "override")).to_have_text("1:00:00 left: disk swap")
    await opened.button("Put back Analyzer C").click()
    await expect(opened.cell("Analyzer C", "override")).to_be_empty()


async def test_a_hold_without_an_end_says_so_and_is_ended_in_the_dialog(opened, distributor):
    await opened.button("Change Analyzer C").click()
    dialog = opened.page.get_by_role("dialog", name="Analyzer C")
    await expect(dialog.get_by_role("button", name="Put back")).to_be_disabled()
    await dialog.get_by_role("button", name="Hold").click()
    await expect(opened.cell("Analyzer C", "override")).to_have_text("until put back")
    await opened.button("Change Analyzer C").click()
    await expect(dialog).to_contain_text("draining; 20.0 % of group default, tier 0, weight 20")
    await dialog.get_by_role("button", name="Put back").click()
    await expect(opened.cell("Analyzer C", "health")).to_have_text("up")
    assert [wanted for *_, wanted in distributor.asked] == [{"state": "drain", "reason": ""}, {"state": None}]


async def test_a_trial_is_a_state_of_its_own(view, distributor):
    distributor.stats["analyzers"]["a1"]["state"] = "trial"
    await view.open()
    await expect(view.cell("Analyzer B", "health")).to_have_text("trial")
    await expect(view.cell("Analyzer B", "override")).to_have_text("one delivery at a time")


async def test_a_new_weight_shows_its_share_before_it_is_set(opened, distributor):
    await opened.button("Change Analyzer A").click()
    dialog = opened.page.get_by_role("dialog", name="Analyzer A")
    weight = dialog.get_by_role("spinbutton", name="weight")
    await expect(weight).to_have_value("40")
    await expect(dialog.get_by_role("status")).to_have_text("that is 40.0 % of group default, tier 0")
    await weight.fill("60")
    await expect(dialog.get_by_role("status")).to_have_text("that is 50.0 % of group default, tier 0")
    await dialog.get_by_role("button", name="Set weight").click()
    await opened.announces("Analyzer A: weight 60")
    assert distributor.asked == [("PATCH", "/api/v1/analyzers/a0", {"weight": 60})]


async def test_an_analyzer_is_removed_only_when_a_person_says_yes(opened, distributor):
    await opened.button("Change Analyzer D").click()
    await opened.button("Remove…").click()
    question = opened.page.get_by_role("alertdialog", name="Remove Analyzer D?")
    await expect(question).to_contain_text("What waits for a3 goes to the others of its group")
    await expect(opened.button("Cancel")).to_be_focused()
    await opened.page.keyboard.press("Escape")
    await expect(question).to_be_hidden()
    assert distributor.asked == []
    await opened.button("Remove…").click()
    await opened.button("Remove it").click()
    await expect(opened.row("Analyzer D")).to_have_count(0)
    assert distributor.asked == [("DELETE", "/api/v1/analyzers/a3", None)]


async def test_an_analyzer_is_added(opened, distributor):
    await opened.button("Add analyzer…").click()
    dialog = opened.page.get_by_role("dialog", name="Add an analyzer")
    await dialog.get_by_role("textbox", name="id").fill("b7")
    await dialog.get_by_role("textbox", name="URL").fill("http://10.0.0.7:9000/packets")
    await dialog.get_by_role("spinbutton", name="weight").fill("2.5")
    await dialog.get_by_role("button", name="Add").click()
    await expect(opened.row("b7")).to_have_count(1)
    wanted = {"id": "b7", "url": "http://10.0.0.7:9000/packets", "weight": 2.5}
    wanted |= {"name": "", "group": "default", "tier": 0}
    assert distributor.asked == [("POST", "/api/v1/analyzers", wanted)]


async def test_what_the_service_refuses_is_said_in_the_dialog_and_what_was_typed_stays(opened, distributor):
    distributor.refusal = lambda: problem(409, "Conflict", "there is an analyzer 'a0' already")
    await opened.button("Add analyzer…").click()
    dialog = opened.page.get_by_role("dialog", name="Add an analyzer")
    await dialog.get_by_role("textbox", name="id").fill("a0")
    await dialog.get_by_role("textbox", name="URL").fill("http://10.0.0.7:9000/packets")
    await dialog.get_by_role("button", name="Add").click()
    refusal = dialog.get_by_role("alert")
    await expect(refusal).to_have_text("a0 not added: Conflict: there is an analyzer 'a0' already")
    await expect(dialog.get_by_role("textbox", name="id")).to_have_value("a0")
    opened.forgive_lost_connections()


async def test_a_dialog_gives_the_focus_back(opened):
    button = opened.button("Change Analyzer B")
    await button.focus()
    await opened.page.keyboard.press("Enter")
    await expect(opened.page.get_by_role("dialog", name="Analyzer B")).to_be_visible()
    await opened.page.keyboard.press("Escape")
    await expect(button).to_be_focused()


async def test_groups_and_tiers_have_headings_that_say_who_gets_the_packets(view, distributor):
    analyzers = distributor.stats["analyzers"]
    analyzers["a1"]["tier"] = 1
    analyzers["a3"]["group"] = "errors"
    await view.open()
    headings = view.find("#analyzers .group")
    await expect(headings).to_have_text(
        [
            "default tier 0, 2 of 2 up, gets the packets",
            "default tier 1, 1 of 1 up, in reserve",
            "errors 1 of 1 up, gets the packets",
        ]
    )
    assert await view.find("#analyzers tr:not(.group) b").all_text_contents() == [
        f"Analyzer {name}" for name in "ACBD"
    ]
    for id_ in ["a0", "a2", "a3"]:
        analyzers[id_]["is_healthy"] = False
    await view.poll()
    await expect(headings).to_have_text(
        [
            "default tier 0, 0 of 2 up, down",
            "default tier 1, 1 of 1 up, gets the packets",
            "errors 0 of 1 up, nobody is up, packets wait",
        ]
    )


async def test_one_group_of_one_tier_has_no_heading(opened):
    await expect(opened.find("#analyzers .group")).to_have_count(0)


async def test_shares_of_the_last_minute_are_of_what_was_assigned_in_it(opened, distributor):
    await expect(opened.cell("Analyzer A", "minute")).to_have_text("–")
    distributor.assign(a0=300, a1=700)
    await opened.poll()
    for name, share in {"A": "30.0 %", "B": "70.0 %", "C": "0.0 %"}.items():
        await expect(opened.cell(f"Analyzer {name}", "minute")).to_have_text(share)
    await opened.poll(66)
    distributor.assign(a0=100)
    await opened.poll()
    await expect(opened.cell("Analyzer A", "minute")).to_have_text("100.0 %")
    line = await opened.row("Analyzer A").locator(".line").get_attribute("d")
    assert line.startswith("M")


async def test_shares_are_of_a_group(view, distributor):
    distributor.stats["analyzers"]["a3"]["group"] = "errors"
    await view.open()
    distributor.assign(a0=3, a1=1, a3=50)
    await view.poll()
    for name, share in {"A": "75.0 %", "B": "25.0 %", "D": "100.0 %"}.items():
        await expect(view.cell(f"Analyzer {name}", "minute")).to_have_text(share)


async def test_counts_that_fall_give_no_share(opened, distributor):
    distributor.assign(a0=300, a1=700)
    await opened.poll()
    distributor.assign(a0=-4000)
    await opened.poll()
    await expect(opened.cell("Analyzer A", "minute")).to_have_text("–")
    distributor.assign(a0=1, a1=1)
    await opened.poll()
    await expect(opened.cell("Analyzer A", "minute")).to_have_text("50.0 %")


async def test_latencies_are_shown_with_the_digits_that_matter(opened, distributor):
    await opened.shows(accept_p50="0.42 ms", accept_p99="13 ms")
    await expect(opened.cell("Analyzer A", "delivery")).to_have_text("3.2 ms / 42 ms")
    distributor.stats["accept_ms"] = {"p50": 999.6, "p99": 123_456}
    distributor.stats["analyzers"]["a0"]["delivery_ms"] = {"p50": None, "p99": None}
    await opened.poll()
    await opened.shows(accept_p50="1.0 s", accept_p99="0:02:03")
    await expect(opened.cell("Analyzer A", "delivery")).to_have_text("–")


async def test_sixty_analyzers_and_a_busy_tail_leave_the_browser_idle_most_of_the_time(view, distributor):
    """By the browser's own account: a poll a second, twenty events a second."""
    distributor.stats["analyzers"] = {f"a{i}": analyzer(f"{i:02}", 1) for i in range(60)}
    await view.open()
    await view.button("Start").click()
    await distributor.watched()
    session = await view.page.context.new_cdp_session(view.page)
    await session.send("Performance.enable", {"timeDomain": "threadTicks"})
    polls = 20
    before = await busy_seconds(session)
    for second in range(polls):
        distributor.assign(**{f"a{i}": i for i in range(60)})
        distributor.count(accepted=1000 + second, messages=3000, delivered=1000)
        for i in range(20):
            distributor.pass_by("delivered", what="delivered", id=f"p{second}-{i}", analyzer="a1")
        await view.poll()
    assert (await busy_seconds(session) - before) / polls < 0.15
    await expect(view.find("#analyzers tr")).to_have_count(60)


async def busy_seconds(session):
    """Seconds that the page's thread has worked for, on the processor: other programs do not count."""
    metrics = {one["name"]: one["value"] for one in (await session.send("Performance.getMetrics"))["metrics"]}
    return metrics["TaskDuration"]
