"""robots.txt: what a host lets a scraper fetch, and how fast.

Protego reads the rules (0.7 or newer: before, a pattern of many stars could keep it busy for hours);
here is what RFC 9309 says of everything around them: what an answer means, how much of it counts, and
how long.
"""

import asyncio
import re
from collections.abc import Sequence
from itertools import count

from penstock.cache import Cache
from penstock.services.scraper.fetch import Answer
from penstock.services.scraper.model import Outcome
from penstock.services.scraper.urls import target_of

try:
    from protego import Protego
except ImportError as missing:  # pragma: no cover - the tests run with it
    raise ImportError(
        "the scraper needs ada-url, protego and selectolax: pip install 'penstock[scrape]'"
    ) from missing

__all__ = [
    "MAX_ROBOTS_BYTES",
    "RETRY_AFTER",
    "Robots",
    "RobotsRules",
    "agent_of",
    "read_robots",
    "robots_url",
]

MAX_ROBOTS_BYTES = 500 * 1024
"""Bytes of a robots.txt that count; the rest is not read (RFC 9309, 2.5)."""

MAX_REDIRECTS = 5
"""Followed for a robots.txt; after them it counts as not there (RFC 9309, 2.3.1.2)."""

MAX_SITEMAPS = 100
"""Sitemaps that a robots.txt may name."""

RETRY_AFTER = 3600.0
"""Seconds after which a robots.txt that could not be had is asked for again."""

LARGE = 32 * 1024
"""Bytes from which reading takes a thread of its own: a millisecond or more."""

COMPATIBLE = re.compile(r"\(compatible;\s*([^\s/;()]+)")

MAX_WEIGHT = 16 * 1024 * 1024
HEAVIEST = MAX_WEIGHT // 16  # what is heavier than all may be would not be kept, and asked for for ever
"""What the rules that are remembered weigh together, and what one weighs at most; see weight_of."""

DECISIONS = 65_536
DECIDED_CHARACTERS = 16_000_000
"""Decisions that are remembered, all hosts together, and characters of what they are about."""


def agent_of(user_agent: str) -> str:
    """The product token of a User-Agent, which rules are for.

    `penstock` of `penstock/1.0 (+...)`, `MyBot` of `Mozilla/5.0 (compatible; MyBot/1.0)`.
    """
    compatible = COMPATIBLE.search(user_agent)
    return compatible[1] if compatible else user_agent.partition("/")[0].split()[0]


def robots_url(origin: str) -> str:
    """Where the robots.txt of an origin is."""
    return f"{origin}/robots.txt"


class RobotsRules:
    """What the robots.txt of one origin says to one robot.

    Args:
        protego: its rules; None for none at all.
        agent: the robot's product token.
        refusal: why nothing may be fetched, in plain words; empty when the rules decide.
        outcome: of pages that may not be fetched for that: failed where their requests would fail likewise.
        weight: what they count for among those that are remembered; see weight_of.

    Attributes:
        number: of its own; whoever remembers the number does not keep the rules.
    """

    __slots__ = ("_agent", "_protego", "crawl_delay", "number", "outcome", "refusal", "sitemaps", "weight")

    def __init__(
        self,
        protego: Protego | None,
        agent: str,
        *,
        refusal: str = "",
        outcome: Outcome = "refused",
        weight: int = 0,
    ) -> None:
        self.number = next(NUMBERS)
        self.weight = weight
        self._protego = protego
        self._agent = agent
        self.refusal = refusal
        self.outcome: Outcome = outcome
        self.sitemaps: Sequence[str] = ()
        self.crawl_delay = 0.0
        if protego is not None:
            self.sitemaps = tuple(
                found for _, found in zip(range(MAX_SITEMAPS), protego.sitemaps, strict=False)
            )
            delay = protego.crawl_delay(agent)
            self.crawl_delay = float(delay) if delay is not None and delay > 0 else 0.0  # nan is not > 0

    def allows(self, url: str) -> bool:
        """Whether a canonical URL of the origin may be fetched."""
        if self.refusal:
            return False
        return self._protego is None or bool(self._protego.can_fetch(url, self._agent))


NUMBERS = count()


def weight_of(body: bytes) -> int:
    """What the rules of a file weigh: its bytes, and much for each pattern, which becomes a program."""
    return min(len(body) + 64 * body.count(b"*"), HEAVIEST)


def parsed(body: bytes) -> Protego:
    """Never raises, whatever the bytes."""
    if len(body) > MAX_ROBOTS_BYTES:
        body = body[:MAX_ROBOTS_BYTES].rpartition(b"\n")[0]  # half a rule may say the opposite of the whole
    return Protego.parse(body.decode("utf-8-sig", "replace").replace("\0", ""))


async def read_robots(answer: Answer, agent: str) -> RobotsRules:
    """What an answer to the request for robots.txt means.

    Args:
        answer: after redirects.
        agent: the robot's product token.

    Source: RFC 9309, 2.3.1: with 2xx the rules hold; with 4xx, or after five redirects, everything is
    allowed; with 5xx or no answer nothing is. 429 asks for less, so it counts as 5xx does.
    """
    status, body = answer.status, answer.body
    if 200 <= status < 300:
        protego = await asyncio.to_thread(parsed, body) if len(body) >= LARGE else parsed(body)
        return RobotsRules(protego, agent, weight=weight_of(body))
    if answer.failure == "address":
        return RobotsRules(None, agent, refusal=answer.error)
    if status == 429 or status >= 500:
        return RobotsRules(None, agent, refusal=f"robots.txt could not be read: status {status}")
    if status == 0:
        return RobotsRules(None, agent, refusal=f"{answer.error} (asked for robots.txt)", outcome="failed")
    return RobotsRules(None, agent)


class Robots:
    """The rules of every origin, as long as they hold, and what was decided by them.

    Args:
        ttl_ns: nanoseconds that rules hold.
        max_origins: whose rules are remembered; of the least recently used they are asked for again.
    """

    def __init__(self, ttl_ns: int, *, max_origins: int = 10_000) -> None:
        self._ttl_ns = ttl_ns
        self._rules: Cache[str, tuple[RobotsRules, int]] = Cache(
            max_origins, weigher=lambda _, held: held[0].weight, max_weight=MAX_WEIGHT
        )
        self._decisions: Cache[tuple[int, str], bool] = Cache(
            DECISIONS, weigher=lambda key, _: len(key[1]), max_weight=DECIDED_CHARACTERS
        )

    def rules(self, origin: str, now: int) -> RobotsRules | None:
        """The rules of an origin; None when they are to be asked for."""
        rules, expires = self._rules.get(origin) or (None, 0)
        return rules if now < expires else None

    def set(self, origin: str, rules: RobotsRules, now: int) -> None:
        """Replaces the rules of an origin."""
        holds = min(self._ttl_ns, round(RETRY_AFTER * 1e9)) if rules.refusal else self._ttl_ns
        self._rules[origin] = (rules, now + holds)

    def allows(self, rules: RobotsRules, url: str) -> bool:
        """Whether the rules of its origin let a canonical URL be fetched."""
        key = (rules.number, target_of(url))
        decision = self._decisions.get(key)
        if decision is None:
            decision = self._decisions[key] = rules.allows(url)
        return decision
