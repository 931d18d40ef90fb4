"""The same crawl of the book shop by Scrapy, alone in its process; prints its figures as JSON. Called by `crawl.py`."""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

from bookshop import BOOKS
from scrapy.crawler import CrawlerProcess
from scrapy.linkextractors import LinkExtractor
from scrapy.spiders import CrawlSpider, Rule

pages = 0


class Shop(CrawlSpider):
    """Follow every link to a book."""

    name = "shop"
    rules = (Rule(LinkExtractor(allow=(BOOKS,)), callback="count", follow=True),)

    def parse_start_url(self, response: Any) -> None:
        """Count the front page too."""
        self.count(response)

    def count(self, response: Any) -> None:
        """Count a page."""
        global pages
        pages += 1


def main(url: str, width: str) -> None:
    began = time.perf_counter()
    process = CrawlerProcess(
        {
            "CONCURRENT_REQUESTS": int(width),
            "CONCURRENT_REQUESTS_PER_DOMAIN": int(width),
            "DOWNLOAD_DELAY": 0,
            "ROBOTSTXT_OBEY": False,
            "LOG_ENABLED": False,
            "TELNETCONSOLE_ENABLED": False,
        }
    )
    process.crawl(Shop, start_urls=[url], allowed_domains=["127.0.0.1"])
    process.start()
    used = resource.getrusage(resource.RUSAGE_SELF)
    wall = time.perf_counter() - began
    print(json.dumps({"pages": pages, "failed": 0, "cpu_seconds": used.ru_utime + used.ru_stime, "wall_seconds": wall}))


if __name__ == "__main__":
    main(*sys.argv[1:])
