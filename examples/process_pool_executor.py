"""`concurrent.futures.ProcessPoolExecutor`: a process waits for each page.

python examples/process_pool_executor.py URL…
"""

import sys

import requests

import cormorant


def fetch(url):
    response = requests.get(url, timeout=10)
    return response.status_code, len(response.content)


if __name__ == "__main__":  # the worker processes import this file too, and must not start workers of their own
    for result in cormorant.map(fetch, sys.argv[1:], engine="process"):
        print(result.item, result.value if result.ok else result.message)
