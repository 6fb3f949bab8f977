"""Elasticsearch's bulk API: a status for each document, and what its own client asks for."""

import asyncio
import json

import pytest
from elasticsearch import Elasticsearch, helpers

from penstock.services.distributor.admission import NotStored, TooFast
from services.distributor.inputs.input_service import serving

TYPE = {"Content-Type": "application/x-ndjson"}


def bulk(*lines):
    return b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in lines)


async def test_documents_are_stored_and_each_has_its_status(service):
    body = bulk(
        {"create": {}},
        {"message": "one", "a": 1},
        {"index": {"_index": "own", "_id": "7"}},
        {"message": "two"},
    )
    answer = await service.post("/logs/_bulk", body, TYPE)
    assert (answer.status, answer.json["errors"]) == (200, False)
    assert answer.json["took"] >= 0
    [create, index] = answer.json["items"]
    assert (create["create"]["_index"], create["create"]["status"], create["create"]["result"]) == (
        "logs",
        201,
        "created",
    )
    assert index["index"] | {"_index": "own", "_id": "7", "status": 201} == index["index"]
    assert create["create"]["_id"]
    assert answer.headers["X-Elastic-Product"] == "Elasticsearch"
    assert [(one["message"], one["metadata"]) for one in service.records] == [
        ("one", {"_index": "logs", "a": 1}),
        ("two", {"_index": "own", "_id": "7"}),
    ]


async def test_put_is_as_good_as_post(service):
    answer = await service.request("PUT", "/_bulk", bulk({"create": {"_index": "i"}}, {"msg": "x"}), TYPE)
    assert (answer.status, service.texts) == (200, ["x"])


async def test_fields_of_the_common_schema_are_found(service):
    document = {
        "@timestamp": "2025-01-25T20:30:45.000Z", "log.level": "WARN", "service.name": "shop", "message": "m",
        "ecs": {"version": "1.6.0"},
    }  # fmt: skip
    await service.post("/l/_bulk", bulk({"create": {}}, document), TYPE)
    assert service.records == [
        {
            "message": "m", "level": "WARN", "source": "shop", "timestamp": "2025-01-25T20:30:45.000Z",
            "metadata": {"_index": "l", "ecs": {"version": "1.6.0"}},
        }
    ]  # fmt: skip


async def test_metadata_of_a_document_is_metadata_of_the_record(service):
    document = {"message": "m", "metadata": {"a": 1}, "b": 2}
    await service.post("/l/_bulk", bulk({"create": {}}, document), TYPE)
    assert service.records[0]["metadata"] == {"_index": "l", "a": 1, "b": 2}


async def test_document_without_a_text_is_the_text(service):
    await service.post("/l/_bulk", bulk({"create": {}}, b'{"a": 1}'), TYPE)
    assert (service.texts, service.records[0]["metadata"]) == (['{"a": 1}'], {"_index": "l"})


async def test_what_cannot_be_done_fails_in_its_place_alone():
    async with serving(max_record_bytes=10) as service:
        body = bulk(
            {"create": {}}, {"message": "good"},
            {"delete": {"_id": "1"}},
            {"update": {"_id": "1"}}, {"doc": {}},
            {"index": {}}, b"[1]",
            {"index": {}}, {"message": "x" * 11},
            {"index": {}}, {"message": "also"},
        )  # fmt: skip
        answer = await service.post("/l/_bulk", body, TYPE)
    assert (answer.status, answer.json["errors"]) == (200, True)
    told = [(action, one["status"]) for item in answer.json["items"] for action, one in item.items()]
    assert told == [
        ("create", 201), ("delete", 400), ("update", 400), ("index", 400), ("index", 413), ("index", 201),
    ]  # fmt: skip
    reasons = [
        one["error"]["reason"] for item in answer.json["items"] for one in item.values() if "error" in one
    ]
    assert reasons[0] == "records cannot be deleted"
    assert reasons[-1] == "message must be at most 10 bytes, got 11"
    assert service.texts == ["good", "also"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "request body is required"),
        (bulk({"create": {}}), "the document of the last action is missing"),
        (bulk({"message": "no action"}), "line 1: an action must be one of create, index, update, delete"),
        (bulk({"create": {}}, {"message": "x"}, b"{oops"), "line 3: an action must be a JSON object"),
        (bulk({"create": 7}, {}), "line 1: an action must be a JSON object"),
        (bulk({"create": {}, "index": {}}, {}), "line 1: an action must be one of"),
        (bulk(b"", b"[]"), "line 2: an action must be a JSON object"),
    ],
)
async def test_request_that_cannot_be_read_is_bad_and_nothing_of_it_stored(service, body, reason):
    answer = await service.post("/l/_bulk", body, TYPE)
    assert (answer.status, answer.json["status"], service.records) == (400, 400, [])
    assert reason in answer.json["error"]["reason"]
    assert answer.json["error"]["root_cause"][0]["type"] == answer.json["error"]["type"]


async def test_document_without_an_index_is_bad(service):
    answer = await service.post("/_bulk", bulk({"create": {}}, {"message": "x"}), TYPE)
    assert (answer.status, answer.json["error"]["reason"]) == (400, "line 1: an index is missing")


@pytest.mark.parametrize(("trouble", "status"), [("is_full", 503), ("is_asked_too_fast", 429)])
async def test_nothing_taken_for_now_is_told_of_the_whole_request(service, trouble, status):
    getattr(service.distributor, trouble)()
    answer = await service.post("/l/_bulk", bulk({"create": {}}, {"message": "x"}), TYPE)
    assert (answer.status, answer.json["status"]) == (status, status)
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    "accept", ["application/vnd.elasticsearch+json; compatible-with=8", "application/json"]
)
async def test_root_tells_clients_what_they_want_to_hear(service, accept):
    answer = await service.request("GET", "/", headers={"Accept": accept})
    assert answer.json["tagline"] == "You Know, for Search"
    assert answer.headers["Content-Type"] == accept
    answer = await service.request("GET", "/", headers={"Accept": "text/html,application/json"})
    assert answer.status == 404  # the page, in the whole service


async def test_license_is_there_for_those_who_look(service):
    answer = await service.request("GET", "/_license")
    assert answer.json["license"]["status"] == "active"


@pytest.mark.parametrize(
    ("status", "colour"), [("healthy", "green"), ("degraded", "yellow"), ("unhealthy", "red")]
)
async def test_health_is_a_colour(service, status, colour):
    service.distributor.status = status
    answer = await service.request("GET", "/_cluster/health")
    assert (answer.status, answer.json["status"]) == (200, colour)


async def test_client_that_does_not_say_what_it_accepts_is_no_browser(service):
    answer = await service.request("GET", "/", skip_auto_headers=["Accept"])
    assert answer.json["version"]["number"] == "8.19.0"
    answer = await service.request("GET", "/", headers={"Accept": "*/*"})
    assert answer.status == 404  # the page, in the whole service


# The official client


@pytest.fixture
async def client(service):
    client = Elasticsearch(service.url, retry_on_timeout=False, max_retries=0)
    yield client
    await asyncio.to_thread(client.close)


def actions(texts, **more):
    return [{"_op_type": "create", "_index": "logs", "message": text, **more} for text in texts]


async def test_official_client_is_pleased(service, client):
    def ask():
        return client.ping(), client.info()["version"]["number"]

    assert await service.in_thread(ask) == (True, "8.19.0")


async def test_bulk_helper_of_the_official_client_is_understood(service, client):
    texts = [f"line {number}" for number in range(1200)]
    done = await service.in_thread(lambda: helpers.bulk(client, actions(texts)))
    assert done == (1200, [])
    assert service.texts == texts


@pytest.mark.parametrize("error", [TooFast("too fast", 1), NotStored("full", 1)])
async def test_official_client_sends_again_what_was_put_off(service, error):
    service.distributor.errors = [error]
    texts = [f"line {number}" for number in range(30)]

    def send():
        with Elasticsearch(service.url) as client:
            return helpers.bulk(client, actions(texts), chunk_size=10)

    assert await service.in_thread(send) == (30, [])
    assert service.texts == texts
    assert len(service.distributor.calls) == 4


async def test_client_is_told_which_document_failed(service, client):
    documents = [*actions(["good"]), {"_op_type": "delete", "_index": "logs", "_id": "1"}]

    def send():
        with pytest.raises(helpers.BulkIndexError) as error:
            helpers.bulk(client, documents)
        return error.value.errors

    [error] = await service.in_thread(send)
    assert (error["delete"]["status"], service.texts) == (400, ["good"])
