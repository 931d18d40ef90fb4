"""gevent: one thread, a greenlet for each page; requests gives way to the others because it was patched.

python examples/gevent_example.py URL…    (needs: pip install 'cormorant[gevent]')
"""

from gevent import monkey

monkey.patch_all()  # before anything else is imported: what requests takes from `socket` must be gevent's

import sys  # noqa: E402

import requests  # noqa: E402

import cormorant  # noqa: E402


def fetch(url):
    response = requests.get(url, timeout=10)
    return response.status_code, len(response.content)


if __name__ == "__main__":
    for result in cormorant.map(fetch, sys.argv[1:], engine="gevent"):
        print(result.item, result.value if result.ok else result.message)
