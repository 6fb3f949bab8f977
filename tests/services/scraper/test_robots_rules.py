"""robots.txt: what its answer means, and 2,149 real ones against the rules of RFC 9309."""

import re
import sys
import tarfile
from functools import cache

import pytest

import datasets
from penstock.services.scraper.fetch import Answer
from penstock.services.scraper.robots import (
    LARGE,
    MAX_ROBOTS_BYTES,
    MAX_SITEMAPS,
    RETRY_AFTER,
    Robots,
    RobotsRules,
    agent_of,
    parsed,
    read_robots,
)

LINE = re.compile(
    r"\s*(user-agent|disallow|allow|sitemap|crawl-delay|host)\s*:\s*([^\s#]*)\s*(#.*)?", re.IGNORECASE
)
"""A line as RFC 9309 has it; a file with others is left to Protego's guesses."""

EXCEPTIONS = {"inform.kz", "www.thomsonreuters.com"}
"""Two rules of nearly one length match; Protego measures them percent-encoded, where `?` counts as three."""


def rules_of(text, agent="penstock"):
    return RobotsRules(parsed(text.encode()), agent)


def groups_of(text):
    """User agents and their rules, by RFC 9309, 2.2.1; None for a file that is not written like that."""
    groups, agents, is_open = {}, [], False
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = LINE.fullmatch(line)
        if match is None or not line.isascii() or "%" in line:
            return None
        field, value = match[1].lower(), match[2]
        if field == "user-agent":
            if "*" in value and value != "*":
                return None
            agents = [*agents, value.lower()] if is_open else [value.lower()]
            is_open = True
            groups.setdefault(value.lower(), [])
        elif field in ("allow", "disallow"):
            is_open = False
            if value and (not value.startswith(("/", "*")) or re.search(r"\$.|index\.html", value)):
                return None
            for agent in agents:
                groups[agent].append((field, value))
        elif field == "crawl-delay":
            is_open = False
    return groups


def allowed_by_rfc(rules, target):
    """Longest match, allow before disallow, robots.txt itself allowed: RFC 9309, 2.2.2."""
    best, allowed = -1, True
    if target == "/robots.txt":
        return True
    for field, value in rules:
        is_better = len(value) > best or (len(value) == best and field == "allow")
        if value and is_better and pattern_of(value).match(target):
            best, allowed = len(value), field == "allow"
    return allowed


@cache
def pattern_of(value):
    end = "$" if value.endswith("$") else ""
    return re.compile(re.escape(value.removesuffix("$")).replace(r"\*", ".*") + end)


def targets_of(rules):
    """Paths that the rules are about, and some beside them."""
    for _, value in rules[:40]:
        path = value.replace("*", "xy").removesuffix("$") or "/"
        path = path if path.startswith("/") else f"/{path}"
        yield from (path, f"{path}more", path[:-1] or "/", f"{path}/index.php?a=b")


@pytest.fixture(name="files", scope="module")
def real_files():
    with tarfile.open(datasets.require("robots/robots_txt.tar.xz")) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}


@pytest.mark.data
def test_real_files_are_obeyed_as_the_rfc_says(files):
    judged = decisions = 0
    wrong = set()
    for name, body in files.items():
        groups = groups_of(body.decode("utf-8", "replace").removeprefix("\ufeff"))
        if groups is None or len(body) > 100_000:
            continue
        judged += 1
        for agent in ("penstock", "googlebot"):
            rules = groups.get(agent, groups.get("*", []))
            robots = rules_of(body.decode("utf-8"), agent)
            for target in targets_of(rules):
                decisions += 1
                if robots.allows(f"http://example.com{target}") != allowed_by_rfc(rules, target):
                    wrong.add(name)
    assert wrong == EXCEPTIONS
    assert judged > 700
    assert decisions > 50_000


@pytest.mark.data
async def test_no_real_file_raises_and_what_it_says_is_of_use(files):
    assert len(files) == 2149
    delays = sitemaps = 0
    for body in files.values():
        rules = await read_robots(Answer(status=200, body=body), "penstock")
        assert isinstance(rules.allows("http://example.com/a/b.html?c=d"), bool)
        assert rules.crawl_delay >= 0
        delays += rules.crawl_delay > 0
        sitemaps += len(rules.sitemaps)
    assert delays > 100
    assert sitemaps > 500


@pytest.mark.parametrize(
    ("status", "allowed"),
    [(200, False), (204, True), (301, True), (400, True), (401, True), (404, True), (410, True), (429, False),
     (500, False), (503, False), (599, False)],
)  # fmt: skip
async def test_a_status_means_what_the_rfc_says(status, allowed):
    body = b"User-agent: *\nDisallow: /" if status != 204 else b""
    rules = await read_robots(Answer(status=status, body=body), "penstock")
    assert rules.allows("http://example.com/") is allowed
    assert rules.refusal == (f"robots.txt could not be read: status {status}" if status >= 429 else "")


async def test_no_answer_refuses_everything_as_a_failure_with_its_reason():
    rules = await read_robots(Answer(failure="connect", error="connection refused"), "penstock")
    assert not rules.allows("http://example.com/")
    assert (rules.refusal, rules.outcome) == ("connection refused (asked for robots.txt)", "failed")


async def test_an_address_that_was_refused_refuses_everything():
    rules = await read_robots(Answer(failure="address", error="127.0.0.1 is a private address"), "penstock")
    assert (rules.refusal, rules.outcome) == ("127.0.0.1 is a private address", "refused")


@pytest.mark.parametrize("line", ["Disallow: /private", "# " + "x" * LARGE + "\nDisallow: /private"])
async def test_large_and_small_files_are_read_alike(line):
    rules = await read_robots(Answer(status=200, body=f"User-agent: *\n{line}".encode()), "penstock")
    assert not rules.allows("http://example.com/private")
    assert rules.allows("http://example.com/public")


async def test_what_is_beyond_the_bound_does_not_count_nor_does_half_a_line():
    head = b"User-agent: *\nDisallow: /early\n"
    filler = b"# filler\n" * ((MAX_ROBOTS_BYTES - len(head) - 20) // 9)
    body = head + filler + b"Disallow: /a-long-name-that-is-cut\nDisallow: /late\n"
    body = body[: MAX_ROBOTS_BYTES + 1000]
    rules = await read_robots(Answer(status=200, body=body), "penstock")
    assert not rules.allows("http://example.com/early")
    assert rules.allows("http://example.com/a-long")
    assert rules.allows("http://example.com/late")


@pytest.mark.parametrize(
    "body",
    [b"", b"\0" * 1000, bytes(range(256)) * 10, b"\xff\xfeU\0s\0e\0r\0", b"User-agent\nDisallow", b":" * 9999,
     b"<html><title>Not found</title></html>", b"Disallow: /\n" * 100],
)  # fmt: skip
async def test_what_is_no_robots_txt_allows_everything(body):
    rules = await read_robots(Answer(status=200, body=body), "penstock")
    assert rules.allows("http://example.com/")


async def test_a_byte_order_mark_hides_no_rule():
    rules = await read_robots(Answer(status=200, body=b"\xef\xbb\xbfUser-agent: *\nDisallow: /"), "penstock")
    assert not rules.allows("http://example.com/")


def test_the_rules_for_us_go_before_those_for_all():
    text = "User-agent: *\nDisallow: /\n\nUser-agent: penstock\nDisallow: /private\nCrawl-delay: 2.5\n"
    rules = rules_of(text, agent_of("penstock/1.0 (+https://example.com)"))
    assert rules.allows("http://example.com/public")
    assert not rules.allows("http://example.com/private/a")
    assert rules.crawl_delay == 2.5


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("penstock/1.0", "penstock"),
        ("MyBot", "MyBot"),
        ("MyBot (+http://me.example)", "MyBot"),
        ("Mozilla/5.0 (compatible; MyBot/2.0; +http://me.example)", "MyBot"),
        ("Mozilla/5.0 (X11; Linux x86_64)", "Mozilla"),
    ],
)
def test_the_name_is_the_product_token(user_agent, name):
    assert agent_of(user_agent) == name


@pytest.mark.parametrize("delay", ["nan", "-1", "inf", "soon", "1e400", ""])
def test_a_crawl_delay_that_is_none_or_endless_hurts_nobody(delay):
    assert rules_of(f"User-agent: *\nCrawl-delay: {delay}\n").crawl_delay in (0.0, float("inf"))


def test_sitemaps_are_told_up_to_a_bound():
    text = "\n".join(f"Sitemap: http://example.com/{number}.xml" for number in range(MAX_SITEMAPS + 50))
    rules = rules_of(text)
    assert len(rules.sitemaps) == MAX_SITEMAPS
    assert rules.sitemaps[0] == "http://example.com/0.xml"


def test_a_pattern_of_many_stars_takes_no_time():
    rules = rules_of("User-agent: *\nDisallow: /" + "*a" * 200 + "*b$\n")
    assert rules.allows("http://example.com/" + "a" * 4000)  # a matcher that goes back would never end


def test_rules_hold_for_their_time_and_failures_for_less():
    robots = Robots(10 * 10**9)
    rules, failed = rules_of(""), rules_of("")
    failed.refusal = "robots.txt could not be read: status 503"
    robots.set("http://a", rules, 0)
    assert robots.rules("http://a", 10 * 10**9 - 1) is rules
    assert robots.rules("http://a", 10 * 10**9) is None
    assert robots.rules("http://b", 0) is None
    lasting = Robots(10**18)
    lasting.set("http://a", failed, 0)
    assert lasting.rules("http://a", int(RETRY_AFTER) * 10**9 - 1) is failed
    assert lasting.rules("http://a", int(RETRY_AFTER) * 10**9) is None


def test_decisions_are_those_of_the_rules_that_hold_now():
    robots = Robots(10**18)
    strict, lax = rules_of("User-agent: *\nDisallow: /a?b"), rules_of("")
    for _ in range(2):  # from the rules, and remembered
        assert not robots.allows(strict, "http://e.com/a?b=1")
        assert robots.allows(strict, "http://e.com/a")
        assert robots.allows(lax, "http://e.com/a?b=1")


async def test_rules_that_take_much_memory_are_remembered_for_fewer_origins():
    robots = Robots(10**18)
    small = await read_robots(Answer(200, body=b"User-agent: *\nDisallow: /private/"), "penstock")
    large = await read_robots(Answer(200, body=b"User-agent: *\n" + b"Allow: /*a$\n" * 40_000), "penstock")
    huge = await read_robots(Answer(200, body=b"*\n" * 10_000_000), "penstock")
    for number in range(100):
        robots.set(f"http://small{number}", small, 0)
    assert all(robots.rules(f"http://small{number}", 0) for number in range(100))
    for number in range(100):
        robots.set(f"http://large{number}", large, 0)
    assert 1 <= sum(robots.rules(f"http://large{number}", 0) is large for number in range(100)) < 20
    robots.set("http://huge", huge, 0)
    assert robots.rules("http://huge", 0) is huge  # or it would be asked for again and again


def test_a_decision_keeps_no_rules_in_memory():
    robots, rules = Robots(10**18), rules_of("User-agent: *\nDisallow: /a")
    robots.allows(rules, "http://e.com/a")
    known = sys.getrefcount(rules)
    for number in range(100):
        robots.allows(rules, f"http://e.com/{number}")
    assert sys.getrefcount(rules) == known
