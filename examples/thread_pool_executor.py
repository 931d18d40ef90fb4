"""`concurrent.futures.ThreadPoolExecutor`: a thread waits for each page.

python examples/thread_pool_executor.py URL…
"""

import sys

import requests

import cormorant


def fetch(url):
    response = requests.get(url, timeout=10)
    return response.status_code, len(response.content)


if __name__ == "__main__":
    for result in cormorant.map(fetch, sys.argv[1:], engine="thread"):
        print(result.item, result.value if result.ok else result.message)
