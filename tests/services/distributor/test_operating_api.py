"""Operating a running service: analyzers, dead letters, settings, a packet's story, the live tail."""

import asyncio
import json
import re
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic

import aiohttp
import msgspec
import pytest

from penstock.services.distributor.access import need_of
from penstock.services.distributor.config import AnalyzerConfig, ApiKey
from penstock.services.distributor.keys import STREAMS
from penstock.services.distributor.rest import tail
from services.distributor.serving import Wall, serving

KEY = "operator-key-0123456789"
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def start(tmp_path):
    return partial(serving, tmp_path)


@pytest.fixture
async def service(start):
    async with start(max_attempts=1) as service:
        yield service


async def submit(service, *ids, **message):
    packets = [{"id": id_, "messages": [{"message": "x"} | message]} for id_ in ids]
    await service.logs(packets, 202)


async def bury(service, *ids, **message):
    """Makes dead letters."""
    service.books.fails = lambda id_, retry_count: True
    await submit(service, *ids, **message)
    await service.nothing_left()
    service.books.fails = lambda id_, retry_count: False


async def letters(service):
    return {one["packet"]["id"]: one["seq"] for one in (await service.get("/api/v1/dead-letter")).json}


# Health


async def test_analyzer_is_held_in_a_state_for_a_time_and_put_back(service):
    path = "/api/v1/analyzers/a1/health"
    held = (await service.post(path, {"state": "drain", "ttl": 600, "reason": "upgrade"}, 200)).json
    assert held.items() >= {"id": "a1", "is_healthy": False, "override": "drain"}.items()
    assert 590 < held["override_ends_in"] <= 600
    await submit(service, *(f"p{n}" for n in range(60)))
    await service.nothing_left()
    assert service.books.by_analyzer == {"a2": 30, "a3": 20, "a4": 10}
    told = (await service.get("/api/v1/stats")).json["analyzers"]["a1"]
    assert (told["override"], told["override_reason"]) == ("drain", "upgrade")
    back = (await service.post(path, {"state": None}, 200)).json
    assert (back["is_healthy"], back["override"]) == (True, None)


@pytest.mark.parametrize(
    "body",
    [
        {"state": "sideways"}, {"state": "up", "healthy": True}, {"state": "up", "ttl": 0}, {"ttl": 5},
        {"state": "up", "ttl": "long"}, {"state": "up", "reason": "x" * 501}, {"state": 1},
    ],
)  # fmt: skip
async def test_state_that_is_none_is_refused_with_an_example(service, body):
    answer = await service.post("/api/v1/analyzers/a1/health", body, 400)
    assert '{"state": "drain", "ttl": 600}' in answer.json["detail"]


# Analyzers


async def test_analyzers_are_added_changed_and_removed_while_packets_flow(service):
    url = service.distributor.config.analyzers[0].url
    added = await service.ask("POST", "/api/v1/analyzers", {"id": "a5", "url": url, "weight": 1.0}, 201)
    assert added.json["changed"][0]["name"] == "analyzers.a5"
    await submit(service, *(f"p{n}" for n in range(20)))
    figures = await service.nothing_left()
    assert figures["analyzers"]["a5"]["processed_count"] == 10
    changed = await service.ask("PATCH", "/api/v1/analyzers/a5", {"weight": 3})
    assert changed.json == {"changed": [{"name": "analyzers.a5.weight", "before": 1.0, "after": 3.0}]}
    await service.ask("PUT", "/api/v1/analyzers/a5", {"url": url, "weight": 2.0})
    assert service.distributor.config.analyzers[-1] == AnalyzerConfig("a5", url, 2.0)
    await service.ask("DELETE", "/api/v1/analyzers/a5")
    assert [one["id"] for one in (await service.get("/api/v1/analyzers")).json] == ["a1", "a2", "a3", "a4"]
    await submit(service, *(f"q{n}" for n in range(10)))
    await service.nothing_left()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        (
            "POST",
            "",
            {"id": "a1", "url": "http://h/"},
            409,
            "there is an analyzer 'a1' already; PUT replaces",
        ),
        ("POST", "", {"id": "a9"}, 400, "missing required field `url`"),
        ("POST", "", {"id": "a9", "url": "gopher://h/"}, 400, "must be an http:// or https:// URL"),
        ("POST", "", {"id": "a9", "url": "http://h/", "group": "none"}, 422, "must be one of default"),
        ("PUT", "/a9", {"id": "a8", "url": "http://h/"}, 400, "id must be that of the path, 'a9'"),
        ("PUT", "/a9", [], 400, "Expected `object`, got `array`"),
        ("PATCH", "/a9", {"weight": 1}, 404, "there is no analyzer 'a9'; there are: a1, a2, a3, a4"),
        ("PATCH", "/a1", {"weight": -1}, 400, "at `$.weight`"),
        ("PATCH", "/a1", {"colour": 1}, 400, "unknown field `colour`"),
        ("PATCH", "/a1", {"ca_file": "/no/such"}, 422, "/no/such"),
        ("DELETE", "/a9", None, 404, "there is no analyzer 'a9'"),
    ],
)
async def test_change_of_analyzers_that_cannot_be_is_refused_and_changes_nothing(
    service, method, path, body, status, words
):
    before = service.distributor.config
    answer = await service.ask(method, f"/api/v1/analyzers{path}", body, status)
    assert words in answer.json["detail"]
    assert service.distributor.config == before


async def test_last_analyzer_of_a_group_is_not_removed(service):
    for id_ in ("a1", "a2", "a3"):
        await service.ask("DELETE", f"/api/v1/analyzers/{id_}")
    answer = await service.ask("DELETE", "/api/v1/analyzers/a4", None, 422)
    assert "at least one analyzer" in answer.json["detail"]


# Dead letters


async def test_dead_letter_is_told_by_its_number(service):
    await bury(service, "p1")
    seq = (await letters(service))["p1"]
    letter = (await service.get(f"/api/v1/dead-letter/{seq}")).json
    assert (letter["seq"], letter["packet"]["id"], letter["final_error"]) == (seq, "p1", "told to fail")
    assert "no dead letter 4711;" in (await service.get("/api/v1/dead-letter/4711", 404)).json["detail"]
    await service.get("/api/v1/dead-letter/x", 404)


async def test_replayed_dead_letter_arrives_once_with_its_old_id(service):
    await bury(service, "p1", "p2", "p3")
    seqs = await letters(service)
    wanted = {"seqs": [seqs["p1"], seqs["p3"], 4711]}
    dry = await service.post("/api/v1/dead-letter/replay", wanted | {"dry_run": True}, 200)
    assert dry.json == {"dry_run": True, "matching": 2}
    assert len(await letters(service)) == 3
    for _ in range(2):
        await service.post("/api/v1/dead-letter/replay", wanted, 202)
        await service.distributor.replaying.finished()
    await service.nothing_left()
    assert service.books.processed == {"p1": 1, "p3": 1}
    assert list(await letters(service)) == ["p2"]
    progress = (await service.get("/api/v1/dead-letter/replay")).json
    assert progress == {"total": 0, "replayed": 0, "gone": 0, "done": True}


async def test_dead_letters_are_replayed_by_search_and_time(start):
    wall = Wall()
    async with start(max_attempts=1, wall=wall) as service:
        await bury(service, "old", level="ERROR")
        wall.now_ms += 60_000
        await bury(service, "e1", "e2", level="ERROR")
        await bury(service, "i1", level="INFO")
        body = {"q": "+level:error", "since": "2025-01-25T20:31:00Z"}
        answer = await service.post("/api/v1/dead-letter/replay", body, 202)
        assert answer.json["total"] == 2
        await service.distributor.replaying.finished()
        await service.nothing_left()
        assert set(service.books.processed) == {"e1", "e2"}


async def test_replay_at_a_rate_is_told_stopped_and_not_doubled(service):
    await bury(service, *(f"p{n}" for n in range(20)))
    assert (await service.get("/api/v1/dead-letter/replay", 404)).json["detail"].startswith("nothing was")
    await service.post("/api/v1/dead-letter/replay", {"all": True, "rate": 1}, 202)
    again = await service.post("/api/v1/dead-letter/replay", {"all": True}, 409)
    assert "being replayed already" in again.json["detail"]
    assert not (await service.get("/api/v1/dead-letter/replay")).json["done"]
    await service.ask("DELETE", "/api/v1/dead-letter/replay")
    await service.distributor.replaying.finished()
    progress = (await service.get("/api/v1/dead-letter/replay")).json
    assert progress["replayed"] < 20
    assert progress["error"]


async def test_purge_only_counts_unless_it_is_told_to(service):
    await bury(service, "p1", "p2", "p3")
    seqs = await letters(service)
    dry = await service.post("/api/v1/dead-letter/purge", {"all": True}, 200)
    assert dry.json == {"dry_run": True, "matching": 3}
    assert len(await letters(service)) == 3
    done = await service.post("/api/v1/dead-letter/purge", {"seqs": [seqs["p2"]], "dry_run": False}, 200)
    assert done.json == {"dry_run": False, "purged": 1}
    assert set(await letters(service)) == {"p1", "p3"}
    assert (await service.get("/api/v1/stats")).json["purged"] == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "there must be seqs, or some of q, since and until, or all"),
        ({"dry_run": False}, "there must be seqs"),
        ({"all": False}, "there must be seqs"),
        ({"all": True, "q": "x"}, "there must be seqs"),
        ({"seqs": [1], "since": "0"}, "there must be seqs"),
        ({"seqs": []}, "length >= 1"),
        ({"seqs": [0]}, "`int` >= 1 - at `$.seqs[0]`"),
        ({"seqs": ["1"]}, "at `$.seqs[0]`"),
        ({"since": "yesterday"}, "since must be a time as in RFC 3339"),
        ({"q": ""}, "at `$.q`"),
        ({"q": "level:"}, "q cannot be read"),
        ({"everything": True}, "unknown field `everything`"),
    ],
)
async def test_choice_of_dead_letters_that_is_not_clear_is_refused(service, body, words):
    await bury(service, "p1")
    for path in ("replay", "purge"):
        assert words in (await service.post(f"/api/v1/dead-letter/{path}", body, 400)).json["detail"]
    assert list(await letters(service)) == ["p1"]


# Settings


async def test_reload_tells_what_has_become_different_and_works_by_it(start):
    def new(config):
        return msgspec.structs.replace(
            config, linger=0.5, max_packets=2, api_keys=(ApiKey("op", KEY, may_operate=True),)
        )

    async with start(new_settings=new) as service:
        answer = await service.ask("POST", "/api/v1/config")
        assert {"name": "linger", "before": 0.0, "after": 0.5} in answer.json["changed"]
        assert KEY not in answer.body.decode()
        await service.logs([{"messages": [{"message": "x"}]}], 401)
        shown = {"X-API-Key": KEY, "Content-Type": "application/json"}
        await service.logs([{"messages": [{"message": "x"}]}] * 3, 400, shown)
        await service.logs([{"messages": [{"message": "x"}]}] * 2, 202, shown)
        assert (await service.ask("POST", "/api/v1/config", headers=shown)).json == {"changed": []}


async def test_reload_of_what_needs_a_restart_is_refused_by_name_and_changes_nothing(start):
    async with start(
        new_settings=lambda c: msgspec.structs.replace(c, linger=0.5, port=1, host="h")
    ) as service:
        answer = await service.ask("POST", "/api/v1/config", status=422)
        assert answer.json["detail"].startswith("host, port cannot change while the service runs")
        assert service.distributor.config.linger == 0


async def test_reload_of_settings_that_cannot_be_read_is_refused(start):
    def unreadable(config):
        raise FileNotFoundError(2, "No such file or directory", "distributor.toml")

    async with start(new_settings=unreadable) as service:
        answer = await service.ask("POST", "/api/v1/config", status=422)
        assert (
            "No such file or directory: 'distributor.toml'; the settings from before go on"
            in answer.json["detail"]
        )


async def test_page_of_another_site_cannot_reload(service):
    await service.ask("POST", "/api/v1/config", status=415, headers={"Content-Type": "text/plain"})


async def test_settings_are_told_without_their_secrets(start):
    async with start(
        api_keys=(ApiKey("op", KEY, may_operate=True), ApiKey("other", sha256="ab" * 32)),
        forward_shared_key="forward-secret",
        redis_url="redis://:redis-secret@127.0.0.1:9",
    ) as service:
        shown = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        url = "https://me:pass-word@127.0.0.1:9/p"
        change = {"headers": {"Authorization": "analyzer-secret"}, "url": url, "health_url": url}
        changed = await service.ask("PATCH", "/api/v1/analyzers/a1", change, headers=shown)
        told = await service.ask("GET", "/api/v1/config", headers=shown)
        for text in (told.body.decode(), changed.body.decode()):
            for secret in (KEY, "ab" * 32, "forward-secret", "analyzer-secret", "pass-word", "redis-secret"):
                assert secret not in text
        assert told.json["api_keys"][0] == {
            "name": "op",
            "key": "***",
            "sha256": "",
            "rate_limit": None,
            "may_send": True,
            "may_read": False,
            "may_operate": True,
        }
        assert told.json["analyzers"][0]["url"] == "https://127.0.0.1:9/p"
        assert told.json["durability"] == "os"


# Keys


NEEDS = {
    "nothing": [
        "GET /", "GET /livez", "GET /readyz", "GET /metrics", "GET /services/collector/health",
        "GET /services/collector/health/1.0",
    ],
    "a key": ["GET /api/v1/health"],
    "may_send": [
        "POST /api/v1/logs", "POST /api/v1/ndjson", "POST /v1/logs", "POST /loki/api/v1/push", "POST /gelf",
        "POST /_bulk", "PUT /_bulk", "POST /{index}/_bulk", "PUT /{index}/_bulk", "GET /_license",
        "GET /_cluster/health", "POST /services/collector", "POST /services/collector/event",
        "POST /services/collector/event/1.0", "POST /services/collector/raw",
        "POST /services/collector/raw/1.0", "POST /services/collector/ack",
    ],
    "may_read": [
        "GET /api/v1/stats", "GET /api/v1/analyzers", "GET /api/v1/dead-letter",
        "GET /api/v1/dead-letter/{seq}", "GET /api/v1/dead-letter/replay", "GET /api/v1/packets/{id}",
        "GET /api/v1/tail",
    ],
    "may_operate": [
        "POST /api/v1/analyzers/{id}/health", "POST /api/v1/analyzers", "PUT /api/v1/analyzers/{id}",
        "PATCH /api/v1/analyzers/{id}", "DELETE /api/v1/analyzers/{id}", "GET /api/v1/config",
        "POST /api/v1/dead-letter/replay", "DELETE /api/v1/dead-letter/replay",
        "POST /api/v1/dead-letter/purge", "POST /api/v1/config",
    ],
}  # fmt: skip
"""Every route there is, by what it needs."""


async def test_every_route_needs_what_it_is_known_to_need(start):
    """Whoever adds a route finds out here what it opens to whom."""
    found = {need: set() for need in NEEDS}
    async with start() as service:
        for route in service.app.router.routes():
            found[need_of(route.handler)].add(f"{route.method} {route.resource.canonical}")
    heads = {
        need: {f"HEAD {one[4:]}" for one in routes if one[:4] == "GET "} for need, routes in NEEDS.items()
    }
    assert found == {need: heads[need].union(routes) for need, routes in NEEDS.items()}


RIGHTS = {
    "sender": {"may_send"}, "reader": {"may_read"}, "operator": {"may_read", "may_operate"},
    "all": {"may_send", "may_read", "may_operate"},
}  # fmt: skip


async def test_key_opens_the_routes_of_its_rights_and_no_others(start):
    keys = [ApiKey("sender", "sender-key-0123456789")]
    keys.append(ApiKey("reader", "reader-key-0123456789", may_send=False, may_read=True))
    keys.append(ApiKey("operator", "operator-key-0123456789", may_send=False, may_operate=True))
    keys.append(ApiKey("all", "all-key-0123456789", may_operate=True))
    async with start(api_keys=tuple(keys)) as service:
        for need, routes in NEEDS.items():
            for route in routes:
                method, path = route.split()
                url = service.url + re.sub(r"{\w+}", "1", path)
                for key in keys:
                    shown = {"X-API-Key": key.key, "Content-Type": "text/nonsense"}
                    async with service.session.request(method, url, headers=shown) as answer:
                        opened = need in ("nothing", "a key") or need in RIGHTS[key.name]
                        assert (answer.status != 403) == opened, (route, key.name)
                        assert opened or f"{key.name} must have {need} for this" in await answer.text()
                async with service.session.request(method, url) as answer:
                    assert (answer.status != 401) == (need == "nothing"), route


async def test_limit_of_a_key_is_a_429_that_says_when(start):
    slow, other = "slow-key-0123456789", "other-key-0123456789"
    keys = (ApiKey("slow", slow, rate_limit=0.5), ApiKey("other", other))
    async with start(api_keys=keys, max_packets=2) as service:
        two = [{"messages": [{"message": "x"}]}] * 2
        shown = {"X-API-Key": slow, "Content-Type": "application/json"}
        await service.logs(two, 202, shown)
        answer = await service.logs(two, 429, shown)
        assert 3 <= int(answer.headers["Retry-After"]) <= 4
        await service.logs(two, 202, shown | {"X-API-Key": other})


# One packet, and all of them as they go by


async def test_story_of_a_packet_tells_every_step(start):
    async with start(max_attempts=2) as service:
        service.books.fails = lambda id_, retry_count: retry_count == 0
        await submit(service, "p1")
        await service.nothing_left()
        story = (await service.get("/api/v1/packets/p1")).json
        assert story["id"] == "p1"
        assert [event["what"] for event in story["events"]] == ["accepted", "retry", "delivered"]
        assert story["events"][1]["error"] == "told to fail"
        assert story["events"][1]["at"].endswith("Z")
        missing = (await service.get("/api/v1/packets/nobody", 404)).json["detail"]
        assert missing == "the journal knows nothing of a packet 'nobody', or no more"


@asynccontextmanager
async def watching(service, query="", headers=None):
    """Gives the next event of the tail, and its data."""
    async with service.session.get(f"{service.url}/api/v1/tail{query}", headers=headers) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"

        async def event():
            name = None
            async with asyncio.timeout(10):
                while line := (await answer.content.readline()).decode():
                    if line.startswith("event: "):
                        name = line[7:].strip()
                    elif line.startswith("data: "):
                        return name, json.loads(line[6:])
            return None

        assert (await answer.content.readline()) == b": watching\n"
        yield event


async def test_tail_shows_packets_as_they_go_by(service):
    async with watching(service) as event:
        await submit(service, "p1", level="ERROR")
        name, data = await event()
        assert (name, data["what"], data["id"], data["group"]) == ("accepted", "accepted", "p1", "default")
        assert data["packet"]["messages"][0]["level"] == "ERROR"
        name, data = await event()
        assert (name, data["analyzer"], data["attempt"]) == ("delivered", "a1", 1)


async def test_tail_leaves_out_what_is_not_wanted(service):
    async with watching(service, "?what=accepted&what=dead&level=error&level=fatal") as event:
        await submit(service, "i1", level="INFO")
        await submit(service, "e1", level="ERROR")
        assert (await event())[1]["id"] == "e1"
        await submit(service, "f1", level="FATAL")
        assert (await event())[1]["id"] == "f1"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("what=born", "what must be among accepted, delivered, retry, dead, replayed, got 'born'"),
        ("sample=2", "sample must be a share > 0 and <= 1, got '2'"),
        ("sample=nan", "sample must be a share"),
        ("sample=x", "sample must be a share"),
        ("&".join(f"source=s{n}" for n in range(101)), "at most 100 filters"),
    ],
)
async def test_tail_that_is_not_clear_is_refused(service, query, words):
    assert words in (await service.get(f"/api/v1/tail?{query}", 400)).json["detail"]


async def test_only_so_many_may_watch_and_one_that_goes_makes_room(service):
    async with asyncio.timeout(20):
        watchers = [watching(service) for _ in range(16)]
        for watcher in watchers:
            await watcher.__aenter__()
        assert (await service.get("/api/v1/tail", 503)).headers["Retry-After"] == "10"
        for watcher in watchers:
            await watcher.__aexit__(None, None, None)
        await submit(service, "p1")  # writing to those who have gone tells that they have
        while True:
            answer = await service.session.get(f"{service.url}/api/v1/tail")
            answer.close()
            if answer.status == 200:
                break
            await asyncio.sleep(0.01)


async def test_watcher_that_reads_nothing_is_let_go(start, monkeypatch):
    monkeypatch.setattr(tail, "STALLED", 0.1)
    async with start(max_body_bytes=1_000_000) as service, asyncio.timeout(30):
        _, writer = await service.connect()
        writer.transport.pause_reading()
        writer.write(b"GET /api/v1/tail HTTP/1.1\r\nHost: x\r\n\r\n")
        number = 0
        while not service.app[tail.WATCHERS]:
            await asyncio.sleep(0.005)
        while service.app[tail.WATCHERS]:  # the system takes some MiB for it first
            number += 1
            await submit(service, f"p{number}", metadata={"much": "x" * 900_000})
        assert number > 1
        writer.close()
        await service.nothing_left()


async def test_nobody_goes_on_watching_with_a_key_that_is_gone(start):
    def new(config):
        return msgspec.structs.replace(config, api_keys=tuple(keys))

    keys = [ApiKey("op", KEY, may_operate=True), ApiKey("other", "other-key-0123456789", may_read=True)]
    async with start(api_keys=tuple(keys), new_settings=new) as service, asyncio.timeout(20):
        shown = {"Content-Type": "application/json", "X-API-Key": KEY}
        other = {"X-API-Key": "other-key-0123456789"}
        async with service.session.get(f"{service.url}/api/v1/tail", headers=other) as answer:
            assert (await answer.content.readline()) == b": watching\n"
            await service.ask("POST", "/api/v1/config", headers=shown)
            assert len(service.app[tail.WATCHERS]) == 1, "no key has changed"
            del keys[1]
            await service.ask("POST", "/api/v1/config", headers=shown)
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        await service.get("/api/v1/tail", 401, headers=other)


async def test_watchers_do_not_hold_up_the_end_of_the_service(start):
    async with aiohttp.ClientSession() as session, asyncio.timeout(10):
        async with start() as service:
            answer = await session.get(f"{service.url}/api/v1/tail")
            assert await answer.content.readline() == b": watching\n"
            began = monotonic()
        assert monotonic() - began < 1
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_figures_tell_what_came_in_by_each_input(start):
    async with start(syslog_tcp="127.0.0.1:0") as service:
        await service.post("/api/v1/ndjson", b'{"message":"a"}\n{"message":"b"}\n', 202, NDJSON)
        _, port = service.app[STREAMS].addresses()["syslog_tcp"].rsplit(":", 1)
        _, writer = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(b"<34>1 2025-01-25T20:30:45Z host app - - - hello\n")
        writer.close()
        async with asyncio.timeout(10):
            while (inputs := (await service.get("/api/v1/stats")).json["inputs"])["syslog_tcp"]["stored"] < 1:
                await asyncio.sleep(0.005)
        assert inputs["ndjson"] == {"received": 2, "stored": 2, "refused": 0}
        metrics = (await service.get("/metrics")).body.decode()
        assert 'penstock_input_stored_total{input="syslog_tcp"} 1\n' in metrics
        assert 'penstock_input_stored_total{input="ndjson"} 2\n' in metrics
        await service.nothing_left()
