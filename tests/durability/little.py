"""A run of a few lines around a real job: a made-up web, a real JSON Lines file, a log of what was fetched.

    python little.py FOLDER [--lazy] [--seed N] [--pages N] [--size N]

It does what the worker will do, in the same order: take, settle, write, sync, commit. It is killed in
`test_kills.py`, over and over; started again it goes on. The web is a function of the number in the URL.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cormorant import urls
from cormorant.errors import BadURL, CormorantError
from cormorant.frontier.job_lists import Position
from cormorant.frontier.journal import Journal
from cormorant.interfaces import Committed, Part
from cormorant.jobs import Job
from cormorant.messages import Failure, Found, Kind, Outcome, Page, Purpose, Redirect, Request
from cormorant.scheduler.requests import bad_line, first_request

WIDTH = 8
COMMIT_EVERY = 10  # outcomes
HOSTS = 7
LAZY_SYNCS = 3  # of a sink that is lazy, every third sync covers what was written


# --- the web ---


def url(number: int) -> str:
    return f"https://h{number % HOSTS}.example/{number}"


def number_in(text: str) -> int:
    return int(text.rpartition("/")[2])


def links(number: int, size: int) -> list[int]:
    """Every page is reached from 0; some links point back, some to pages that redirect."""
    return [n for n in (2 * number + 1, 2 * number + 2, number // 3, number + 1) if n < size]


def redirects_to(number: int, size: int) -> int | None:
    return (number * 5 + 3) % size if number % 6 == 5 else None


def fails(number: int) -> bool:
    return number % 13 == 7


# --- what the sink has written ---


class LittleSink:
    """Appends lines; cut back to its committed length when it is opened. Lazy: keeps them until a later sync."""

    def __init__(self, path: Path, resume: Committed, lazy: bool) -> None:
        committed = resume.parts[0].length if resume.parts else 0
        self.path, self.lazy, self.syncs = path, lazy, 0
        self.lines: list[bytes] = []
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        if os.fstat(self.descriptor).st_size < committed:
            raise SystemExit(f"LOST: {path} has fewer bytes than were committed")
        os.ftruncate(self.descriptor, committed)
        self.length = committed

    def write(self, outcome: Outcome) -> None:
        record = {"url": outcome.url, "final_url": outcome.final_url, "line": outcome.line, "input": outcome.input}
        record |= {"kind": outcome.kind, "status": outcome.status, "hops": [hop.url for hop in outcome.redirects]}
        self.lines.append(json.dumps(record).encode() + b"\n")

    def sync(self) -> Committed | None:
        self.syncs += 1
        if self.lazy and self.syncs % LAZY_SYNCS:
            return None
        data = b"".join(self.lines)
        self.lines.clear()
        for half in (data[: len(data) // 2], data[len(data) // 2 :]):  # so that a kill tears a line
            if os.write(self.descriptor, half) < len(half):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.length += len(data)
        os.fsync(self.descriptor)
        return Committed((Part(self.path.name, self.length, False),))


# --- the run ---


class LittleRun:
    """A crawl of the made-up web (`size` pages), seeded by a list. `alive` is called at each step, and may raise."""

    def __init__(self, folder: Path, *, size: int, seed: int, lazy: bool) -> None:
        self.folder, self.size, self.lazy = folder, size, lazy
        self.draw = random.Random(seed)
        self.job = Job.open(folder / "job", {"command": "little", "input": "urls.txt"}, [str(folder / "urls.txt")])
        self.frontier: Journal = self.job.frontier((), 30.0)
        self.sink = LittleSink(folder / "out.jsonl", self.job.committed or self.job.begin_output(), lazy)
        self.log = os.open(folder / "server.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.position = self.job.position
        self.entries = self.lines()
        self.hosts = set(self.frontier.hosts())
        self.flying: list[Request] = []
        self.ended: list[Outcome] = []
        self.written = 0
        self.offered = self.job.counters("scheduler").get("offered", 0)
        self.outcomes = self.job.counters("outcomes").get("ok", 0)
        for text, line in self.frontier.lines_again():
            self.offered -= 1
            self.offer(text, line)

    def lines(self) -> Iterator[tuple[str, int]]:
        raw = (self.folder / "urls.txt").read_bytes().splitlines()
        for number, line in enumerate(raw, 1):
            if number > self.position.line:
                yield line.decode("utf-8", "surrogateescape"), number

    def offer(self, text: str, line: int | None) -> None:
        self.offered += 1
        try:
            request = first_request(text, line, (), 30.0)
        except BadURL as error:
            self.frontier.settle_line(text, line)
            self.ended.append(bad_line(text, line, str(error)))
            return
        if self.frontier.is_new(urls.canonical(request.url)):
            self.queue(msgspec.structs.replace(request, found=Found()))

    def queue(self, request: Request, first: bool = False) -> None:
        host = urls.origin(request.target)
        self.frontier.add(host, request, first)
        self.hosts.add(host)

    def start(self) -> bool:
        while self.hosts:
            host = self.draw.choice(sorted(self.hosts))
            if self.frontier.has(host):
                self.flying.append(self.frontier.take(host))
                return True
            self.hosts.remove(host)
        entry = next(self.entries, None)
        if entry is None:
            return False
        self.offer(*entry)
        self.position = Position(line=entry[1])
        return True

    def land(self) -> None:
        """Bring one request home, any of those under way."""
        request = self.flying.pop(self.draw.randrange(len(self.flying)))
        os.write(self.log, b"%d %s\n" % (time.monotonic_ns(), request.target.encode()))
        number = number_in(request.target)
        if request.purpose is Purpose.SITEMAP:
            self.frontier.settle(request, None)
            self.follow(number)
            return
        if number % 10 == 4 and request.attempts == 1:
            self.queue(msgspec.structs.replace(request, attempts=2), first=True)  # a retry
            return
        target = redirects_to(number, self.size)
        if target is not None and self.redirect(request, target):
            return
        self.end(request, target)

    def redirect(self, request: Request, target: int) -> bool:
        if not self.frontier.is_new(url(target), by=request):
            return False
        hops = (*request.redirects, Redirect(url=request.target, status=301, seconds=0.0))
        self.queue(msgspec.structs.replace(request, target=url(target), redirects=hops), first=True)
        return True

    def end(self, request: Request, target: int | None) -> None:
        number = number_in(request.target)
        known: dict[str, object] = {"url": request.url, "final_url": request.target, "line": request.line}
        known |= {"input": request.input, "redirects": request.redirects}
        outcome: Outcome
        if fails(number):
            outcome = Failure(kind=Kind.TIMEOUT, message="late", **known)  # type: ignore[arg-type]
        else:
            outcome = Page(status=200 if target is None else 301, **known)  # type: ignore[arg-type]
        self.frontier.settle(request, outcome)
        self.ended.append(outcome)
        if isinstance(outcome, Page) and target is None:
            self.follow(number)
            if number % 20 == 2 and self.frontier.is_new(f"sitemap {url(number)}"):
                self.queue(Request(url=url(number), target=url(number), purpose=Purpose.SITEMAP))

    def follow(self, number: int) -> None:
        for link in links(number, self.size):
            if self.frontier.is_new(url(link)):
                self.queue(Request(url=url(link), target=url(link), input=url(link), found=Found(depth=number % 5)))

    def hand_over(self) -> None:
        for outcome in self.ended:
            self.sink.write(outcome)
            self.written += 1
        self.ended.clear()

    def commit(self) -> None:
        committed = self.sink.sync()
        counters: dict[str, object] = {"scheduler": {"offered": self.offered}}
        if committed is None:
            self.job.commit(0, None, self.position, counters)
            return
        self.outcomes += self.written
        self.job.commit(self.written, committed, self.position, counters | {"outcomes": {"ok": self.outcomes}})
        self.written = 0

    def go(self) -> Iterator[None]:
        """Run to the end; yields at every step."""
        busy = True
        while busy or self.flying or len(self.frontier):
            busy = len(self.flying) < WIDTH and self.start()
            if self.flying and (not busy or self.draw.random() < 0.5):
                self.land()
            yield
            if len(self.ended) + self.written >= COMMIT_EVERY:
                self.hand_over()
                yield
                self.commit()
        self.hand_over()
        self.sink.lazy = False
        self.commit()

    def close(self) -> None:
        os.close(self.sink.descriptor)
        os.close(self.log)
        self.job.close()


def reachable(size: int, seeds: list[int]) -> set[int]:
    """Return every page that a run must have met: by a link, as a seed, or as where a redirect leads."""
    met, todo = set(seeds), list(seeds)
    while todo:
        number = todo.pop()
        target = redirects_to(number, size)
        onward = [target] if target is not None else [] if fails(number) else links(number, size)
        for link in onward:
            if link not in met:
                met.add(link)
                todo.append(link)
    return met


def write_list(folder: Path, size: int) -> list[int]:
    """Write a list with duplicates and lines that are no URLs; returns the seeds."""
    seeds = [0, 1, 0, size - 1, size // 2, 1]
    lines = [url(seed).encode() for seed in seeds]
    lines[2:2] = [b"no url", b"b\xfcrgeramt \xff"]
    (folder / "urls.txt").write_bytes(b"\n".join(lines) + b"\n")
    return seeds


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("folder", type=Path)
    words.add_argument("--size", type=int, default=200)
    words.add_argument("--seed", type=int, default=None)
    words.add_argument("--lazy", action="store_true")
    asked = words.parse_args()
    try:
        run = LittleRun(asked.folder, size=asked.size, seed=asked.seed or os.getpid(), lazy=asked.lazy)
        for _ in run.go():
            pass
        run.close()
    except (CormorantError, OSError) as error:  # of the sink, which is none of ours
        print(f"little: {error}", file=sys.stderr)
        raise SystemExit(4) from None


if __name__ == "__main__":
    main()
