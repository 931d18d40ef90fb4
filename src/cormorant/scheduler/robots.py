"""What hosts allow: whose robots.txt is known, is being asked for, or has to be asked for again. Pure.

Before the first page of a host its robots.txt is asked for, as one more request through the same road; the host is
held meanwhile. What came of it is kept for a day (RFC 9309 2.4): while the host has work in any case, and then for the
`KNOWN_HOSTS` whose work ended last.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from cormorant.content import robots
from cormorant.interfaces import Books, RobotsAnswer
from cormorant.messages import Headers, Kind, Outcome, Purpose, Request
from cormorant.policies.robots import Robots, Verdict, robots_url

KNOWN_HOSTS = 10_000
MOST_ROBOTS_BYTES = 16 * 1024 * 1024  # of which half a megabyte is looked at; a longer one is not known


class Gate:
    """The verdicts on hosts, by origin."""

    def __init__(self, robots: Robots, token: str) -> None:
        self._robots, self._token = robots, token
        self._known: dict[str, tuple[float, Verdict]] = {}  # of hosts with work
        self._kept: OrderedDict[str, tuple[float, Verdict]] = OrderedDict()  # of others
        self._tries: dict[str, int] = {}

    def must_ask(self, origin: str, now: float) -> bool:
        """Tell whether the host's robots.txt has to be asked for before its next page."""
        if origin in self._kept:
            self._known[origin] = self._kept.pop(origin)
        known = self._known.get(origin)
        if known is not None and known[0] > now:
            return False
        self._known.pop(origin, None)
        return True

    def put_aside(self, origin: str) -> None:
        """Note that a host has no work for now."""
        known = self._known.pop(origin, None)
        if known is not None:
            self._kept[origin] = known
            if len(self._kept) > KNOWN_HOSTS:
                self._kept.popitem(last=False)

    def request(self, origin: str, headers: Headers, seconds: float) -> Request:
        """Return the request for a host's robots.txt."""
        url = robots_url(origin)
        tries = self._tries.get(origin, 0)
        return Request(
            url=url,
            target=url,
            headers=headers,
            seconds=seconds,
            attempts=tries + 1,
            purpose=Purpose.ROBOTS,
            max_body=MOST_ROBOTS_BYTES,
        )

    def heard(self, origin: str, outcome: Outcome, now: float, may_retry: Callable[[], bool]) -> float | None:
        """Take in what came of asking; returns when to ask again, or None: now it is known.

        `may_retry` takes one retry out of the run's budget, if there is one; without it this try was the last.
        """
        tries = self._tries.get(origin, 0) + 1
        verdict = self._robots.judge(outcome, tries)
        if verdict.again_after_seconds is not None and may_retry():
            self._tries[origin] = tries
            return now + verdict.again_after_seconds
        if verdict.again_after_seconds is not None:
            verdict = self._robots.judge(outcome, max(tries, self._robots.tries))
        self._tries.pop(origin, None)
        self._known[origin] = (now + verdict.keep_seconds, verdict)
        return None

    def answer(self, origin: str, outcome: Outcome) -> RobotsAnswer | None:
        """Return what a run that goes on with this one has to know of the host that was just heard.

        None: nothing came, and whether anything does is to be asked again.
        """
        verdict = self._verdict(origin)
        if verdict is None or verdict.refused is not None:
            return None
        url = outcome.final_url or outcome.url
        file = outcome.body[: robots.MOST_BYTES] if verdict.file is not None else None
        return RobotsAnswer(origin=origin, fetched_at=outcome.fetched_at or 0.0, url=url, file=file)

    def go_on(self, books: Books, now: float, wall: float) -> None:
        """Take in what hosts answered to earlier runs; `wall` is now in seconds since the epoch."""
        for answer in books.robots(KNOWN_HOSTS, self._robots.cache_seconds):
            until = now + self._robots.cache_seconds - (wall - answer.fetched_at)
            file = None if answer.file is None else robots.read(answer.file, answer.url)
            self._kept[answer.origin] = until, Verdict(file=file)

    def refusal(self, origin: str, url: str) -> tuple[Kind, str, str | None] | None:
        """Return how a page of a known host ends that we are kept from (kind, words and phase), or None.

        The phase is `robots` where a rule says so, and not where the rules could not be read.
        """
        verdict = self._verdict(origin)
        if verdict is None:
            return None
        if verdict.refused is not None:
            return verdict.kind, verdict.refused, None
        rule = verdict.file.refusal(url, self._token) if verdict.file is not None else None
        return None if rule is None else (Kind.BLOCKED, f"robots.txt: {rule}", "robots")

    def crawl_delay(self, origin: str) -> float | None:
        """Return the `Crawl-delay` that a known host asks of us, in seconds."""
        verdict = self._verdict(origin)
        return verdict.file.crawl_delay(self._token) if verdict is not None and verdict.file is not None else None

    def sitemaps(self, origin: str) -> tuple[str, ...]:
        """Return the sitemaps that a known host's robots.txt names."""
        verdict = self._verdict(origin)
        return verdict.file.sitemaps if verdict is not None and verdict.file is not None else ()

    def _verdict(self, origin: str) -> Verdict | None:
        known = self._known.get(origin) or self._kept.get(origin)
        return None if known is None else known[1]
