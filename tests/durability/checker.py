"""Judges a run from outside: reads the input list, the server's log and the output files, and nothing of ours.

    python checker.py --list urls.txt --log server.log --output pages.jsonl [--kills 7 --bound 2128] [--gap 0.1]

The files are read by foreign readers alone (`strangers.py`). The server writes a line `NANOSECONDS URL` when it is
asked, and a second one, `NANOSECONDS URL STATUS SHA256` with the same instant, when it has answered. The invariants (I5
and I7 are about processes, I9 about the job: `killing.py`, `kill_loop.py`):

I1  every line of the list has exactly one record; every URL that was asked for is in a record, and no URL in two;
    of a crawl: every page that can be reached (`--reachable FILE`) is in a record, and no other
I2  a record has the status and the body that the server sent for its final URL
I3  every file is read to its end by a reader that is not ours
I4  not more was asked for again than `kills` times `bound`; after stops that drained only what redirects or is retried
I6  no half file is left beside the output, and no body that no record names
I8  two requests to one host are `gap` seconds apart, over restarts too
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from found import Found
from strangers import left_beside, read

NOT_PAGES = ("/robots.txt",)
RETRIED_FROM = 500  # statuses that may be asked for again without a kill


@dataclasses.dataclass(frozen=True)
class Asked:
    """One request, as the server saw it. Without a status: it was not answered, or the log tells only of requests."""

    at: int
    url: str
    status: int | None = None
    sha256: str | None = None

    @property
    def is_begun_anew(self) -> bool:
        """Whether it is asked for again when a run is stopped behind it: a hop, or an attempt that failed."""
        return self.status is not None and (300 <= self.status < 400 or self.status >= RETRIED_FROM)


@dataclasses.dataclass
class Verdict:
    """What was found, and what is wrong. `faults` is empty when all holds."""

    records: int = 0
    requests: int = 0
    fetched_again: int = 0
    failed: dict[str, int] = dataclasses.field(default_factory=dict)
    smallest_gap: float | None = None
    faults: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Allowed:
    """What a run may do. `tried` is how often a page that fails may be asked for in a run that nobody disturbs.

    `bound` are requests a kill; `reachable` the pages of a crawl.
    """

    kills: int = 0
    bound: int = 0
    gap: float = 0.0
    tried: int = 1
    reachable: frozenset[str] | None = None


def check(lists: Path, log: Path, output: Path, allowed: Allowed = Allowed()) -> Verdict:
    """Judge."""
    verdict = Verdict()
    try:
        verdict.faults += [f"I6: left beside the output: {name}" for name in left_beside(output)]
        records = list(read(output))
    except Exception as error:  # whatever the foreign reader says is what we want to hear
        verdict.faults.append(f"I3: {output.name}: {type(error).__name__}: {error}")
        return verdict
    asked = read_log(log)
    verdict.records, verdict.requests = len(records), len(asked)
    verdict.failed = dict(collections.Counter(record.kind for record in records if record.kind is not None))
    verdict.faults += every_line_once(lists, records)
    verdict.faults += every_request_in_a_record(asked, records)
    if allowed.reachable is not None:
        verdict.faults += every_reachable_page(allowed.reachable, records)
    verdict.faults += what_was_sent(asked, records)
    verdict.fetched_again, faults = again(asked, allowed)
    verdict.faults += faults
    verdict.smallest_gap = smallest_gap(asked)
    if allowed.gap and verdict.smallest_gap is not None and verdict.smallest_gap < allowed.gap:
        verdict.faults.append(f"I8: two requests to a host {verdict.smallest_gap:.3f} s apart, not {allowed.gap}")
    return verdict


def read_log(path: Path) -> list[Asked]:
    """Return the requests, in the order in which they came; of a request and its answer one."""
    found: dict[tuple[int, str], Asked] = {}
    for line in path.read_text().splitlines():
        at, url, *rest = line.split(" ")
        one = Asked(int(at), url, int(rest[0]), rest[1]) if rest else Asked(int(at), url)
        if rest or (one.at, url) not in found:
            found[one.at, url] = one
    return sorted((one for one in found.values() if not one.url.endswith(NOT_PAGES)), key=lambda one: one.at)


# --- the invariants ---


def every_line_once(lists: Path, records: list[Found]) -> list[str]:
    wanted = set()
    for raw in lists.read_bytes().splitlines():
        text = raw.decode("utf-8", "replace").strip()
        if text and not text.startswith("#"):
            wanted.add(text)
    count = collections.Counter(record.line for record in records)
    urls = collections.Counter(record.url for record in records)
    lost = [line for line in wanted if not count[line]]
    twice = {one for counted in (count, urls) for one, times in counted.items() if times > 1}
    return faults("I1", "lines have no record", lost) + faults("I1", "have more than one record", twice)


def met_in(records: Iterable[Found]) -> set[str]:
    """Return every URL that stands in a record: as its own, as where it ended, or on the way there."""
    return {url for record in records for url in (record.url, record.final_url, *record.hops)}


def every_request_in_a_record(asked: list[Asked], records: list[Found]) -> list[str]:
    return faults("I1", "were fetched and are in no record", {one.url for one in asked} - met_in(records))


def every_reachable_page(reachable: Collection[str], records: list[Found]) -> list[str]:
    met = met_in(record for record in records if record.kind != "bad_url")
    lost, strange = set(reachable) - met, met - set(reachable)
    return faults("I1", "can be reached and are in no record", lost) + faults("I1", "cannot be reached", strange)


def what_was_sent(asked: list[Asked], records: list[Found]) -> list[str]:
    sent = {(one.url, one.status, one.sha256) for one in asked if one.status is not None}
    if not sent:
        return []  # the log tells of requests alone
    pages = [record for record in records if record.kind is None]
    wrong = [page.url for page in pages if (page.final_url, page.status, page.sha256) not in sent]
    return faults("I2", "have another status or body than was sent", wrong)


def again(asked: list[Asked], allowed: Allowed) -> tuple[int, list[str]]:
    """Count what was asked for again, and find what should not have been."""
    often = collections.Counter(one.url for one in asked)
    statuses = {one.url: one.status for one in asked}
    begun_anew = {one.url for one in asked if one.is_begun_anew}
    extra = {url: count - tries(statuses[url], allowed.tried) for url, count in often.items()}
    extra = {url: count for url, count in extra.items() if count > 0}
    total = sum(extra.values())
    if allowed.kills:
        most = allowed.kills * allowed.bound
        said = [f"I4: {total} asked for again, of {allowed.kills} kills times {allowed.bound} at most"]
        return total, said if total > most else []
    return total, faults("I4", "were asked for again and nobody was killed", set(extra) - begun_anew)


def tries(status: int | None, tried: int) -> int:
    return tried if status is None or status >= RETRIED_FROM else 1


def smallest_gap(asked: list[Asked]) -> float | None:
    last: dict[str, int] = {}
    gaps = []
    for one in asked:
        host = urlsplit(one.url).netloc
        if host in last:
            gaps.append((one.at - last[host]) / 1e9)
        last[host] = one.at
    return min(gaps, default=None)


def faults(name: str, what: str, urls: Collection[str]) -> list[str]:
    return [f"{name}: {len(urls)} {what}: {sorted(urls)[:5]}"] if urls else []


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("--list", type=Path, required=True)
    words.add_argument("--log", type=Path, required=True)
    words.add_argument("--output", type=Path, required=True)
    words.add_argument("--kills", type=int, default=0)
    words.add_argument("--bound", type=int, default=0)
    words.add_argument("--gap", type=float, default=0.0)
    words.add_argument("--tried", type=int, default=1)
    words.add_argument("--reachable", type=Path, default=None, help="a list of the pages of a crawl")
    asked = words.parse_args()
    reachable = None if asked.reachable is None else frozenset(asked.reachable.read_text().splitlines())
    allowed = Allowed(kills=asked.kills, bound=asked.bound, gap=asked.gap, tried=asked.tried, reachable=reachable)
    verdict = check(asked.list, asked.log, asked.output, allowed)
    print(json.dumps(dataclasses.asdict(verdict), indent=2))
    raise SystemExit(1 if verdict.faults else 0)


if __name__ == "__main__":
    main()
