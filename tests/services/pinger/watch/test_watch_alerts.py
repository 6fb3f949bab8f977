"""Webhooks, taken by a real server that fails first."""

import asyncio
import hashlib
import hmac
import json
import re

import pytest
from aiohttp import web
from pings import a_ping

from penstock.resilience import ExponentialBackoff
from penstock.services.pinger.model import Target
from penstock.services.pinger.watch.alerts import GIVEN_UP_AFTER, AlertSender, body_of
from penstock.services.pinger.watch.history import Batch, History, HistoryError
from penstock.services.pinger.watch.state import Watched


class Hook:
    """A server whose answers are told beforehand, then 204."""

    def __init__(self):
        self.answers = {}
        self.taken = []
        self.attempts = 0
        self.changed = asyncio.Event()

    async def take(self, request):
        answers = self.answers.get(request.path, [])
        status = answers.pop(0) if answers else 204
        self.attempts += 1
        if status == 204:
            self.taken.append((request.path, request.headers, await request.text()))
        self.changed.set()
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async def until(self, count):
        while len(self.taken) < count:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 10)


@pytest.fixture
async def hook():
    hook = Hook()
    app = web.Application()
    app.router.add_post("/{any:.*}", hook.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield hook
    await runner.cleanup()


@pytest.fixture
def history(tmp_path):
    history = History(str(tmp_path / "history.sqlite"))
    yield history
    history.close()


def put(history, *urls, made=1e12):
    history.write(Batch(alerts=[(url, f"alert {number}", made) for number, url in enumerate(urls)]))


class Sending:
    """A sender at work, whose pauses are noted and not slept."""

    def __init__(self, history, urls, **how):
        self.pauses = []
        self.sender = AlertSender(
            history, urls, sleep=self.pause, backoff=ExponentialBackoff(1, limit=60), now=lambda: 1e12, **how
        )

    async def pause(self, seconds):
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    async def __aenter__(self):
        self.task = asyncio.create_task(self.sender.run())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


async def forgotten(history):
    async with asyncio.timeout(10):
        while history.waiting_alerts():
            await asyncio.sleep(0.01)


async def test_alerts_are_posted_in_order_and_forgotten(hook, history):
    url = f"{hook.url}/a"
    put(history, url, url, url)
    async with Sending(history, [url]) as sending:
        await hook.until(3)
        await forgotten(history)
        put(history, url)
        sending.sender.wake()
        await hook.until(4)
        await forgotten(history)
    assert [body for _, _, body in hook.taken] == ["alert 0", "alert 1", "alert 2", "alert 0"]
    assert (sending.sender.sent, sending.sender.failed) == (4, 0)


async def test_what_is_not_taken_is_posted_again_under_the_same_number(hook, history):
    url = f"{hook.url}/a"
    hook.answers["/a"] = [500, 302, 404]
    put(history, url, url)
    async with Sending(history, [url]) as sending:
        await hook.until(2)
        await forgotten(history)
    assert sending.pauses == [1, 2, 4]
    numbers = [headers["X-Penstock-Alert"] for _, headers, _ in hook.taken]
    assert (numbers, hook.attempts, sending.sender.failed) == (["1", "2"], 5, 3)


async def test_a_webhook_that_is_dead_holds_up_no_other(hook, history, unused_tcp_port):
    dead, alive = f"http://127.0.0.1:{unused_tcp_port}/", f"{hook.url}/a"
    put(history, *[dead] * 300, alive)
    async with Sending(history, [dead, alive]) as sending:
        await hook.until(1)
    assert history.waiting_alerts() >= 300
    assert sending.sender.failed >= 1


async def test_a_body_is_signed_with_the_secret(hook, history):
    url = f"{hook.url}/a"
    put(history, url)
    async with Sending(history, [url], secret="hush"):
        await hook.until(1)
    (_, headers, body) = hook.taken[0]
    expected = hmac.new(b"hush", body.encode(), hashlib.sha256).hexdigest()
    assert headers["X-Penstock-Signature"] == f"sha256={expected}"
    assert headers["Content-Type"] == "application/json"


async def test_alerts_for_nobody_and_those_of_yesterday_are_dropped(hook, history):
    url = f"{hook.url}/a"
    put(history, url, made=1e12 - GIVEN_UP_AFTER - 1)
    put(history, "http://gone.example/")
    async with Sending(history, [url]) as sending:
        await forgotten(history)
    assert (hook.attempts, sending.sender.given_up) == (0, 2)


def test_the_body_tells_what_happened_and_no_password():
    target = Target("http://user:secret@shop.example/", name="shop", labels=(("team", "web"),))
    watched = Watched(target, 2, 2)
    watched.add(a_ping())
    watched.add(a_ping(ok=False, after=5, number=2))
    change = watched.add(a_ping(ok=False, after=10, number=3))
    assert json.loads(body_of(change)) == {
        "event": "down",
        "target": "shop",
        "url": "http://shop.example/",
        "at": "2026-01-02T03:04:10.000Z",
        "decided_at": "2026-01-02T03:04:15.000Z",
        "pings": 2,
        "status": 503,
        "latency_ms": 10.0,
        "reason": "status 503",
        "lasted": 5.0,
        "labels": {"team": "web"},
    }


async def test_a_sender_without_webhooks_waits_too(history):
    async with Sending(history, []) as sending:
        await asyncio.sleep(0.05)
        assert not sending.task.done()


async def test_a_history_that_is_full_at_the_start_does_not_end_the_sender(hook, history, monkeypatch):
    url = f"{hook.url}/a"
    put(history, url)

    def drop_alerts(urls):
        raise HistoryError("history.sqlite: database or disk is full")

    monkeypatch.setattr(history, "drop_alerts", drop_alerts)
    async with Sending(history, [url]):
        await hook.until(1)


async def test_no_log_holds_what_a_webhook_lets_in(history, unused_tcp_port, caplog):
    url = f"http://user:hush@127.0.0.1:{unused_tcp_port}/services/T0KEN?key=hush"
    put(history, url)
    async with Sending(history, [url]) as sending:
        while not sending.pauses:
            await asyncio.sleep(0.01)
    assert f"no alert to http://127.0.0.1:{unused_tcp_port}: " in caplog.text
    assert not re.search("hush|T0KEN", caplog.text)
