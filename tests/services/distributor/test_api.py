"""The REST API over real sockets: every route, every refusal, and nothing of what was refused is kept."""

import asyncio
import gzip
import json
import re
import resource
import zlib
from functools import partial
from urllib.parse import urlencode

import msgspec
import pytest
from backports import zstd

from penstock.services.distributor.rest.answers import in_go_style
from penstock.services.distributor.spool import SpoolError
from services.distributor.serving import JSON_TYPE, WEIGHTS, Wall, checked, serving

SAMPLE = [
    {
        "messages": [
            {
                "level": "INFO", "message": "User login successful", "source": "auth-service",
                "metadata": {"user_id": "user_12345", "ip_address": "192.168.1.100"},
            },
            {"level": "DEBUG", "message": "Session token generated", "source": "auth-service"},
            {
                "level": "ERROR", "message": "Multiple login attempts detected",
                "source": "security-monitor", "metadata": {"attempt_count": 5},
            },
        ]
    }
]  # fmt: skip
GOOD = b'[{"messages":[{"message":"x"}]}]'
JSON = "Content-Type: application/json\r\n"


@pytest.fixture
def start(tmp_path):
    """Starts services with these settings; each ends with books in order and nothing of the refused."""
    return partial(serving, tmp_path)


@pytest.fixture
async def service(start):
    async with start() as service:
        yield service


@pytest.fixture
async def buried(start):
    """A service that gives a packet up when its first attempt fails, and its wall clock."""
    wall = Wall()
    async with start(max_attempts=1, wall=wall) as service:
        yield service, wall


def post(body, headers="", length=True, close=True):
    head = f"POST /api/v1/logs HTTP/1.1\r\nHost: x\r\n{JSON}{headers}"
    head += "Connection: close\r\n" if close else ""
    head += f"Content-Length: {len(body)}\r\n" if length else ""
    return head.encode() + b"\r\n" + body


def answer_in(raw, status):
    head, _, body = raw.partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1\.[01] %d " % status, head), raw[:300]
    if status >= 400:
        assert b"Content-Type: application/problem+json" in head, raw[:300]
    return json.loads(body)


# The reference's routes


async def test_sample_of_the_reference_is_accepted_and_shows_in_the_stats(service):
    answer = await service.logs(SAMPLE, 202)
    [id_] = answer.json["processed_packets"]
    assert answer.json == {"total_packets": 1, "successful": 1, "failed": 0, "processed_packets": [id_]}
    assert answer.headers["X-Penstock-Durability"] == "os"
    stats = await service.nothing_left()
    assert (stats["total_packets_received"], stats["total_messages_routed"]) == (1, 3)
    assert service.books.processed == {id_: 1}


async def test_stats_have_the_fields_of_the_reference(service):
    await service.logs(SAMPLE, 202)
    stats = await service.nothing_left()
    assert stats["active_analyzers"] == 4
    for field in ("packet_channel_util_percent", "result_channel_util_percent", "retry_channel_util_percent"):
        assert 0 <= stats[field] <= 100
    assert re.fullmatch(r"([0-9]+h)?([0-9]+m)?[0-9.]+s", stats["uptime"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stats["timestamp"])
    assert list(stats["analyzers"]) == ["a1", "a2", "a3", "a4"]
    assert {"name", "is_healthy", "processed_count", "error_count"} <= set(stats["analyzers"]["a1"])
    assert sum(one["processed_count"] for one in stats["analyzers"].values()) == 1


async def test_health_tells_how_many_analyzers_are_up(service):
    health = (await service.get("/api/v1/health")).json
    assert list(health) == ["status", "uptime", "active_analyzers", "total_analyzers", "timestamp"]
    assert (health["status"], health["active_analyzers"], health["total_analyzers"]) == ("healthy", 4, 4)
    for up, id_ in zip((3, 2, 1, 0), WEIGHTS, strict=True):
        answer = await service.post(f"/api/v1/analyzers/{id_}/health", {"healthy": False}, 200)
        assert answer.json.items() >= {"id": id_, "is_healthy": False, "held_down": True}.items()
        health = (await service.get("/api/v1/health")).json
        assert (health["status"], health["active_analyzers"]) == ("degraded" if up else "unhealthy", up)
    await service.get("/livez")
    assert "no analyzer is up" in (await service.get("/readyz", 503)).json["detail"]
    await service.logs(GOOD, 202)
    answer = await service.post("/api/v1/analyzers/a3/health", {"healthy": True}, 200)
    assert answer.json.items() >= {"id": "a3", "is_healthy": True, "held_down": False}.items()
    await service.nothing_left()
    assert service.books.by_analyzer == {"a3": 1}
    await service.get("/readyz")


async def test_analyzers_are_listed_with_their_figures(service):
    listed = (await service.get("/api/v1/analyzers")).json
    assert [(one["id"], one["weight"], one["target_share"]) for one in listed] == [
        ("a1", 0.4, 0.4), ("a2", 0.3, 0.3), ("a3", 0.2, 0.2), ("a4", 0.1, 0.1),
    ]  # fmt: skip


async def test_dead_letters_are_listed_newest_first_and_paged(start):
    async with start(max_attempts=2) as service:
        service.books.fails = lambda id_, retry_count: True
        packets = [{"id": f"p{n}", "messages": [{"message": "x"}]} for n in range(25)]
        await service.logs(packets, 202)
        stats = await service.nothing_left()
        assert (stats["dead"], stats["delivered"], stats["retries"]) == (25, 0, 25)
        everything = (await service.get("/api/v1/dead-letter")).json
        assert len({one["packet"]["id"] for one in everything}) == 25
        newest = everything[0]
        assert (newest["packet"]["retry_count"], newest["final_error"]) == (1, "told to fail")
        assert newest["packet"]["messages"][0]["message"] == "x"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", newest["failed_at"])
        paged, path = [], "/api/v1/dead-letter?limit=10"
        while page := (await service.get(path)).json:
            paged += page
            path = f"/api/v1/dead-letter?limit=10&before={page[-1]['seq']}"
        assert paged == everything


async def test_dead_letters_are_listed_by_the_time_they_failed(buried):
    service, wall = buried
    packets = [{"id": f"p{n}", "messages": [{"message": "x"}]} for n in range(4)]
    service.books.fails = lambda id_, retry_count: True
    second = 1_737_837_045_000  # 2025-01-25T20:30:45Z
    times = [second + 2000, second, second + 999, second + 1000]
    for packet, wall.now_ms in zip(packets, times, strict=True):
        await service.logs([packet], 202)
        await service.nothing_left()

    async def ids(query):
        listed = (await service.get(f"/api/v1/dead-letter?{query}")).json
        return [letter["packet"]["id"] for letter in listed]

    assert await ids("") == ["p0", "p3", "p2", "p1"]
    assert await ids("since=2025-01-25T20:30:46Z") == ["p0", "p3"]
    assert await ids(f"since={second + 999}&until={second + 2000}") == ["p3", "p2"]
    assert await ids("until=2025-01-25T21:30:46%2B01:00") == ["p2", "p1"]
    assert await ids("until=2025-01-25T21:30:46+01:00") == ["p2", "p1"]
    assert await ids("until=2025-01-25t20:30:45.999z&limit=1") == ["p1"]
    assert await ids("since=2025-01-25T20:30:45.0015Z") == ["p0", "p3", "p2"]
    assert len(await ids("since=0001-01-01T00:00:00%2B23:59&until=9999-12-31T23:59:59-23:59")) == 4
    assert await ids("since=0&until=0") == []
    assert await ids("since=1969-12-31T23:59:59Z&until=1960-01-01T00:00:00Z") == []
    listed = (await service.get("/api/v1/dead-letter")).json
    assert await ids(f"before={listed[1]['seq']}") == ["p2", "p1"]
    assert await ids(f"before={listed[1]['seq']}&since={second + 1}") == ["p2"]
    assert await ids(f"before={listed[1]['seq']}&until={second + 999}") == ["p1"]
    assert await ids("before=4000000") == [], "no such letter"


async def test_dead_letters_are_searched_by_what_they_say(buried):
    service, wall = buried
    distributor = service.distributor
    service.books.fails = lambda id_, retry_count: True
    second = 1_737_837_045_000
    said = [
        {"message": "connection refused by billing", "level": "ERROR", "source": "api"},
        {"message": "connection timed out", "level": "WARN", "metadata": {"host": "billing-7"}},
        {"message": "disk full, connection lost, connection gone", "level": "ERROR", "source": "store"},
        {"message": "Überlauf im Puffer", "level": "FATAL"},
    ]

    async def bury(n, message):
        wall.now_ms = second + 1000 * n
        await service.logs([{"id": f"p{n}", "messages": [message]}], 202)
        await service.nothing_left()

    async def found(status=200, **query):
        answer = await service.get("/api/v1/dead-letter?" + urlencode(query), status)
        assert answer.headers["Penstock-Found"] == str(len(answer.json)) or "limit" in query
        return [letter["packet"]["id"] for letter in answer.json]

    for n, message in enumerate(said):
        await bury(n, message)
    assert await found(q="connection") == ["p2", "p1", "p0"], "the last first"
    assert await found(q="connection", order="relevance", limit=2) == ["p2", "p0"], "the best first"
    assert await found(q='"connection refused"') == ["p0"]
    assert await found(q="+level:error -disk") == ["p0"]
    assert await found(q="billing") == ["p1", "p0"], "in metadata too"
    assert await found(q="error:told") == ["p3", "p2", "p1", "p0"], "why the last attempt failed"
    assert await found(q="überlauf") == ["p3"]
    assert await found(q="id:p2") == ["p2"]
    assert await found(q="nothing-like-it") == []
    assert await found(q="connection", since=second + 1000, until=second + 2000) == ["p1"]
    assert await found(q="connection", order="relevance", until=second + 1) == ["p0"]
    listed = (await service.get("/api/v1/dead-letter?q=connection")).json
    assert await found(q="connection", before=listed[0]["seq"], limit=1) == ["p1"]
    assert listed[0]["score"] > listed[1]["score"] > 0
    assert "score" not in (await service.get("/api/v1/dead-letter")).json[0]
    await bury(4, {"message": "connection reset"})
    assert await found(q="connection") == ["p4", "p2", "p1", "p0"], "what died since the last search too"
    await distributor.reload(msgspec.structs.replace(distributor.config, max_dead_letters=2))
    await distributor.clean_up()
    assert await found(q="connection") == ["p4"], "what was purged is gone"


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("q=level:", "q cannot be read: "),
        ("q=%22open", "q cannot be read: "),
        ("q=" + "(" * 40 + "x" + ")" * 40, "q cannot be read: query must have at most"),
        ("q=" + "x*+" * 65, "q cannot be read: query must have at most"),
        ("q=x&order=best", "order must be time or relevance, got 'best'"),
        ("q=+&order=relevance", "order=relevance needs a query: q must not be empty"),
        (
            "q=x&order=relevance&before=3",
            "before goes with order=time only; raise limit to see more of the best",
        ),
        ("q=" + "x" * 1001, "q must have at most 1000 characters, got 1001"),
    ],
)
async def test_search_that_cannot_be_read_is_refused(service, query, detail):
    answer = await service.get(f"/api/v1/dead-letter?{query}", 400)
    assert answer.json["detail"].startswith(detail)


async def test_dead_letters_beyond_the_memory_of_the_search_are_left_out_and_that_is_told(start):
    async with start(max_attempts=1, max_search_bytes=1) as service:
        service.books.fails = lambda id_, retry_count: True
        await service.logs([{"id": f"p{n}", "messages": [{"message": f"lost {n}"}]} for n in range(3)], 202)
        await service.nothing_left()
        answer = await service.get("/api/v1/dead-letter?q=lost")
        assert answer.json == []
        assert (answer.headers["Penstock-Found"], answer.headers["Penstock-Searched"]) == ("0", "0")


@pytest.mark.parametrize(
    "moment",
    ["", "x", "yesterday", "-1", "1e3", "1234567890123456", "١٢٣", "2025-01-25", "2025-01-25T20:30:45",
     "2025-02-30T00:00:00Z", "2025-01-25T20:30:60Z", "20250125T203045Z", "2025-01-25T20:30:45Z%00",
     "0000-01-01T00:00:00Z", "9" * 5000]
)  # fmt: skip
@pytest.mark.parametrize("name", ["since", "until"])
async def test_time_that_is_none_is_refused(service, name, moment):
    answer = await service.get(f"/api/v1/dead-letter?{name}={moment}", 400)
    detail = answer.json["detail"]
    assert detail.startswith(f"{name} must be a time as in RFC 3339, such as 2025-01-25T20:30:45Z, or unix")
    assert len(detail) < 200


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=-1", "limit=x", "limit=", "before=0", "before=1e3", "limit=١",
              "before=9999999999999999999999"]
)  # fmt: skip
async def test_bad_query_of_dead_letters_is_refused_with_the_range(service, query):
    detail = (await service.get(f"/api/v1/dead-letter?{query}", 400)).json["detail"]
    assert re.search(r"must be a whole number, 1 to \d+, got '", detail)


async def test_spool_that_cannot_be_read_is_a_503(service, monkeypatch):
    def broken(seqs):
        raise SpoolError("the spool cannot be read: disk I/O error")

    monkeypatch.setattr(service.distributor._spool, "dead_letters", broken)
    answer = await service.get("/api/v1/dead-letter", 503)
    assert answer.json["detail"] == "the spool cannot be read: disk I/O error"
    assert answer.headers["Retry-After"] == "1"


async def test_fault_of_ours_is_a_500_without_its_insides_and_logged(service, monkeypatch, caplog):
    monkeypatch.setattr(service.distributor, "counted", lambda: 1 / 0)
    detail = (await service.get("/api/v1/stats", 500)).json["detail"]
    monkeypatch.undo()
    assert "not in the request" in detail
    assert "division" not in detail
    assert "GET /api/v1/stats failed" in caplog.text


# Outcomes of packets


async def test_each_packet_has_its_own_outcome(service):
    long = {"id": "long", "messages": [{"message": "x" * 10_001}]}
    packets = [
        {"id": "a", "messages": [{"message": "x"}]}, {"messages": []}, long,
        {"id": "a", **SAMPLE[0]}, SAMPLE[0],
    ]  # fmt: skip
    answer = (await service.logs(packets, 207)).json
    assert (answer["total_packets"], answer["successful"], answer["failed"]) == (5, 2, 3)
    assert answer["processed_packets"][0] == "a"
    assert [(one["index"], one["id"], one["code"]) for one in answer["errors"]] == [
        (1, None, "invalid"), (2, "long", "too_large"), (3, "a", "duplicate_in_request"),
    ]  # fmt: skip
    stats = await service.nothing_left()
    assert (stats["accepted"], stats["refused"]) == (2, 3)
    assert set(service.books.processed) == set(answer["processed_packets"])


async def test_no_valid_packet_is_a_422_that_says_what_is_wrong_with_each(service):
    answer = (await service.logs([{}, {"messages": [{"message": ""}]}], 422)).json
    assert answer["processed_packets"] == []
    assert [one["index"] for one in answer["errors"]] == [0, 1]
    assert (await service.get("/api/v1/stats")).json["accepted"] == 0


async def test_full_queue_is_a_503_with_retry_after_and_nothing_kept(start):
    async with start(max_pending=2) as service:
        for id_ in WEIGHTS:
            await service.post(f"/api/v1/analyzers/{id_}/health", {"healthy": False}, 200)
        some = await service.logs(SAMPLE * 3, 207)
        assert some.json["errors"][0]["code"] == "queue_full"
        assert int(some.headers["Retry-After"]) >= 1
        none = await service.logs(SAMPLE, 503)
        assert none.json["errors"][0]["code"] == "queue_full"
        assert int(none.headers["Retry-After"]) >= 1
        await service.post("/api/v1/analyzers/a1/health", {"healthy": True}, 200)
        assert (await service.nothing_left())["accepted"] == 2
        await service.logs(SAMPLE, 202)


async def test_rate_limit_is_a_429_with_retry_after(start):
    async with start(rate_limit=1, max_packets=5) as service:
        await service.logs(SAMPLE * 5, 202)
        answer = await service.logs(SAMPLE * 5, 429)
        assert 4 <= int(answer.headers["Retry-After"]) <= 5
        assert (await service.nothing_left())["accepted"] == 5


async def test_client_that_asks_too_often_is_answered_429_and_others_are_not(start):
    settings = {"client_rate_limit": 0.01, "client_burst": 2, "trusted_proxies": ("127.0.0.1",)}
    async with start(**settings) as service:
        flood, other = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.1, 192.0.2.2"}
        await service.get("/api/v1/health", headers=flood)
        last = await service.logs(SAMPLE, 202, JSON_TYPE | flood)
        assert last.headers["RateLimit-Policy"] == '"default";q=2;w=200'
        refused = await service.logs(SAMPLE, 429, JSON_TYPE | flood)
        assert refused.json["violated-policies"] == ["default"]
        assert 99 <= int(refused.headers["Retry-After"]) <= 100
        await service.get("/nothing", 429, headers=flood)
        await service.logs(SAMPLE, 202, JSON_TYPE | other)
        for path in ("/livez", "/readyz", "/metrics"):
            for _ in range(3):
                answer = await service.get(path, headers=flood)
        assert b"\npenstock_distributor_limited_requests_total 2\n" in answer.body
        assert (await service.get("/api/v1/stats")).json["limited_requests"] == 2


async def test_burst_of_a_client_is_a_second_s_requests_unless_told(start):
    for rate, burst in ((0.5, 1), (2.5, 3)):
        async with start(client_rate_limit=rate, trusted_proxies=("127.0.0.1",)) as service:
            answer = await service.get("/api/v1/analyzers", headers={"X-Forwarded-For": "192.0.2.1"})
            assert f'"default";q={burst};' in answer.headers["RateLimit-Policy"]


async def test_without_a_limit_of_clients_answers_tell_none(service):
    answer = await service.get("/api/v1/stats")
    assert "RateLimit" not in answer.headers
    assert answer.json["limited_requests"] == 0


async def test_shutting_down_is_a_503_and_not_ready(service):
    await service.distributor.drain()
    answer = await service.logs(GOOD, 503)
    assert "shutting down; send the same packets again" in answer.json["detail"]
    assert int(answer.headers["Retry-After"]) >= 1
    assert "shutting down" in (await service.get("/readyz", 503)).json["detail"]
    assert (await service.get("/livez")).body == b"alive\n"


# Requests that are refused whole


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "must be JSON"), (b"[", "must be JSON"), (b"hello", "must be JSON"),
        (b"{}", "must be an array"),
        (b"[]", "must carry 1 to 1000 packets, got 0"), (b"\xff", "must be JSON"), (b"[{}]x", "must be JSON"),
        (b"[" * 50_000, "nested too deeply"),
        (b"[" + b"1," * 1000 + b"1]", "1 to 1000 packets, got 1001 or more"),
    ],
)  # fmt: skip
async def test_unreadable_body_is_a_400(service, body, words):
    assert words in (await service.logs(body, 400)).json["detail"]
    assert (await service.get("/api/v1/stats")).json["accepted"] == 0


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/xml", "x"]
)
async def test_wrong_content_type_is_a_415_that_names_the_right_one(service, kind):
    headers = {} if kind is None else {"Content-Type": kind}
    options = {"skip_auto_headers": ["Content-Type"]}
    for path, body in (("/api/v1/logs", GOOD), ("/api/v1/analyzers/a1/health", b'{"healthy":false}')):
        answer = await service.post(path, body, 415, headers, **options)
        assert answer.json["detail"] == f"Content-Type must be application/json, got {kind or 'none'}"
        assert answer.headers["Accept-Post"] == "application/json"
    assert (await service.get("/api/v1/health")).json["active_analyzers"] == 4


async def test_charset_parameter_is_fine(service):
    await service.logs(GOOD, 202, {"Content-Type": "application/json; charset=utf-8"})


@pytest.mark.parametrize("coding", ["br", "compress", "gzip, gzip", "x"])
async def test_unknown_content_encoding_is_a_415(service, coding):
    answer = answer_in(await service.raw(post(GOOD, f"Content-Encoding: {coding}\r\n")), 415)
    assert answer["detail"].startswith("Content-Encoding must be gzip, deflate")


@pytest.mark.parametrize(
    ("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstd.compress)]
)
async def test_compressed_body_is_accepted(service, coding, compress):
    answer_in(await service.raw(post(compress(GOOD), f"Content-Encoding: {coding}\r\n")), 202)


@pytest.mark.parametrize(
    "body",
    [
        b"no gzip at all", GOOD, gzip.compress(GOOD)[:-8] + b"\0" * 8, gzip.compress(GOOD) + b"garbage",
        gzip.compress(GOOD * 1000)[:40], b"\x1f\x8b", b"",
    ],
    ids=["text", "plain json", "wrong checksum", "garbage behind", "cut off", "only magic", "empty"],
)  # fmt: skip
async def test_broken_gzip_is_a_400_without_noise_in_the_log(service, body, caplog):
    answer_in(await service.raw(post(body, "Content-Encoding: gzip\r\n")), 400)
    assert (await service.get("/api/v1/stats")).json["accepted"] == 0
    assert caplog.text == ""


async def test_gzip_bomb_is_a_413_and_costs_no_memory(service):
    compressor = zlib.compressobj(9, wbits=31)
    bomb = b"".join(compressor.compress(b" " * 1_000_000) for _ in range(300)) + compressor.flush()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = answer_in(await service.raw(post(bomb, "Content-Encoding: gzip\r\n")), 413)
    assert "at most 100000 bytes after decompression" in answer["detail"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "KiB"


async def test_oversized_body_is_a_413_however_it_is_sent(service):
    big = b"[" + b" " * 200_000 + b"]"
    await service.logs(big, 413)
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(big), big)
    answer_in(await service.raw(post(chunked, "Transfer-Encoding: chunked\r\n", length=False)), 413)
    reader, writer = await service.connect()
    writer.write(
        f"POST /api/v1/logs HTTP/1.1\r\nHost: x\r\n{JSON}Content-Length: 99999999999\r\n\r\n".encode()
    )
    async with asyncio.timeout(5):
        assert b" 413 " in await reader.readline(), "and without waiting for the body"
    writer.close()
    await service.post("/api/v1/analyzers/a1/health", b" " * 200_000, 413)


async def test_body_of_exactly_the_limit_is_read(service):
    await service.logs(GOOD + b" " * (100_000 - len(GOOD)), 202)


async def test_chunked_body_is_accepted(service):
    chunked = b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD) + b"0\r\n\r\n"
    answer_in(await service.raw(post(chunked, "Transfer-Encoding: chunked\r\n", length=False)), 202)


async def test_expect_100_continue_is_answered_before_the_body_comes(service):
    reader, writer = await service.connect()
    head, _, body = post(GOOD, "Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    writer.write(head + b"\r\n\r\n")
    async with asyncio.timeout(5):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert b" 202 " in await reader.readline()
    writer.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"\x00\x01\x02\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        post(b"", "Content-Length: abc\r\n", length=False), post(b"", "Content-Length: -5\r\n", length=False),
        post(b"zz\r\n", "Transfer-Encoding: chunked\r\n", length=False),
        post(GOOD, "Transfer-Encoding: chunked\r\n"),
    ],
    ids=["nul", "tls", "method", "version", "long path", "long header", "header", "length",
         "negative length", "chunk", "length and chunks"],
)  # fmt: skip
async def test_what_is_no_http_is_a_problem_too_and_leaves_no_noise_in_the_log(service, request_, caplog):
    answer = answer_in(await service.raw(request_), 400)
    assert answer["detail"]
    assert len(answer["detail"]) < 500
    assert caplog.text == ""
    await service.get("/livez")


# Clients that do not behave


async def test_client_that_hangs_up_in_the_middle_of_its_body_leaves_nothing(service, caplog):
    for cut in (1, len(GOOD) // 2, len(GOOD) - 1):
        _, writer = await service.connect()
        request = post(GOOD)
        writer.write(request[: len(request) - len(GOOD) + cut])
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.transport.abort()
    await asyncio.sleep(0.05)
    assert (await service.get("/api/v1/stats")).json["accepted"] == 0
    assert caplog.text == ""


async def test_client_that_does_not_wait_for_its_answer_has_sent_its_packets_all_the_same(service, caplog):
    for _ in range(20):
        _, writer = await service.connect()
        writer.write(post(GOOD))
        await writer.drain()
        writer.close()
    async with asyncio.timeout(10):
        while (await service.get("/api/v1/stats")).json["accepted"] < 20:
            await asyncio.sleep(0.005)
    assert (await service.nothing_left())["delivered"] == 20
    assert caplog.text == ""


async def test_slow_clients_hold_up_nobody_else(service):
    slow = [await service.connect() for _ in range(200)]
    for _, writer in slow:
        writer.write(post(GOOD)[:-3])
    async with asyncio.timeout(5):
        for _ in range(20):
            await service.logs(GOOD, 202)
    for _, writer in slow:
        writer.transport.abort()
    assert (await service.nothing_left())["accepted"] == 20


async def test_requests_follow_each_other_on_a_connection_also_after_a_refused_one(service):
    requests = [post(b"[", close=False), post(GOOD, close=False), post(b"{}", close=False), post(GOOD)]
    answer = await service.raw(b"".join(requests))
    assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == [b"400", b"202", b"400", b"202"]


# Control of analyzers


async def test_unknown_analyzer_is_a_404_that_names_the_known_ones(service):
    for id_ in ("a5", "%ff%00", "..%2f", "A1", "a1%20"):
        detail = (await service.post(f"/api/v1/analyzers/{id_}/health", {"healthy": True}, 404)).json[
            "detail"
        ]
        assert "there are: a1, a2, a3, a4" in detail


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"null", b'{"healthy":1}', b'{"healthy":"false"}', b'{"healthy":null}', b"\xff",
     b'{"healthy":true,"x":1}', b'{"is_healthy":true}', b"[" * 50_000],
)  # fmt: skip
async def test_bad_health_body_is_a_400_that_shows_a_good_one_and_changes_nothing(service, body):
    detail = (await service.post("/api/v1/analyzers/a1/health", body, 400)).json["detail"]
    assert '{"healthy": true}, or {"state": "drain", "ttl": 600}' in detail
    assert (await service.get("/api/v1/health")).json["active_analyzers"] == 4


# Paths and methods


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/v1/logs", "POST"), ("PUT", "/api/v1/logs", "POST"), ("OPTIONS", "/api/v1/logs", "POST"),
        ("POST", "/api/v1/stats", "GET, HEAD"), ("DELETE", "/api/v1/dead-letter", "GET, HEAD"),
        ("GET", "/api/v1/analyzers/a1/health", "POST"), ("PATCH", "/", "GET, HEAD"),
    ],
)  # fmt: skip
async def test_wrong_method_is_a_405_that_names_the_right_ones(service, method, path, allowed):
    async with service.session.request(method, service.url + path) as answer:
        problem = checked(answer, 405, await answer.read())
    assert problem.headers["Allow"] == allowed
    assert problem.json["detail"] == f"{path} takes {allowed}, got {method}"


@pytest.mark.parametrize(
    "path", ["/nope", "/api/v1", "/api/v2/logs", "/api/v1/logs/", "//api/v1/logs", "/%00"]
)
async def test_unknown_path_is_a_404(service, path):
    assert "there is nothing at /" in (await service.get(path, 404)).json["detail"]


@pytest.mark.parametrize("path", ["/", "/api/v1/stats", "/api/v1/health", "/livez", "/readyz", "/metrics"])
async def test_head_is_answered_like_get_without_the_body(service, path):
    whole = await service.get(path)
    async with service.session.head(service.url + path) as answer:
        assert answer.status == 200
        assert await answer.read() == b""
        assert answer.headers["Content-Type"] == whole.headers["Content-Type"]


async def test_no_other_site_is_let_in(service):
    for method, path in (("GET", "/api/v1/stats"), ("OPTIONS", "/api/v1/logs"), ("POST", "/api/v1/logs")):
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        async with service.session.request(method, service.url + path, headers=headers) as answer:
            assert not [name for name in answer.headers if name.lower().startswith("access-control")]


async def test_page_may_not_be_framed_or_sniffed(service):
    page = await service.get("/")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.body.lower().startswith(b"<!doctype html>")


# Metrics

LABELS = r'\{analyzer="[A-Za-z0-9._-]+"\}'


def samples(text):
    """The samples of a page in the Prometheus text format, each declared before and once."""
    declared, found = {}, {}
    for line in text.removesuffix("\n").split("\n"):
        if match := re.fullmatch(r"# HELP ([a-z_]+) \S.*", line):
            assert match[1] not in declared
            declared[match[1]] = None
        elif match := re.fullmatch(r"# TYPE ([a-z_]+) (counter|gauge)", line):
            assert declared[match[1]] is None
            declared[match[1]] = match[2]
            assert match[1].endswith("_total") == (match[2] == "counter")
        else:
            match = re.fullmatch(rf"([a-z_]+)({LABELS})? (-?\d+)", line)
            assert match, line
            assert declared[match[1]]
            assert match[1] == list(declared)[-1], "samples of a metric stand together"
            assert (match[1], match[2]) not in found
            found[match[1], match[2]] = int(match[3])
    return found


async def test_metrics_are_in_the_prometheus_format_and_agree_with_the_stats(service):
    await service.logs([SAMPLE[0]] * 10 + [{}], 207)
    stats = await service.nothing_left()
    answer = await service.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.body.endswith(b"\n")
    found = samples(answer.body.decode())
    assert found["penstock_distributor_accepted_total", None] == 10
    assert found["penstock_distributor_delivered_total", None] == 10
    assert found["penstock_distributor_messages_routed_total", None] == 30
    assert found["penstock_distributor_refused_total", None] == stats["refused"] == 1
    assert found["penstock_distributor_pending", None] == 0
    assert found["penstock_distributor_conservation_error", None] == 0
    for id_, packets in zip(WEIGHTS, (4, 3, 2, 1), strict=True):
        assert found["penstock_analyzer_first_assigned_total", f'{{analyzer="{id_}"}}'] == packets
        assert found["penstock_analyzer_is_healthy", f'{{analyzer="{id_}"}}'] == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (5, "5s"),
        (59.9996, "1m0s"),
        (323.891, "5m23.891s"),
        (3600, "1h0m0s"),
        (90061.5, "25h1m1.5s"),
    ],
)
def test_durations_are_written_as_the_reference_does(seconds, text):
    assert in_go_style(seconds) == text
