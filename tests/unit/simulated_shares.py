"""Shards with real schedulers and journals, whose mail is carried by hand, over a random site; they die as told."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from simulated import Web, leading, page
from test_scheduler_crawl import policies

from cormorant.fleet.mail import batch
from cormorant.fleet.shards import Split
from cormorant.fleet.share import destination
from cormorant.frontier.job_store import Store
from cormorant.frontier.journal import Journal
from cormorant.interfaces import Committed, Part
from cormorant.messages import HandedOver, Harvest, Lead, LineOver, Outcome, Purpose, Request
from cormorant.policies.following import Following
from cormorant.policies.scope import Scope
from cormorant.scheduler.discovery import Discovery
from cormorant.scheduler.fetch import FetchScheduler

KEPT = Committed((Part("out.jsonl", 100, False),))
OUTSIDE = "http://stranger.example/"
Line = tuple[str, int]


class Share:
    """One shard: a scheduler over a journal of its own, its mail, and the ways its worker can die."""

    def __init__(self, number: int, world: World, folder: Path, lines: list[Line]) -> None:
        self.number, self._world, self._folder = number, world, folder
        self.mail: list[HandedOver] = []
        self.ends: list[Outcome] = []
        self._asked: list[Request] = []
        self._open(lines, {}, is_first=True)

    def _open(self, lines: Iterable[Line], counters: dict[str, Any], is_first: bool = False) -> None:
        self._store = Store(self._folder)
        self.journal = Journal(self._store)
        discovery = None
        if self._world.scope is not None:
            following = Following(sitemaps=self._world.reads_sitemaps)
            discovery = Discovery(self._world.scope, following, self.journal, (), 30.0, self)
        draw = random.Random(1).random
        by = self._world.split.by if self._world.split.by == "address" else "host"
        rules = policies(jitter=0.0, by=by)
        self.plan = FetchScheduler(iter(lines), self.journal, rules, discovery, draw, self)
        self.plan.go_on(self.journal, counters, 0.0, 0.0, is_first)
        self.web = Web(self.plan, self._world.answer)

    def owns(self, url: str) -> bool:
        return self._world.split.of(url) == self.number

    def owns_address(self, address: str) -> bool:
        return self._world.split.of_address(address) == self.number

    def hand_over(self, item: HandedOver) -> None:
        self.mail.append(item)

    def run(self) -> None:
        """Go on until nothing is left to do here."""
        self.web.run()

    def commit(self, is_synced: bool = True) -> list[HandedOver]:
        """Commit; with the outcomes so far only if the output `is_synced`. Returns the mail that may go."""
        if is_synced:
            self.ends += self.web.ends
            self.journal.commit(len(self.web.ends), KEPT)
            self.web.ends = []
        else:
            self.journal.commit(0, None)
        mail, self.mail = self.mail, []
        return mail

    @property
    def asked(self) -> list[Request]:
        """What was asked of hosts, in all its lives."""
        return [*self._asked, *(request for *_, request in self.web.books)]

    def die(self) -> None:
        """Lose what is not committed, and begin again; all lines were read."""
        counters = self.plan.counters()
        self._asked = self.asked
        self.close()
        self.mail = []
        self._open([], counters)

    def close(self) -> None:
        self._store.close()


class World:
    """A list or a crawl cut into shards, over a site. `scope` None: a list."""

    def __init__(
        self,
        folder: Path,
        texts: list[str],
        answer: Any,
        shards: int,
        scope: Scope | None,
        sitemaps: bool = False,
        split: str = "domain",
    ) -> None:
        self.answer, self.scope, self.reads_sitemaps = answer, scope, sitemaps
        self.split = Split(split, shards)
        lines: list[list[Line]] = [[] for _ in range(shards)]
        for number, text in enumerate(texts, 1):
            lines[self.split.of_line(text)].append((text, number))
        self.shares = []
        for number, own in enumerate(lines):
            (folder / str(number)).mkdir()
            self.shares.append(Share(number, self, folder / str(number), own))

    def deliver(self, mail: list[HandedOver]) -> None:
        """Bring mail to its shards, over the wire."""
        for item in mail:
            dest = destination(item, self.split)
            for arrived in batch(0, dest, 0, [item]):
                assert not isinstance(arrived, LineOver)
                self.shares[dest].plan.take_in(arrived)

    def run(self, deaths: Iterable[str] = ()) -> list[Outcome]:
        """Run all shards in turn until no mail is left. `deaths` say what befalls each round of a shard, in turn."""
        fates = iter(deaths)
        while True:
            mail = []
            for share in self.shares:
                share.run()
                fate = next(fates, "")
                mail += share.commit(is_synced=fate != "not synced")
                if fate:
                    share.die()
            for share in self.shares:  # those that begin again do so before they get mail: they read their seeds
                share.run()
            if not mail and not any(share.mail or share.web.ends or len(share.journal) for share in self.shares):
                return [outcome for share in self.shares for outcome in share.ends]
            self.deliver(mail)

    def total(self, name: str) -> Any:
        """Add a counter up."""
        values = [getattr(share.plan, name) for share in self.shares]
        return sum(values[1:], values[0])

    def close(self) -> None:
        for share in self.shares:
            assert not share.journal.left, "something is open in a journal at the end"
            share.close()


def seen(outcomes: Iterable[Outcome]) -> Counter[Any]:
    """Return what does not depend on the order in which things were found."""
    return Counter(
        (one.input, one.line, one.url, one.final_url, one.status, getattr(one, "kind", None), hops(one))
        for one in outcomes
    )


def hops(outcome: Outcome) -> tuple[str, ...]:
    return tuple(hop.url for hop in outcome.redirects)


class Site:
    """A random site of hosts in many domains, whose outcomes do not depend on the order in which it is fetched.

    `p` are pages that link anywhere. `r` are redirects in chains over any hosts; a chain ends at a page of its own, at
    a seed, outside, in a loop, or at its head. Only heads are linked to. Sitemaps name pages, and further sitemaps.
    """

    def __init__(self, draw: random.Random, hosts: int, size: int) -> None:
        self.seeds = [f"http://h{number}.example/" for number in range(hosts)]
        self._hosts = [*self.seeds, *(f"http://www.h{number}.example/" for number in range(hosts))]
        self.links: dict[str, list[str]] = {}
        self.moved: dict[str, str] = {}
        pages = [f"{draw.choice(self._hosts)}p{number}" for number in range(size)]
        heads = [self._chain(draw, number) for number in range(size // 2)]
        every = [*pages, *heads, *self.seeds, f"{OUTSIDE}x", f"{OUTSIDE}y"]
        for url in [*self.seeds, *pages, *(one for one in self.moved.values() if "/leaf" in one)]:
            self.links[url] = draw.choices(every, k=draw.randrange(5))
        self.sitemaps = {f"{seed}sitemap.xml": self._sitemap(draw, pages) for seed in self.seeds}
        self.sitemaps |= {f"{seed}more.xml": ([f"{draw.choice(self._hosts)}only-there"], []) for seed in self.seeds}

    def _chain(self, draw: random.Random, number: int) -> str:
        chain = [f"{draw.choice(self._hosts)}r{number}-{hop}" for hop in range(draw.randint(1, 4))]
        ends = [
            f"{draw.choice(self._hosts)}leaf{number}",
            draw.choice(self.seeds),
            f"{OUTSIDE}{number}",
            chain[0],
            chain[-1],
        ]
        for url, target in zip(chain, [*chain[1:], draw.choice(ends)], strict=True):
            self.moved[url] = target
        return chain[0]

    def _sitemap(self, draw: random.Random, pages: list[str]) -> tuple[list[str], list[str]]:
        return draw.choices(pages, k=draw.randrange(3)), [f"{one}more.xml" for one in draw.choices(self.seeds, k=2)]

    def answer(self, request: Request) -> Any:
        """Answer as the site."""
        url = request.target
        if url in self.moved:
            return page(request, 302, location=self.moved[url])
        if request.purpose is Purpose.SITEMAP:
            pages, more = self.sitemaps.get(url, ([], []))
            leads = tuple(Lead(url=one) for one in pages)
            return Harvest(outcome=page(request), leads=leads, sitemaps=tuple(more))
        return leading(request, *self.links.get(url, []))
