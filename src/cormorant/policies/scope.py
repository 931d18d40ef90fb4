"""Which of the URLs a crawl finds it goes to: reach, patterns, depth, and the traps that never end. Pure.

Theory of operation. A `Scope` is the settings; its `Bounds` hold the seeds and what was counted. A seed comes in by
`add_seed`: it was asked for by name, so nothing but the budgets of pages can refuse it. What a page led to is asked
for by `refusal`, which counts nothing, and then by `spend`, once for each URL that is new. Budgets of pages are
`spend_page`'s: they are for what is about to be asked for. Reasons are words of `REASONS`.

Traps are known by growth, not by content: path segments that repeat (Heritrix's PathologicalPathDecideRule), ever
more queries on one path, ever more numbers in what looks like a date. Each counter remembers the `MOST_REMEMBERED`
keys used last: a budget can run over only on a crawl that has more such paths than that going at the same time.
"""

from __future__ import annotations

import dataclasses
import re
from collections import OrderedDict

from cormorant import urls
from cormorant.errors import UsageError
from cormorant.policies.domains import registered_domain

REACHES = ("host", "domain", "prefix", "any")
REASONS = (
    "scope",
    "include",
    "exclude",
    "depth",
    "too long",
    "segments",
    "repeats",
    "variants",
    "dates",
    "pages",
    "pages per host",
)
MAY_COME_IN = frozenset(("depth", "scope"))  # by a shorter way; when a seed has moved
MOST_REMEMBERED = 100_000  # keys of one counter: about 25 MB

# A year, or a date written together (ISO 8601 basic), that is no part of a longer number or of a %-escape.
DATE_LIKE = re.compile(r"(?<![\d%])(?:19|2[01])\d\d(?:(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])?)?(?!\d)")
# What a calendar counts on by: such dates, and numbers of up to four digits. Longer ones name an article each.
COUNTED_ON = re.compile(rf"{DATE_LIKE.pattern}|(?<!\d)\d{{1,4}}(?!\d)")


@dataclasses.dataclass(frozen=True, slots=True)
class Scope:
    """How far a crawl reaches. `include` and `exclude` are regular expressions, searched in the whole URL.

    `reach`: "host" (host and port of a seed, http or https), "domain" (its registered domain), "prefix" (the folder of
    its path, and below), "any". `depth` counts links from a seed. `longest_url` is in characters. At most
    `most_repeats` times in a row may a segment, or a run of segments, stand in a path; `most_variants` queries
    may one path have, `most_dates` URLs may differ by nothing but dates.
    """

    reach: str = "host"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    depth: int | None = None
    max_pages: int | None = None
    max_pages_per_host: int | None = None
    longest_url: int = 2000
    most_segments: int = 20
    most_repeats: int = 2
    most_variants: int = 1000
    most_dates: int = 1000

    def __post_init__(self) -> None:
        if self.reach not in REACHES:
            raise UsageError(f"scope {self.reach!r} is unknown; write one of {', '.join(REACHES)}")
        for name in ("depth", "max_pages", "max_pages_per_host"):
            number, least = getattr(self, name), int(name != "depth")
            if number is not None and (not isinstance(number, int) or number < least):
                raise UsageError(f"{name} is {number!r}; give a whole number, {least} or more, or None for no limit")
        compiled("include", self.include)
        compiled("exclude", self.exclude)

    def bounds(self) -> Bounds:
        """Return the state of a crawl that has no seed yet."""
        return Bounds(self)


class Bounds:
    """The seeds of one crawl, and what it has counted. URLs are clean ones (`urls.clean`)."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._include = compiled("include", scope.include)
        self._exclude = compiled("exclude", scope.exclude)
        self._seeded: set[str] = set()  # what the seeds stand for: hosts, domains or folders
        self._pages, self._host_pages = _Budget("pages"), _Budget("pages per host")
        self._variants, self._dates = _Budget("variants"), _Budget("dates")

    def add_seed(self, url: str) -> None:
        """Widen the reach to a seed."""
        self._reach_out(url)

    @property
    def is_spent(self) -> bool:
        """Whether no page more may be asked for."""
        return self._scope.max_pages is not None and self._pages.spent("") >= self._scope.max_pages

    @property
    def counts_hosts(self) -> bool:
        """Whether pages are counted by host, too."""
        return self._scope.max_pages_per_host is not None

    @property
    def limit_depth(self) -> bool:
        """Whether it matters by which way a page is found first."""
        return self._scope.depth is not None

    def is_too_deep(self, depth: int) -> bool:
        """Whether nothing that far from a seed may be asked for."""
        return self._scope.depth is not None and depth > self._scope.depth

    def spend_pages(self, count: int) -> None:
        """Count pages that were asked for before; for bounds that do not count by host."""
        self._pages.spend("", count)

    def spend_page(self, url: str) -> str | None:
        """Count a page that is about to be asked for; returns the budget that is spent, or None."""
        return _spend(self._page_budgets(_parts(url)[0]))

    def reaches(self, origin: str) -> bool:
        """Return whether anything of a host is within reach."""
        if self._scope.reach != "prefix":
            return self._is_within(origin, "/")
        return any(folder.startswith(f"{_authority(origin)}/") for folder in self._seeded)

    def seed_moved(self, seed: str, target: str) -> str | None:
        """Return why a seed's redirect is not followed, or None.

        A seed may move within its registered domain (to https, to www.) and takes the reach along; it cannot lead the
        whole crawl to a stranger.
        """
        home, new_home = _parts(seed)[0], _parts(target)[0]
        if home == new_home or registered_domain(home) == registered_domain(new_home):
            self._reach_out(target)
        return None if self._is_within(*_parts(target)[:2]) else "scope"

    def refusal(self, url: str, depth: int) -> str | None:
        """Return why a URL that was found `depth` links from a seed is left out, or None. Counts nothing."""
        origin, path, _ = _parts(url)
        return self._refusal(url, depth, origin, path)

    def spend(self, url: str) -> str | None:
        """Count a new URL that nothing refuses; returns the budget against traps that is spent, or None."""
        origin, path, query = _parts(url)
        scope = self._scope
        budgets: list[tuple[_Budget, str, int]] = []
        if query:
            budgets.append((self._variants, origin + path, scope.most_variants))
        rest = f"{path}?{query}"
        if DATE_LIKE.search(rest):
            budgets.append((self._dates, origin + COUNTED_ON.sub("0", rest), scope.most_dates))
        return _spend(budgets)

    def __repr__(self) -> str:
        return f"<Bounds {self._scope.reach} seeded={len(self._seeded)}>"

    def _refusal(self, url: str, depth: int, origin: str, path: str) -> str | None:
        scope = self._scope
        if scope.depth is not None and depth > scope.depth:
            return "depth"
        if not self._is_within(origin, path):
            return "scope"
        if len(url) > scope.longest_url:
            return "too long"
        if self._exclude and any(pattern.search(url) for pattern in self._exclude):
            return "exclude"
        if self._include and not any(pattern.search(url) for pattern in self._include):
            return "include"
        segments = path.split("/")[1:]
        if len(segments) - (segments[-1] == "") > scope.most_segments:
            return "segments"
        return "repeats" if _repeats(segments, scope.most_repeats) else None

    def _reach_out(self, url: str) -> None:
        origin, path, _ = _parts(url)
        reach = self._scope.reach
        if reach == "host":
            self._seeded.add(_authority(origin))
        elif reach == "domain":
            self._seeded.add(registered_domain(origin))
        elif reach == "prefix":
            self._seeded.add(_authority(origin) + path[: path.rindex("/") + 1])

    def _is_within(self, origin: str, path: str) -> bool:
        seeded = self._seeded
        match self._scope.reach:
            case "host":
                return _authority(origin) in seeded
            case "domain":
                return registered_domain(origin) in seeded
            case "prefix":
                return _lies_below(seeded, _authority(origin) + path)
            case _:
                return True

    def _page_budgets(self, origin: str) -> list[tuple[_Budget, str, int]]:
        scope = self._scope
        budgets: list[tuple[_Budget, str, int]] = []
        if scope.max_pages is not None:
            budgets.append((self._pages, "", scope.max_pages))
        if scope.max_pages_per_host is not None:
            budgets.append((self._host_pages, origin, scope.max_pages_per_host))
        return budgets


class _Budget:
    """How often each key was spent on, of the `MOST_REMEMBERED` keys asked for last."""

    __slots__ = ("_spent", "reason")

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self._spent: OrderedDict[str, int] = OrderedDict()

    def spent(self, key: str) -> int:
        """Return how often `key` was spent on, and remember it as asked for."""
        count = self._spent.get(key)
        if count is None:
            return 0
        self._spent.move_to_end(key)
        return count

    def spend(self, key: str, count: int = 1) -> None:
        """Count so many more for `key`."""
        self._spent[key] = self._spent.get(key, 0) + count
        if len(self._spent) > MOST_REMEMBERED:
            self._spent.popitem(last=False)


def _spend(budgets: list[tuple[_Budget, str, int]]) -> str | None:
    """Count in all budgets, or in none and return the reason of the first that is used up."""
    for budget, key, most in budgets:
        if budget.spent(key) >= most:
            return budget.reason
    for budget, key, _ in budgets:
        budget.spend(key)
    return None


def _parts(url: str) -> tuple[str, str, str]:
    """Return origin, path and query (without its "?") of a clean URL."""
    path, _, query = url[url.index("/", 8) :].partition("?")
    return urls.origin(url), path, query


def _authority(origin: str) -> str:
    """Return host and port: a clean URL's default port is left out, so http and https of a site are the same."""
    return origin[origin.index("//") + 2 :]


def _lies_below(folders: set[str], path: str) -> bool:
    """Return whether one of the folders a path (with its authority before it) lies in is one of `folders`."""
    end = path.find("/")
    while end >= 0:
        if path[: end + 1] in folders:
            return True
        end = path.find("/", end + 1)
    return False


def _repeats(segments: list[str], most: int) -> bool:
    """Return whether a run of one or more segments stands more than `most` times in a row: /a/b/a/b/a/b."""
    length = len(segments)
    if len(set(segments)) == length:
        return False
    for period in range(1, length // (most + 1) + 1):
        same = 0
        for index in range(period, length):
            same = same + 1 if segments[index] == segments[index - period] else 0
            if same >= period * most:
                return True
    return False


def compiled(word: str, patterns: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    """Return the patterns, compiled. Raises UsageError, with the fix, for one that is no regular expression."""
    patterns_read = []
    for pattern in patterns:
        try:
            patterns_read.append(re.compile(pattern))
        except re.error as error:
            raise UsageError(
                f"{word} {pattern!r} is no regular expression: {error}; "
                f"if it is meant as it stands, write {re.escape(pattern)}"
            ) from None
    return tuple(patterns_read)
