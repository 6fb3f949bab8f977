"""Splunk's HTTP Event Collector: events one after the other, raw lines, and its codes."""

import json
import logging

import pytest
import splunk_handler
import splunk_hec_handler

from services.distributor.inputs.input_service import serving

PATH = "/services/collector/event"
RAW = "/services/collector/raw"


def events(*all_, between=""):
    return between.join(json.dumps(one) for one in all_).encode()


@pytest.mark.parametrize("path", ["/services/collector", PATH, "/services/collector/event/1.0"])
async def test_event_becomes_a_record(service, path):
    event = {
        "time": 1700000000.123, "host": "h1", "source": "app", "sourcetype": "json", "index": "main",
        "event": "hello", "fields": {"level": "WARN", "n": 1},
    }  # fmt: skip
    answer = await service.post(path, events(event))
    assert (answer.status, answer.json) == (200, {"text": "Success", "code": 0})
    assert service.records == [
        {
            "message": "hello", "level": "WARN", "source": "app", "timestamp": "2023-11-14T22:13:20.123Z",
            "metadata": {"level": "WARN", "n": 1, "host": "h1", "sourcetype": "json", "index": "main"},
        }
    ]  # fmt: skip


@pytest.mark.parametrize("between", ["", "\n", "  \r\n\t"])
async def test_events_may_stand_one_after_the_other(service, between):
    texts = ["plain", 'brace } and "quote" and \\', "{", "ü"]
    await service.post(PATH, events(*({"event": text} for text in texts), between=between))
    assert service.texts == texts


async def test_event_that_is_an_object_is_read_as_one(service):
    inner = {"message": "paid", "level": "error", "user": "u1", "host": "inner"}
    await service.post(PATH, events({"event": inner, "host": "outer", "time": "1700000000"}))
    assert service.records == [
        {
            "message": "paid", "level": "error", "source": "", "timestamp": "2023-11-14T22:13:20Z",
            "metadata": {"user": "u1", "host": "inner", "event_metadata": {"host": "outer"}},
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("event", "text"), [(7, "7"), ([1, "a"], '[1, "a"]'), ({"a": 1}, '{"a": 1}'), (True, "true")]
)
async def test_event_of_any_kind_is_a_text(service, event, text):
    await service.post(PATH, events({"event": event}))
    assert service.texts == [text]


async def test_time_that_is_none_is_kept(service):
    await service.post(PATH, events({"event": "x", "time": "noon", "source": ""}))
    assert service.records[0]["metadata"] == {"time": "noon", "source": ""}


@pytest.mark.parametrize(
    ("bad", "code", "text"),
    [
        (b"{}", 12, "Event field is required"),
        (b'{"event": null}', 12, "Event field is required"),
        (b'{"event": ""}', 13, "Event field cannot be blank"),
        (b'{"event": " \\n"}', 13, "Event field cannot be blank"),
        (b'{"event": "x", "fields": [1]}', 15, "Error in handling indexed fields"),
        (b"{oops}", 6, "Invalid data format"),
        (b'"text"', 6, "Invalid data format"),
        (b'{"event": "x"', 6, "Invalid data format"),
        (b'{"event": "\xff"}', 6, "Invalid data format"),
        (b'}{"event": "x"}', 6, "Invalid data format"),
    ],
)
async def test_events_before_an_invalid_one_are_stored_and_its_number_is_told(service, bad, code, text):
    body = events({"event": "one"}, {"event": "two"}) + bad + events({"event": "never"})
    answer = await service.post(PATH, body)
    assert answer.status == 400
    assert (answer.json["text"], answer.json["code"], answer.json["invalid-event-number"]) == (text, code, 2)
    assert service.texts == ["one", "two"]


async def test_event_that_is_too_long_is_told_by_its_number():
    async with serving(max_record_bytes=10) as service:
        answer = await service.post(PATH, events({"event": "ok"}, {"event": "x" * 11}, {"event": "also"}))
        assert (answer.status, answer.json["code"], answer.json["invalid-event-number"]) == (400, 6, 1)
        assert "2 events are stored" in answer.json["detail"]
        assert service.texts == ["ok", "also"]


@pytest.mark.parametrize("path", [PATH, RAW])
async def test_nothing_is_no_data(service, path):
    answer = await service.post(path, b" \n")
    assert (answer.status, answer.json) == (400, {"text": "No data", "code": 5})


@pytest.mark.parametrize(("trouble", "status"), [("is_full", 503), ("is_asked_too_fast", 429)])
async def test_nothing_taken_for_now_is_server_is_busy(service, trouble, status):
    getattr(service.distributor, trouble)()
    answer = await service.post(PATH, events({"event": "x"}))
    assert (answer.status, answer.json["text"], answer.json["code"]) == (status, "Server is busy", 9)
    assert int(answer.headers["Retry-After"]) >= 1


async def test_too_much_is_told_with_its_code():
    async with serving(max_body_bytes=100) as service:
        answer = await service.post(PATH, events({"event": "x" * 200}))
        assert (answer.status, answer.json["code"]) == (413, 27)


async def test_raw_lines_are_events_with_what_the_query_says(service):
    query = "?source=app&host=h1&sourcetype=log&index=main&time=1700000000&channel=9"
    answer = await service.post(RAW + query, b"one\r\n\n  two\n\xffthree")
    assert answer.json["code"] == 0
    common = {
        "level": "INFO", "source": "app", "timestamp": "2023-11-14T22:13:20Z",
        "metadata": {"host": "h1", "sourcetype": "log", "index": "main"},
    }  # fmt: skip
    assert service.records == [{"message": text} | common for text in ("one", "  two", "\ufffdthree")]


@pytest.mark.parametrize("path", ["/services/collector/health", "/services/collector/health/1.0"])
async def test_health_is_told_until_the_service_shuts_down(service, path):
    answer = await service.request("GET", path)
    assert (answer.status, answer.json["code"]) == (200, 17)
    service.distributor.draining = True
    answer = await service.request("GET", path)
    assert (answer.status, answer.json["code"]) == (503, 23)


async def test_acknowledgments_are_off_as_success_means_stored(service):
    answer = await service.post("/services/collector/ack?channel=1", b'{"acks":[0]}')
    assert (answer.status, answer.json) == (400, {"text": "ACK is disabled", "code": 14})


async def test_splunk_hec_handler_is_understood(service):
    def send():
        handler = splunk_hec_handler.SplunkHecHandler(
            "127.0.0.1", "a-token", port=service.port, proto="http", source="shop"
        )
        log = logging.Logger("orders")
        log.addHandler(handler)
        try:
            log.error({"message": "cannot pay", "user": "u1"})
        finally:
            handler.r.close()
            handler.close()

    await service.in_thread(send)
    [record] = service.records
    assert (record["message"], record["level"], record["source"]) == ("cannot pay", "ERROR", "shop")
    assert record["metadata"]["user"] == "u1"


async def test_splunk_handler_sends_many_in_one_request(service, capsys):
    texts = [f"line {number}" for number in range(100)]

    def send():
        handler = splunk_handler.SplunkHandler(
            "127.0.0.1", service.port, "a-token", "main", protocol="http", flush_interval=60, verify=False
        )
        log = logging.Logger("orders")
        log.addHandler(handler)
        try:
            for text in texts:
                log.info(text)
        finally:
            handler.close()
            handler.session.close()

    await service.in_thread(send)
    assert (service.texts, len(service.distributor.calls)) == (texts, 1)
    assert "Exception" not in capsys.readouterr().out
