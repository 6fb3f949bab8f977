"""Scraper: from a few URLs to every page of their sites, politely, once each, and a row for each.

    config.py      every limit, with its unit and its default
    model.py       what goes in (Start), what comes out (Page), what happens meanwhile (CrawlEvent)

    crawler.py     from the first URL to the last row: workers, the end, going on (open_crawler)
    visitor.py     one visit after the other: requests, redirects, links; visit.py what one is
    site_files.py  what a site says of itself: robots.txt and sitemaps
    crawl.py       what these share; rows.py the row of a visit

    frontier.py    what is still to be fetched and what was: SQLite, safe against a kill
    politeness.py  when a host may be asked again
    fetch.py       one request and what its answer means; decompression.py content codings, within bounds
    urls.py        canonical URLs: what is the same page, what a link means, whose host it is
    scope.py       where links may lead; traps.py which lead nowhere, ever
    robots.py      the rules of robots.txt
    addresses.py   which addresses may be connected to

    extract.py     title, links and selected texts of a page
    encoding.py    which characters its bytes are; tree_cost.py how much of it is worth reading
    sitemaps.py    lists of pages that a site publishes
    report.py      sinks that write JSON, NDJSON, CSV and SQLite; log.py, metrics.py, screen.py, summary.py

How it is driven::

    async with open_crawler(settings, state="site.crawl", observer=log.write) as crawler:
        for page in crawler.earlier():     # rows of the runs before, empty for a new state
            report(page)
        await crawler.crawl(starts, sinks) # Iterable or AsyncIterable of Start; returns when nothing is left
    # meanwhile: crawler.progress shows how it stands; crawler.stop() ends it gracefully, from any callback

A page is fetched when its row is committed to the state; rows and what they led to are committed
together. A run that goes on after a kill fetches only what has no row: what was in flight at the kill, or
answered and not yet committed, is asked for again, unless `on_interrupted` is `skip`.
"""
