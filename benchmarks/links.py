"""What finding a page's links costs, beside lxml, parsel and Scrapy's LinkExtractor doing the same on the same pages.

    python benchmarks/links.py [--peers /path/to/python] [--rounds 7] [--save]

`--peers` names the Python of a virtual environment that has lxml, parsel and scrapy (pip install scrapy brings all);
what is not installed there is named and left out. No network. Every contestant runs in a fresh process, in rounds, one
at a time; a round looks at all pages once, the first warms up and is dropped, CPU seconds are counted and
[min, median, max] quoted, in microseconds a page.

The pages are the 200 of `../shared/data/pages` (a book shop: 19 KB, 9 URLs in 16 links), and one of 41 KB with 100
links. All return absolute URLs, each once, with their texts. The peers look for <a> and <area> only; lxml and
parsel read no `<base>` and resolve by `urljoin`, which is no browser's.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urldefrag, urljoin

from run import HERE, machine

ARCHIVE = HERE.parents[1] / "shared" / "data" / "pages" / "bookfiles.tar.gz"
URL = "http://books.example/catalogue/a-book_1/index.html"
ITEM = """
<li class="col-xs-6 col-sm-4 col-md-3 col-lg-3"><article class="product_pod"><div class="image_container">
<img src="../../media/cache/{0}.jpg" alt="Book {0}" class="thumbnail"></div><p class="star-rating Three">
<i class="icon-star"></i></p><h3><a href="../book-number_{0}/index.html" title="Book {0}">The book of number {0} ...</a>
</h3><div class="product_price"><p class="price_color">£51.77</p></div></article></li>"""

Find = Callable[[bytes], int]


def cormorant() -> Find:
    from cormorant.content import links

    return lambda body: len(links.find(body, URL, "utf-8").links)


def lexbor_alone() -> Find:
    """Build the tree and do nothing with it: the floor."""
    from selectolax.lexbor import LexborHTMLParser

    return lambda body: len(LexborHTMLParser(body).css("a"))


def lxml() -> Find:
    html = importlib.import_module("lxml.html")

    def find(body: bytes) -> int:
        tree = html.document_fromstring(body, parser=html.HTMLParser(encoding="utf-8"))
        found: dict[str, str] = {}
        for node in tree.iter("a", "area"):
            if href := node.get("href"):
                found.setdefault(urldefrag(urljoin(URL, href))[0], " ".join(node.text_content().split()))
        return len(found)

    return find


def parsel() -> Find:
    selector = importlib.import_module("parsel").Selector

    def find(body: bytes) -> int:
        found: dict[str, str] = {}
        for node in selector(text=body.decode()).css("a[href], area[href]"):
            text = " ".join("".join(node.css("::text").getall()).split())
            found.setdefault(urldefrag(urljoin(URL, node.attrib["href"]))[0], text)
        return len(found)

    return find


def scrapy() -> Find:
    extractor = importlib.import_module("scrapy.linkextractors").LinkExtractor(canonicalize=False)
    response = importlib.import_module("scrapy.http").HtmlResponse
    return lambda body: len(extractor.extract_links(response(URL, body=body, encoding="utf-8")))


OURS: dict[str, Callable[[], Find]] = {"cormorant": cormorant, "lexbor alone": lexbor_alone}
PEERS: dict[str, Callable[[], Find]] = {"lxml": lxml, "parsel": parsel, "scrapy": scrapy}


def page_sets() -> dict[str, list[bytes]]:
    with tarfile.open(ARCHIVE) as archive:
        files = [archive.extractfile(member) for member in archive if member.isfile()]
        shop = [file.read() for file in files if file is not None]
    item_list = "".join(ITEM.format(number) for number in range(100)).encode()
    return {"book shop": shop, "100 links": [b"<!doctype html><title>Books</title><ol>" + item_list + b"</ol>"] * 50}


def measured(name: str, rounds: int) -> dict[str, object]:
    """Look at the pages in this process; returns figures by set of pages."""
    find = (OURS | PEERS)[name]()
    figures: dict[str, object] = {}
    for pages_name, pages in page_sets().items():
        taken = []
        for _ in range(rounds + 1):
            began = time.process_time()
            found = sum(map(find, pages))
            taken.append((time.process_time() - began) / len(pages) * 1e6)
        spread = [round(value) for value in (min(taken[1:]), statistics.median(taken[1:]), max(taken[1:]))]
        figures[pages_name] = {"microseconds_per_page": spread, "urls": found}
    return figures


def contest(name: str, python: str, rounds: int) -> dict[str, object]:
    """Measure in a fresh process of `python`; says what is missing where that fails."""
    words = [python, str(Path(__file__).resolve()), "--measure", name, "--rounds", str(rounds)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode and "ModuleNotFoundError" in done.stderr and name in PEERS:
        return {"missing": f"{name} is not installed for {python}; name a Python that has it with --peers"}
    assert done.returncode == 0, done.stderr
    figures: dict[str, object] = json.loads(done.stdout)
    return figures


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--peers", default=sys.executable, help="the Python that has the peers installed")
    words.add_argument("--rounds", type=int, default=7)
    words.add_argument("--save", action="store_true", help="write benchmarks/results/links-DATE.json")
    words.add_argument("--measure", help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.measure:
        print(json.dumps(measured(asked.measure, asked.rounds)))
        return
    result = {
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "pages": {name: {"pages": len(pages), "bytes": sum(map(len, pages))} for name, pages in page_sets().items()},
        "min_median_max": {
            **{name: contest(name, sys.executable, asked.rounds) for name in OURS},
            **{name: contest(name, asked.peers, asked.rounds) for name in PEERS},
        },
    }
    print(json.dumps(result, indent=2))
    if asked.save:
        place = HERE / "results" / f"links-{datetime.date.today()}.json"
        place.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
