"""Whatever sites there are: a crawl ends, every page has one row, and nobody is asked for too much."""

from collections import Counter

from fake_site import FakeSite, Reply, Run, fails, page, redirect
from hypothesis import given, settings
from hypothesis import strategies as st

HOSTS = ["http://e.com", "http://f.com"]
URLS = [f"{host}{path}" for host in HOSTS for path in ("/", "/a", "/b", "/c?x=1", "/private/d", "/e.pdf")]

one_url = st.sampled_from(URLS)
links = st.lists(one_url, max_size=4)
failures = st.one_of(
    st.builds(lambda status: Reply("", status), st.sampled_from([404, 410, 429, 500, 503])),
    st.builds(
        lambda wait: Reply("", 503, headers={"Retry-After": str(wait)}), st.sampled_from([0, 7, 500, "soon"])
    ),
    st.builds(
        lambda failure, may_pass: fails(failure, failure, may_pass),
        st.sampled_from(["dns", "connect", "reset", "timeout", "address"]),
        st.booleans(),
    ),
    st.just(Reply("", latency=100.0)),
)
answers = st.one_of(st.builds(lambda found: page(*found), links), st.builds(redirect, one_url), failures)
replies = st.one_of(answers, st.lists(answers, min_size=1, max_size=3))
rules = st.one_of(
    st.just(Reply("", 404)),
    st.just(Reply("User-agent: *\nDisallow: /private/", kind="text/plain")),
    st.just(Reply("User-agent: *\nCrawl-delay: 3\nDisallow: /private/", kind="text/plain")),
    st.just(Reply("".join(f"Sitemap: /{name}.xml\n" for name in "abcdef"), kind="text/plain")),
    failures,
)
maps = st.builds(
    lambda found, latency: Reply("\n".join(found), kind="text/plain", latency=latency),
    links,
    st.sampled_from([0.01, 3.0]),
)
sites = st.fixed_dictionaries(
    dict.fromkeys(URLS, replies)
    | {f"{host}/robots.txt": rules for host in HOSTS}
    | {f"{host}/{name}.xml": st.one_of(maps, failures) for host in HOSTS for name in "ab"}
)
limits = st.fixed_dictionaries(
    {},
    optional={
        "rate": st.sampled_from([0.5, 5.0]),
        "per_host": st.integers(1, 3),
        "concurrency": st.integers(1, 5),
        "retries": st.integers(0, 2),
        "depth": st.integers(0, 3),
        "pages": st.integers(1, 6),
        "pages_per_host": st.integers(1, 4),
        "give_up_after": st.integers(1, 4),
        "scope": st.sampled_from(["host", "any"]),
        "check_links": st.booleans(),
        "sitemaps": st.booleans(),
        "max_hosts": st.integers(1, 2),
        "on_interrupted": st.sampled_from(["refetch", "skip"]),
        "timeout": st.sampled_from([1.0, 30.0, 500.0]),
    },
)


def pattern(reply):
    return list(reply) if isinstance(reply, list) else reply


@settings(max_examples=100)
@given(sites, limits, st.lists(one_url, min_size=1, max_size=3))
def test_a_crawl_ends_and_every_page_has_one_row(pages, limits, starts):
    site = FakeSite({url: pattern(reply) for url, reply in pages.items()})
    run = Run(site, starts=starts, **{"retries": 1} | limits).run()
    names = [row.canonical for row in run.rows]
    assert len(names) == len(set(names))
    progress = run.crawler.progress
    assert progress.in_flight == 0
    assert progress.fetched + progress.failed + progress.other == progress.done == len(run.rows)
    stopped = {event.words for event in run.told("limit")}
    if not stopped:
        assert set(starts) <= set(names)
        assert progress.queued == 0
    attempts = run.settings.retries + 1
    asked = Counter(url for _, method, url in site.log if method == "GET" and not url.endswith("/robots.txt"))
    checked = {row.canonical for row in run.rows if run.settings.check_links and row.depth}
    assert all(times <= attempts for url, times in asked.items() if url not in checked)
    assert all(site.peak[host] <= run.settings.per_host for host in site.peak)
    for row in run.rows:
        assert (row.status == 0) <= bool(row.error)
        assert row.attempts <= attempts
        if row.outcome == "refused" and "disallows" in row.error and not row.redirects:
            assert row.canonical not in asked


@settings(max_examples=20)
@given(sites, st.lists(one_url, min_size=1, max_size=2), st.integers(1, 4))
def test_a_crawl_in_many_parts_has_the_rows_of_one(tmp_path_factory, pages, starts, part):
    state = tmp_path_factory.mktemp("state") / "site.crawl"
    site = FakeSite({url: pattern(reply) for url, reply in pages.items()})
    names, limit = [], part
    while True:
        run = Run(site, state, starts=starts, retries=1, pages=limit).run()
        assert [row.canonical for row in run.earlier] == names
        names += [row.canonical for row in run.rows]
        limit += part
        if not run.told("limit"):
            break
    assert len(names) == len(set(names))
    assert set(starts) <= set(names)
    assert max(Counter(site.urls).values(), default=0) <= 2 * len(URLS)
