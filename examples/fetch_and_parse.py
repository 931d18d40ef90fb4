"""The main road: a list of URLs in, pages out, and what a function found on each page rides along in `data`.

python examples/fetch_and_parse.py URL…
"""

import sys

import cormorant


def title(page):
    return page.text.partition("<title>")[2].partition("</title>")[0]


if __name__ == "__main__":
    for page in cormorant.fetch(sys.argv[1:], engine="greenlet", concurrency=100, parse=title):
        print(page.url, page.data if page.ok else page.kind or page.status)
