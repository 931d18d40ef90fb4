"""Inside your own event loop: `async for` over the pages, each the moment it is back, while the loop does its work.

python examples/afetch.py URL…
"""

import asyncio
import sys

import cormorant


async def main(urls):
    async for page in cormorant.afetch(urls):
        print(page.url, (page.status, len(page.body)) if page.kind is None else page.message)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
