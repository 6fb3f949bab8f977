"""Webhooks: every change is posted until it is taken, also over restarts."""

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from urllib.parse import urlsplit

import aiohttp

import penstock
from penstock.resilience import ExponentialBackoff
from penstock.services.http_client import reason_of
from penstock.services.pinger.watch.history import Alert, History, HistoryError
from penstock.services.pinger.watch.state import Change, public_url, title
from penstock.services.row_files import rfc3339

__all__ = ["AlertSender", "body_of", "origin"]

log = logging.getLogger(__name__)

TIMEOUT = 10.0
"""Seconds that a webhook has to answer."""

GIVEN_UP_AFTER = 86_400.0
"""Seconds after which an alert that nobody took is dropped: nobody waits for it any more."""

BACKOFF = ExponentialBackoff(1.0, limit=300.0, jitter="equal")


def body_of(change: Change) -> str:
    """What is posted for a change, as JSON: what, which, since when, why."""
    result, target = change.result, change.target
    members = {
        "event": change.now,
        "target": title(target),
        "url": public_url(target.url),
        "at": rfc3339(change.at),
        "decided_at": result.rfc3339,
        "pings": change.pings,
        "status": result.status,
        "latency_ms": round(result.latency_ms, 3),
        "reason": result.why or (f"status {result.status}" if change.now == "down" else ""),
        "lasted": round(change.before, 3),
        "labels": dict(target.labels),
    }
    return json.dumps(members, ensure_ascii=False)


def origin(url: str) -> str:
    """Scheme, host and port of a webhook: what follows is as good as a password at many of them."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


class AlertSender:
    """Posts the alerts of a history, each webhook its own, oldest first; one that fails holds up no other.

    An alert is sent at least once: it is forgotten when its webhook has answered with 2xx, and by then it
    may have been taken before. `X-Penstock-Alert` is its number, the same each time.

    Args:
        history: where they wait.
        urls: of the webhooks that are wanted now; alerts for others are dropped.
        secret: signs bodies: `X-Penstock-Signature: sha256=` and the HMAC in hex; empty signs nothing.
        backoff: seconds after each failure in a row of a webhook.
        now: seconds since 1970.
        sleep: waits.

    Attributes:
        sent: alerts that were taken.
        failed: attempts that were not.
        given_up: alerts that were dropped: too old, or for nobody.
    """

    def __init__(
        self,
        history: History,
        urls: Iterable[str],
        *,
        secret: str = "",
        backoff: ExponentialBackoff = BACKOFF,
        now: Callable[[], float] = lambda: datetime.now(UTC).timestamp(),
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.history = history
        self.secret = secret.encode()
        self.backoff = backoff
        self.now = now
        self.sleep = sleep
        self.sent = self.failed = self.given_up = 0
        self._news = {url: asyncio.Event() for url in urls}

    def wake(self) -> None:
        """There may be new ones."""
        for news in self._news.values():
            news.set()

    async def run(self) -> None:
        """Sends what there is and what comes, until it is cancelled."""
        try:
            self.given_up += await asyncio.to_thread(self.history.drop_alerts, [*self._news])
        except HistoryError as error:  # a full disk: no reason to end, and they do no harm
            log.warning("alerts for former webhooks are still there: %s", error)
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT),
                headers={"User-Agent": f"penstock/{penstock.__version__}"},
            ) as session,
            asyncio.TaskGroup() as sending,
        ):
            for url, news in self._news.items():
                sending.create_task(self._serve(session, url, news))
            await asyncio.Event().wait()  # also where there is nothing to send

    async def _serve(self, session: aiohttp.ClientSession, url: str, news: asyncio.Event) -> None:
        failures = 0
        while True:
            news.clear()
            try:
                alert = await asyncio.to_thread(self.history.next_alert, url)
                if alert is None:
                    await news.wait()
                    continue
                why = await self._deal_with(session, alert)
            except HistoryError as error:  # what was sent and cannot be forgotten is sent again
                why = f"the history fails: {error}"
            if not why:
                failures = 0
                continue
            failures += 1
            self.failed += 1
            pause = self.backoff.delay(failures)
            log.warning("no alert to %s: %s; again in %.0f s", origin(url), why, pause)
            await self.sleep(pause)

    async def _deal_with(self, session: aiohttp.ClientSession, alert: Alert) -> str:
        """Why the alert still waits; empty when it does not."""
        if alert.made < self.now() - GIVEN_UP_AFTER:
            self.given_up += 1
        elif why := await self._post(session, alert):
            return why
        else:
            self.sent += 1
        await asyncio.to_thread(self.history.forget_alert, alert.id)
        return ""

    async def _post(self, session: aiohttp.ClientSession, alert: Alert) -> str:
        """Why it was not taken; empty when it was."""
        body = alert.body.encode()
        headers = {"Content-Type": "application/json", "X-Penstock-Alert": str(alert.id)}
        if self.secret:
            signature = hmac.new(self.secret, body, hashlib.sha256).hexdigest()
            headers["X-Penstock-Signature"] = f"sha256={signature}"
        try:
            async with session.post(alert.url, data=body, headers=headers, allow_redirects=False) as answer:
                return "" if 200 <= answer.status < 300 else f"it answered {answer.status}"
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return reason_of(error)
