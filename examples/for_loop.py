"""The for loop: each page is waited for before the next is asked for. The measure of all others.

python examples/for_loop.py URL…
"""

import sys

import requests

import cormorant


def fetch(url):
    response = requests.get(url, timeout=10)
    return response.status_code, len(response.content)


if __name__ == "__main__":
    for result in cormorant.map(fetch, sys.argv[1:], engine="serial"):
        print(result.item, result.value if result.ok else result.message)
