"""The same as an `async def` function: `await cormorant.aget`, under the engine asyncio.

python examples/async_get.py URL…
"""

import sys

import cormorant


async def fetch(url):
    page = await cormorant.aget(url)
    return page.status, len(page.body)


if __name__ == "__main__":
    for result in cormorant.map(fetch, sys.argv[1:], engine="asyncio"):
        print(result.item, result.value if result.ok else result.message)
