"""One plain function, any engine: `cormorant.get` waits the way the engine around it waits. Nothing is patched.

python examples/with_get.py ENGINE URL…    (serial, pool, process, thread, greenlet, gevent or asyncio)
"""

import sys

import cormorant


def fetch(url):
    page = cormorant.get(url)
    return page.status, len(page.body)


if __name__ == "__main__":
    engine, *urls = sys.argv[1:]
    for result in cormorant.map(fetch, urls, engine=engine):
        print(result.item, result.value if result.ok else result.message)
