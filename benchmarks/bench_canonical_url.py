"""Canonical URLs: one that was never seen, and the links of a page whose menu all pages share."""

from penstock.services.scraper.urls import Canonicalizer

PAGE = "https://example.com/news/2026/page-17.html"
MENU = [
    "/",
    "/about.html",
    "../index.html",
    "https://example.com/help?utm_source=menu",
    "mailto:me@example.com",
]


class CanonicalUrl:
    def setup(self):
        self.canonicalizer = Canonicalizer()
        self.links = MENU * 2 + [f"page-{number}.html" for number in range(20)]
        self.number = 0

    def time_canonical_of_a_new_url(self):
        self.number += 1
        self.canonicalizer.canonical(f"HTTPS://Example.com:443/a/../b/{self.number}?utm_source=x&id=%7e#top")

    def time_links_of_a_page_seen_before(self):
        self.canonicalizer.links(PAGE, self.links)
