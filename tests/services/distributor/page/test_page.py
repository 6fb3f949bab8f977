"""What the distributor's page shows, in headless Chromium against a scripted distributor."""

import base64
import hashlib
import re
from importlib.resources import files

import pytest
from aiohttp import web
from playwright.async_api import expect

from penstock.services.distributor.page import PAGE, SCRIPTS, read
from services.distributor.page.scripted_distributor import HOSTILE, analyzer, problem

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]


async def test_the_policy_lets_only_the_pages_own_style_and_script_run():
    page = PAGE.decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
    for tag in ["style", "script"]:
        [body] = re.findall(rf"<{tag}\b[^>]*>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


async def test_what_is_joined_is_all_there_is_and_imports_nothing():
    folder = files("penstock") / "services" / "distributor" / "page"
    assert {one.name for one in folder.iterdir() if one.name.endswith(".js")} == set(SCRIPTS)
    assert re.findall(rb"^(?:import|export)\b.*|\{\{.*", PAGE, re.MULTILINE) == []


async def test_a_module_imports_what_one_before_it_exports():
    """Joined they would find each other all the same; as files they must say what they need."""
    exported = set()
    for name in SCRIPTS:
        text = read(name)
        imports = re.findall(r'^import \{ (.*) \} from "\./(.*)";$', text, re.MULTILINE)
        needed = {(module, one) for names, module in imports for one in names.split(", ")}
        assert needed <= exported, name
        for _, one in needed:
            assert len(re.findall(rf"\b{one}\b", text)) > 1, f"{name} does not use {one}"
        defined = re.findall(r"^export (?:async )?(?:function\*?|const) (\w+)", text, re.MULTILINE)
        exported |= {(name, one) for one in defined}


async def test_markup_cannot_be_made_of_text(opened):
    """So that not even a fault in the script lets what a log line says become part of the page."""
    attempt = "document.querySelector('#contact').innerHTML = '<b>bold</b>'"
    told = await opened.page.evaluate(
        f"() => {{ try {{ {attempt} }} catch (error) {{ return error.name }} }}"
    )
    assert told == "TypeError"
    assert await opened.find("#contact b").count() == 0
    opened.complaints.clear()  # the browser's own, on what was tried


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


async def test_losses_and_limits_are_told_only_where_there_were_any(opened, distributor):
    await opened.shows(refused_records="6", pending_bytes="36 KiB", replayed="0")
    await expect(opened.find("#losses")).to_be_empty()
    distributor.stats |= {"lost": 1, "limited_requests": 1500}
    await opened.poll()
    told = "1 packet lost by a damaged disk, 1,500 requests refused for their rate"
    await expect(opened.find("#losses")).to_have_text(told)


async def test_inputs_show_what_became_of_their_records(opened, distributor):
    await expect(opened.find("#inputs-note")).to_have_text("none but the REST API")
    figures = {"received": 1000, "stored": 990, "refused": 10, "dropped": 0, "lost": 0, "connections": 3}
    distributor.stats["inputs"] = {"syslog_tcp": figures, "otlp": {"received": 7, "stored": 7, "refused": 0}}
    distributor.count(seconds=1)
    await opened.poll()
    await expect(opened.row("syslog_tcp").locator("td")).to_have_text(
        ["–", "1,000", "990", "10", "0", "0", "3"]
    )
    await expect(opened.row("otlp").locator("td")).to_have_text(["–", "7", "7", "0", "–", "–", "–"])
    figures["received"] += 500
    distributor.count(seconds=2)
    await opened.poll()
    await expect(opened.row("syslog_tcp").locator("td").first).to_have_text("250")
    await expect(opened.cell("syslog_tcp", "refused")).to_have_class("number bad")
    figures["received"] = 3
    distributor.count(seconds=1)
    await opened.poll()
    await expect(opened.row("syslog_tcp").locator("td").first).to_have_text("–")


async def test_the_nodes_of_a_fleet_are_shown_where_there_are_any(opened, distributor):
    await expect(opened.find("#nodes-section")).to_be_hidden()
    counts = {"accepted": 1200, "delivered": 1100, "dead": 2, "pending": 98}
    nodes = {"one": counts | {"seen_seconds_ago": 0.4}, "two": counts | {"seen_seconds_ago": 61.5}}
    nodes["three"] = counts | {"seen_seconds_ago": 61.5, "stopped": True}
    distributor.stats["fleet"] = {"nodes": nodes, "accepted": 3600, "pending": 294, "conservation_error": 0}
    await opened.poll()
    await expect(opened.find("#nodes-note")).to_have_text("3 nodes")
    await expect(opened.row("one").locator("td")).to_have_text(["now", "1,200", "1,100", "2", "98"])
    await expect(opened.cell("two", "seen")).to_have_text("0:01:01 ago")
    await expect(opened.cell("two", "seen")).to_have_class("bad")
    await expect(opened.cell("three", "seen")).to_have_text("stopped 0:01:01 ago")
    await expect(opened.cell("three", "seen")).not_to_have_class("bad")
    await expect(opened.find("#whose-books")).to_have_text("all nodes")
    await opened.shows(accepted="3,600", pending="294")


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
    await opened.skip(301)
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
    distributor.refusal = lambda: problem(409, HOSTILE, HOSTILE)
    await view.open()
    await view.find("summary").click()
    await view.find("#analyzers button").first.click()
    await expect(view.find("#refusal")).to_contain_text(HOSTILE)
    await expect(view.find(".messages span")).to_have_text([HOSTILE] * 3)
    await expect(view.cell(HOSTILE, "last_error")).to_have_text(HOSTILE)
    await expect(view.find("#state")).to_have_text(HOSTILE)
    assert distributor.asked[0][1] == f"/api/v1/analyzers/{HOSTILE}/health"
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
        {
            "inputs": [None, 7],
            "fleet": {"nodes": [None]},
            "accept_ms": 3,
            "analyzers": {"a": {"delivery_ms": []}},
        },
        {
            "analyzers": {
                "a": {"override": {}, "override_ends_in": "x", "group": [], "tier": None},
                "b": {"tier": "z"},
            }
        },
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


async def test_focus_and_selection_survive_an_update(opened, distributor):
    await opened.page.get_by_role("button", name="Hold down Analyzer C").focus()
    distributor.stats["analyzers"]["a2"]["processed_count"] += 1
    await opened.poll()
    await expect(opened.page.get_by_role("button", name="Hold down Analyzer C")).to_be_focused()


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
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip([0.2126, 0.7152, 0.0722], linear, strict=True))


async def colours(view):
    """Every colour of text, and of what it stands on, as the browser resolves it now."""
    resolve = "(node, name) => { node.style.color = `var(--${name})`; return getComputedStyle(node).color }"
    names = ["ink", "dim", "water", "good", "warn", "bad", "sheet", "ground"]
    return {name: await view.find("#contact").evaluate(resolve, name) for name in names}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_has_the_contrast_of_wcag_aa(view, scheme):
    await view.page.emulate_media(color_scheme=scheme)
    await view.open()
    shown = await colours(view)
    grounds = [luminance(shown.pop(name)) for name in ["sheet", "ground"]]
    for name, colour in shown.items():
        for ground in grounds:
            lower, upper = sorted([ground, luminance(colour)])
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
