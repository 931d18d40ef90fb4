"""The registered domain of a host, by the public suffix list (https://publicsuffix.org): what one party owns. Pure.

Private suffixes count: `a.github.io` and `b.github.io` are two parties. The list is the installed package's own, never
fetched; loading it costs a tenth of a second, when the first domain is asked for.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from cormorant import urls

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

MOST_REMEMBERED = 65_536  # origins; a look-up costs 5 µs, and a crawl asks for few hosts over and over


@functools.lru_cache(maxsize=MOST_REMEMBERED)
def registered_domain(origin: str) -> str:
    """Return the registered domain of an origin's host, without scheme and port.

    IP addresses, single labels and public suffixes themselves (`co.uk`) stay as they are. A host that ends in a number
    is an IPv4 address (https://url.spec.whatwg.org/#ends-in-a-number-checker).
    """
    host = urls.host_and_port(origin)[0].rstrip(".")
    if host.startswith("[") or host.rpartition(".")[2].isdigit():
        return host
    return _suffixes().privatesuffix(host) or host


@functools.cache
def _suffixes() -> PublicSuffixList:
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList()
