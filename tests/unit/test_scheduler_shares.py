"""Schedulers that hand over to each other give what one alone gives: redirects, links, sitemaps, also after deaths."""

from __future__ import annotations

import random
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import broken, leading, page
from simulated_shares import Share, Site, World, hops, seen

from cormorant import urls
from cormorant.fleet.shards import Split
from cormorant.messages import HopOver, Kind, Purpose, Request
from cormorant.policies.scope import Scope

FATES = st.lists(st.sampled_from(("", "", "killed", "not synced")), max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    shards=st.integers(2, 4),
    reach=st.sampled_from(("any", "domain")),
    sitemaps=st.booleans(),
    fates=FATES,
)
def test_a_crawl_in_shares_is_the_crawl_of_one(
    seed: int, shards: int, reach: str, sitemaps: bool, fates: list[str]
) -> None:
    assert_all_find_the_same(Site(random.Random(seed), hosts=5, size=14), shards, Scope(reach=reach), sitemaps, fates)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32), shards=st.integers(2, 4), depth=st.integers(1, 4), fates=FATES)
def test_a_crawl_in_shares_goes_as_far_as_the_crawl_of_one(
    seed: int, shards: int, depth: int, fates: list[str]
) -> None:
    """A way within a shard is not found before a shorter one over others. Redirects cost a hop more between shards."""
    site = Site(random.Random(seed), hosts=5, size=14)
    site.moved.clear()
    assert_all_find_the_same(site, shards, Scope(reach="any", depth=depth), False, fates)


def test_what_is_too_deep_is_left_out_where_it_is_found(tmp_path: Path) -> None:
    site = Site(random.Random(3), hosts=5, size=14)
    found = [link for seed in site.seeds for link in site.links[seed] if link not in site.seeds]
    for depth in (0, 1):
        (tmp_path / str(depth)).mkdir()
        world = World(tmp_path / str(depth), site.seeds, site.answer, 1, Scope(reach="any", depth=depth))
        (share,) = world.shares
        share.run()
        assert len(share.mail) == (len(found) if depth else 0)
        assert world.total("left_out")["depth"] == (0 if depth else len({*found}))
        world.deliver(share.commit())
        world.run()
        world.close()


def assert_all_find_the_same(site: Site, shards: int, scope: Scope, sitemaps: bool, fates: list[str]) -> None:
    """Fail unless one share, several, and several that die, have equal outcomes and books."""
    found = {}
    for name, number, deaths in (("one", 1, []), ("many", shards, []), ("dying", shards, fates)):
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder), site.seeds, site.answer, number, scope, sitemaps)
            outcomes = world.run(deaths)
            found[name] = seen(outcomes), world.total("left_out"), world.total("offered")
            world.close()
    assert found["many"] == found["one"]
    assert found["dying"] == found["one"]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 32), shards=st.integers(2, 4), fates=FATES)
def test_a_list_in_shares_is_the_list_of_one(seed: int, shards: int, fates: list[str]) -> None:
    site = Site(random.Random(seed), hosts=5, size=14)
    texts = [*site.moved, *site.links, "http://", "http://[::1"]
    found = []
    for number, deaths in ((1, []), (shards, fates)):
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder), texts, site.answer, number, None)
            found.append(seen(world.run(deaths)))
            world.close()
    assert found[0] == found[1]
    assert sum(found[0].values()) == len(texts)


# --- by address ---

ADDRESSES = 3
LITERALS = [
    "http://10.0.0.1/",
    "http://10.0.0.9:81/",
    "http://[2001:db8::1]/",
    "http://localhost/",
    "http://x.localhost/",
]


def address_of(url: str) -> str | None:
    """Return where a name lies; some have no address. One address is spelled in a URL, too."""
    number = zlib.crc32(urls.origin(url).encode()) % (ADDRESSES + 1)
    return urls.address_in(urls.origin(url)) or (f"10.0.0.{number}" if number < ADDRESSES else None)


def resolving(answer: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """Answer as a site whose names are looked up."""

    def looked_up(request: Request) -> Any:
        if request.purpose is not Purpose.ADDRESS:
            return answer(request)
        address = address_of(request.target)
        if address is None:
            return broken(request, Kind.DNS, "no such name")
        return msgspec.structs.replace(page(request), ip=address)

    return looked_up


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 32), shards=st.integers(2, 4), fates=FATES)
def test_a_list_in_shares_by_address_is_the_list_of_one(seed: int, shards: int, fates: list[str]) -> None:
    site = Site(random.Random(seed), hosts=5, size=14)
    texts = [*site.moved, *site.links, *LITERALS, "http://"]
    found = []
    for number, deaths in ((1, []), (shards, []), (shards, fates)):
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder), texts, resolving(site.answer), number, None, split="address")
            found.append((seen(world.run(deaths)), world.total("redirected"), world.total("offered")))
            asked = {
                (address_of(request.target), share.number)
                for share in world.shares
                for request in share.asked
                if is_page(request) and address_of(request.target) is not None
            }
            world.close()
        assert max(Counter(address for address, _ in asked).values()) == 1, "an address was asked by two shares"
    assert found[0][0] == found[1][0] == found[2][0]
    assert found[0][1:] == found[1][1:]
    assert sum(found[0][0].values()) == len(texts)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 32), shards=st.integers(2, 4))
def test_a_name_that_is_elsewhere_each_time_it_is_looked_up_is_looked_up_once(seed: int, shards: int) -> None:
    draw = random.Random(seed)
    site = Site(draw, hosts=5, size=14)

    def answer(request: Request) -> Any:
        if request.purpose is Purpose.ADDRESS:
            return msgspec.structs.replace(page(request), ip=f"10.0.0.{draw.randrange(50)}")
        return site.answer(request)

    texts = [*site.moved, *site.links]
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), texts, answer, shards, None, split="address")
        assert len(world.run()) == len(texts)
        asked = Counter((urls.origin(one.target), one.purpose) for share in world.shares for one in share.asked)
        by = {(urls.origin(one.target), share.number) for share in world.shares for one in share.asked if is_page(one)}
        world.close()
    assert {count for (_, purpose), count in asked.items() if purpose is Purpose.ADDRESS} == {1}
    assert max(Counter(origin for origin, _ in by).values()) == 1


def is_page(request: Request) -> bool:
    return request.purpose is Purpose.PAGE


def test_a_host_is_looked_up_once_and_its_pages_are_passed_on(tmp_path: Path) -> None:
    name = next(url for url in map("http://n{}.example/".format, range(9)) if address_of(url) is not None)
    texts = [f"{name}{number}" for number in range(20)]
    for shards in range(2, 9):  # until the address is another shard's than the name
        (tmp_path / str(shards)).mkdir()
        world = World(tmp_path / str(shards), texts, resolving(leading), shards, None, split="address")
        sender, receiver = world.split.of(name), world.split.of_address(str(address_of(name)))
        assert len(world.run()) == 20
        world.close()
        if sender != receiver:
            assert [request.purpose for request in world.shares[sender].asked] == [Purpose.ADDRESS]
            assert [request.purpose for request in world.shares[receiver].asked] == [Purpose.PAGE] * 20
            return
    raise AssertionError("never apart")


# --- guests, one by one ---

A, B = "http://a.example/", "http://b.example/"
assert Split("domain", 2).of(A) != Split("domain", 2).of(B)


def moving(**moved: str) -> Any:
    """Answer with redirects by path, and pages."""

    def answer(request: Request) -> Any:
        target = moved.get(request.target.rpartition("/")[2])
        return leading(request) if target is None else page(request, 302, location=target)

    return answer


def joined(folder: Path, texts: list[str], answer: Any, scope: Scope | None) -> tuple[World, Share, Share]:
    """Return a world of two shards, and the owners of `A` and `B`."""
    world = World(folder, texts, answer, 2, scope)
    return world, world.shares[world.split.of(A)], world.shares[world.split.of(B)]


@pytest.mark.parametrize(
    ("texts", "moved", "kind"),
    [
        ([f"{A}x", B], {"x": B}, None),  # to what is seen: the redirect is the outcome
        ([f"{A}x", B], {"x": f"{B}y"}, Kind.BLOCKED),  # a seed leads to a stranger
    ],
)
def test_a_guest_that_ends_at_once_comes_once_whenever_its_worker_dies(
    tmp_path: Path, texts: list[str], moved: dict[str, str], kind: Kind | None
) -> None:
    scope = Scope(reach="any" if kind is None else "prefix")
    if kind is not None:
        texts = [f"{A}x", f"{B}only/"]
    world, sender, receiver = joined(tmp_path, texts, moving(**moved), scope)
    receiver.run()
    receiver.commit()
    sender.run()
    assert sender.web.ends == []
    mail = sender.commit()
    assert isinstance(mail[0], HopOver)

    world.deliver(mail)
    receiver.die()  # nothing was committed, the receipt neither: the mail comes again
    assert receiver.plan.outcomes() == []
    world.deliver(mail)
    receiver.commit(is_synced=False)  # the receipt is committed, the outcome not
    receiver.die()
    (before,) = receiver.plan.outcomes()
    receiver.die()
    receiver.run()
    (outcome,) = receiver.web.ends
    assert outcome == before
    assert (outcome.url, outcome.line, getattr(outcome, "kind", None)) == (f"{A}x", 1, kind)
    assert outcome.status == 302
    receiver.commit()
    receiver.die()
    receiver.run()
    assert receiver.web.ends == []
    assert len(receiver.ends) == 2  # its own seed, and the guest
    world.close()


def test_a_guest_goes_on_as_it_came_after_a_death(tmp_path: Path) -> None:
    world, sender, receiver = joined(tmp_path, [f"{A}x"], moving(x=f"{B}y"), None)
    receiver.run()
    sender.run()
    world.deliver(sender.commit())
    receiver.commit()
    receiver.die()
    assert receiver.journal.hosts() == [B.rstrip("/")]  # it waits for the host that it is to be asked of
    receiver.run()
    (outcome,) = receiver.web.ends
    assert (outcome.url, outcome.final_url, outcome.line, hops(outcome)) == (f"{A}x", f"{B}y", 1, (f"{A}x",))
    receiver.commit()
    assert (sender.plan.redirected, receiver.plan.redirected) == (0, 1)  # counted where it is made
    world.close()


def test_what_a_redirect_has_led_away_is_not_fetched_again_by_its_sender(tmp_path: Path) -> None:
    world, sender, _ = joined(tmp_path, [f"{A}x"], moving(x=f"{B}y"), None)
    sender.run()
    assert len(sender.commit(is_synced=False)) == 1
    sender.die()
    sender.run()
    assert sender.mail == []
    assert sender.web.books == []
    assert sender.journal.left == 0
    sender.close()
    world.shares[world.split.of(B)].close()


def test_a_redirect_that_bounces_between_two_shares_comes_home(tmp_path: Path) -> None:
    answer = moving(x=f"{B}1", **{"1": f"{A}2", "2": f"{B}3", "3": f"{A}end"})
    world, *_ = joined(tmp_path, [f"{A}x"], answer, None)
    (outcome,) = world.run(["killed"] * 8)
    assert hops(outcome) == (f"{A}x", f"{B}1", f"{A}2", f"{B}3")
    assert outcome.final_url == f"{A}end"
    world.close()


def test_a_link_handed_over_twice_is_fetched_once(tmp_path: Path) -> None:
    def answer(request: Request) -> Any:
        return leading(request, f"{B}page") if request.target.startswith(A) else leading(request)

    world, *_ = joined(tmp_path, [f"{A}1", f"{A}2"], answer, Scope(reach="any"))
    outcomes = world.run(["not synced"] * 4)
    assert Counter(one.url for one in outcomes) == {f"{A}1": 1, f"{A}2": 1, f"{B}page": 1}
    (found,) = [one.found for one in outcomes if one.url == f"{B}page"]
    assert found is not None
    assert found.depth == 1
    assert found.source.startswith(A)
    world.close()
