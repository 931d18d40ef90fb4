"""`multiprocessing.Pool`: a process waits for each page, a callback in this process hears of it at once.

python examples/pool_with_callback.py URL…
"""

import sys

import requests

import cormorant


def fetch(url):
    response = requests.get(url, timeout=10)
    return response.status_code, len(response.content)


def show(result):
    print(result.item, result.value if result.ok else result.message)


if __name__ == "__main__":  # the worker processes import this file too, and must not start workers of their own
    for _ in cormorant.map(fetch, sys.argv[1:], engine="pool", callback=show):
        pass
