"""NDJSON: a line a record, and an answer for every line."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.ratelimit import TokenBucket
from penstock.services.distributor.inputs.batch import Batch
from penstock.services.distributor.inputs.levels import level_of_number
from penstock.services.distributor.inputs.ndjson import read_lines
from services.distributor.inputs.input_service import OTHER_SITE, serving

PATH = "/api/v1/ndjson"
TYPE = {"Content-Type": "application/x-ndjson"}


def lines(*objects):
    return b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in objects) + b"\n"


async def test_every_line_becomes_a_record(service):
    answer = await service.post(PATH, lines({"message": "one"}, {"message": "two"}), TYPE)
    assert (answer.status, answer.json) == (202, {"total_records": 2, "successful": 2, "failed": 0})
    assert answer.headers["X-Penstock-Durability"] == "fsync"
    assert service.texts == ["one", "two"]


async def test_line_that_is_a_message_keeps_every_field(service):
    message = {
        "message": "paid", "level": "warn", "source": "billing", "timestamp": "2025-01-25T20:30:45.5+01:00",
        "id": "m-1", "metadata": {"amount": 12.50, "big": 12345678901234567890123},
    }  # fmt: skip
    await service.post(PATH, lines(message), TYPE)
    assert service.records == [message]


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (
            {"msg": "hi", "level": 30, "time": 1700000000123, "pid": 7},
            {
                "message": "hi",
                "level": "INFO",
                "timestamp": "2023-11-14T22:13:20.123Z",
                "metadata": {"pid": 7},
            },
        ),
        (
            {
                "log": "out",
                "severity": "ERROR",
                "logger": "db",
                "@timestamp": "2025-01-25 20:30:45,250 +0200",
            },
            {
                "message": "out",
                "level": "ERROR",
                "source": "db",
                "timestamp": "2025-01-25T20:30:45.250+02:00",
            },
        ),
        (
            {"message": "ecs", "log": {"level": "warn", "logger": "a.b"}, "service": {"name": "shop"}},
            {
                "message": "ecs",
                "level": "warn",
                "source": "a.b",
                "metadata": {"log": {"level": "warn", "logger": "a.b"}, "service": {"name": "shop"}},
            },
        ),
        (
            {"message": "own", "metadata": {"a": 1}, "b": 2},
            {"message": "own", "level": "INFO", "metadata": {"a": 1, "b": 2}},
        ),
        (
            {"message": "twice", "metadata": {"b": 1}, "b": 2},
            {"message": "twice", "level": "INFO", "metadata": {"metadata": {"b": 1}, "b": 2}},
        ),
        (
            {"message": "no instant", "time": "20:30", "level": ["odd"], "source": 7},
            {
                "message": "no instant",
                "level": "INFO",
                "metadata": {"time": "20:30", "level": ["odd"], "source": 7},
            },
        ),
    ],
)
async def test_members_that_logging_libraries_write_are_found(service, line, record):
    await service.post(PATH, lines(line), TYPE)
    [got] = service.records
    assert got == {"level": "INFO", "source": ""} | record


async def test_object_without_a_text_is_the_text(service):
    line = b'{"user": "u1", "level": "error", "amount": 1.50}'
    await service.post(PATH, line, TYPE)
    assert service.records[0]["message"] == line.decode()
    assert service.records[0]["level"] == "error"


async def test_bad_lines_are_refused_by_their_number_and_the_others_stored(service):
    body = lines({"message": "a"}, b"{oops", b"", b"[1]", {"message": "b"}, b'"text"', b"\xff")
    answer = await service.post(PATH, body, TYPE)
    assert answer.status == 207
    assert [(error["line"], error["code"]) for error in answer.json["errors"]] == [
        (2, "invalid"), (4, "invalid"), (6, "invalid"), (7, "invalid"),
    ]  # fmt: skip
    assert (answer.json["successful"], answer.json["failed"]) == (2, 4)
    assert service.texts == ["a", "b"]


async def test_text_that_is_too_long_is_refused_by_its_line():
    async with serving(max_record_bytes=10) as service:
        body = lines({"message": "short"}, b"", {"message": "x" * 11}, {"message": "also"})
        answer = await service.post(PATH, body, TYPE)
    assert answer.status == 207
    assert answer.json["errors"] == [
        {"line": 3, "code": "too_large", "error": "message must be at most 10 bytes, got 11"}
    ]
    assert service.texts == ["short", "also"]


async def test_request_without_a_valid_line_is_unprocessable(service):
    answer = await service.post(PATH, b"1\n2\n", TYPE)
    assert (answer.status, answer.json["status"], len(answer.json["errors"])) == (422, 422, 2)
    assert service.records == []


async def test_answer_tells_the_first_thousand_refusals_and_how_many_more(service):
    answer = await service.post(PATH, b"1\n" * 1500, TYPE)
    assert (len(answer.json["errors"]), answer.json["errors_left_out"]) == (1000, 500)


@pytest.mark.parametrize("body", [b"", b"\n\n \r\n"])
async def test_empty_request_is_bad(service, body):
    answer = await service.post(PATH, body, TYPE)
    assert answer.status == 400
    assert "at least one line" in answer.json["detail"]


async def test_full_distributor_is_503_and_says_when_to_come_again(service):
    service.distributor.is_full()
    answer = await service.post(PATH, lines({"message": "a"}), TYPE)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "7")
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_rate_limit_is_429_and_says_when_to_come_again(service):
    service.distributor.is_asked_too_fast()
    answer = await service.post(PATH, lines({"message": "a"}), TYPE)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "3")


async def test_limit_of_the_key_is_passed_on():
    bucket = TokenBucket(1.0, 1)
    async with serving(limit=bucket) as service:
        await service.post(PATH, lines({"message": "a"}), TYPE)
        assert service.distributor.calls == [(None, bucket)]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (r"cut \ud83d", "cut \ufffd"), (r"\ude00 cut", "\ufffd cut"), (r"\ud83d\ude00", "\U0001f600"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"), (r"\\ud83d \uD83D.", "\\ud83d \ufffd."),
    ],
)  # fmt: skip
async def test_half_of_a_pair_of_surrogates_costs_a_character_and_no_record(service, text, kept):
    body = b'{"message":"%s","a":{"b":"%s"}}\n' % (text.encode(), text.encode())
    assert (await service.post(PATH, body, TYPE)).status == 202
    [record] = service.records
    assert (record["message"], record["metadata"]) == (kept, {"a": {"b": kept}})


async def test_idempotency_key_and_body_make_the_ids_of_packets(service):
    for text in ("a", "a", "b"):
        await service.post(PATH, lines({"message": text}), TYPE | {"Idempotency-Key": "job-7"})
    (first, _), (again, _), (other, _) = service.distributor.calls
    assert first == again != other
    assert first.startswith("job-7-")


async def test_large_body_with_an_idempotency_key_is_known_again(service):
    body = lines(*({"message": f"line {number}"} for number in range(20_000)))
    for _ in range(2):
        await service.post(PATH, body, TYPE | {"Idempotency-Key": "k" * 100})
    (first, _), (again, _) = service.distributor.calls
    assert first == again
    assert len(first) <= 100


async def test_idempotency_key_must_be_short(service):
    answer = await service.post(PATH, lines({"message": "a"}), TYPE | {"Idempotency-Key": "k" * 101})
    assert answer.status == 400


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/x-www-form-urlencoded"])
async def test_other_content_types_are_refused(service, kind):
    answer = await service.post(PATH, b"{}", {"Content-Type": kind})
    assert answer.status == 415
    assert "application/x-ndjson" in answer.json["detail"]


async def test_page_of_another_site_cannot_send(service):
    answer = await service.post(PATH, lines({"message": "a"}), TYPE | OTHER_SITE)
    assert answer.status == 403
    answer = await service.post(PATH, lines({"message": "a"}), TYPE | {"Origin": service.url})
    assert answer.status == 202


async def test_large_body_is_read_all_the_same(service):
    body = lines(*({"message": f"line {number}", "n": number} for number in range(20_000)))
    answer = await service.post(PATH, gzip.compress(body), TYPE | {"Content-Encoding": "gzip"})
    assert answer.json["successful"] == 20_000
    assert [record["metadata"]["n"] for record in service.records] == list(range(20_000))


async def test_more_records_than_allowed_are_refused_as_a_whole():
    async with serving(max_records=3) as service:
        answer = await service.post(PATH, lines(*({"message": "a"},) * 4), TYPE)
        assert answer.status == 413
        assert "at most 3 records" in answer.json["detail"]
        assert service.records == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = ["message", "msg", "log", "level", "severity", "source", "logger", "metadata", "id", "x"]


@pytest.mark.filterwarnings("ignore:extend=lambda")  # at times Hypothesis does not see that it recurses
@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), json_values, max_size=6))
def test_no_member_of_an_object_is_lost(logged):
    batch = Batch(10, 1 << 20)
    read_lines(json.dumps(logged).encode(), batch)
    record = json.loads(batch.records[0])
    if record["message"] == json.dumps(logged):
        return
    metadata = record.get("metadata", {})
    taken = [record["message"], record["level"], record.get("source", ""), record.get("id")]
    for name, value in logged.items():
        number = value if isinstance(value, int) and 0 <= value <= 60 else -1
        assert (
            (name in metadata and metadata[name] == value)
            or value in taken
            or (name in ("level", "severity") and level_of_number(number) == record["level"])
            or (name == "metadata" and (not value or value.items() <= metadata.items()))
        )
