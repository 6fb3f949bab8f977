"""A whole crawl over sites without a network, in virtual time."""

import asyncio
import gzip
import itertools
import threading
import time

import pytest
from fake_site import FakeSite, Reply, Run, crawled, fails, html, page, redirect

from penstock.resilience import ExponentialBackoff
from penstock.services.scraper.frontier import StateError, Store
from penstock.services.scraper.model import Extract, Start
from penstock.services.scraper.politeness import WINDOW

ALLOW = {"/robots.txt": Reply("", 404)}


def robots(text):
    return {"/robots.txt": Reply(text, kind="text/plain")}


SMALL = {
    "/": page(
        "/a",
        "/b#top",
        "b",
        "?utm_source=x",
        "mailto:me@e.com",
        "https://other.example/",
        title=" The  first ",
    ),
    "/a": page("/", "/a/deep"),
    "/b": page(),
    "/a/deep": page("/a/deep/deeper"),
    "/a/deep/deeper": page("/"),
}


def test_every_page_is_fetched_once_and_has_its_row():
    run = crawled(SMALL)
    assert sorted(run.site.urls) == [
        "http://e.com/", "http://e.com/a", "http://e.com/a/deep", "http://e.com/a/deep/deeper", "http://e.com/b",
    ]  # fmt: skip
    first = run.by_url["http://e.com/"]
    assert (first.status, first.title, first.links, first.depth, first.referrer) == (
        200,
        "The first",
        4,
        0,
        "",
    )
    assert (first.outcome, first.error, first.content_type, first.charset) == (
        "fetched",
        "",
        "text/html",
        "utf-8",
    )
    assert (first.attempts, first.redirects, first.elapsed_ms) == (1, 0, 10.0)
    assert first.fetched_at == "2001-09-09T01:46:40.000Z"
    deep = run.by_url["http://e.com/a/deep"]
    assert (deep.depth, deep.referrer, deep.url, deep.final_url) == (
        2,
        "http://e.com/a",
        deep.canonical,
        deep.url,
    )
    progress = run.crawler.progress
    assert (progress.done, progress.fetched, progress.queued, progress.in_flight, progress.state) == (
        5, 5, 0, 0, "stopped",
    )  # fmt: skip


def test_starting_urls_keep_what_was_given_and_come_once():
    run = Run(FakeSite({"/": page()}), starts=["HTTP://E.com", "http://e.com/#top", "http://e.com:80"]).run()
    assert [(row.url, row.canonical) for row in run.rows] == [("HTTP://E.com", "http://e.com/")]


def test_what_is_no_url_has_a_row_with_its_line():
    starts = [
        Start("no url", 3),
        Start("ftp://e.com/\x1b", 4),
        Start("http://me:word@e.com/", 5),
        Start("http://e.com/"),
    ]
    run = Run(FakeSite({"/": page()}), starts=starts).run()
    assert {(row.url, row.canonical, row.outcome, row.error, row.attempts) for row in run.rows} == {
        ("no url", "", "failed", "line 3: not a URL of http or https", 0),
        ("ftp://e.com/\ufffd", "", "failed", "line 4: not a URL of http or https", 0),
        (
            "http://me:word@e.com/",
            "",
            "failed",
            "line 5: holds a user or a password: give a header instead",
            0,
        ),
        ("http://e.com/", "http://e.com/", "fetched", "", 1),
    }
    assert list(run.site.urls) == ["http://e.com/"]


def test_no_starting_urls_end_at_once():
    assert Run(FakeSite({}), starts=[]).run().rows == []


def test_depth_is_bounded():
    run = crawled(SMALL, depth=1)
    assert sorted(run.by_url) == ["http://e.com/", "http://e.com/a", "http://e.com/b"]


def test_links_outside_the_scope_are_left_alone():
    pages = {"/": page("http://sub.e.com/", "http://f.com/", "http://e.com:8080/")}
    pages |= {"http://sub.e.com/": page(), "http://f.com/": page()}
    assert sorted(crawled(pages).by_url) == ["http://e.com/"]
    assert sorted(crawled(pages, scope="domain").by_url) == [
        "http://e.com/", "http://e.com:8080/", "http://sub.e.com/",
    ]  # fmt: skip
    assert len(crawled(pages, scope="any").by_url) == 4
    assert sorted(crawled(pages, domains=("f.com",)).by_url) == ["http://e.com/", "http://f.com/"]


def test_links_are_read_at_the_base_that_a_page_names():
    pages = {"/": page("x", head='<base href="/folder/">'), "/folder/x": page()}
    assert "http://e.com/folder/x" in crawled(pages).by_url


def test_a_host_with_more_pages_than_memory_holds_is_crawled_whole():
    numbers = [f"/{number}" for number in range(WINDOW * 2 + 500)]
    pages = {"/": page(*numbers), "/*": page()}
    run = crawled(pages, max_links=10_000)
    assert len(run.rows) == len(set(run.by_url)) == len(numbers) + 1
    assert len(run.site.urls) == len(set(run.site.urls))


# robots.txt


def test_robots_txt_is_asked_for_once_a_host_and_before_its_pages():
    run = crawled(SMALL | robots("User-agent: *\nDisallow: /a"))
    asked = [url for _, _, url in run.site.log]
    assert asked[0] == "http://e.com/robots.txt"
    assert asked.count("http://e.com/robots.txt") == 1
    assert run.by_url["http://e.com/a"].outcome == "refused"
    assert run.by_url["http://e.com/a"].error == "robots.txt disallows it"
    assert run.by_url["http://e.com/a"].attempts == 0
    assert sorted(run.site.urls) == ["http://e.com/", "http://e.com/b"]


def test_robots_txt_is_read_for_our_own_name():
    text = "User-agent: mybot\nDisallow: /b\n\nUser-agent: *\nDisallow: /"
    run = crawled(SMALL | robots(text), user_agent="MyBot/2.0 (+http://me.example)")
    assert run.by_url["http://e.com/b"].outcome == "refused"
    assert run.by_url["http://e.com/a"].outcome == "fetched"
    assert dict(run.site.requests[0].fields)["User-Agent"] == "MyBot/2.0 (+http://me.example)"


def test_robots_txt_can_be_ignored():
    run = crawled(SMALL | robots("User-agent: *\nDisallow: /"), obey_robots=False)
    assert "http://e.com/robots.txt" not in [url for _, _, url in run.site.log]
    assert len(run.rows) == 5


def test_a_robots_txt_that_fails_is_asked_for_again_and_then_forbids_everything():
    run = crawled(SMALL | {"/robots.txt": Reply("", 503)}, retries=2)
    assert len(run.site.log) == 3
    assert [(row.outcome, row.error) for row in run.rows] == [
        ("refused", "robots.txt could not be read: status 503")
    ]


def test_a_robots_txt_that_comes_at_last_is_obeyed():
    run = crawled(SMALL | {"/robots.txt": [Reply("", 500), Reply("User-agent: *\nDisallow: /a")]}, retries=1)
    assert run.by_url["http://e.com/a"].outcome == "refused"
    assert run.by_url["http://e.com/b"].outcome == "fetched"


def test_a_host_that_cannot_be_reached_fails_in_its_own_words():
    pages = {"/robots.txt": fails("dns", "name not resolved: e.com")}
    (row,) = crawled(pages).rows
    assert (row.outcome, row.error) == ("failed", "name not resolved: e.com (asked for robots.txt)")


def test_a_robots_txt_may_be_elsewhere():
    pages = SMALL | {
        "/robots.txt": redirect("http://rules.example/r"),
        "http://rules.example/r": Reply("User-agent: *\nDisallow: /b", kind="text/plain"),
    }
    run = crawled(pages)
    assert run.by_url["http://e.com/b"].outcome == "refused"
    assert "http://rules.example/robots.txt" not in [url for _, _, url in run.site.log]


@pytest.mark.parametrize("target", ["/robots.txt", "/r1", "javascript:0"])
def test_a_robots_txt_that_only_redirects_counts_as_none(target):
    pages = SMALL | {"/robots.txt": redirect(target)}
    pages |= {f"/r{number}": redirect(f"/r{number + 1}") for number in range(9)}
    run = crawled(pages)
    assert len(run.rows) == 5
    assert len([url for _, _, url in run.site.log if "/r" in url]) <= 6


def test_robots_txt_is_asked_for_again_when_it_has_expired():
    pages = robots("User-agent: *\nCrawl-delay: 4") | {
        "/": page("/1"),
        "/1": page("/2"),
        "/2": page("/3"),
        "/3": page(),
    }
    run = crawled(pages, robots_ttl=6.0)
    assert len(run.site.times("http://e.com/robots.txt")) >= 2
    assert len(run.rows) == 4


def test_a_crawl_delay_lies_between_all_requests_of_a_host():
    pages = robots("User-agent: *\nCrawl-delay: 2") | {"/": page("/a", "/b", "/c"), "/*": page()}
    times = crawled(pages).site.times("http://e.com/")
    assert len(times) == 5
    assert all(later - earlier >= 2 for earlier, later in itertools.pairwise(times))


def test_a_crawl_delay_is_capped():
    pages = robots("User-agent: *\nCrawl-delay: 86400") | {"/": page("/a"), "/*": page()}
    times = crawled(pages, max_crawl_delay=10.0).site.times("http://e.com/")
    assert [round(later - earlier) for earlier, later in itertools.pairwise(times)] == [10, 10]


# Politeness


def test_a_host_gets_so_many_requests_a_second_redirects_and_retries_included():
    pages = {
        "/": page(*(f"/{number}" for number in range(6))),
        "/1": redirect("/1a"),
        "/2": Reply("", 500),
        "/*": page(),
    }
    times = crawled(pages, rate=4.0, retries=1).site.times("http://e.com/")
    assert len(times) == 10
    for first in times:
        assert sum(first <= at < first + 1 for at in times) <= 5  # 4 a second, and the burst of one


def test_a_host_has_no_more_than_so_many_requests_at_once():
    pages = {"/": page(*(f"/{number}" for number in range(20))), "/*": page()}
    assert crawled(pages, per_host=3).site.peak["e.com"] == 3


def test_all_hosts_together_have_no_more_requests_than_workers():
    pages = {f"http://h{number}.com/*": page() for number in range(20)}
    run = Run(FakeSite(pages), starts=[f"http://h{number}.com/" for number in range(20)], concurrency=4)
    peak = 0

    async def watch(run):
        nonlocal peak
        while run.crawler.progress.state != "stopped":
            peak = max(peak, run.site.in_flight.total())
            await asyncio.sleep(0.001)

    run.run(meanwhile=watch)
    assert len(run.rows) == 20
    assert peak == 4


def test_a_slow_host_holds_up_no_other():
    slow = {"http://slow.com/*": Reply(html(*(f"/{number}" for number in range(50))), latency=10)}
    fast = {"/": page(*(f"/{number}" for number in range(50))), "/*": page()}
    run = Run(FakeSite(slow | fast), starts=["http://slow.com/", "http://e.com/"], concurrency=12, per_host=4)
    run.run()
    assert len(run.rows) == 102
    assert max(run.site.times("http://e.com/")) < 5
    assert max(run.site.times("http://slow.com/")) > 100


@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_after_holds_the_whole_host_back(status):
    busy = Reply("", status, headers={"Retry-After": "60"})
    pages = {"/": page("/a", "/b", "/c"), "/a": [busy, page()], "/*": page()}
    run = crawled(pages, retries=1, per_host=1)
    times = run.site.times("http://e.com/")
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(pauses) >= 60
    assert run.by_url["http://e.com/a"].attempts == 2
    assert run.by_url["http://e.com/a"].status == 200
    assert [event.seconds for event in run.told("held back")] == [60]


def test_a_host_that_asks_for_more_patience_than_there_is_gets_no_more_requests():
    pages = {"/": page("/a", "/b"), "/a": Reply("", 429, headers={"Retry-After": "99999"}), "/b": page()}
    run = crawled(pages, per_host=1, retries=3)
    assert run.site.urls == ["http://e.com/", "http://e.com/a"]
    assert run.by_url["http://e.com/a"].status == 429
    assert run.by_url["http://e.com/b"].error == "host given up: it asks to wait 99999 s"
    assert run.by_url["http://e.com/b"].outcome == "given up"


def test_a_dead_host_is_given_up_and_its_pages_have_their_rows():
    links = [f"http://dead.com/{number}" for number in range(200)]
    pages = {
        "/": page(*links),
        "http://dead.com/robots.txt": Reply(""),
        "http://dead.com/*": fails("connect", "refused"),
    }
    run = crawled(pages, scope="any", retries=1, give_up_after=3)
    asked = [url for url in run.site.urls if "dead.com" in url]
    assert len(asked) < 30
    rows = [row for row in run.rows if "dead.com" in row.url]
    assert len(rows) == 200
    assert {row.error for row in rows} == {"refused", "host given up: refused"}
    assert len(run.told("host given up")) == 1


def test_a_failure_that_began_before_one_and_ends_after_an_answer_is_none_in_a_row():
    pages = {"/": page("/a", "/b", "/c", "/d"), "/b": Reply(html(), latency=2), "/d": page()}
    pages |= {"/a": fails("connect", "refused", latency=1), "/c": fails("connect", "refused", latency=3)}
    run = crawled(pages | ALLOW, give_up_after=2)
    assert [row.status for row in run.rows] == [200, 200, 0, 200, 0]
    assert run.crawler.progress.hosts_given_up == 0


def test_a_page_that_hangs_kills_no_host():
    pages = {"/": page(*(f"/{number}" for number in range(30))), "/7": Reply("", latency=1000), "/*": page()}
    run = crawled(pages, retries=2, give_up_after=4, request_timeout=5.0, per_host=2)
    assert len(run.rows) == 31
    hanging = run.by_url["http://e.com/7"]
    assert (hanging.outcome, hanging.error, hanging.attempts) == ("failed", "timed out after 5 s", 3)
    assert run.told("host given up") == []


# Attempts and redirects


def test_failures_that_may_pass_are_tried_again_after_a_growing_wait():
    backoff = ExponentialBackoff(1.0, factor=10)
    pages = {"/": [fails("reset", "connection reset"), Reply("", 500), page()]}
    run = crawled(pages, retries=2, backoff=backoff)
    (row,) = run.rows
    assert (row.status, row.attempts, row.elapsed_ms) == (200, 3, 10.0)
    first, second, third = run.site.times("http://e.com/")[1:]
    assert (round(second - first), round(third - second)) == (1, 10)
    assert [event.attempt for event in run.told("retry")] == [1, 2]


def test_failures_that_will_not_pass_are_not():
    (row,) = crawled({"/": fails("certificate", "certificate refused", may_pass=False)}, retries=5).rows
    assert (row.outcome, row.error, row.attempts) == ("failed", "certificate refused", 1)


def test_an_answer_of_an_error_has_its_status_and_its_title():
    (row,) = crawled({}).rows
    assert (row.status, row.outcome, row.ok, row.title) == (404, "fetched", False, "not here")


def test_redirects_are_followed_and_their_time_adds_up():
    pages = {"/": redirect("/a"), "/a": redirect("b", 301), "/b": page("/c"), "/c": page()}
    run = crawled(pages)
    row = run.by_url["http://e.com/"]
    assert (row.status, row.final_url, row.redirects, row.elapsed_ms) == (200, "http://e.com/b", 2, 30.0)
    assert run.by_url["http://e.com/c"].referrer == "http://e.com/b"


@pytest.mark.parametrize("location", ["/caf\xc3\xa9", "/caf\xe9", "/caf%C3%A9"])
def test_a_location_may_be_in_utf_8_or_in_latin_1(location):
    (row,) = crawled({"/": redirect(location), "/caf%C3%A9": page()}).rows
    assert (row.status, row.final_url) == (200, "http://e.com/caf%C3%A9")


def test_no_page_is_fetched_twice_through_redirects():
    links = ["/real", "/moved1", "/moved2", "/late", "/moved3"]
    pages = {"/": page(*links), "/real": page(), "/late": page("/target")}
    pages |= {
        "/moved1": redirect("/real"),
        "/moved2": redirect("/target"),
        "/moved3": redirect("/target"),
        "/target": page(),
    }
    run = crawled(pages)
    assert len(run.site.urls) == len(set(run.site.urls))
    assert run.by_url["http://e.com/moved1"].outcome == "duplicate"
    assert run.by_url["http://e.com/moved1"].final_url == "http://e.com/real"
    outcomes = sorted(run.by_url[f"http://e.com/{name}"].outcome for name in ("moved2", "moved3"))
    assert outcomes[0] == "duplicate"
    assert len(run.rows) == 6 + ("http://e.com/target" in run.by_url)


def test_a_page_that_is_tried_again_may_go_through_its_redirects_again():
    pages = {"/": redirect("/a"), "/a": [Reply("", 500), page()]}
    (row,) = crawled(pages, retries=1).rows
    assert (row.status, row.attempts, row.redirects, row.final_url) == (200, 2, 1, "http://e.com/a")


@pytest.mark.parametrize(
    ("pages", "error"),
    [
        ({"/": redirect("/")}, "redirect loop"),
        ({"/": redirect("?utm_source=1")}, "redirect loop"),
        ({"/": redirect("/a"), "/a": redirect("/b"), "/b": redirect("/a")}, "redirect loop"),
        (
            {"/": redirect("/1")} | {f"/{n}": redirect(f"/{n + 1}") for n in range(99)},
            "more than 10 redirects",
        ),
        ({"/": redirect("mailto:me@e.com")}, "redirected to what is no URL of http or https"),
        ({"/": redirect("http://[")}, "redirected to what is no URL of http or https"),
    ],
)
def test_a_redirect_that_leads_nowhere_is_a_row(pages, error):
    (row,) = crawled(pages).rows
    assert (row.outcome, row.error, row.status) == ("failed", error, 302)


def test_a_redirect_without_a_location_is_an_answer():
    (row,) = crawled({"/": Reply("", 302)}).rows
    assert (row.outcome, row.status) == ("fetched", 302)


def test_every_hop_obeys_robots_txt_and_the_scope():
    pages = {"/": page("/a", "/b")} | robots("User-agent: *\nDisallow: /secret")
    pages |= {"/a": redirect("/secret"), "/b": redirect("http://f.com/")}
    run = crawled(pages)
    assert run.by_url["http://e.com/a"].error == "robots.txt disallows it"
    assert run.by_url["http://e.com/b"].error == "redirects outside the scope, to http://f.com/"
    assert {run.by_url[f"http://e.com/{name}"].outcome for name in "ab"} == {"refused"}
    assert not any("secret" in url or "f.com" in url for url in run.site.urls)


def test_where_a_starting_url_leads_to_belongs_to_the_scope():
    pages = {
        "/": redirect("https://www.e.com/"),
        "https://www.e.com/": page("/a", "http://e.com/b"),
        "/*": page(),
    }
    run = crawled(pages | {"https://www.e.com/*": page()})
    assert sorted(run.by_url) == ["http://e.com/", "http://e.com/b", "https://www.e.com/a"]


# Addresses


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://2130706433/", "http://[::1]:8080/", "http://169.254.169.254/"]
)
def test_private_addresses_are_asked_for_nothing_however_they_come(url):
    pages = {"/": page(f"{url}linked", "/moved"), "/moved": redirect(f"{url}redirected")}
    run = Run(FakeSite(pages), starts=[url, "http://e.com/"], scope="any").run()
    assert all(asked.startswith("http://e.com/") for _, _, asked in run.site.log)
    refused = [row for row in run.rows if row.outcome == "refused"]
    assert len(refused) == 3
    assert all(row.error.endswith("is a private address: --allow-private lets it pass") for row in refused)


def test_private_addresses_may_be_allowed():
    run = Run(FakeSite({"http://127.0.0.1/": page()}), starts=["http://127.0.0.1/"], allow_private=True).run()
    assert [row.status for row in run.rows] == [200]


def test_an_address_that_the_resolver_refused_is_a_refusal():
    refused = fails("address", "10.0.0.1 is a private address", may_pass=False)
    for pages in ({"/robots.txt": refused}, {"/": refused}):
        (row,) = crawled(pages).rows
        assert (row.outcome, row.error) == ("refused", "10.0.0.1 is a private address")


# What is read


def test_what_is_no_page_is_known_by_its_head():
    pages = {"/": page("/a.pdf", "/picture", "/odd.png")}
    pages |= {
        "/a.pdf": Reply("x" * 5000, kind="application/pdf"),
        "/picture": Reply("<a href=/x>", kind="image/png"),
        "/odd.png": page("/y"),
    }
    run = crawled(pages)
    pdf = run.by_url["http://e.com/a.pdf"]
    assert (pdf.status, pdf.content_type, pdf.length, pdf.title, pdf.links) == (
        200,
        "application/pdf",
        5000,
        "",
        0,
    )
    assert [method for _, method, url in run.site.log if url == "http://e.com/a.pdf"] == ["HEAD"]
    assert "http://e.com/x" not in run.by_url
    assert "http://e.com/y" in run.by_url  # a page, whatever its name


def test_every_request_keeps_the_pace_of_its_host_also_get_after_head():
    pages = {
        "/": page("/page.pdf", "/disliked.pdf", "/a.pdf"),
        "/page.pdf": page("/moved.pdf"),
        "/a.pdf": page(),
    }
    pages |= {"/moved.pdf": redirect("/a.pdf"), "/disliked.pdf": [Reply("", 405), page()]}
    pages |= {"http://f.com/odd": [Reply("", 403), page()]} | robots("User-agent: *\nCrawl-delay: 5")
    pages["/page.pdf"] = page("/moved.pdf", "http://f.com/odd")
    pages["http://f.com/robots.txt"] = pages["/robots.txt"]
    run = crawled(pages, check_links=True, retries=1)
    assert [row.status for row in run.rows if row.outcome == "fetched"] == [200] * 5
    for host in ("http://e.com/", "http://f.com/"):
        times = run.site.times(host)
        assert all(after - before >= 4.9 for before, after in itertools.pairwise(times))
    asked = [
        method for _, method, url in run.site.log if url.endswith(("/page.pdf", "/disliked.pdf", "/odd"))
    ]
    assert sorted(asked) == ["GET"] * 3 + ["HEAD"] * 3


def test_a_page_that_is_too_long_is_read_as_far_as_allowed():
    pages = {"/": Reply(html("/a") + "x" * 10_000), "/a": page()}
    run = crawled(pages, max_size=500)
    first = run.by_url["http://e.com/"]
    assert (first.status, first.length, first.error) == (200, 500, "longer than 500 bytes, the rest was left")
    assert "http://e.com/a" in run.by_url


def test_compressed_pages_are_read_and_bombs_are_not():
    pages = {
        "/": Reply(gzip.compress(html("/a", "/bomb").encode()), headers={"Content-Encoding": "gzip"}),
        "/a": page(),
        "/bomb": Reply(gzip.compress(b"x" * 10_000_000), headers={"Content-Encoding": "gzip"}),
    }
    run = crawled(pages, max_size=20_000)
    assert run.by_url["http://e.com/"].title == "a page"
    bomb = run.by_url["http://e.com/bomb"]
    assert (bomb.length, bomb.error) == (20_000, "more than 20000 bytes decompressed, the rest was left")


def test_pages_that_ask_not_to_be_followed_are_not():
    head = '<meta name="robots" content="NOINDEX, nofollow">'
    pages = {
        "/": page("/a", "/b", "/c"),
        "/a": page("/x1", head=head),
        "/b": Reply(html("/x2"), headers={"X-Robots-Tag": "none"}),
        "/c": Reply(html("/x3"), 500),
    }
    run = crawled(pages)
    assert sorted(run.by_url) == ["http://e.com/", "http://e.com/a", "http://e.com/b", "http://e.com/c"]
    assert run.by_url["http://e.com/a"].robots == "noindex, nofollow"
    assert run.by_url["http://e.com/b"].robots == "none"
    assert "http://e.com/x1" in crawled(pages, obey_nofollow=False).by_url


def test_links_that_are_marked_nofollow_are_followed_only_when_told():
    pages = {"/": Reply("<a rel=nofollow href=/x>x</a><a href=/a>a</a>"), "/a": page(), "/x": page()}
    assert sorted(crawled(pages).by_url) == ["http://e.com/", "http://e.com/a"]
    assert "http://e.com/x" in crawled(pages, obey_nofollow=False).by_url


def test_long_pages_are_read_beside_the_event_loop(monkeypatch):
    threads = {}

    def noted(body, content_type, base_url, selectors):
        threads[base_url] = threading.current_thread() is threading.main_thread()
        return Extract()

    monkeypatch.setattr("fake_site.extract", noted)
    Run(
        FakeSite({"/short": page(), "/long": Reply("x" * 100_001)}),
        starts=["http://e.com/short", "http://e.com/long"],
    ).run()
    assert threads == {"http://e.com/short": True, "http://e.com/long": False}


def test_a_page_that_its_reader_fails_on_has_its_row(monkeypatch):
    def broken(body, content_type, base_url, selectors):
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr("fake_site.extract", broken)
    (row,) = crawled({"/": page("/a")}).rows
    assert (row.status, row.error, row.links) == (200, "could not be read: RuntimeError", 0)


def test_selected_texts_are_in_the_row():
    run = crawled({"/": Reply("<h1>One</h1><h1>Two</h1>")}, selectors={"heads": "h1"})
    assert run.rows[0].selected == {"heads": ["One", "Two"]}


# Traps and limits


def test_a_calendar_without_end_ends():
    def month(url):
        number = int(url.rsplit("/", 1)[1])
        return page(f"/calendar/{number + 1}")

    run = crawled({"/": page("/calendar/1"), "/calendar/*": month}, max_chain=10)
    assert len(run.rows) == 12
    assert [event.words for event in run.told("trap")] == [
        "more than 10 pages in a row that differ in digits alone"
    ]
    assert run.crawler.progress.traps == 1


def test_paths_that_grow_forever_end():
    run = crawled({"/": page("x/"), "/x/*": page("x/", "y/")}, max_repeats=2, max_segments=6)
    assert len(run.rows) < 60


def test_session_ids_make_no_new_pages():
    count = iter(range(10_000))
    run = crawled({"/*": lambda url: page(f"/a?PHPSESSID={next(count)}", f"/b;jsessionid={next(count)}")})
    assert sorted(run.by_url) == ["http://e.com/", "http://e.com/a", "http://e.com/b"]


ENDLESS = {"/*": lambda url: page(*(f"{url}{letter}" for letter in "abc"))}


def test_no_more_pages_are_fetched_than_wanted():
    run = crawled(ENDLESS, pages=25)
    assert len(run.rows) == len(run.site.urls) == 25
    assert [event.words for event in run.told("limit")] == ["25 pages"]


def test_no_more_pages_of_a_host_are_fetched_than_wanted():
    pages = ENDLESS | {"/": page("http://f.com/", "/a")} | {"http://f.com/": page()}
    run = crawled(pages, pages_per_host=10, scope="any")
    assert len([row for row in run.rows if "e.com" in row.url]) == 10
    assert "http://f.com/" in run.by_url


def test_sitemaps_are_no_pages_and_end_with_the_crawl():
    maps = [f"http://e.com/map{number}.xml" for number in range(8)]
    pages = {"/": page("/a", "/b"), "/*": page()} | robots("".join(f"Sitemap: {url}\n" for url in maps))
    for url in maps:
        pages[url] = sitemap()
        pages[url].latency = 3  # four at once, so that others wait until the host is full
    run = crawled(pages, pages_per_host=2, sitemaps=True, concurrency=16, per_host=16)
    assert sorted(run.by_url) == ["http://e.com/", "http://e.com/a"]
    assert set(maps) <= set(run.site.urls)


def test_no_more_bytes_are_fetched_than_wanted():
    run = crawled(ENDLESS, max_bytes=5_000, per_host=1)
    assert 5_000 <= run.crawler.progress.bytes < 5_500


def test_a_crawl_ends_when_its_time_is_over():
    run = crawled(ENDLESS, timeout=3.0, per_host=1)
    assert 250 < len(run.rows) <= 300
    assert run.site.clock() / 1e9 < 4.2


def test_no_more_urls_are_known_than_wanted():
    run = crawled(ENDLESS, max_known=50)
    assert len(run.rows) == 50
    assert [event.words for event in run.told("limit")] == ["50 URLs known: links are dropped"]


def test_no_more_hosts_are_met_than_wanted():
    pages = {"http://*": lambda url: page(*(f"http://{letter}.{url[7:]}" for letter in "ab"))}
    run = crawled(pages, scope="domain", max_hosts=20, obey_robots=False)
    hosts = {row.canonical for row in run.rows}
    assert 20 <= len(hosts) < 60  # those that were met in one page go together
    assert [event.words for event in run.told("limit")] == ["20 hosts met: links to others are dropped"]


def test_sitemaps_and_redirects_lead_to_no_more_hosts_than_wanted():
    hosts = [f"http://h{number}.e.com/" for number in range(100)]
    pages = {"/": page(*(f"/{number}" for number in range(100))), "http://h*": page()}
    pages["http://e.com/*"] = lambda url: redirect(f"http://to{url.rpartition('/')[2]}.e.com/")
    pages |= {"/map.xml": sitemap(*hosts)} | robots("Sitemap: http://e.com/map.xml")
    for found in (pages, pages | {"/map.xml": Reply("", 404)}):
        run = crawled(found, scope="domain", max_hosts=20, sitemaps=True)
        assert run.crawler.progress.hosts == 20
        assert [event.words for event in run.told("limit")] == ["20 hosts met: links to others are dropped"]
        assert any("beyond the 20 that may be met" in row.error for row in run.rows)


def test_a_robots_txt_leads_to_no_more_hosts_than_wanted():
    pages = {"/": page(), "/robots.txt": redirect("http://f.com/robots.txt")}
    run = crawled(pages, max_hosts=1)
    assert (run.crawler.progress.hosts, run.by_url["http://e.com/"].status) == (1, 200)


def test_the_pages_of_a_host_in_earlier_runs_count(tmp_path):
    site, state = FakeSite(ENDLESS), tmp_path / "site.crawl"
    assert len(Run(site, state, pages_per_host=10).run().rows) == 10
    assert len(Run(site, state, pages_per_host=10).run().rows) == 0
    assert len(Run(site, state, pages_per_host=15).run().rows) == 5


@pytest.mark.parametrize("limit", ["pages", "pages_per_host"])
def test_rows_that_took_no_request_count_in_no_run(tmp_path, limit):
    pages = {"/": page(*(f"/no{number}" for number in range(20)), *(f"/yes{number}" for number in range(30)))}
    site = FakeSite(pages | {"/*": page()} | robots("User-agent: *\nDisallow: /no"))
    state = tmp_path / "site.crawl"
    for most in (5, 25):
        Run(site, state, concurrency=1, **{limit: most}).run()
        assert len(site.urls) == most


# The end, and going on


def test_a_stopped_crawl_finishes_what_is_in_flight_and_goes_on_later(tmp_path):
    pages = {"/": page(*(f"/{number}" for number in range(40))), "/*": Reply(html(), latency=1)}
    site, state = FakeSite(pages), tmp_path / "site.crawl"

    async def stop(run):
        await asyncio.sleep(3.5)
        run.crawler.stop()
        run.crawler.stop()

    first = Run(site, state, per_host=4).run(meanwhile=stop)
    assert 8 <= len(first.rows) < 20
    assert len(first.site.urls) == len(first.rows)  # what was in flight has its row
    assert len(first.told("stopping")) == 1
    second = Run(site, state, per_host=4).run()
    assert second.earlier == first.rows
    assert second.crawler.progress.earlier == len(first.rows)
    assert len(first.rows) + len(second.rows) == 41
    assert len(site.urls) == len(set(site.urls)) == 41


def test_what_does_not_finish_in_its_grace_is_fetched_later(tmp_path):
    pages = {"/": page("/hangs", "/b"), "/hangs": [Reply(html(), latency=50), page()], "/b": page()}
    site, state = FakeSite(pages), tmp_path / "site.crawl"

    async def stop(run):
        await asyncio.sleep(1)
        run.crawler.stop()

    first = Run(site, state, request_timeout=100.0, grace=2.0).run(meanwhile=stop)
    assert site.clock() / 1e9 < 5
    assert sorted(first.by_url) == ["http://e.com/", "http://e.com/b"]
    second = Run(site, state).run()
    assert [row.canonical for row in second.rows] == ["http://e.com/hangs"]


def test_a_crawl_that_was_stopped_before_it_began_asks_for_nothing():
    run = Run(FakeSite(SMALL))

    async def crawl():
        task = asyncio.create_task(run.crawl())
        await asyncio.sleep(0)
        run.crawler.stop()
        await task

    asyncio.run(crawl())
    assert run.site.log == []


def test_a_cancelled_crawl_gives_every_finished_row_to_its_sinks(tmp_path):
    pages = {"/": page(*(f"/{number}" for number in range(40))), "/*": Reply(html(), latency=1)}
    site, state = FakeSite(pages), tmp_path / "site.crawl"
    run = Run(site, state, per_host=4)

    async def crawl():
        task = asyncio.create_task(run.crawl())
        await asyncio.sleep(3.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    from virtual_time import run_in_virtual_time

    run_in_virtual_time(crawl(), site.clock, may_pass=run.may_pass)
    assert len(run.rows) >= 8
    rest = Run(site, state).run()
    assert rest.earlier == run.rows
    assert len(rest.earlier) + len(rest.rows) == 41


@pytest.mark.parametrize("times", range(1, 8))
async def test_a_crawl_that_is_cancelled_again_and_again_leaves_nothing_running(times):
    site = FakeSite({"/": page("/a"), "/a": Reply(html(), latency=1000)})
    run = Run(site, request_timeout=2000.0)
    before = asyncio.all_tasks()
    task = asyncio.create_task(run.crawl())
    while "http://e.com/a" not in site.urls:
        await asyncio.sleep(0.001)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert task.cancelled()
    assert asyncio.all_tasks() == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("frontier")]


def test_an_error_of_a_sink_ends_the_crawl():
    def full(row):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        Run(FakeSite(SMALL)).run(sinks=[full])


def many_slow_pages():
    return ALLOW | {"/": page(*(f"/{number}" for number in range(20))), "/*": Reply(html(), latency=10)}


async def stop_soon(run):
    await asyncio.sleep(5)
    run.crawler.stop(grace=60)


def test_an_error_of_a_sink_is_told_also_when_the_crawl_is_about_to_end():
    def full(row):
        if run.crawler.progress.state == "stopping":
            raise OSError(28, "No space left on device")

    run = Run(FakeSite(many_slow_pages()))
    with pytest.raises(OSError, match="No space left"):
        run.run(sinks=[full], meanwhile=stop_soon)


@pytest.mark.parametrize("latency", [0.0, 0.02])
def test_an_error_of_the_state_is_told_also_when_the_crawl_is_about_to_end(monkeypatch, latency):
    def commit(store, batch):
        if run.crawler.progress.state != "stopping":
            return stored(store, batch)
        time.sleep(latency)  # as a disk may take it: the crawl waits for it, or does not yet
        raise StateError("the disk is full")

    stored = Store.commit
    monkeypatch.setattr(Store, "commit", commit)
    run = Run(FakeSite(many_slow_pages()))
    with pytest.raises(StateError, match="the disk is full"):
        run.run(meanwhile=stop_soon)


def test_an_error_of_the_source_ends_the_crawl():
    async def source():
        yield Start("http://e.com/")
        raise OSError("cannot read")

    run = Run(FakeSite(SMALL))
    run.starts = source()
    with pytest.raises(OSError, match="cannot read"):
        run.run()


def test_an_earlier_limit_can_be_raised(tmp_path):
    site, state = FakeSite(SMALL), tmp_path / "site.crawl"
    assert len(Run(site, state, pages=2).run().rows) == 2
    assert len(Run(site, state, pages=4).run().rows) == 2
    assert len(Run(site, state).run().rows) == 1
    assert Run(site, state).run().rows == []
    assert len(site.urls) == len(set(site.urls)) == 5


def test_the_scope_of_an_earlier_run_holds(tmp_path):
    pages = {
        "/": redirect("http://www.e.com/"),
        "http://www.e.com/": page("/a", "/b"),
        "http://www.e.com/*": page(),
    }
    site, state = FakeSite(pages), tmp_path / "site.crawl"
    Run(site, state, pages=2, per_host=1).run()
    site.pages["http://www.e.com/b"] = page("/c")
    run = Run(site, state).run()
    assert sorted(run.by_url) == ["http://www.e.com/b", "http://www.e.com/c"]


def slow_page():
    return {"/": page("/a", "/b"), "/a": [Reply(html(), latency=1000), page()], "/b": page()}


def killed_in_flight(tmp_path, pages, **settings):
    """A state as a kill after five seconds leaves it."""
    site, state, copy = FakeSite(pages), tmp_path / "site.crawl", tmp_path / "killed.crawl"
    run = Run(site, state, request_timeout=2000.0, **settings)

    async def copy_and_stop(run):
        await asyncio.sleep(5)
        for end in ("", "-wal"):
            copy.with_name(copy.name + end).write_bytes(state.with_name(state.name + end).read_bytes())
        run.crawler.stop(grace=0)

    run.run(meanwhile=copy_and_stop)
    return site, copy


def test_what_was_in_flight_at_a_kill_is_asked_for_again(tmp_path):
    site, state = killed_in_flight(tmp_path, slow_page())
    run = Run(site, state).run()
    assert [(row.canonical, row.outcome) for row in run.rows] == [("http://e.com/a", "fetched")]


def test_or_has_a_row_that_says_so_and_is_not(tmp_path):
    site, state = killed_in_flight(tmp_path, slow_page(), on_interrupted="skip")
    run = Run(site, state, on_interrupted="skip").run()
    (row,) = run.rows
    assert (row.canonical, row.outcome) == ("http://e.com/a", "interrupted")
    assert row.error == "in flight when an earlier run was killed: not asked again"
    assert len(site.urls) == len(set(site.urls)) == 3


@pytest.mark.parametrize("mode", ["refetch", "skip"])
def test_what_a_redirect_led_to_at_a_kill_is_as_lost_as_its_page(tmp_path, mode):
    pages = {
        "/": page("/a", "/b"),
        "/a": redirect("/target"),
        "/target": [Reply(html(), latency=1000), page()],
    }
    pages["/b"] = [Reply(html(), latency=500), page("/target")]
    site, state = killed_in_flight(tmp_path, pages, on_interrupted=mode)
    site.pages["http://e.com/c"] = page("/target")
    run = Run(site, state, starts=["http://e.com/", "http://e.com/c"], on_interrupted=mode).run()
    times = site.urls.count("http://e.com/target")
    assert times == (2 if mode == "refetch" else 1)
    assert run.by_url["http://e.com/a"].outcome == ("fetched" if mode == "refetch" else "interrupted")


def test_a_sitemap_in_flight_at_a_kill_is_read_whatever_was_asked_for(tmp_path):
    slow = sitemap("http://e.com/listed")
    slow.latency = 1000
    pages = {
        "/": page("/a"),
        "/a": page(),
        "/listed": page(),
        "/sitemap.xml": [slow, sitemap("http://e.com/listed")],
    }
    site, state = killed_in_flight(tmp_path, pages, sitemaps=True, on_interrupted="skip")
    assert "http://e.com/listed" in Run(site, state, sitemaps=True, on_interrupted="skip").run().by_url


# Sitemaps and broken links


def sitemap(*urls):
    places = "".join(f"<url><loc>{url}</loc></url>" for url in urls)
    space = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
    return Reply(f'<?xml version="1.0"?><urlset {space}>{places}</urlset>', kind="application/xml")


def test_sitemaps_that_robots_txt_names_are_read_for_pages():
    pages = {"/": page("/a"), "/*": page()} | robots(
        "Sitemap: http://e.com/map.xml\nUser-agent: *\nDisallow: /no"
    )
    pages |= {
        "/map.xml": sitemap("http://e.com/hidden", "http://e.com/a", "http://other.com/", "http://e.com/no")
    }
    run = crawled(pages, sitemaps=True, depth=0)
    hidden = run.by_url["http://e.com/hidden"]
    assert (hidden.from_sitemap, hidden.depth, hidden.referrer) == (True, 0, "")
    assert sorted(run.by_url) == ["http://e.com/", "http://e.com/a", "http://e.com/hidden", "http://e.com/no"]
    assert run.by_url["http://e.com/no"].outcome == "refused"
    assert "http://e.com/map.xml" not in run.by_url


def test_a_sitemap_is_looked_for_where_every_site_may_have_one():
    pages = {"/": page(), "/x": page(), "/sitemap.xml": sitemap("http://e.com/x")}
    assert "http://e.com/x" in crawled(pages, sitemaps=True).by_url
    assert "http://e.com/x" in crawled(pages, sitemaps=True, obey_robots=False).by_url
    assert "http://e.com/x" not in crawled(pages).by_url


def test_a_sitemap_that_is_not_there_or_fails_makes_no_row():
    run = crawled({"/": page(), "/sitemap.xml": fails("reset", "connection reset")}, sitemaps=True)
    assert [row.canonical for row in run.rows] == ["http://e.com/"]
    assert [event.words for event in run.told("sitemap")] == ["connection reset"]
    assert len(crawled({"/": page()}, sitemaps=True).rows) == 1


def test_many_sitemaps_hold_up_no_page():
    maps = [f"http://e.com/map{number}.xml" for number in range(20)]
    pages = {"/": page("/a"), "/a": page()} | robots("".join(f"Sitemap: {url}\n" for url in maps))
    for number, url in enumerate(maps):
        pages[url] = sitemap(f"http://e.com/p{number}")
        pages[url].latency = 20
    run = Run(FakeSite(pages | {"/p*": page()}), sitemaps=True, concurrency=6, request_timeout=60.0).run()
    assert len(run.rows) == 22
    assert run.site.times("http://e.com/a")[0] < 10
    assert run.site.peak["e.com"] <= 6


def test_links_that_lead_out_are_checked_when_asked_for():
    pages = {"/": page("http://f.com/good", "http://f.com/bad", "http://f.com/moved", "http://f.com/odd")}
    pages |= {
        "http://f.com/good": page("http://f.com/further"),
        "http://f.com/bad": Reply("", 404),
        "http://f.com/moved": redirect("http://f.com/good"),
        "http://f.com/odd": [Reply("", 405), page()],
    }
    run = crawled(pages, check_links=True)
    statuses = {row.canonical: row.status for row in run.rows}
    assert statuses == {
        "http://e.com/": 200, "http://f.com/good": 200, "http://f.com/bad": 404, "http://f.com/moved": 200,
        "http://f.com/odd": 200,
    }  # fmt: skip
    methods = {(method, url) for _, method, url in run.site.log if "f.com" in url and "robots" not in url}
    assert ("GET", "http://f.com/odd") in methods
    assert ("GET", "http://f.com/good") not in methods
    assert run.by_url["http://f.com/bad"].referrer == "http://e.com/"
