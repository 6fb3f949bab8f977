"""API keys: where they are shown, what they open, and what is never let in."""

import base64
from hashlib import sha256
from types import SimpleNamespace

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from penstock.clock import ManualClock
from penstock.services.distributor.access import (
    Keyring,
    keys_shown,
    open_to_all,
    open_to_every_key,
    operating,
    require_key,
    sending,
)
from penstock.services.distributor.config import ApiKey
from penstock.services.distributor.keys import LIMIT
from penstock.services.problem_details import problems_for_http_errors

SENDER, READER, OPERATOR = "sender-key-0123456789", "reader-key-0123456789", "operator-key-0123456789"
KEYS = (
    ApiKey("sender", SENDER, rate_limit=5),
    ApiKey("reader", READER, may_send=False, may_read=True),
    ApiKey("operator", OPERATOR, may_send=False, may_operate=True),
)


def pair(user, password):
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def places(key):
    """Every field in which a client may show a key."""
    return [
        {"Authorization": f"Bearer {key}"},
        {"authorization": f"bearer {key}"},
        {"Authorization": f"Splunk {key}"},
        {"Authorization": f"Basic {pair('anybody', key)}"},
        {"Authorization": f"Basic {pair('', key)}"},
        {"Authorization": f"ApiKey {pair('id', key)}"},
        {"Authorization": f"ApiKey {key}"},
        {"X-API-Key": key},
        {"Authorization": "Bearer of another proxy's", "X-API-Key": key},
    ]


@sending
async def take(request):
    limit = request.get(LIMIT)
    return web.json_response({"limited": limit is not None})


@open_to_all
async def show(request):
    return web.json_response({"shown": True})


@open_to_every_key
async def tell(request):
    return web.json_response({"well": True})


async def read(request):
    return web.json_response({"limited": request.get(LIMIT) is not None})


@operating
async def change(request):
    return web.json_response({"changed": True})


@pytest.fixture
async def ask():
    """Asks a small service with these keys; the answer's status, fields and body."""
    clients = []

    async def ask(path="/take", headers=None, method="GET", *refuse, keys=KEYS):
        check = require_key(Keyring(keys, 1000), *refuse)
        app = web.Application(middlewares=[problems_for_http_errors, check])
        app.router.add_get("/take", take)
        app.router.add_get("/bulk/{index}", take)
        app.router.add_get("/open", show)
        app.router.add_get("/health", tell)
        app.router.add_get("/read", read)
        app.router.add_post("/change", change)
        clients.append(client := TestClient(TestServer(app)))
        await client.start_server()
        async with client.request(method, path, headers=headers) as answer:
            body = await answer.read()
            json = msgspec.json.decode(body) if "json" in answer.content_type else None
            return SimpleNamespace(status=answer.status, headers=answer.headers, json=json, body=body)

    yield ask
    for client in clients:
        await client.close()


@pytest.mark.parametrize("headers", places(SENDER))
async def test_key_opens_in_every_place_that_a_protocol_has_for_it(ask, headers):
    assert (await ask(headers=headers)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Bearer "},
        {"Authorization": SENDER}, {"Authorization": f"Digest {SENDER}"}, {"X-API-Key": ""},
        {"Authorization": "Basic ####"}, {"Authorization": "Basic /zr/"},
        {"Authorization": f"Basic {pair(SENDER, '')}"}, {"Authorization": f"Bearer {SENDER} "  "x"},
        {"X-API-Key": "x" * 5000}, *places(SENDER[:-1]), *places(SENDER.upper()),
    ],
)  # fmt: skip
async def test_request_without_a_valid_key_is_told_how_to_show_one(ask, headers):
    answer = await ask(headers=headers)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="penstock"'
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["detail"] == "show a valid API key, such as in Authorization: Bearer KEY"
    assert "limited" not in answer.json


async def test_key_in_the_url_opens_nothing(ask):
    for name in ("key", "api_key", "access_token", "token"):
        assert (await ask(f"/take?{name}={SENDER}")).status == 401


async def test_path_that_is_not_there_is_told_to_those_with_a_key_only(ask):
    assert (await ask("/nothing")).status == 401
    assert (await ask("/nothing", {"X-API-Key": SENDER})).status == 404
    assert (await ask("/read", {"X-API-Key": SENDER}, "DELETE")).status == 405


async def test_what_is_open_to_all_needs_no_key_and_takes_any(ask):
    assert (await ask("/open")).json == {"shown": True}
    assert (await ask("/open", {"X-API-Key": "nobody's"})).status == 200
    assert (await ask("/open", {"X-API-Key": READER})).status == 200


async def test_without_keys_everybody_may_do_everything(ask):
    assert (await ask(keys=())).status == 200
    assert (await ask("/change", method="POST", keys=())).status == 200


OPENED = {
    "/take": {SENDER}, "/health": {SENDER, READER, OPERATOR}, "/read": {READER, OPERATOR},
    "/change": {OPERATOR},
}  # fmt: skip
LACKING = {"/take": "may_send", "/read": "may_read", "/change": "may_operate"}


@pytest.mark.parametrize("path", OPENED)
async def test_key_opens_what_it_may_and_the_refusal_names_the_right_that_lacks(ask, path):
    method = "POST" if path == "/change" else "GET"
    assert (await ask(path, method=method)).status == 401
    for name, key in (("sender", SENDER), ("reader", READER), ("operator", OPERATOR)):
        answer = await ask(path, {"X-API-Key": key}, method)
        if key in OPENED[path]:
            assert answer.status == 200
        else:
            words = f"the API key of {name} must have {LACKING[path]} for this"
            assert (answer.status, answer.json["detail"]) == (403, words)
            assert "WWW-Authenticate" not in answer.headers


async def test_route_of_another_protocol_refuses_in_its_own_words(ask):
    def refuse(request, status, reason, headers):
        return web.Response(text=f"{request.path}: {reason}", status=status, headers=headers)

    answer = await ask("/bulk/logs", None, "GET", refuse)
    assert (answer.status, answer.body[:18]) == (401, b"/bulk/logs: show a")
    assert "WWW-Authenticate" in answer.headers
    answer = await ask("/change", {"X-API-Key": SENDER}, "POST", refuse)
    assert (answer.status, answer.body[:27]) == (403, b"/change: the API key of sen")


async def test_page_of_another_site_gets_no_permission(ask):
    origin = {"Origin": "https://elsewhere.example", "X-API-Key": SENDER}
    for answer in (await ask(headers=origin), await ask("/take", origin, "OPTIONS"), await ask(headers={})):
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


async def test_limit_of_a_key_comes_with_the_request(ask):
    assert (await ask(headers={"X-API-Key": SENDER})).json == {"limited": True}
    assert (await ask("/read", {"X-API-Key": READER})).json == {"limited": False}


def test_limit_of_a_key_is_in_packets_and_lets_the_largest_request_through():
    clock = ManualClock(10**9)
    access = Keyring(KEYS, 1000, clock).find(SENDER)
    assert access.bucket.allow(1000)
    assert not access.bucket.allow(1)
    clock.advance(1)
    assert access.bucket.allow(5)
    assert not access.bucket.allow(1)


def test_key_given_as_digest_is_the_same_key():
    digest = sha256(SENDER.encode()).hexdigest()
    for text in (digest, digest.upper()):
        assert Keyring([ApiKey("sender", sha256=text)], 1).find(SENDER).name == "sender"
    assert Keyring([ApiKey("sender", sha256=digest)], 1).find(digest) is None


def test_change_of_keys_opens_and_closes_at_once_and_keeps_what_was_used_up():
    keyring = Keyring(KEYS, 10, ManualClock(10**9))
    assert keyring.find(SENDER).bucket.allow(10)
    keyring.change([KEYS[0], ApiKey("new", "another-key-0123456789")])
    assert keyring.find(OPERATOR) is None
    assert keyring.find("another-key-0123456789").name == "new"
    assert not keyring.find(SENDER).bucket.allow(1)
    keyring.change([])
    assert not keyring
    assert keyring.find(SENDER) is None


@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=200), st.booleans())
def test_no_field_opens_anything_unless_it_holds_the_key(text, bearer):
    keyring = Keyring(KEYS, 10)
    field = {"Authorization": f"Bearer {text}"} if bearer else {"Authorization": text, "X-API-Key": text}
    shown = list(keys_shown(make_mocked_request("GET", "/", field)))
    assert all(keyring.find(one) is None for one in shown)
