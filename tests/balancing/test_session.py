"""Requests over real servers on the loopback interface."""

import asyncio
import io
import socket
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from penstock.balancing import Balancer, LeastConnections, NoMemberUp, OutlierDetection, Policy, RoundRobin
from penstock.balancing.session import BalancedSession
from penstock.errors import InvalidType, InvalidValue

GATE = web.AppKey("gate", asyncio.Event)
BODIES = web.AppKey("bodies", list)


def app_of(name):
    """A server that says its name, and does what the path asks."""
    app = web.Application()
    app[GATE] = asyncio.Event()
    app[BODIES] = []

    async def say(request):
        app[BODIES].append(await request.read())
        return web.json_response({"server": name, "method": request.method, "path": request.raw_path})

    async def status(request):
        return web.Response(status=int(request.match_info["code"]))

    async def stream(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first ")
        await app[GATE].wait()
        await response.write(b"last")
        return response

    async def breaks(request):
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        await app[GATE].wait()
        request.transport.abort()
        return response

    async def hang(request):
        await app[GATE].wait()
        return web.Response()

    async def redirect(request):
        raise web.HTTPFound(request.query["to"])

    app.router.add_get("/redirect", redirect)
    app.router.add_get("/status/{code}", status)
    app.router.add_get("/stream", stream)
    app.router.add_get("/breaks", breaks)
    app.router.add_route("*", "/hang", hang)
    app.router.add_route("*", "/{path:.*}", say)
    return app


@asynccontextmanager
async def servers(n):
    """`n` running servers: their base URLs, and their applications by URL."""
    async with AsyncExitStack() as stack:
        running = {}
        for i in range(n):
            server = await stack.enter_async_context(TestServer(app_of(f"server-{i}")))
            running[str(server.make_url("")).rstrip("/")] = server.app
        yield running
        for app in running.values():
            app[GATE].set()


@pytest.fixture
def nobody():
    """A URL at which nobody listens, while the fixture holds the port."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


async def names(session, n, path="/"):
    found = []
    for _ in range(n):
        async with session.get(path) as response:
            found.append((await response.json())["server"])
    return found


def active(session):
    return [figures.active for figures in session.balancer.stats().values()]


def failures(session):
    return [figures.failures for figures in session.balancer.stats().values()]


# Spreading


async def test_requests_are_spread_by_weight():
    async with servers(3) as urls, BalancedSession(dict(zip(urls, [1, 1, 2], strict=True))) as session:
        assert Counter(await names(session, 40)) == {"server-0": 10, "server-1": 10, "server-2": 20}
        assert active(session) == [0, 0, 0]
        assert all(figures.latency > 0 for figures in session.balancer.stats().values())


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options"])
async def test_every_method_sends_its_own(method):
    async with servers(1) as urls, BalancedSession(dict.fromkeys(urls, 1)) as session:
        async with getattr(session, method)("/a/b?c=%20d", params={"e": "f"}) as response:
            said = await response.json()
        assert said == {"server": "server-0", "method": method.upper(), "path": "/a/b?c=%20d&e=f"}
        async with session.head("/a") as response:
            assert response.status == 200


async def test_path_goes_behind_the_path_of_the_base_url():
    async with (
        servers(1) as urls,
        BalancedSession({next(iter(urls)) + "/api/": 1}) as session,
        session.get("/users") as response,
    ):
        assert (await response.json())["path"] == "/api/users"


async def test_request_can_be_awaited_and_its_response_released():
    async with servers(1) as urls, BalancedSession(dict.fromkeys(urls, 1)) as session:
        response = await session.get("/stream")
        assert active(session) == [1]
        response.release()
        assert active(session) == [0]


async def test_key_is_what_affinity_picks_by():
    from penstock.balancing import Affinity

    class Ring:
        def __init__(self, nodes):
            self.nodes = list(nodes)

        def iter_nodes(self, key, /):
            return iter(self.nodes[key:] + self.nodes[:key])

    async with servers(2) as urls, BalancedSession(dict.fromkeys(urls, 1), policy=Affinity(Ring)) as session:
        for key in (1, 0, 1, 1):
            async with session.get("/", key=key) as response:
                assert (await response.json())["server"] == f"server-{key}"


async def test_least_connections_avoids_the_busy_server():
    async with (
        servers(2) as urls,
        BalancedSession(dict.fromkeys(urls, 1), policy=LeastConnections()) as session,
        session.get("/stream"),
    ):
        assert await names(session, 3) == ["server-1"] * 3


# Active until the response is done


async def test_streamed_response_is_active_until_its_end():
    async with servers(1) as urls, BalancedSession(dict.fromkeys(urls, 1)) as session:
        async with session.get("/stream") as response:
            assert await response.content.readany() == b"first "
            assert active(session) == [1]
            for app in urls.values():
                app[GATE].set()
            assert await response.read() == b"last"
            assert active(session) == [0]
        assert failures(session) == [0]


@pytest.mark.parametrize("end", ["close", "release"])
async def test_response_given_up_half_way_is_no_failure(end):
    async with (
        servers(1) as urls,
        BalancedSession(dict.fromkeys(urls, 1)) as session,
        session.get("/stream") as response,
    ):
        await response.content.readany()
        getattr(response, end)()
        assert (active(session), failures(session)) == ([0], [0])


async def test_cancelled_request_is_no_failure_and_no_longer_active():
    async with servers(1) as urls, BalancedSession(dict.fromkeys(urls, 1)) as session:

        async def ask():
            async with session.get("/hang"):
                pass

        task = asyncio.create_task(ask())
        while active(session) == [0]:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (active(session), failures(session)) == ([0], [0])


async def test_request_cancelled_at_any_step_is_no_longer_active():
    async with servers(1) as urls, BalancedSession(dict.fromkeys(urls, 1)) as session:

        async def ask():
            async with session.put("/", data=b"x" * 300_000) as response:
                await response.read()

        for steps in range(30):
            task = asyncio.create_task(ask())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert (active(session), failures(session)) == ([0], [0])
            assert task.cancelled() or task.exception() is None


async def test_body_in_which_the_total_timeout_runs_out_says_nothing_of_its_server():
    async with servers(1) as urls, BalancedSession(dict.fromkeys(urls, 1)) as session:
        async with session.get("/stream", timeout=aiohttp.ClientTimeout(total=1.0)) as response:
            with pytest.raises(TimeoutError):
                await response.read()
        (figures,) = session.balancer.stats().values()
        assert (figures.active, figures.failures, figures.latency) == (0, 0, None)


async def test_whole_response_counts_also_while_an_error_is_handled():
    async with servers(1) as urls, BalancedSession(dict.fromkeys(urls, 1)) as session:
        try:
            raise TimeoutError
        except TimeoutError:
            async with session.head("/") as response:
                assert response.status == 200
        (figures,) = session.balancer.stats().values()
        assert (figures.active, figures.failures) == (0, 0)
        assert figures.latency > 0


async def test_response_whose_reading_is_cancelled_says_nothing_of_its_server():
    async with servers(1) as urls, BalancedSession(dict.fromkeys(urls, 1)) as session:

        async def ask():
            async with session.get("/stream") as response:
                await response.content.readany()
                reading.set()
                await response.read()

        reading = asyncio.Event()
        task = asyncio.create_task(ask())
        await reading.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (figures,) = session.balancer.stats().values()
        assert (figures.active, figures.failures, figures.latency) == (0, 0, None)


# Failures


async def test_5xx_is_a_failure_of_the_server_and_4xx_is_not():
    async with servers(1) as urls, BalancedSession(dict.fromkeys(urls, 1)) as session:
        for code in (200, 404, 429, 500, 503):
            async with session.get(f"/status/{code}") as response:
                assert response.status == code
        assert (active(session), failures(session)) == ([0], [2])


async def test_raise_for_status_raises_and_counts_alike():
    async with servers(1) as urls, BalancedSession(dict.fromkeys(urls, 1)) as session:
        for code in (404, 500):
            with pytest.raises(aiohttp.ClientResponseError, match=str(code)):
                await session.get(f"/status/{code}", raise_for_status=True)
        assert (active(session), failures(session)) == ([0], [1])


async def test_raise_for_status_of_the_given_session_holds():
    async def refuse(response):
        raise ValueError(f"refused {response.status}")

    async with servers(1) as urls:
        for setting, error in ((True, aiohttp.ClientResponseError), (refuse, ValueError)):
            async with aiohttp.ClientSession(raise_for_status=setting) as given:
                session = BalancedSession(dict.fromkeys(urls, 1), session=given)
                with pytest.raises(error):
                    await session.get("/status/404")
                assert (active(session), failures(session)) == ([0], [0])


async def test_timeout_is_a_failure_and_is_not_tried_again():
    async with servers(2) as urls, BalancedSession(dict.fromkeys(urls, 1), policy=RoundRobin()) as session:
        with pytest.raises(TimeoutError):
            await session.get("/hang", timeout=aiohttp.ClientTimeout(total=0.05))
        assert (active(session), failures(session)) == ([0, 0], [1, 0])


async def test_body_that_stands_still_is_a_failure():
    async with servers(1) as urls, BalancedSession(dict.fromkeys(urls, 1)) as session:
        async with session.get("/stream", timeout=aiohttp.ClientTimeout(sock_read=0.5)) as response:
            with pytest.raises(TimeoutError):
                await response.read()
        assert (active(session), failures(session)) == ([0], [1])


async def test_connection_that_breaks_in_the_body_is_a_failure():
    async with servers(1) as urls, BalancedSession(dict.fromkeys(urls, 1)) as session:
        async with session.get("/breaks") as response:
            assert response.status == 200
            for app in urls.values():
                app[GATE].set()
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
        assert (active(session), failures(session)) == ([0], [1])


async def test_broken_server_is_ejected():
    async with servers(2) as urls:
        broken, _ = urls
        outliers = OutlierDetection(consecutive_failures=3)
        async with BalancedSession(dict.fromkeys(urls, 1), policy=RoundRobin(), outliers=outliers) as session:
            for _ in range(6):
                async with session.get("/status/500"):
                    pass
                await names(session, 1)
            assert session.balancer.stats()[broken].status == "ejected"
            assert set(await names(session, 4)) == {"server-1"}


async def test_request_that_cannot_be_is_not_the_servers_fault():
    async with servers(1) as urls, BalancedSession(dict.fromkeys(urls, 1)) as session:
        with pytest.raises(TypeError):
            await session.get("/", no_such_option=1)
        with pytest.raises(ValueError, match="data and json parameters can not be used at the same time"):
            await session.put("/", data=b"1", json=1)
        assert (active(session), failures(session)) == ([0], [0])


# Trying again


async def test_request_that_could_not_connect_is_tried_on_another_server(nobody):
    async with (
        servers(1) as urls,
        BalancedSession({nobody: 1, **dict.fromkeys(urls, 1)}, policy=RoundRobin()) as session,
    ):
        assert await names(session, 6) == ["server-0"] * 6
        assert failures(session) == [6, 0]
        assert active(session) == [0, 0]


@pytest.mark.parametrize(
    "body",
    [{}, {"data": b"again"}, {"data": "again"}, {"json": {"a": "gain"}}, {"data": {"a": "gain"}}],
    ids=["none", "bytes", "str", "json", "form"],
)
async def test_body_that_can_be_sent_again_is(body, nobody):
    async with (
        servers(1) as urls,
        BalancedSession({nobody: 1, **dict.fromkeys(urls, 1)}, policy=RoundRobin()) as session,
        session.put("/", **body) as response,
    ):
        assert (await response.json())["server"] == "server-0"
        (app,) = urls.values()
        assert (b"gain" in app[BODIES][0]) == bool(body)


async def test_neither_posts_nor_streams_are_tried_again(nobody):
    async with servers(1) as urls:
        servers_and_nobody = {nobody: 100, **dict.fromkeys(urls, 1)}
        async with BalancedSession(servers_and_nobody, attempts=5) as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.post("/", data=b"once")
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.put("/", data=io.BytesIO(b"once"))
            assert active(session) == [0, 0]
            assert next(iter(urls.values()))[BODIES] == []


@pytest.mark.parametrize(("attempts", "tried"), [(1, 1), (2, 2), (3, 3), (9, 3)])
async def test_attempts_are_bounded_and_each_is_on_another_server(attempts, tried, nobody):
    port = nobody.rpartition(":")[2]
    hosts = {f"http://127.0.0.{i}:{port}": 1 for i in (1, 2, 3)}
    async with BalancedSession(hosts, attempts=attempts) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get("/")
        assert sum(failures(session)) == tried
        assert max(failures(session)) == 1


async def test_request_that_was_sent_is_not_tried_again():
    async def drop(reader, writer):
        await reader.readline()
        writer.transport.abort()

    async with servers(1) as urls, await asyncio.start_server(drop, "127.0.0.1", 0) as dropping:
        port = dropping.sockets[0].getsockname()[1]
        members = {f"http://127.0.0.1:{port}": 1, **dict.fromkeys(urls, 1)}
        async with BalancedSession(members, policy=RoundRobin()) as session:
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.get("/")
            assert (active(session), failures(session)) == ([0, 0], [1, 0])


async def test_redirect_to_where_nobody_is_is_not_the_servers_fault_nor_tried_again(nobody):
    async with servers(2) as urls, BalancedSession(dict.fromkeys(urls, 1), policy=RoundRobin()) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get("/redirect", params={"to": nobody})
        assert (active(session), failures(session)) == ([0, 0], [0, 0])
        assert [figures.picks for figures in session.balancer.stats().values()] == [1, 0]


async def test_failure_where_the_server_has_redirected_to_is_not_its_own():
    async with servers(2) as urls:
        first, second = urls
        async with BalancedSession({first: 1}) as session:
            async with session.get("/redirect", params={"to": f"{second}/status/500"}) as response:
                assert response.status == 500
            async with session.get("/redirect", params={"to": f"{first}/status/500"}) as response:
                assert response.status == 500
            assert (active(session), failures(session)) == ([0], [1])


@pytest.fixture
def full():
    """A URL at which connections are neither accepted nor refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(2)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for each in waiting:
            each.close()


async def test_server_that_takes_no_connections_is_passed_over(full):
    async with (
        servers(1) as urls,
        BalancedSession({full: 1, **dict.fromkeys(urls, 1)}, policy=RoundRobin()) as session,
    ):
        async with session.get("/", timeout=aiohttp.ClientTimeout(sock_connect=0.5)) as response:
            assert (await response.json())["server"] == "server-0"
        assert (active(session), failures(session)) == ([0, 0], [1, 0])


async def test_redirect_to_who_takes_no_connections_is_not_the_servers_fault_nor_tried_again(full):
    async with servers(2) as urls, BalancedSession(dict.fromkeys(urls, 1), policy=RoundRobin()) as session:
        with pytest.raises(aiohttp.ConnectionTimeoutError):
            await session.get(
                "/redirect", params={"to": full}, timeout=aiohttp.ClientTimeout(sock_connect=0.5)
            )
        assert (active(session), failures(session)) == ([0, 0], [0, 0])
        assert [figures.picks for figures in session.balancer.stats().values()] == [1, 0]


async def test_request_is_tried_again_in_a_panic_too(nobody):
    async with (
        servers(1) as urls,
        BalancedSession(
            {nobody: 1, **dict.fromkeys(urls, 1)}, policy=RoundRobin(), panic_threshold=0.5
        ) as session,
    ):
        for server in session.balancer.members:
            session.balancer.mark_down(server)
        assert await names(session, 2) == ["server-0"] * 2


async def test_failure_is_raised_where_the_policy_knows_nobody_else(nobody):
    class First(Policy):
        def narrow(self, group, key, now):
            return [member for member in group if member.name == nobody]

    async with BalancedSession({nobody: 1, "http://127.0.0.1:9": 1}, policy=First()) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get("/")


async def test_files_in_a_form_are_not_sent_again(nobody):
    async with (
        servers(1) as urls,
        BalancedSession({nobody: 1, **dict.fromkeys(urls, 1)}, policy=RoundRobin()) as session,
    ):
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.put("/", data={"name": "x", "file": io.BytesIO(b"once")})
        assert (active(session), failures(session)) == ([0, 0], [1, 0])


# Closing, and one request twice


async def test_closing_ends_requests_and_responses_and_blames_no_server():
    async with servers(1) as urls:
        session = BalancedSession(dict.fromkeys(urls, 1))

        async def ask(path):
            async with session.get(path) as response:
                reading.release()
                await response.read()

        reading = asyncio.Semaphore(0)
        tasks = [asyncio.create_task(ask(path)) for path in ("/hang", "/stream")]
        await reading.acquire()
        while active(session) != [2]:
            await asyncio.sleep(0)
        await session.close()
        for task in tasks:
            with pytest.raises(aiohttp.ClientConnectionError):
                await asyncio.wait_for(task, 30)
        assert (active(session), failures(session)) == ([0], [0])


@pytest.mark.parametrize("used", [True, False])
async def test_closed_session_sends_nothing(used):
    async with servers(1) as urls:
        async with BalancedSession(dict.fromkeys(urls, 1)) as session:
            await names(session, int(used))
        with pytest.raises(RuntimeError, match="Session is closed"):
            await session.get("/")
        assert (active(session), failures(session)) == ([0], [0])
        await session.close()


async def test_task_can_be_made_of_a_request_and_it_is_sent_once():
    async with servers(1) as urls, BalancedSession(dict.fromkeys(urls, 1)) as session:
        request = session.get("/")
        response = await asyncio.create_task(request)
        response.release()
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await request
        assert (active(session), failures(session)) == ([0], [0])


async def test_request_that_nobody_awaits_says_so():
    async with BalancedSession({"http://127.0.0.1:9": 1}) as session:
        with pytest.warns(RuntimeWarning, match="was never awaited"):
            session.get("/")
        session.get("/").close()
        assert session.balancer.stats()["http://127.0.0.1:9"].picks == 0


# Whose is what


async def test_given_session_stays_open_and_own_one_is_closed():
    async with servers(1) as urls:
        async with aiohttp.ClientSession() as given:
            async with BalancedSession(dict.fromkeys(urls, 1), session=given) as session:
                await names(session, 1)
            assert not given.closed
        async with BalancedSession(dict.fromkeys(urls, 1)) as session:
            await names(session, 1)
        with pytest.raises(RuntimeError, match="Session is closed"):
            await session.get("/")


async def test_balancer_may_be_given_and_changed():
    async with servers(2) as urls:
        first, second = urls
        balancer = Balancer({first: 1})
        async with BalancedSession(balancer) as session:
            assert session.balancer is balancer
            assert set(await names(session, 2)) == {"server-0"}
            balancer.add(second)
            balancer.drain(first)
            await balancer.drained(first)
            assert set(await names(session, 2)) == {"server-1"}
            balancer.mark_down(second)
            with pytest.raises(
                NoMemberUp, match="a pick needs at least 1 member that may be picked, got 0 of 2"
            ):
                await session.get("/")


async def test_server_that_is_no_url_is_found_out_when_it_is_picked():
    balancer = Balancer({})
    async with BalancedSession(balancer) as session:
        balancer.add("10.0.0.1:80")
        with pytest.raises(InvalidValue, match="server must be an http or https URL without query"):
            await session.get("/")
        assert (active(session), failures(session)) == ([0], [0])


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000",
        "ftp://host",
        "http://",
        "/path",
        "http://h/?a=b",
        "http://h/#a",
        "http://[::1",
        "x" * 999,
    ],
)
def test_base_url_must_be_one(url):
    with pytest.raises(
        InvalidValue, match="server must be an http or https URL without query, got"
    ) as caught:
        BalancedSession({url: 1})
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "text"),
    [
        ({7: 1}, {}, InvalidType, "server must be a URL as str, got int"),
        ({"http://h": 0}, {}, InvalidValue, "weight of 'http://h' must be > 0"),
        ({"http://h": 1}, {"attempts": 0}, InvalidValue, "attempts must be >= 1 and <= 100, got 0"),
        ({"http://h": 1}, {"attempts": 1.5}, InvalidType, "attempts must be an int, got float"),
        ({"http://h": 1}, {"polciy": 1}, TypeError, "polciy"),
        (
            {"http://h": 1},
            {"session": "s"},
            InvalidType,
            "session must be an aiohttp.ClientSession or None, got",
        ),
        (Balancer({}), {"zone": "eu"}, InvalidType, "options must be those of the given Balancer, got zone"),
    ],
)
def test_setting_that_cannot_be_is_refused(arguments, settings, error, text):
    with pytest.raises(error, match=text):
        BalancedSession(arguments, **settings)


@pytest.mark.parametrize(
    ("path", "error"),
    [("users", InvalidValue), ("@evil.example/", InvalidValue), ("", InvalidValue), (7, InvalidType)],
)
def test_path_begins_with_a_slash(path, error):
    with pytest.raises(error, match="path must"):
        BalancedSession({"http://h": 1}).get(path)
