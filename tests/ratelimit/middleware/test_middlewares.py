"""What both middlewares do with the same requests: every test runs on aiohttp and on ASGI."""

import json
import logging
from typing import NamedTuple

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limiters import AwaitedUnits, Broken, Units
from multidict import CIMultiDict
from yarl import URL

from penstock import PenstockError
from penstock.clock import ManualClock
from penstock.ratelimit import LimiterFull
from penstock.ratelimit.middleware import aiohttp as for_aiohttp
from penstock.ratelimit.middleware import asgi as for_asgi
from twins import both_twins

RateLimitResult = both_twins("penstock.ratelimit.result")

ROUTES = ("/", "/login", "/livez", "/users/{id}")


class Answer(NamedTuple):
    status: int
    headers: CIMultiDict
    body: bytes

    @property
    def problem(self):
        assert self.headers["Content-Type"] == "application/problem+json"
        return json.loads(self.body)


class OnAiohttp:
    """An application of aiohttp behind the middleware, asked over a socket as if from any peer."""

    name = "aiohttp"

    async def serve(self, limiter, **options):
        async def handle(request):
            self.served += 1
            return web.Response(text="served")

        @web.middleware
        async def take_peer(request, handler):
            return await handler(request.clone(remote=request.headers["Peer"]))

        self.served = 0
        self.limits = for_aiohttp.RateLimitMiddleware(limiter, **options)
        app = web.Application(middlewares=[take_peer, self.limits])
        for route in ROUTES:
            app.router.add_route("*", route, handle)
        self.server = TestServer(app)
        await self.server.start_server()
        self.session = ClientSession()

    async def ask(self, method="GET", path="/", peer="192.0.2.1", headers=()):
        lines = CIMultiDict([*headers, ("Peer", peer or "")])
        url = URL(f"http://{self.server.host}:{self.server.port}{path}", encoded=True)
        async with self.session.request(method, url, headers=lines) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def close(self):
        await self.session.close()
        await self.server.close()


class OnAsgi:
    """An ASGI application behind the middleware, called as a server would."""

    name = "asgi"

    async def serve(self, limiter, **options):
        async def app(scope, receive, send):
            self.served += 1
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"served"})

        self.served = 0
        self.limits = for_asgi.RateLimitMiddleware(app, limiter, route=self.route, **options)

    @staticmethod
    def route(scope):
        """As a router would name it."""
        path = for_asgi.path_of(scope)
        return "/users/{id}" if path.startswith("/users/") else path if path in ROUTES else None

    async def ask(self, method="GET", path="/", peer="192.0.2.1", headers=()):
        sent = []

        async def send(message):
            sent.append(message)

        async def receive():
            raise AssertionError("nobody reads the body")

        lines = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
        scope = {"type": "http", "method": method, "path": path, "headers": lines, "http_version": "1.1"}
        await self.limits({**scope, "client": (peer, 4711) if peer else None}, receive, send)
        start, *bodies = sent
        headers = [(name.decode(), value.decode()) for name, value in start.get("headers", ())]
        return Answer(start["status"], CIMultiDict(headers), b"".join(each["body"] for each in bodies))

    async def close(self):
        pass


@pytest.fixture(params=[OnAiohttp, OnAsgi], ids=lambda each: each.name)
async def site(request):
    site = request.param()
    site.limits = None
    yield site
    if site.limits is not None:
        await site.close()


@pytest.fixture(params=[Units, AwaitedUnits], ids=["sync", "awaited"])
def limiter(request, RateLimitResult):
    return request.param(RateLimitResult)


async def test_client_is_served_until_its_limit_and_then_refused(site, limiter):
    await site.serve(limiter)
    assert [(await site.ask()).status for _ in range(4)] == [200, 200, 429, 429]
    assert (await site.ask(peer="192.0.2.2")).status == 200
    assert site.served == 3
    assert limiter.used == {"192.0.2.1": 2, "192.0.2.2": 1}
    assert site.limits.stats() == {"allowed": 3, "refused": 2, "not_limited": 0, "errors": 0}


async def test_every_answer_tells_the_limit(site, limiter):
    await site.serve(limiter)
    answer = await site.ask()
    assert answer.body == b"served"
    assert answer.headers["RateLimit-Policy"] == '"default";q=2;w=60'
    assert answer.headers["RateLimit"] == '"default";r=1;t=30'
    assert "Retry-After" not in answer.headers
    await site.ask()
    answer = await site.ask()
    assert answer.headers["RateLimit-Policy"] == '"default";q=2;w=60'
    assert answer.headers["RateLimit"] == '"default";r=0;t=30'
    assert answer.headers["Retry-After"] == "30"


async def test_refusal_is_a_problem_of_the_registered_type(site, limiter):
    await site.serve(limiter, policy_name="per client")
    await site.ask()
    await site.ask()
    answer = await site.ask()
    assert answer.problem == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": 429,
        "detail": "at most 2 in 60 s are allowed; try again in 30 s",
        "violated-policies": ["per client"],
    }
    assert answer.headers.getall("Content-Length") == [str(len(answer.body))]
    assert answer.headers["RateLimit"] == '"per client";r=0;t=30'


async def test_answers_to_requests_that_pass_can_be_left_as_they_are(site, limiter):
    await site.serve(limiter, headers_on_pass=False)
    assert "RateLimit" not in (await site.ask()).headers
    await site.ask()
    assert "RateLimit" in (await site.ask()).headers


async def test_refusal_of_head_has_no_body(site, limiter):
    await site.serve(limiter)
    for _ in range(2):
        await site.ask("HEAD")
    answer = await site.ask("HEAD")
    assert (answer.status, answer.body) == (429, b"")
    assert answer.headers["Retry-After"] == "30"
    assert int(answer.headers["Content-Length"]) == len((await site.ask()).body)


async def test_client_is_found_behind_trusted_proxies_only(site, limiter):
    await site.serve(limiter, trusted_proxies=["10.0.0.0/8"])
    lie = [("X-Forwarded-For", "203.0.113.9")]
    for number in range(4):
        lies = [("X-Forwarded-For", f"203.0.113.{number}")]
        answers = [await site.ask(headers=lies), await site.ask(peer="10.0.0.1", headers=[*lies, *lie])]
        assert {answer.status for answer in answers} == {200 if number < 2 else 429}
    assert limiter.used == {"192.0.2.1": 2, "203.0.113.9": 2}


async def test_forwarded_field_can_be_chosen(site, limiter):
    await site.serve(limiter, trusted_proxies=["unix"], forwarded="forwarded")
    for port in range(3):
        headers = [("X-Forwarded-For", "203.0.113.9"), ("Forwarded", f'for="[2001:db8::{port}]:{port}"')]
        answer = await site.ask(peer=None, headers=headers)
    assert answer.status == 429
    assert limiter.used == {"2001:db8::/64": 2}


async def test_unix_peers_share_a_limit(site, limiter):
    await site.serve(limiter)
    assert [(await site.ask(peer=None)).status for _ in range(3)] == [200, 200, 429]
    assert limiter.used == {"unix": 2}


async def test_addresses_are_counted_by_their_prefix(site, limiter):
    await site.serve(limiter, ipv4_prefix=24, ipv6_prefix=48)
    for peer in ("192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:2::1"):
        await site.ask(peer=peer)
    assert limiter.used == {"192.0.2.0/24": 2, "2001:db8::/48": 2}


async def test_route_has_a_limit_of_its_own(site, limiter, RateLimitResult):
    login = Units(RateLimitResult, limit=1)
    await site.serve(limiter, routes={"/login": login, "/users/{id}": None})
    first, second = await site.ask(path="/login"), await site.ask("POST", "/login")
    assert (first.status, second.status) == (200, 429)
    assert second.headers["RateLimit-Policy"] == '"/login";q=1;w=60'
    assert second.problem["violated-policies"] == ["/login"]
    assert [(await site.ask(path=f"/users/{each}")).status for each in range(4)] == [200] * 4
    assert limiter.used == {}
    await site.ask()
    assert limiter.used == {"192.0.2.1": 1}


async def test_limit_of_a_method_holds_for_that_method_and_of_get_for_head(site, limiter, RateLimitResult):
    posts, gets = Units(RateLimitResult), Units(RateLimitResult)
    await site.serve(limiter, routes={"POST /login": posts, "GET /login": gets})
    for method in ("POST", "GET", "HEAD", "PUT"):
        await site.ask(method, "/login")
    assert [sum(each.used.values()) for each in (posts, gets, limiter)] == [1, 2, 1]


async def test_limit_of_a_method_holds_however_the_client_spells_it(site, limiter, RateLimitResult):
    posts = Units(RateLimitResult)
    await site.serve(limiter, routes={"POST /login": posts})
    for method in ("POST", "post", "Post"):
        await site.ask(method, "/login")
    assert (sum(posts.used.values()), sum(limiter.used.values())) == (2, 0)


async def test_only_routes_are_limited_without_a_common_limiter(site, limiter):
    await site.serve(None, routes={"/login": limiter})
    assert [(await site.ask()).status for _ in range(4)] == [200] * 4
    assert [(await site.ask(path="/login")).status for _ in range(3)] == [200, 200, 429]


async def test_exempt_routes_are_not_limited_and_look_alikes_are(site, limiter):
    await site.serve(limiter, exempt=["/livez"], routes={"/livez": limiter})
    answers = [await site.ask(path="/livez") for _ in range(4)]
    assert [answer.status for answer in answers] == [200] * 4
    assert "RateLimit" not in answers[0].headers
    assert site.limits.stats()["not_limited"] == 4
    for path in ("/livez/", "//livez", "/LIVEZ", "/livez/../"):
        await site.ask(path=path)
    assert site.limits.stats()["not_limited"] == 4


async def test_exempt_can_be_a_function(site, limiter):
    await site.serve(limiter, exempt=lambda request: True)
    assert [(await site.ask()).status for _ in range(4)] == [200] * 4


async def test_key_can_be_anything_and_none_means_not_limited(site, limiter):
    keys = iter([("tenant", 1), None, ("tenant", 1), None, ("tenant", 1)])
    await site.serve(limiter, key=lambda request: next(keys))
    answers = [await site.ask(peer=f"192.0.2.{each}") for each in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 429]
    assert limiter.used == {("tenant", 1): 2}


async def test_key_can_build_on_the_client(site, limiter):
    await site.serve(limiter, key=lambda request: f"v1 {site.limits.client_key(request)}")
    await site.ask()
    assert limiter.used == {"v1 192.0.2.1": 1}


async def test_requests_cost_what_they_are_said_to(site, RateLimitResult):
    limiter = Units(RateLimitResult, limit=10)
    costs = iter([4, 0, 6, 1])
    await site.serve(limiter, cost=lambda request: next(costs))
    answers = [await site.ask() for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["RateLimit"] == '"default";r=6;t=30'
    assert "RateLimit" not in answers[1].headers


async def test_fixed_cost(site, RateLimitResult):
    limiter = Units(RateLimitResult, limit=10)
    await site.serve(limiter, cost=4)
    assert [(await site.ask()).status for _ in range(3)] == [200, 200, 429]
    assert limiter.used == {"192.0.2.1": 8}


@pytest.mark.parametrize("on_error", ["allow", "refuse", "raise"])
async def test_cost_above_the_limit_is_refused_whatever_on_error_says(site, limiter, on_error):
    await site.serve(limiter, cost=3, on_error=on_error)
    answer = await site.ask()
    assert (answer.status, site.served) == (429, 0)
    assert "Retry-After" not in answer.headers
    assert answer.problem["detail"] == (
        "this request costs more than its limit can ever allow; trying again does not help"
    )


BROKEN = [LimiterFull("too many keys"), ConnectionError("Redis\r\nERROR is away"), TimeoutError()]


@pytest.mark.parametrize("error", BROKEN, ids=lambda error: type(error).__name__)
async def test_requests_pass_when_the_limiter_fails(site, error):
    await site.serve(Broken(error))
    answers = [await site.ask() for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    assert "RateLimit" not in answers[0].headers
    assert site.limits.stats() == {"allowed": 0, "refused": 0, "not_limited": 0, "errors": 3}


@pytest.mark.parametrize("error", BROKEN, ids=lambda error: type(error).__name__)
async def test_requests_are_answered_503_when_the_limiter_fails_and_that_is_wanted(site, error):
    await site.serve(Broken(error), on_error="refuse")
    answer = await site.ask()
    assert (answer.status, site.served) == (503, 0)
    assert answer.headers["Retry-After"] == "5"
    assert answer.problem == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "requests cannot be counted now, and so are not taken; try again later",
    }


async def test_failure_of_the_limiter_is_logged_once_a_minute_in_one_line(site, caplog):
    clock = ManualClock()
    await site.serve(Broken(BROKEN[1]), clock=clock)
    caplog.set_level(logging.WARNING)
    for seconds in (0, 1, 58.999, 0.001, 0):
        clock.advance(seconds)
        await site.ask()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("penstock")]
    failed = "the rate limiter failed, requests pass unlimited: ConnectionError: Redis ERROR is away"
    assert lines == [failed, f"{failed}; 2 more since the last line"]


LINES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=60)


@given(garbage=st.lists(LINES, max_size=3))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_header_gets_a_client_around_its_limit(RateLimitResult, garbage):
    for forwarded in ("x-forwarded-for", "forwarded"):
        limiter = Units(RateLimitResult, limit=1)
        site = OnAsgi()
        await site.serve(limiter, trusted_proxies=["10.0.0.0/8"], forwarded=forwarded)
        entry = "192.0.2.7" if forwarded == "x-forwarded-for" else "for=192.0.2.7"
        lies = [(forwarded, line) for line in garbage]
        statuses = [
            (await site.ask(peer="10.0.0.1", headers=[*lies, (forwarded, entry)])).status for _ in range(2)
        ]
        assert statuses == [200, 429]
        statuses = [(await site.ask(headers=lies)).status for _ in range(2)]
        assert statuses == [200, 429]
        await site.ask(peer="10.0.0.1", headers=lies)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"on_error": "panic"}, ValueError, "on_error must be 'allow', 'refuse' or 'raise', got 'panic'"),
        ({"key": "ip"}, TypeError, "key must be callable, got str"),
        ({"cost": 1.5}, TypeError, "cost must be an int, got float"),
        ({"cost": -1}, ValueError, "cost must be >= 0 units, got -1"),
        ({"exempt": "/livez"}, TypeError, "exempt must be several routes or a function, got a string"),
        ({"exempt": ["livez"]}, ValueError, "a route must be such as '/login' or 'POST /login', got 'livez'"),
        ({"routes": {7: None}}, TypeError, "a route must be a string, got int"),
        ({"routes": {"/": 7}}, TypeError, r"limiter must have check\(key, n\), got int"),
        ({"policy_name": ""}, ValueError, "policy_name must be 1 to 200 characters, got ''"),
        ({"trusted_proxies": ["x"]}, ValueError, "trusted_proxies must be networks"),
        ({"clock": 7}, TypeError, "clock must be callable or None, got int"),
    ],
)
async def test_impossible_options_are_refused(site, limiter, options, error, message):
    with pytest.raises(error, match=message) as raised:
        await site.serve(limiter, **options)
    assert isinstance(raised.value, PenstockError)
    site.limits = None


async def test_coroutine_functions_are_no_keys(site, limiter):
    async def key(request): ...

    with pytest.raises(TypeError, match="key must be a plain function, got a coroutine function"):
        await site.serve(limiter, key=key)
    with pytest.raises(TypeError, match="unknown"):
        await site.serve(limiter, unknown=1)


# With the limiter of this room

RateLimiter = both_twins("penstock.ratelimit.limiter")


async def test_client_of_a_rate_limiter_may_come_again_when_it_was_told_to(site, RateLimiter):
    clock = ManualClock()
    await site.serve(RateLimiter("2/minute; burst=1, 100/day", clock=clock))
    assert (await site.ask()).headers["RateLimit"] == '"default";r=0;t=30'
    clock.advance(0.5)
    answer = await site.ask()
    assert (answer.status, answer.headers["Retry-After"]) == (429, "30")
    assert answer.problem["detail"] == "at most 1 in 30 s are allowed; try again in 30 s"
    clock.advance(30)
    assert (await site.ask()).status == 200


async def test_rate_limiter_in_shadow_mode_refuses_nobody(site, RateLimiter):
    await site.serve(RateLimiter("1/day", shadow=True))
    assert [(await site.ask()).status for _ in range(3)] == [200] * 3
    assert site.limits.stats()["allowed"] == 3


@pytest.mark.parametrize(("on_full", "on_error", "status"), [
    ("reject", "allow", 429), ("raise", "allow", 200), ("raise", "refuse", 503),
])  # fmt: skip
async def test_newcomer_at_a_full_rate_limiter(site, RateLimiter, on_full, on_error, status):
    await site.serve(RateLimiter("2/day", maxsize=1, on_full=on_full), on_error=on_error)
    assert (await site.ask()).status == 200
    assert (await site.ask(peer="192.0.2.2")).status == status
    assert (await site.ask()).status == 200


async def test_cost_above_a_rate_limiter_s_limit_is_refused(site, RateLimiter):
    await site.serve(RateLimiter("5/second"), cost=6)
    answer = await site.ask()
    assert (answer.status, "Retry-After" in answer.headers) == (429, False)


async def test_key_of_several_parts_is_a_key_of_a_rate_limiter(site, RateLimiter):
    keys = iter([("a", None), ("a", None), ("a", "/")])
    await site.serve(RateLimiter("1/day"), key=lambda request: next(keys))
    assert [(await site.ask()).status for _ in range(3)] == [200, 429, 200]
