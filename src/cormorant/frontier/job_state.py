"""How a job stands, read from its journal while nobody runs it; and which of its ends are to be tried again."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from cormorant import urls
from cormorant.frontier.job_ends import HTTP_ERROR, OK, OPEN, SERVICE, code_named, tally_of
from cormorant.frontier.job_lists import ListFacts, Position
from cormorant.frontier.job_rows import LINE, stored
from cormorant.frontier.job_store import Store
from cormorant.messages import Kind

OUTCOMES = "outcomes"  # the counters that count outcomes: ok, http_errors, failed (by kind)
SECONDS = "seconds"  # of all runs of the job, added up
MAILED, HEARD = "mailed", "heard"  # of a shard of a fleet: items handed over and taken, by the other shard
MOST_HOSTS = 10


class HostState(msgspec.Struct, frozen=True, kw_only=True):
    """How one host stands; `failed` are outcomes that are no page below 400, and part of `done`."""

    host: str
    done: int
    failed: int
    left: int


class State(msgspec.Struct, frozen=True, kw_only=True):
    """How a job stands: outcomes by their end, what is left of what was found, the hosts with most of it.

    `done` are outcomes committed. `list_share` is how much of the input's bytes was read, by which `unread` lines are
    left (None: not known, as of what is compressed). `hosts` is empty while the job runs. `on_the_way`: of a shard
    of a fleet, what it has handed over less what it was handed; of the whole, what nobody has taken: it is left, too.
    """

    done: int
    ok: int
    http_errors: int
    failed: dict[str, int]
    left: int
    seconds: float = 0.0
    hosts: tuple[HostState, ...] = ()
    running: str | None = None
    is_list_read: bool = False
    list_share: float | None = None
    unread: int | None = None
    on_the_way: int = 0

    @property
    def rate(self) -> float | None:
        """Outcomes a second over all runs, or None where none ran long enough."""
        return self.done / self.seconds if self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """How long the rest will take at the rate so far, or None where nobody knows."""
        unread = 0 if self.is_list_read else self.unread
        return None if not self.rate or unread is None else (self.left + unread) / self.rate

    def with_shards(self, shards: Sequence[State]) -> State:
        """Return the state of a fleet's job: what its shards hold added up, and the whole's own time and list."""
        if not shards:
            return self
        failed: Counter[str] = Counter()
        for one in shards:
            failed.update(one.failed)
        hosts = sorted((host for one in shards for host in one.hosts), key=lambda host: -host.done - host.left)
        on_the_way = max(0, sum(one.on_the_way for one in shards))
        return msgspec.structs.replace(
            self,
            on_the_way=on_the_way,
            done=sum(one.done for one in shards),
            ok=sum(one.ok for one in shards),
            http_errors=sum(one.http_errors for one in shards),
            failed=dict(failed),
            left=sum(one.left for one in shards) + on_the_way,
            hosts=tuple(hosts[:MOST_HOSTS]),
        )

    def reading(self, facts: Sequence[ListFacts], position: Position, is_read: bool) -> State:
        """Return the state with how far the input was read."""
        total = sum(one.bytes for one in facts)
        read = sum(one.bytes for one in facts[: position.source]) + position.offset
        share = read / total if read and total else None
        if is_read and not position.is_broken:
            return msgspec.structs.replace(self, is_list_read=True, list_share=1.0, unread=0)
        unread = None if share is None else round(position.handed / share) - position.handed
        return msgspec.structs.replace(self, list_share=share, unread=unread)


def state_of(tally: Mapping[str, int], left: int, seconds: float, hosts: tuple[HostState, ...] = ()) -> State:
    """Return the state that a tally of ends comes to."""
    apart = (OK, HTTP_ERROR, SERVICE)
    failed = {name: count for name, count in tally.items() if name not in apart}
    ok, http_errors = tally.get(OK, 0), tally.get(HTTP_ERROR, 0)
    done = ok + http_errors + sum(failed.values())
    return State(done=done, ok=ok, http_errors=http_errors, failed=failed, left=left, seconds=seconds, hosts=hosts)


def read_state(store: Store) -> State:
    """Read the state of a job. Looks at every row: a second or two a million."""
    ended = store.ended()
    done: Counter[str] = Counter()
    good: Counter[str] = Counter()
    left: Counter[str] = Counter()
    open_rows, well = 0, code_named(OK)
    for row, url, key, _, _ in stored(store):
        if url is None:
            continue
        open_rows += ended[row] == OPEN
        if key == LINE or not isinstance(url, str):
            continue
        host = urls.origin(url)
        if ended[row] == OPEN:
            left[host] += 1
        elif ended[row] != code_named(SERVICE):
            done[host] += 1
            good[host] += ended[row] == well
    largest = (done + left).most_common(MOST_HOSTS)
    hosts = tuple(
        HostState(host=host, done=done[host], failed=done[host] - good[host], left=left[host]) for host, _ in largest
    )
    state = state_of(tally_of(ended), open_rows, store.value(SECONDS, 0.0), hosts)
    on_the_way = sum(store.value(MAILED, {}).values()) - sum(store.value(HEARD, {}).values())
    return msgspec.structs.replace(state, on_the_way=on_the_way)


def reopen(store: Store, names: Collection[str]) -> Counter[str]:
    """Let the rows that ended so wait again, and take them out of the counters; returns how many, by end."""
    codes = {code_named(name): name for name in names}
    ended = store.ended()
    rows = array("Q", (row << 8 | OPEN for row, code in enumerate(ended) if code in codes and row))
    count = Counter(codes[ended[row >> 8]] for row in rows)
    with store.transaction():
        store.put_ended(rows)
        # What they were redirected to is theirs no more: made again, they must find it new.
        store.db.executemany("DELETE FROM url WHERE owner = ?", ((row >> 8,) for row in rows))
        outcomes = store.value(OUTCOMES)
        if outcomes is not None:
            store.put({OUTCOMES: _without(outcomes, count)})
    return count


def _without(outcomes: dict[str, Any], count: Counter[str]) -> dict[str, Any]:
    """Return the counters (`tally.Tally`) without the outcomes that are taken back: always all of their kind."""
    less = dict(outcomes)
    failed = Counter(less.get("failed", {}))
    for name, many in count.items():
        if name == HTTP_ERROR:
            less["http_errors"] = less.get("http_errors", 0) - many
            less["statuses"] = {code: n for code, n in less.get("statuses", {}).items() if int(code) < 400}
        else:
            failed[name] -= many
    less["failed"] = {name: many for name, many in failed.items() if many > 0}
    if not less["failed"].get(Kind.BLOCKED.value):
        less["by_robots"] = 0
    return less
