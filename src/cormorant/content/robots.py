"""What a robots.txt says: bytes in, rules out (RFC 9309). For the policy, which knows what an answer means.

Laws: pure; reading never raises, whatever the bytes; what a hostile file costs is bounded by its size.
The parser is Protego. It is shown the groups that may be ours and no others: it stores every rule once for each agent
of its group, which makes gigabytes of 500 KiB that name 10,000 agents and then 10,000 rules. So a file is kept as its
lines (they are what is pickled), and parsed when the first question comes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from protego import Protego

# Protego does not publish which rule decided. These names are why it is pinned to one minor version (pyproject.toml).
from protego._protego import _SITE_WIDE_DIRECTIVES, _USER_AGENT_DIRECTIVE, _extract_directive
from protego._utils import _quote_path

from cormorant import urls
from cormorant.content import charset
from cormorant.errors import BadURL

PRODUCT_TOKEN = "cormorant"
MOST_BYTES = 500 * 1024  # RFC 9309 2.5: at least so many are to be read
MOST_SITEMAPS = 1000

_LONGEST_SHOWN = 200
_LONGEST_PERIOD_SECONDS = 10**9
_HTML = re.compile(
    r"(?><!--.*?-->\s*)*+<(?:!doctype|\?xml|html|head|body|title|meta|script)\b", re.IGNORECASE | re.DOTALL
)
# CR and LF end a line, and not what Python takes for line ends too: half a comment must not become a rule.
_LINE_ENDS = {0x00: None, 0x0D: "\n", **dict.fromkeys(map(ord, "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), " ")}


def product_token(user_agent: str) -> str:
    """Return the name that `user_agent` goes by in robots.txt: what stands before its first `/` or space."""
    return re.split(r"[/\s]", user_agent.strip(), maxsplit=1)[0]


def read(body: bytes, url: str | None = None) -> RobotsFile:
    """Read the first 500 KiB of `body`, fetched from the clean `url`. Relative sitemaps are left out without one.

    In any encoding and with any line ends; an HTML page holds no rules.
    """
    text = _text(body).lstrip("\ufeff\n ")
    lines = [] if _HTML.match(text) else _without_comments(text.split("\n"))
    return RobotsFile("\n".join(lines), tuple(_sitemaps(lines, url)))


class RobotsFile:
    """What one robots.txt says. `sitemaps` are the clean URLs of those it names, at most 1,000."""

    __slots__ = ("_parsed", "_text", "_token", "sitemaps")

    def __init__(self, text: str = "", sitemaps: tuple[str, ...] = ()) -> None:
        self.sitemaps = sitemaps
        self._text = text
        self._token: str | None = None
        self._parsed = Protego()

    def __reduce__(self) -> tuple[type[RobotsFile], tuple[str, tuple[str, ...]]]:
        return RobotsFile, (self._text, self.sitemaps)

    def __repr__(self) -> str:
        return f"<RobotsFile {len(self._text):,} characters, {len(self.sitemaps):,} sitemaps>"

    def refusal(self, url: str, token: str) -> str | None:
        """Return the rule that keeps the product `token` from the clean `url`, in words, or None: it may come."""
        parsed = self._parse_for(token)
        return None if parsed.can_fetch(url, token) else _deciding_rule(parsed, url, token)

    def crawl_delay(self, token: str) -> float | None:
        """Return the seconds that `token` is to leave between two requests, or None when nothing is said.

        From `Crawl-delay` and `Request-rate`, whichever is longer; not clamped. A rate's times of day are ignored.
        """
        parsed = self._parse_for(token)
        delay, rate = parsed.crawl_delay(token), parsed.request_rate(token)
        if rate is None:
            return delay
        return max(delay or 0.0, min(rate.seconds, _LONGEST_PERIOD_SECONDS) / rate.requests)

    def _parse_for(self, token: str) -> Protego:
        if token != self._token:
            self._parsed = Protego.parse("\n".join(_groups_for(token.strip().lower(), self._text.split("\n"))))
            self._token = token
        return self._parsed


def _text(body: bytes) -> str:
    """Return what is read of the body, with LF as its only line end; the last line only if it is known to be whole."""
    head = body[:MOST_BYTES]
    wide = _utf16(head)
    if wide is not None:
        head = charset.decode(head, wide).encode()
    if len(body) > MOST_BYTES:
        head = head[: max(head.rfind(b"\n"), head.rfind(b"\r")) + 1]
    text = charset.decode_strict(head, "utf-8")
    if text is None:  # one bad byte in a comment must not spoil the letters of the other lines
        text = "\n".join(
            charset.decode(line, charset.DEFAULT) if utf8 is None else utf8
            for line in head.splitlines()  # of bytes: at CR, LF and CR LF alone
            for utf8 in (charset.decode_strict(line, "utf-8"),)
        )
    return text.translate(_LINE_ENDS)


def _utf16(head: bytes) -> str | None:
    """Name the kind of UTF-16 that `head` is in, by its mark or by where the zeros of `Us` or `# ` are, or None."""
    for mark, name in ((b"\xff\xfe", "utf-16le"), (b"\xfe\xff", "utf-16be")):
        if head.startswith(mark):
            return name
    zeros = [byte == 0 for byte in head[:4]]
    if zeros == [False, True, False, True]:
        return "utf-16le"
    return "utf-16be" if zeros == [True, False, True, False] else None


def _without_comments(lines: Iterable[str]) -> list[str]:
    return [bare for line in lines if (bare := line.partition("#")[0].strip())]


def _sitemaps(lines: Iterable[str], url: str | None) -> list[str]:
    """Return the sitemaps named, clean, each once, in their order; they belong to no group."""
    found: dict[str, None] = {}
    for text in Protego.parse("\n".join(line for line in lines if line[:4].lower() == "site")).sitemaps:
        try:
            found[urls.clean(text, url)] = None
        except BadURL:
            continue
        if len(found) == MOST_SITEMAPS:
            break
    return list(found)


def _groups_for(token: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of the groups for the name of `token` that decides: the longest that any group has, or `*`.

    What is a directive and where a group ends is Protego's word (RFC 9309 2.2.1 says the same of proper files).
    """
    directives = [(line, *found) for line in lines if (found := _extract_directive(line)) is not None]
    agents = {value.lower() for _, field, value in directives if field in _USER_AGENT_DIRECTIVE}
    names = {agent: _name_within(token, agent) for agent in agents}
    deciding = max(filter(None, names.values()), key=len, default="*")
    ours = in_rules = False
    for line, field, value in directives:
        if field not in _USER_AGENT_DIRECTIVE:
            in_rules = in_rules or field not in _SITE_WIDE_DIRECTIVES
            if ours:
                yield line
            continue
        if in_rules:
            ours = in_rules = False
        if (names[value.lower()] or value) == deciding:
            ours = True
            yield f"User-agent: {deciding}"


def _name_within(token: str, agent: str) -> str | None:
    """Return what of a `User-agent` line's value stands for `token`: all of it, or without `*`, or without version."""
    for name in (agent, agent.replace("*", ""), product_token(agent)):
        # Protego's rule: anywhere in the token, but not from the middle of a word.
        if name and name in token and re.search(rf"(?<![\w-]){re.escape(name)}", token):
            return name
    return None


def _deciding_rule(parsed: Protego, url: str, token: str) -> str:
    """Say which rule refuses `url`; called when one does. The first that matches decides: Protego has sorted them."""
    group = parsed._get_matching_rule_set(token)
    path = _quote_path(url)
    rules = [] if group is None else group._rules
    pattern = next(rule.value._pattern for rule in rules if rule.value.match(path))
    return f"Disallow: {pattern[:_LONGEST_SHOWN]} (for {group.user_agent if group else token})"
