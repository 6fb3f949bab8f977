"""The watch over HTTP, with real pings of a real site."""

import asyncio
import json
import re
import threading
from base64 import b64encode
from hashlib import sha256

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families as families_of
from yarl import URL

from penstock.services.pinger.assertions import parse_assertion
from penstock.services.pinger.model import Target
from penstock.services.pinger.probe import Prober
from penstock.services.pinger.prometheus import probe_figures
from penstock.services.pinger.watch import handlers
from penstock.services.pinger.watch.app import create_app
from penstock.services.pinger.watch.config import Config
from penstock.services.pinger.watch.handlers import PARTS, list_targets


@pytest.fixture
async def site():
    async def answer(request):
        if request.path == "/slow":
            await asyncio.sleep(30)
        return web.Response(text="ready", status=503 if request.path == "/broken" else 200)

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answer)
    server = TestServer(app)
    await server.start_server()
    yield str(server.make_url("/"))
    await server.close()


@pytest.fixture
async def watch_of(tmp_path):
    """Starts watches of targets, and gives a client for each."""
    clients = []

    async def start(targets, **settings):
        config = Config(
            **{"history": str(tmp_path / f"{len(clients)}.sqlite"), "interval": 0.05, "engine": "aiohttp"}
            | settings
        )
        client = TestClient(TestServer(create_app(config, targets)))
        clients.append(client)
        await client.start_server()
        return client

    yield start
    for client in clients:
        await client.close()


async def targets_once(client, condition):
    """What the API tells of the targets as soon as it is so."""
    async with asyncio.timeout(20):
        while True:
            told = await (await client.get("/api/v1/targets")).json()
            if condition(told["targets"]):
                return told
            await asyncio.sleep(0.02)


async def samples_of(client, path, **how):
    answer = await client.get(path, **how)
    text = await answer.text()
    assert answer.status == 200, text
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families_of(text)
        for sample in family.samples
    }


async def test_targets_are_pinged_and_told_those_that_are_down_first(site, watch_of):
    good = Target(
        f"{site}ok", name="good", assertions=(parse_assertion("body~ready"),), labels=(("team", "web"),)
    )
    client = await watch_of([good, Target(f"{site}broken", name="broken")])
    told = await targets_once(client, lambda all_: {one["condition"] for one in all_} == {"up", "down"})
    assert (told["total"], told["down"]) == (2, 1)
    broken, good = told["targets"]
    assert (broken["name"], broken["condition"], broken["last"]["status"]) == ("broken", "down", 503)
    assert (good["condition"], good["last"]["ok"], good["labels"]) == ("up", True, {"team": "web"})
    assert good["last"]["phases_ms"]["wait"] > 0
    assert good["points"][0][1] > 0
    assert broken["points"][0][1] is None
    assert broken["bars"][-1][2] >= 2


async def test_history_is_told_for_any_period(site, watch_of):
    client = await watch_of([Target(f"{site}broken", name="a/b c{ü}")])
    await targets_once(client, lambda all_: all_[0]["failed"] >= 3)
    await client.app[PARTS].recorder.flush()
    url = URL("/api/v1/targets/a%2Fb%20c%7B%C3%BC%7D/history?since=10m&step=1m", encoded=True)
    answer = await client.get(url)
    told = await answer.json()
    assert told["target"] == "a/b c{ü}"
    assert told["failed"] >= 3
    assert (told["good"], told["uptime"], told["p50_ms"], len(told["steps"])) == (0, 0.0, None, 10)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("since=yesterday", "since must be RFC 3339 with its zone, seconds since 1970, or a duration ago"),
        ("since=2026-01-01T00:00:00", "with its zone"),
        ("since=1h&until=2h", "since must be before until"),
        ("since=1d&step=1s", "step must be such that there are at most 2000 steps"),
        ("step=0s", "step must be a duration of 1s to a year"),
        ("step=1", "step must be a duration of 1s to a year"),
    ],
)
async def test_a_period_that_is_none_is_refused(site, watch_of, query, words):
    client = await watch_of([Target(site, name="shop")])
    answer = await client.get(f"/api/v1/targets/shop/history?{query}")
    assert answer.status == 400
    assert answer.content_type == "application/problem+json"
    assert words in (await answer.json())["detail"]


@pytest.mark.parametrize(
    "query",
    ["since=0&until=1", "since=99999999999&until=99999999999.5", "until=1d", "until=0001-01-02T00:00:00Z"],
)
async def test_periods_far_away_are_empty(site, watch_of, query):
    client = await watch_of([Target(site, name="shop")])
    await targets_once(client, lambda all_: all_[0]["good"] >= 1)
    await client.app[PARTS].recorder.flush()
    answer = await client.get(f"/api/v1/targets/shop/history?{query}")
    told = await answer.json()
    assert (told["good"], told["failed"], told["uptime"]) == (0, 0, None)


async def test_what_is_not_watched_and_bad_numbers_are_refused(site, watch_of):
    client = await watch_of([Target(site, name="shop")])
    assert (await client.get("/api/v1/targets/other/history")).status == 404
    for query in ("limit=0", "limit=1001", "limit=x", "offset=-1"):
        assert (await client.get(f"/api/v1/targets?{query}")).status == 400
    told = await (await client.get("/api/v1/targets?offset=5")).json()
    assert (told["total"], told["targets"]) == (1, [])


async def test_metrics_hold_every_target(site, watch_of):
    client = await watch_of([Target(f"{site}ok", name="good"), Target(f"{site}broken", name="broken")])
    await targets_once(client, lambda all_: {one["condition"] for one in all_} == {"up", "down"})
    samples = await samples_of(client, "/metrics")
    assert samples["probe_success", "good"] == 1
    assert samples["probe_http_status_code", "broken"] == 503
    assert (samples["penstock_ping_up", "good"], samples["penstock_ping_up", "broken"]) == (1, 0)
    assert samples["penstock_ping_failed_total", "broken"] >= 2
    assert samples[("penstock_ping_lost_total",)] == 0


async def test_a_target_can_be_probed_by_its_url_or_name_with_its_assertions(site, watch_of):
    wants_more = Target(f"{site}ok", name="good", assertions=(parse_assertion("body~more"),))
    client = await watch_of([wants_more])
    for target in (f"{site}ok", "good"):
        samples = await samples_of(client, "/probe", params={"target": target, "module": "http_2xx"})
        assert samples[("probe_http_status_code",)] == 200
        assert samples[("probe_success",)] == 0
        assert samples[("probe_failed_due_to_regex",)] == 1


async def test_another_url_is_probed_only_where_that_is_allowed(site, watch_of):
    client = await watch_of([Target(site, name="shop")])
    refused = await client.get("/probe", params={"target": f"{site}other"})
    assert refused.status == 403
    assert "--probe any" in (await refused.json())["detail"]
    off = await watch_of([Target(site, name="shop")], probe="off")
    assert (await off.get("/probe", params={"target": site})).status == 403
    free = await watch_of([Target(site, name="shop")], probe="any")
    samples = await samples_of(free, "/probe", params={"target": f"{site}broken".removeprefix("http://")})
    assert (samples[("probe_success",)], samples[("probe_http_status_code",)]) == (0, 503)


async def test_a_probe_ends_before_prometheus_gives_up(site, watch_of, monkeypatch):
    ping, timeouts = Prober.ping, set()

    async def seen(prober, target, *turn):
        timeouts.add(target.timeout)
        return await ping(prober, target, *turn)

    monkeypatch.setattr(Prober, "ping", seen)
    client = await watch_of([Target(f"{site}slow", name="slow")])
    samples = await samples_of(
        client, "/probe?target=slow", headers={"X-Prometheus-Scrape-Timeout-Seconds": "0.75"}
    )
    assert 0.25 in timeouts  # half a second is for the way there and back
    assert samples[("probe_success",)] == 0
    assert samples[("probe_duration_seconds",)] < 30  # the site answers then


async def test_probes_that_are_wrong_or_too_many_are_refused(site, watch_of):
    client = await watch_of([Target(site, name="shop")], max_probes=1)
    assert (await client.get("/probe")).status == 400
    assert (await client.get("/probe?target=shop&module=icmp")).status == 400
    async with client.app[PARTS].probes:  # one is in progress
        answer = await client.get("/probe?target=shop")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert (await answer.json())["detail"] == "1 probes are in progress"
    assert (await samples_of(client, "/probe?target=shop"))[("probe_success",)] == 1


async def test_the_page_may_run_nothing_but_its_own(site, watch_of):
    client = await watch_of([Target(site, name="shop")])
    answer = await client.get("/")
    text, policy = await answer.text(), answer.headers["Content-Security-Policy"]
    for tag in ("style", "script"):
        inside = re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]
        assert f"{tag}-src 'sha256-{b64encode(sha256(inside.encode()).digest()).decode()}'" in policy
    assert "http" not in re.sub(r"https?://www\.w3\.org/\S+", "", text).replace("httpOnly", "")


async def test_ready_and_unknown_paths(site, watch_of):
    client = await watch_of([Target(site, name="shop")])
    assert (await client.get("/livez")).status == 200
    assert (await client.get("/readyz")).status == 200
    lost = await client.get("/nowhere")
    assert (lost.status, lost.content_type) == (404, "application/problem+json")


async def test_labels_of_any_name_are_told_to_prometheus(site, watch_of):
    labels = (("team-name", "web"), ("team.name", "shop"), ("1st", "a"), ("__own", "b"), ("größe", "c"))
    client = await watch_of([Target(f"{site}ok", name="good", labels=labels)])
    await targets_once(client, lambda all_: all_[0]["good"])
    samples = await samples_of(client, "/metrics")
    assert samples["probe_success", "web", "a", "b", "c", "good"] == 1


async def test_probes_leave_nothing_behind(site, watch_of):
    client = await watch_of([Target(site, name="shop")], probe="any")
    for number in range(5):
        await samples_of(client, "/probe", params={"target": f"{site}{number}"})
    assert not client.app[PARTS].prober._prepared


async def test_questions_to_the_history_come_one_after_the_other(site, watch_of, monkeypatch):
    client = await watch_of([Target(site, name="shop")])
    history, now, most = client.app[PARTS].history, 0, 0
    ask = history.slots

    def slots(*arguments):
        nonlocal now, most
        now += 1
        most = max(most, now)
        found = ask(*arguments)
        now -= 1
        return found

    monkeypatch.setattr(history, "slots", slots)
    answers = await asyncio.gather(*(client.get("/api/v1/targets/shop/history?step=1m") for _ in range(12)))
    assert [answer.status for answer in answers] == [200] * 12
    assert most == 1


async def test_a_target_that_hangs_is_pinged_once_at_a_time(watch_of):
    now, most = 0, 0

    async def hang(request):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.3)
        now -= 1
        return web.Response()

    app = web.Application()
    app.router.add_get("/", hang)
    server = TestServer(app)
    await server.start_server()
    client = await watch_of([Target(str(server.make_url("/")), name="slow")], interval=0.02)
    (told,) = (await targets_once(client, lambda all_: all_[0]["good"] >= 2))["targets"]
    await server.close()
    assert most == 1
    assert told["missed"] >= 5


async def test_pings_have_their_turn_while_many_targets_are_told(site, watch_of):
    client = await watch_of(
        [Target(f"{site}{number}", name=f"t{number}") for number in range(100)], interval=60
    )
    turns, telling = 0, True

    async def take_turns():
        nonlocal turns
        while telling:
            turns += 1
            await asyncio.sleep(0)

    class Asked:
        app, query = client.app, {"limit": "100"}

    taking = asyncio.create_task(take_turns())
    told = await list_targets(Asked)
    telling = False
    await taking
    assert len(json.loads(told.body)["targets"]) == 100
    assert turns >= 4


async def test_metrics_are_written_down_beside_the_loop(site, watch_of, monkeypatch):
    client = await watch_of([Target(site, name="shop")])
    threads = []

    def figures(pings):
        threads.append(threading.current_thread())
        return probe_figures(pings)

    monkeypatch.setattr(handlers, "probe_figures", figures)
    await samples_of(client, "/metrics")
    assert threads
    assert threading.main_thread() not in threads
