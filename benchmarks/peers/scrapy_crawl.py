"""The site of scrape_site.py crawled by Scrapy, as fast as its settings let it: URL and file for its rows."""

import sys

from scrapy import Spider
from scrapy.crawler import CrawlerProcess
from scrapy.linkextractors import LinkExtractor


class Site(Spider):
    name = "site"
    custom_settings = {  # noqa: RUF012 - as Scrapy wants it
        "CONCURRENT_REQUESTS": 32,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 32,
        "DOWNLOAD_DELAY": 0,
        "ROBOTSTXT_OBEY": True,
        "LOG_LEVEL": "ERROR",
        "TELNETCONSOLE_ENABLED": False,
    }
    links = LinkExtractor()

    def parse(self, response):
        links = self.links.extract_links(response)
        yield {
            "url": response.url,
            "status": response.status,
            "title": response.css("title::text").get(),
            "length": len(response.body),
            "links": len(links),
        }
        for link in links:
            yield response.follow(link)


def crawl(url, rows):
    process = CrawlerProcess({"FEEDS": {rows: {"format": "jsonlines", "overwrite": True}}})
    process.crawl(Site, start_urls=[url])
    process.start()


if __name__ == "__main__":
    crawl(*sys.argv[1:])
