"""Every knob of one worker in one place: the words of the command line, their defaults and their units."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from cormorant.errors import UsageError
from cormorant.messages import Headers

POLITE_BY = ("host", "domain", "address")
AUTO = "auto"  # no engine: `cormorant.auto` chooses one
DEFAULT_USER_AGENT = "cormorant/0.1"
DEFAULT_MAX_BODY = 64 * 1024 * 1024
SHORTEST_WATCHDOG_SECONDS = 0.005  # Python hands its lock from thread to thread at most this often

# A crawl goes to sites that did not ask for it: slowly, one page at a time, and where robots.txt lets it.
CRAWL_DEFAULTS: dict[str, Any] = {"per_host": 1, "delay": 1.0, "robots": True, "retries": 2, "breaker": 10}

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How pages are fetched. Times are seconds, sizes bytes.

    engine            serial, pool, process, thread, greenlet, gevent or asyncio; auto chooses from a short probe
    concurrency       jobs at once; None: the engine's own default (`cormorant engines` shows it)
    timeout           total for one attempt at one URL, redirects included, from its start
    connect_timeout   until the connection stands (names, TCP and TLS)
    max_body          most bytes of a decoded body; 0: no limit
    no_body           read the headers only (HEAD is not used: servers lie about it)
    retries           further attempts after a passing failure
    max_retry_after   longest Retry-After that is waited for; a page that asks for more is not tried again
    breaker           failures of a host in a row after which it is left alone for a while; 0: never
    per_host          most at once to one host (scheme, host, port); 0: no limit
    delay             least seconds between two starts to one host
    jitter            up to this share of the gap is added to it, at random: 0.5 makes 1 s into 1 to 1.5 s
    polite_by         what counts as one host for the two above: host, domain (registered) or address
    max_delay         longest Crawl-delay that is kept to; a longer one is cut to this
    throttle          give a host that gets slower, or says 429 or 503, fewer requests, and later ones
    robots            keep to each host's robots.txt
    allow_private     whether loopback, private and link-local addresses may be dialled
    header            extra request headers: a mapping, pairs, or `Name: value` lines
    user_agent        what we call ourselves
    proxy             `http://host:port`, `socks5h://host:port`; None: none (the environment is not read)
    insecure          do not verify TLS certificates
    keep_duplicates   fetch a URL as often as it is listed
    watchdog          name each call that holds the loop longer than this (greenlet, gevent, asyncio); None: no look
    """

    engine: str = "greenlet"
    concurrency: int | None = None
    timeout: float = 30.0
    connect_timeout: float = 10.0
    max_body: int = DEFAULT_MAX_BODY
    no_body: bool = False
    retries: int = 0
    max_retry_after: float = 300.0
    breaker: int = 0
    per_host: int = 8
    delay: float = 0.0
    jitter: float = 0.0
    polite_by: str = "host"
    max_delay: float = 30.0
    throttle: bool = False
    robots: bool = False
    allow_private: bool = True
    header: Headers = ()
    user_agent: str = DEFAULT_USER_AGENT
    proxy: str | None = None
    insecure: bool = False
    keep_duplicates: bool = False
    watchdog: float | None = None

    def __post_init__(self) -> None:
        for name, kinds in _KINDS.items():
            _is_a(name, getattr(self, name), kinds)
        _check_proxy(self.proxy)
        _at_least("concurrency", self.concurrency, 1)
        _more_than_zero("timeout", self.timeout)
        _more_than_zero("connect_timeout", self.connect_timeout)
        if self.watchdog is not None and not self.watchdog >= SHORTEST_WATCHDOG_SECONDS:
            raise UsageError(f"watchdog is {self.watchdog}; give {SHORTEST_WATCHDOG_SECONDS} seconds or more")
        for name in ("max_body", "retries", "per_host", "delay", "jitter", "max_delay", "max_retry_after", "breaker"):
            _at_least(name, getattr(self, name), 0)
        if self.polite_by not in POLITE_BY:
            raise UsageError(f"polite_by is {self.polite_by!r}; give one of {', '.join(POLITE_BY)}")
        if self.polite_by == "address" and self.proxy:
            raise UsageError(
                "polite_by='address' cannot be kept with a proxy, which looks names up: drop one of the two"
            )
        object.__setattr__(self, "header", header_pairs(self.header))
        _check_header("user-agent", self.user_agent)

    @classmethod
    def of(cls, words: Mapping[str, Any], besides: Iterable[str] = ()) -> Options:
        """Build from keyword arguments; an unknown word raises UsageError with the nearest of what could be meant.

        `besides` are the words that the caller knows and has taken out.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        for word in words:
            if word not in known:
                meant = known.union(besides)
                near = difflib.get_close_matches(word, meant, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(meant))}"
                raise UsageError(f"unknown option {word!r}: {hint}")
        return cls(**words)


def header_pairs(header: Any) -> Headers:
    """Return `header` (a mapping, pairs, or `Name: value` lines) as checked pairs.

    Raises UsageError for a name that is no token or a value with a line break or NUL (RFC 9110 5.5): libcurl
    would put them on the wire as they are.
    """
    if isinstance(header, str):
        raise UsageError("header takes a mapping, pairs or a list of 'Name: value' lines, not one string")
    items = header.items() if isinstance(header, Mapping) else header
    pairs = tuple(_pair(item) for item in items)
    for name, value in pairs:
        _check_header(name, value)
    return pairs


def _pair(item: Any) -> tuple[str, str]:
    if isinstance(item, str):
        name, colon, value = item.partition(":")
        if not colon:
            raise UsageError(f"header {item!r} has no colon; write 'Name: value'")
        return name.strip(), value.strip()
    name, value = item
    return str(name), str(value)


def _check_header(name: str, value: str) -> None:
    if not _TOKEN.match(name):
        raise UsageError(f"header name {name!r} is not a token (RFC 9110 5.1); write for example 'X-Name: value'")
    if any(character in value for character in "\r\n\0"):
        raise UsageError(f"the value of header {name!r} holds a line break or NUL; take it out")
    if not value.isascii():
        raise UsageError(f"the value of header {name!r} is not ASCII; percent-encode it")


_NUMBER = (int, float)
_KINDS: dict[str, tuple[type, ...]] = {
    "engine": (str,),
    "concurrency": (int, type(None)),
    "timeout": _NUMBER,
    "connect_timeout": _NUMBER,
    "max_body": (int,),
    "retries": (int,),
    "per_host": (int,),
    "delay": _NUMBER,
    "jitter": _NUMBER,
    "polite_by": (str,),
    "max_delay": _NUMBER,
    "max_retry_after": _NUMBER,
    "breaker": (int,),
    "user_agent": (str,),
    "watchdog": (int, float, type(None)),
    "proxy": (str, type(None)),
}
PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


def _is_a(name: str, value: object, kinds: tuple[type, ...]) -> None:
    if not isinstance(value, kinds) or isinstance(value, bool):
        wanted = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in kinds)
        raise UsageError(f"{name} is {value!r}; give {wanted}")


def _check_proxy(proxy: str | None) -> None:
    scheme, mark, rest = (proxy or "http://host").partition("://")
    if not mark or scheme not in PROXY_SCHEMES or not rest or not rest.isprintable() or " " in rest:
        raise UsageError(f"proxy {proxy!r} is none; write http://host:port, https://host:port or socks5h://host:port")


def _at_least(name: str, value: float | None, least: int) -> None:
    if value is not None and not value >= least:
        raise UsageError(f"{name} is {value}; give {least} or more")


def _more_than_zero(name: str, value: float) -> None:
    if not value > 0:
        raise UsageError(f"{name} is {value}; give more than 0 seconds")
