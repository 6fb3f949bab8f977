"""Problem details, RFC 9457, and the errors of aiohttp as such."""

import json
import logging

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from penstock.services.problem_details import ProblemRunner, problem, problems_for_http_errors


def test_problem_has_the_members_of_the_rfc_and_those_it_is_given():
    answer = problem(503, "too busy", headers={"Retry-After": "3"}, pending=7)
    assert (answer.status, answer.content_type) == (503, "application/problem+json")
    assert answer.headers["Retry-After"] == "3"
    assert json.loads(answer.body) == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "too busy",
        "pending": 7,
    }


@pytest.fixture
async def fetch():
    """Asks a small application that fails in every way, and returns status, headers, body."""

    async def gone(request):
        raise web.HTTPGone(text="it was here once")

    async def silent(request):
        raise web.HTTPTooManyRequests

    async def moved(request):
        raise web.HTTPFound("/elsewhere")

    async def fault(request):
        raise KeyError("secret")

    async def read(request):
        return web.Response(body=await request.read())

    async def fine(request):
        return web.Response(text="fine")

    app = web.Application(middlewares=[problems_for_http_errors], client_max_size=100)
    for handler in (gone, silent, moved, fault, fine):
        app.router.add_get(f"/{handler.__name__}", handler)
    app.router.add_get("/fault/{name}", fault)
    app.router.add_post("/read", read)
    app.router.add_put("/read", read)
    runner = ProblemRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    async with aiohttp.ClientSession(f"http://{host}:{port}") as session:

        async def fetch(method, path, **options):
            async with session.request(method, path, allow_redirects=False, **options) as answer:
                body = await answer.read()
                if answer.status >= 400:
                    assert answer.content_type == "application/problem+json"
                    body = json.loads(body)
                    assert body["status"] == answer.status
                return answer.status, answer.headers, body

        yield fetch
    await runner.cleanup()


async def test_answers_and_redirects_pass_as_they_are(fetch):
    assert (await fetch("GET", "/fine"))[::2] == (200, b"fine")
    status, headers, _ = await fetch("GET", "/moved")
    assert (status, headers["Location"]) == (302, "/elsewhere")


async def test_unknown_path_and_wrong_method_are_problems(fetch):
    status, _, body = await fetch("GET", "/nothing")
    assert (status, body["detail"]) == (404, "there is nothing at /nothing")
    status, headers, body = await fetch("GET", "/read")
    assert (status, headers["Allow"]) == (405, "POST, PUT")
    assert body["detail"] == "/read takes POST, PUT, got GET"


async def test_errors_raised_by_a_handler_keep_their_words(fetch):
    assert (await fetch("GET", "/gone"))[2]["detail"] == "it was here once"
    status, _, body = await fetch("GET", "/silent")
    assert (status, body["title"]) == (429, "Too Many Requests")
    assert body["detail"]


async def test_path_cannot_add_a_line_to_the_log(fetch, caplog):
    assert (await fetch("GET", URL("/fault/a%0AERROR%20b", encoded=True)))[0] == 500
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == "GET /fault/a%0AERROR%20b failed"


async def test_fault_is_logged_and_told_without_its_insides(fetch, caplog):
    status, _, body = await fetch("GET", "/fault")
    assert status == 500
    assert "secret" not in str(body)
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == "GET /fault failed"
    assert record.exc_info[0] is KeyError


async def test_body_too_large_or_not_readable_is_a_problem_without_noise(fetch, caplog):
    assert (await fetch("POST", "/read", data=b"x" * 101))[0] == 413
    status, _, body = await fetch("POST", "/read", data=b"no gzip", headers={"Content-Encoding": "gzip"})
    assert status == 400
    assert body["detail"].startswith("the body could not be read: ")
    status, _, body = await fetch("POST", "/read", data=b"x", headers={"Content-Encoding": "br"})
    assert (status, body["detail"]) == (415, "Content-Encoding must be gzip, deflate or none")
    assert (await fetch("POST", "/read", data=b"x" * 100))[0] == 200
    assert caplog.text == ""
