"""A crawl of a site of traps ends, obeys, and has a row with plain words for everything that it met."""

import asyncio
from collections import Counter

import pytest

from datasets import require
from penstock.probing.engine import open_engine
from penstock.services.scraper.config import ScrapeSettings
from penstock.services.scraper.crawler import open_crawler
from penstock.services.scraper.model import Start
from trap_site import CRAWL_DELAY, HOSTS, RETRY_AFTER, TrapSite, real_pages

PAGES = {
    "one": b"<title>one</title><a href=/pages/two>two</a>",
    "two": b"<title>two</title><a href=/>home</a>",
}
ALL_WITHIN = 60
PATIENCE = 30.0
IMPATIENCE = 1.0


class Watched:
    """An engine that counts its exchanges in progress, and is impatient with what never answers.

    The site could not count: it takes for in progress what the crawler has given up. And everything else
    gets the time that a loaded machine may take for it.
    """

    def __init__(self, engine, site):
        self.engine, self.site, self.name = engine, site, engine.name
        self.in_progress, self.most_in_progress = Counter(), Counter()

    async def exchange(self, request, timeout):  # noqa: ASYNC109 - as engines have it
        assert timeout == PATIENCE
        is_silent = request.url == self.site.url("/silence") or request.url.startswith(self.site.url(host=7))
        self.in_progress[request.host] += 1
        self.most_in_progress |= self.in_progress
        try:
            return await self.engine.exchange(request, IMPATIENCE if is_silent else PATIENCE)
        finally:
            self.in_progress[request.host] -= 1


class Crawled:
    """What a crawl of the site came to."""

    def __init__(self, site, pages, events, progress, most_in_progress):
        self.site, self.pages, self.events, self.progress = site, pages, events, progress
        self.most_in_progress = most_in_progress
        self.rows = {page.canonical: page for page in pages}

    def row(self, path, host=1):
        return self.rows[self.site.url(path, host)]

    def told(self, kind):
        return [event for event in self.events if event.kind == kind]


async def crawl(site, starts, **settings):
    settings = {
        "rate": None,
        "request_timeout": PATIENCE,
        "retries": 1,
        "allow_private": True,
        "max_size": 1 << 20,
    } | settings
    pages, events = [], []
    async with open_engine() as opened:
        engine = Watched(opened, site)
        async with open_crawler(ScrapeSettings(**settings), observer=events.append, engine=engine) as crawler:
            await asyncio.wait_for(crawler.crawl([Start(url) for url in starts], [pages.append]), ALL_WITHIN)
            return Crawled(site, pages, events, crawler.progress, engine.most_in_progress)


async def crawl_all_hosts():
    async with TrapSite(PAGES) as site:
        return await crawl(
            site,
            [site.url(host=host) for host in HOSTS],
            concurrency=64,
            per_host=4,
            sitemaps=True,
            max_chain=20,
            max_variants=20,
            give_up_after=3,
            selectors={"head": "h1"},
        )


@pytest.fixture(scope="module")
def crawled():
    return asyncio.run(crawl_all_hosts())


def test_every_url_has_one_row_and_no_page_is_asked_for_twice_unless_it_failed(crawled):
    assert max(Counter(page.canonical for page in crawled.pages).values()) == 1
    tried_again = {event.url for event in crawled.told("retry")}
    for host in HOSTS:
        for target, times in crawled.site.counts(host).items():
            url = crawled.site.url(target, host)
            if target.startswith(
                ("/robots", "/sitemap", "/loop", "/ping", "/pong", "/chain", "/end-of-chain")
            ):
                continue  # these are hops, and no pages
            assert times == (2 if url in tried_again else 1), url


@pytest.mark.parametrize(
    ("path", "outcome", "status", "words"),
    [
        ("/loop", "failed", 302, "redirect loop"),
        ("/ping", "failed", 302, "redirect loop"),
        ("/chain/30", "failed", 301, "more than 10 redirects"),
        ("/away", "failed", 302, "redirected to what is no URL of http or https"),
        ("/to-private", "refused", 0, "robots.txt disallows it"),
        ("/private/secret", "refused", 0, "robots.txt disallows it"),
        ("/endless", "fetched", 200, "longer than 1048576 bytes, the rest was left"),
        ("/huge", "fetched", 200, "longer than 1048576 bytes, the rest was left"),
        ("/bomb", "fetched", 200, "more than 1048576 bytes decompressed, the rest was left"),
        ("/no-gzip", "fetched", 200, "not compressed as it says"),
        ("/too-long", "failed", 0, "answer cut short"),
        ("/cut", "failed", 0, "connection closed without an answer"),
        ("/garbage", "failed", 0, "not a valid HTTP answer"),
        ("/silence", "failed", 0, "timed out after 1 s waiting for the answer"),
        ("/error", "fetched", 500, ""),
        ("/missing", "fetched", 404, ""),
        ("/picture", "fetched", 200, ""),
        ("/chain/3", "fetched", 200, ""),
    ],
)
def test_every_trap_has_its_row(crawled, path, outcome, status, words):
    row = crawled.row(path)
    assert (row.outcome, row.status, row.error) == (outcome, status, words)


def test_pages_that_hold_up_their_readers_are_read_all_the_same(crawled):
    assert crawled.row("/nested").title == "nested"
    assert crawled.row("/found").referrer == crawled.site.url("/nested")
    assert crawled.row("/endless").title == "endless"


def test_characters_are_those_that_were_meant(crawled):
    assert (crawled.row("/cyrillic").title, crawled.row("/cyrillic").charset) == ("привет", "koi8-r")
    assert (crawled.row("/mojibake").title, crawled.row("/mojibake").charset) == ("grüße ÿ", "windows-1252")


def test_texts_are_selected(crawled):
    assert crawled.row("/").selected == {"head": ["the site"]}
    assert crawled.row("/pages/one").selected == {"head": []}


def test_redirects_are_followed_and_counted(crawled):
    row = crawled.row("/chain/3")
    assert (row.final_url, row.redirects, row.title) == (crawled.site.url("/end-of-chain"), 4, "end-of-chain")


def test_spellings_of_one_url_are_one_page(crawled):
    doubles = [target for target in crawled.site.counts() if "ouble" in target]
    assert doubles == ["/double"]


def test_pages_of_the_sitemap_are_found(crawled):
    assert (crawled.row("/listed").title, crawled.row("/listed").from_sitemap) == (
        "only in the sitemap",
        True,
    )


@pytest.mark.parametrize(
    ("beginning", "most"), [("/calendar/", 21), ("/session", 1), ("/deeper/", 4), ("/search", 21)]
)
def test_endless_links_end(crawled, beginning, most):
    asked = [target for target in crawled.site.counts() if target.startswith(beginning)]
    assert 1 <= len(asked) <= most
    assert crawled.progress.traps > 0


def test_what_robots_txt_disallows_is_never_asked_for(crawled):
    for host in (1, 3, 5, 10):
        assert not [target for target in crawled.site.counts(host) if target.startswith("/private")]


def test_robots_txt_is_asked_for_first_and_once(crawled):
    for host in (1, 2, 3, 6, 8, 10):
        asked = [asked.target for asked in crawled.site.asked if asked.host == host]
        assert asked[0] == "/robots.txt"
        assert asked.count("/robots.txt") == 1


def test_robots_txt_that_is_garbage_or_a_redirect_loop_allows_and_one_that_fails_forbids(crawled):
    for host in (2, 4):
        assert crawled.row("/private/secret", host).ok
    assert crawled.row("/", 5).outcome == "refused"
    assert crawled.row("/", 5).error == "robots.txt could not be read: status 500"
    assert set(crawled.site.counts(5)) == {"/robots.txt"}


def test_robots_txt_of_ten_megabytes_is_read_in_part(crawled):
    assert crawled.row("/a", 3).ok  # what stands at its end would forbid everything


def test_crawl_delay_is_kept(crawled):
    asked = [asked for asked in crawled.site.asked if asked.host == 10]
    assert asked[0].target == "/robots.txt"  # was answered before the first page was asked for
    assert asked[-1].at - asked[0].at >= (len(asked) - 2) * CRAWL_DELAY
    assert len(asked) == 7


def test_retry_after_is_waited_for(crawled):
    for target in ("/a", "/b"):
        first, second = (
            asked.at for asked in crawled.site.asked if (asked.host, asked.target) == (8, target)
        )
        assert second - first >= RETRY_AFTER
    assert crawled.row("/a", 8).ok
    assert crawled.row("/a", 8).attempts == 2


def test_no_host_has_more_in_progress_than_allowed(crawled):
    assert set(crawled.most_in_progress) == {f"127.0.0.{host}" for host in HOSTS}
    assert max(crawled.most_in_progress.values()) == 4
    assert crawled.most_in_progress["127.0.0.10"] == 1  # its Crawl-delay lets one go at a time


def test_hanging_and_resetting_hosts_cost_their_own_pages_only(crawled):
    assert crawled.row("/", 7).error.startswith("timed out after 1 s")
    assert crawled.row("/", 9).error.startswith("connection reset")
    assert crawled.row("/d", 6).ok


def test_agent_introduces_itself_everywhere(crawled):
    assert {asked.agent for asked in crawled.site.asked} == {ScrapeSettings().user_agent}


async def test_private_addresses_are_refused_unless_allowed():
    async with TrapSite() as site:
        crawled = await crawl(site, [site.url()], allow_private=False)
    (page,) = crawled.pages
    assert page.outcome == "refused"
    assert "private" in page.error
    assert site.asked == []


async def test_rate_of_a_host_is_kept():
    async with TrapSite() as site:
        await crawl(site, [site.url(host=2)], rate=20.0)
    times = [asked.at for asked in site.asked]  # the first is that of robots.txt, before the first page
    assert len(times) >= 6
    assert times[-1] - times[0] >= (len(times) - 2) / 20


@pytest.mark.data
async def test_real_pages_are_all_fetched_and_have_their_links_and_titles():
    pages = real_pages(require("html/readability_source.tar.xz"))
    async with TrapSite(pages) as site:
        crawled = await crawl(site, [site.url(f"/pages/{name}") for name in pages], depth=0, per_host=32)
    assert len(crawled.pages) == len(pages) > 40
    assert all(page.ok and page.charset for page in crawled.pages)
    assert sum(bool(page.title) for page in crawled.pages) > 40
    assert sum(page.links for page in crawled.pages) > 300
