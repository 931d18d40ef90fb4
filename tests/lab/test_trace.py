"""The trace: what each engine really does, heard on a real server; nothing invented, nothing left behind."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pycurl
import pytest

from cormorant import engines
from cormorant.lab.trace import picture
from cormorant.lab.trace.chrome import JOB_TRACK, chrome
from cormorant.lab.trace.events import Event, Job, Trace, What
from cormorant.lab.trace.notes import Notes
from cormorant.lab.trace.phases import Home, computed, phases_of
from cormorant.lab.trace.slices import RUNNING, WIRE, runs, slices
from cormorant.lab.trace.sockets import SHARED
from cormorant.lab.trace.steps import Steps
from cormorant.lab.trace.tracer import PYTHONS_LOOP, Tracer, record
from cormorant.lab.trace.wire import NO_CONNECTION
from cormorant.messages import Timings
from cormorant.options import Options
from cormorant.testing import Reply, Scripted
from cormorant.transport.deadlines import TimedExchange
from cormorant.transport.exchange import _HandedOver

ENGINES = [name for name in engines.names() if engines.missing(name) is None]
LOOPS = [name for name in ENGINES if name in ("greenlet", "gevent", "asyncio")]
SWITCHING = [name for name in ENGINES if name in ("greenlet", "gevent")]
PROCESSES = ("pool", "process")
TIMEOUT = 0.6
CONCURRENCY = 3
PATHS = ("/ok/1", "/hang", "/slow/0.1", "/ok/2", "/redir/1")
MANY = 70
JOBS = len(PATHS) + 1  # the redirect makes one more


@pytest.fixture(scope="module")
def urls(rude) -> list[str]:
    return [rude.url(path, host=f"127.0.0.{number}") for number, path in enumerate(PATHS, 1)]


@pytest.fixture(scope="module")
def trace_of(urls):
    """One trace of the same list for each engine, made when first asked for."""
    traces = {}

    def traced(engine: str) -> Trace:
        if engine not in traces:
            entries = [(url, number) for number, url in enumerate(urls, 1)]
            traces[engine] = record(entries, Options(engine=engine, concurrency=CONCURRENCY, timeout=TIMEOUT))
        return traces[engine]

    return traced


@pytest.fixture(params=ENGINES)
def trace(request, trace_of) -> Trace:
    return trace_of(request.param)


def first(trace: Trace, job: int, *whats: What) -> Event:
    return next(event for event in trace.of(job) if event.what in whats)


def hung(trace: Trace) -> int:
    return next(job.job for job in trace.jobs if job.target.endswith("/hang"))


def test_every_job_has_its_life_in_causal_order(trace: Trace) -> None:
    wire = (What.ASKED, What.ENTERED), (What.DELIVERED, What.LEFT)
    order = ((What.RELEASED,), (What.BEGAN,), *wire, (What.ENDED,), (What.SETTLED,))
    assert len(trace.jobs) == JOBS
    for job in trace.jobs:
        instants = [first(trace, job.job, *whats).at for whats in order]
        assert instants == sorted(instants), job
        counts = Counter(event.what for event in trace.of(job.job))
        assert [counts[what] for what in (What.RELEASED, What.BEGAN, What.ENDED, What.SETTLED)] == [1, 1, 1, 1]
    assert [event.at for event in trace.events] == sorted(event.at for event in trace.events)
    assert trace.events[0].at >= 0
    assert trace.events[-1].at <= trace.seconds


def test_ends_and_hand_overs_are_those_of_the_pages(trace: Trace) -> None:
    ends = {job.target.split("/", 3)[3]: job.end for job in trace.jobs}
    assert ends == {
        "ok/1": "200",
        "hang": "timeout",
        "slow/0.1": "200",
        "ok/2": "200",
        "redir/1": "302",
        "redir/0": "200",
    }
    handed = [event.job for event in trace.events if event.what is What.HANDED_OVER]
    assert len(handed) == len(set(handed)) == len(PATHS)
    (follower,) = (job for job in trace.jobs if job.follows is not None)
    assert follower.target.endswith("/redir/0")
    assert trace.jobs[follower.follows].target.endswith("/redir/1")
    assert follower.job in handed


def test_every_event_says_who_told_of_it(trace: Trace) -> None:
    assert all(event.heard_from for event in trace.events)
    wanted = {"greenlet": "greenlet.settrace", "gevent": "greenlet.settrace", "asyncio": "coroutine.send"}
    heard = {event.heard_from for event in trace.events if event.what in (What.SWITCH_IN, What.SWITCH_OUT)}
    assert heard == ({wanted[trace.engine]} if trace.engine in wanted else set())


def test_it_survives_json(trace: Trace) -> None:
    import msgspec

    assert msgspec.json.decode(trace.json(), type=Trace) == trace


# --- one thread, one loop ---


@pytest.mark.parametrize("engine", LOOPS)
def test_a_job_is_switched_in_only_when_it_is_out(trace_of, engine: str) -> None:
    trace = trace_of(engine)
    for job in trace.jobs:
        switches = [event.what for event in trace.of(job.job) if event.what in (What.SWITCH_IN, What.SWITCH_OUT)]
        assert switches == [What.SWITCH_IN, What.SWITCH_OUT] * 2, job  # into the work, out to wait, in, out
        assert first(trace, job.job, What.SWITCH_IN).at <= first(trace, job.job, What.BEGAN).at


@pytest.mark.parametrize("engine", LOOPS)
def test_a_hung_page_is_never_switched_into_while_it_hangs(trace_of, engine: str) -> None:
    trace = trace_of(engine)
    events = trace.of(hung(trace))
    out = next(event.at for event in events if event.what is What.SWITCH_OUT)
    back = first(trace, hung(trace), What.DELIVERED).at
    assert back - out > TIMEOUT / 2
    between = [event for event in trace.events if out < event.at < back]
    assert not [event for event in between if event.what is What.SWITCH_IN and event.job == hung(trace)]
    assert {event.job for event in between if event.what is What.SWITCH_IN} - {hung(trace)}  # others went on


@pytest.mark.parametrize("engine", LOOPS)
def test_only_one_job_has_the_thread(trace_of, engine: str) -> None:
    trace = trace_of(engine)
    ordered = sorted(runs(trace), key=lambda piece: piece.start)
    assert len(ordered) == 2 * JOBS
    for before, after in itertools.pairwise(ordered):
        assert before.end <= after.start


@pytest.mark.parametrize("engine", SWITCHING)
def test_switches_are_those_that_greenlet_told(rude, monkeypatch, engine: str) -> None:
    """A second pair of eyes: greenlet's hook, wrapped before the tracer sees it."""
    import greenlet

    told = []
    real = greenlet.settrace

    def counting(hook):
        def both(how, ends):
            told.append(how)
            hook(how, ends)

        return real(both if hook is not None else None)

    monkeypatch.setattr(greenlet, "settrace", counting)
    trace = record([(rude.url("/ok/1"), 1), (rude.url("/ok/2"), 2)], Options(engine=engine, concurrency=1))
    kinds = (What.SWITCH_IN, What.SWITCH_OUT, What.SWITCH)
    assert len(told) >= 8
    assert len([event for event in trace.events if event.what in kinds]) == len(told)


@pytest.mark.parametrize("engine", SWITCHING)
def test_each_wait_gives_as_many_sockets_as_are_then_told_to_libcurl(trace_of, engine: str) -> None:
    trace = trace_of(engine)
    loop = [event for event in trace.events if event.what in (What.WAITED, What.READY)]
    followed: list[list[int]] = []
    for event in loop:
        if event.what is What.WAITED:
            followed.append([event.ready or 0, 0])
        else:
            followed[-1][1] += 1
    assert all(ready == told for ready, told in followed)
    assert sum(ready for ready, _ in followed) >= JOBS - 1  # readable once answered


@pytest.mark.parametrize("engine", LOOPS)
def test_the_loop_waits_and_says_how_long(trace_of, engine: str) -> None:
    waits = [event for event in trace_of(engine).events if event.what is What.WAITED]
    assert max(event.seconds or 0.0 for event in waits) > TIMEOUT / 4
    assert {event.heard_from for event in waits} <= {
        "select.epoll",
        "kqueue",
        "libev prepare and check watchers",
        "selectors.EpollSelector",
        "selectors.KqueueSelector",
    }


@pytest.mark.parametrize("engine", LOOPS)
def test_sockets_belong_to_the_job_that_used_them(trace_of, engine: str) -> None:
    """Each job first had its own socket watched, and it was reported ready while the job waited."""
    trace = trace_of(engine)
    for job in trace.jobs:
        wanted = [event for event in trace.of(job.job) if event.what is What.WANTED]
        assert wanted, job
        (descriptor,) = {event.descriptor for event in wanted}
        ready = [event for event in trace.of(job.job) if event.what is What.READY]
        assert ready
        assert {event.descriptor for event in ready} == {descriptor}
        asked, delivered = first(trace, job.job, What.ASKED).at, first(trace, job.job, What.DELIVERED).at
        assert all(asked <= event.at <= delivered for event in (*wanted, *ready))


@pytest.mark.parametrize("engine", LOOPS)
def test_two_connections_of_one_local_port_are_told_apart(rude, monkeypatch, engine: str) -> None:
    """The kernel gives one port to connections of different hosts; here it has to."""
    real = TimedExchange.__init__

    def from_one_port(self, *setup):
        real(self, *setup)
        self.curl.setopt(pycurl.LOCALPORT, port)
        self.curl.setopt(pycurl.OPENSOCKETFUNCTION, lambda _purpose, address: reusing(address))

    def reusing(address):
        made = _HandedOver(address.family, address.socktype, address.protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return made

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setattr(TimedExchange, "__init__", from_one_port)
    urls = [rude.url("/slow/0.1", host="127.0.0.1"), rude.url("/slow/0.05", host="127.0.0.2")]
    trace = record([(url, None) for url in urls], Options(engine=engine, concurrency=2))
    assert [job.end for job in trace.jobs] == ["200", "200"]
    assert {hit.port for hit in rude.log()[-2:]} == {port}
    sockets = [{event.descriptor for event in trace.of(job)} - {None} for job in (0, 1)]
    assert [len(each) for each in sockets] == [1, 1]
    assert sockets[0] != sockets[1]


@pytest.mark.parametrize("engine", LOOPS)
def test_a_connection_with_several_pages_at_once_is_nobodys_and_a_note_says_so(rude, monkeypatch, engine: str) -> None:
    real = TimedExchange.__init__

    def on_one_connection(self, *setup):
        real(self, *setup)
        self.curl.setopt(pycurl.PIPEWAIT, 1)

    monkeypatch.setattr(TimedExchange, "__init__", on_one_connection)
    urls = [rude.https_url(path, tls="h2") for path in ("/ok/1", "/slow/0.1", "/slow/0.15", "/slow/0.1?2", "/ok/2")]
    options = Options(engine=engine, concurrency=3, insecure=True, per_host=0)
    trace = record([(url, None) for url in urls], options)
    assert [job.end for job in trace.jobs] == ["200"] * len(urls)
    ready = [event for event in trace.events if event.what is What.READY and NO_CONNECTION not in event.detail]
    assert [event for event in ready if event.job is None]
    assert SHARED in trace.notes
    for number in (1, 2, 3):
        asked, back = first(trace, number, What.ASKED).at, first(trace, number, What.DELIVERED).at
        mine = [event for event in ready if event.job == number]
        assert all(asked <= event.at <= back for event in mine)
    alone = record([(url, None) for url in urls], dataclasses.replace(options, concurrency=1))
    assert SHARED not in alone.notes
    ready = [event for event in alone.events if event.what is What.READY and NO_CONNECTION not in event.detail]
    assert {1, 2, 3} <= {event.job for event in ready}  # a quick one may be there before the loop looks


@pytest.mark.parametrize("engine", LOOPS)
def test_what_the_transport_wants_is_not_said_to_be_libcurls(rude, trace_of, engine: str) -> None:
    """Our own deadlines and the resolver's bell go through the same loop."""
    sources = trace_of(engine).sources()
    assert (sources[What.TIMER], sources[What.WANTED]) == (["Loop.wake_in"], ["Loop.watch"])
    named = record([(rude.url("/ok", host="localhost.localdomain"), None)], Options(engine=engine, timeout=TIMEOUT))
    bells = [event for event in named.events if event.what is What.WANTED and NO_CONNECTION in event.detail]
    assert bells
    assert {event.job for event in bells} == {None}
    expired = [event for event in trace_of(engine).events if event.what is What.EXPIRED]
    assert {event.detail for event in expired} == {"the time that was asked for is over"}


def test_asyncio_says_that_it_uses_pythons_loop(trace_of) -> None:
    assert trace_of("asyncio").notes == [PYTHONS_LOOP]


# --- threads and processes ---


def test_serial_overlaps_nothing_and_the_loops_do(trace_of) -> None:
    assert _most_at_once(trace_of("serial")) == 1
    for engine in ENGINES:
        if engine != "serial":
            assert _most_at_once(trace_of(engine)) > 1, engine


def _most_at_once(trace: Trace) -> int:
    hops = [piece for piece in slices(trace) if piece.state == WIRE]
    steps = sorted([(hop.start, 1) for hop in hops] + [(hop.end, -1) for hop in hops])
    return max(itertools.accumulate(change for _, change in steps))


def test_threads_have_numbers_of_their_own(trace_of) -> None:
    trace = trace_of("thread")
    threads = {first(trace, job.job, What.BEGAN).thread for job in trace.jobs}
    assert 1 < len(threads) <= CONCURRENCY
    assert trace.thread not in threads
    assert {event.pid for event in trace.events} == {trace.pid}


@pytest.mark.parametrize("engine", PROCESSES)
def test_processes_have_numbers_of_their_own(trace_of, engine: str) -> None:
    trace = trace_of(engine)
    workers = {first(trace, job.job, What.BEGAN).pid for job in trace.jobs}
    assert 1 < len(workers) <= CONCURRENCY
    assert trace.pid not in workers
    for job in trace.jobs:
        inside = [event for event in trace.of(job.job) if event.what in (What.BEGAN, What.ENTERED, What.LEFT)]
        assert len({event.pid for event in inside}) == 1
        assert {first(trace, job.job, what).pid for what in (What.RELEASED, What.SETTLED)} == {trace.pid}


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel counts context switches by thread on Linux only")
@pytest.mark.parametrize("engine", ["serial", "pool", "process", "thread"])
def test_a_blocking_wait_is_proved_by_the_kernel(trace_of, engine: str) -> None:
    trace = trace_of(engine)
    asleep = first(trace, hung(trace), What.LEFT).context_switches
    assert asleep is not None
    assert asleep >= 1


def test_phases_are_libcurls_and_lie_inside_the_hop(trace: Trace) -> None:
    for job in trace.jobs:
        phases = [event for event in trace.of(job.job) if event.what is What.PHASE]
        assert {event.heard_from for event in phases} == {"libcurl timings"}
        assert "first_byte" in {event.detail for event in phases}
        start = first(trace, job.job, What.ASKED, What.ENTERED).at
        end = first(trace, job.job, What.DELIVERED, What.LEFT).at
        assert start - 1e-9 <= phases[0].at - (phases[0].seconds or 0.0)
        assert phases[-1].at <= end + 1e-6
    waited = next(event for event in trace.of(hung(trace)) if event.detail == "first_byte")
    assert (waited.seconds or 0.0) > TIMEOUT / 2


@pytest.mark.parametrize("engine", LOOPS)
def test_many_at_once_are_answered_when_their_sockets_were_readable(rude, engine: str) -> None:
    """All are started in one call: each was connected, asked and answered at an instant of its own."""
    urls = [rude.url("/slow/0.05", host=f"127.0.0.{number}") for number in range(1, MANY + 1)]
    trace = record([(url, None) for url in urls], Options(engine=engine, concurrency=MANY))
    assert [job.end for job in trace.jobs] == ["200"] * MANY
    for job in trace.jobs:
        readable = [event for event in trace.of(job.job) if event.what is What.READY and "readable" in event.detail]
        answered = next(event for event in trace.of(job.job) if event.detail == "first_byte")
        # libcurl's clock and ours are read one after the other: on a busy machine something comes between
        assert readable[0].at - 0.01 <= answered.at <= first(trace, job.job, What.DELIVERED).at
        assert answered.at - (answered.seconds or 0.0) <= readable[0].at  # it was asked before
    assert _most_at_once(trace) == MANY


def test_phases_are_laid_backwards_from_the_end_of_the_hop() -> None:
    """10 s asked, libcurl's total 3 s (0.5 s of it between connect and the wait); ended inside a call, 14.5 to 15."""
    known = {"job": 0, "pid": 1, "thread": 1, "heard_from": "test"}
    home = Home("200", Timings(connect=1.0, first_byte=1.0, body=0.5, total=3.0))
    heard = [
        Event(at=10.0, what=What.ASKED, **known),
        Event(at=11.0, what=What.EXPIRED, seconds=0.5, **{**known, "job": None}),
        Event(at=14.5, what=What.READY, seconds=0.5, **known),
        Event(at=17.0, what=What.DELIVERED, **known),
    ]
    ends = {event.detail: event.at for event in computed(heard, {0: home})}
    assert ends == {"connect": 13.0, "first_byte": 14.5, "body": 15.0}
    late = dataclasses.replace(home, end="timeout")
    assert {event.detail: event.at for event in computed(heard, {0: late})}["body"] == 17.0
    longer = dataclasses.replace(home, timings=Timings(connect=6.0, total=9.0))
    assert [event.at for event in computed(heard, {0: longer})] == [15.0]  # not before it was asked for


def test_what_a_failure_spent_in_its_phase_is_the_rest_of_its_total() -> None:
    assert phases_of(Timings(connect=0.25, total=1.0), "first_byte") == [("connect", 0.25), ("first_byte", 0.75)]
    assert phases_of(Timings(connect=0.25, total=1.0), None) == [("connect", 0.25)]
    assert phases_of(Timings(body=0.5, total=1.0), "body") == [("body", 0.5)]


# --- nothing is left behind ---


class Broken(Exception):
    """Raised by an input in the middle of a run."""


def endless(*urls):
    yield from ((url, number) for number, url in enumerate(urls))
    yield None  # nothing yet: what was given is started
    raise Broken


@pytest.mark.parametrize("engine", SWITCHING)
def test_the_hook_is_gone_after_a_run(rude, engine: str) -> None:
    import greenlet

    assert greenlet.gettrace() is None
    record([(rude.url("/ok"), 1)], Options(engine=engine))
    assert greenlet.gettrace() is None


@pytest.mark.parametrize("engine", SWITCHING)
def test_the_hook_is_gone_when_the_run_breaks_off(rude, engine: str) -> None:
    import greenlet

    with pytest.raises(Broken):
        record(endless(rude.url("/hang"), rude.url("/ok")), Options(engine=engine))
    assert greenlet.gettrace() is None


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="there is no /dev/fd here")
@pytest.mark.parametrize("engine", LOOPS)
def test_no_descriptor_is_left_open(rude, engine: str) -> None:
    options = Options(engine=engine)
    record([(rude.url("/ok"), 1)], options)  # what stays open for good (gevent's loop) is opened now
    before = len(os.listdir("/dev/fd"))
    record([(rude.url("/ok"), 1), (rude.url("/ok", host="localhost"), 2)], options)
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize("engine", SWITCHING)
def test_a_hook_that_was_there_is_put_back(rude, engine: str) -> None:
    import greenlet

    def mine(how, ends):
        pass

    greenlet.settrace(mine)
    try:
        record([(rude.url("/ok"), 1)], Options(engine=engine))
        assert greenlet.gettrace() is mine
    finally:
        greenlet.settrace(None)


@pytest.mark.parametrize("engine", [name for name in ENGINES if name not in PROCESSES])
def test_closing_early_ends_the_jobs_and_is_told(rude, engine: str) -> None:
    from cormorant import opening

    tracer = Tracer(engine)
    entries = [(rude.url("/slow/0.3"), 1), (rude.url("/hang", host="127.0.0.2"), 2)]  # by then both have begun
    worker = opening.open_fetch(entries, Options(engine=engine, concurrency=2, timeout=5)).observe(tracer)
    with tracer.listening():
        outcomes = worker.run()
        tracer.handed_over(next(outcomes))
        outcomes.close()
    trace = tracer.trace(Options(engine=engine), 2, 0.0, 1.0)
    if engine == "serial":  # one at a time: the second was never begun
        assert [event.job for event in trace.events if event.what is What.BEGAN] == [0]
        return
    ended = [event.what for event in trace.of(1)]
    assert What.BEGAN in ended
    assert What.SETTLED not in ended
    if engine in LOOPS:
        assert What.CANCELLED in ended
        assert ended.index(What.CANCELLED) < ended.index(What.ENDED)
    assert trace.jobs[1].end is None


class Raising(Scripted):
    """A transport whose fetch raises what no page can raise."""

    def reply(self, request):
        raise RuntimeError("broken wire")


@pytest.mark.parametrize("engine", ["serial", "thread", *LOOPS])
def test_a_job_that_raises_ends_in_the_trace_too(engine: str) -> None:
    transports = Raising({"https://a.example/": Reply()})
    trace = record([("https://a.example/", 1)], Options(engine=engine), transports)
    assert [job.end for job in trace.jobs] == ["callback"]
    whats = [event.what for event in trace.of(0)]
    assert whats.index(What.BEGAN) < whats.index(What.ENDED) < whats.index(What.SETTLED)
    if engine in SWITCHING:
        import greenlet

        assert greenlet.gettrace() is None


def test_a_text_that_is_no_url_is_handed_over_without_a_job() -> None:
    trace = record([("no URL", 1)], Options(engine="serial"))
    assert trace.jobs == []
    assert [(event.what, event.job) for event in trace.events] == [(What.HANDED_OVER, None)]


def test_observing_changes_no_outcome(rude, urls) -> None:
    import cormorant

    plain = {page.url: (page.ok, page.status, page.kind) for page in cormorant.fetch(urls, timeout=TIMEOUT)}
    from cormorant import opening

    worker = opening.open_fetch([(url, None) for url in urls], Options(timeout=TIMEOUT)).observe(Tracer("greenlet"))
    assert {page.url: (page.ok, page.status, page.kind) for page in worker.run()} == plain


# --- coroutines, step by step ---


class Suspension:
    """What a loop would be handed."""

    def __await__(self):
        return (yield self)


def test_steps_pass_on_what_is_sent_thrown_and_returned() -> None:
    async def work():
        heard = [await Suspension()]
        try:
            await Suspension()
        except KeyError as error:
            heard.append(str(error))
        return heard

    notes = Notes()
    driven = Steps(work(), notes, 7).__await__()
    assert isinstance(driven.send(None), Suspension)
    assert isinstance(driven.send("value"), Suspension)
    with pytest.raises(StopIteration) as end:
        driven.throw(KeyError("thrown"))
    assert end.value.value == ["value", "'thrown'"]
    steps = [(event.what, event.heard_from) for event in notes.in_order()]
    into, out = (What.SWITCH_IN, "coroutine.send"), (What.SWITCH_OUT, "coroutine.send")
    assert steps == [into, out, into, out, (What.SWITCH_IN, "coroutine.throw"), out]
    assert {event.job for event in notes.in_order()} == {7}


def test_steps_that_are_closed_close_what_they_drive() -> None:
    closed = []

    async def work():
        try:
            await Suspension()
        finally:
            closed.append(True)

    coroutine = work()  # held, so that nobody but the steps can close it
    driven = Steps(coroutine, Notes(), 0).__await__()
    driven.send(None)
    driven.close()
    assert closed == [True]


# --- Chrome's format ---


def records(trace: Trace) -> list[dict]:
    return json.loads(chrome(trace))["traceEvents"]


def test_chrome_has_the_keys_that_the_format_asks_for(trace: Trace) -> None:
    for each in records(trace):
        assert {"ph", "ts", "pid", "tid", "name"} <= set(each)
        assert isinstance(each["pid"], int)
        assert isinstance(each["tid"], int)
        assert each["ph"] in ("X", "i", "M", "s", "f")
        assert each["ts"] >= 0
        if each["ph"] == "X":
            assert each["dur"] >= 0
    phases = Counter(each["ph"] for each in records(trace))
    assert phases["X"] >= 3 * JOBS
    assert phases["s"] == phases["f"] == 1  # the redirect


def test_a_wait_that_had_begun_before_we_listened_is_not_told_of(urls) -> None:
    """The hub lives on between two runs; it may have stopped where the loop had told of its wait already."""
    gevent = pytest.importorskip("gevent")
    gevent.sleep(0)  # comes back out of a callback, which libev runs just before it waits
    traced = record([(urls[PATHS.index("/slow/0.1")], 1)], Options(engine="gevent"))
    waits = [event for event in traced.events if event.what is What.WAITED]
    assert waits
    assert all(event.at - (event.seconds or 0) >= 0 for event in waits)


def test_chrome_counts_in_microseconds(trace: Trace) -> None:
    job = hung(trace)
    (life,) = (
        each for each in records(trace) if each["ph"] == "X" and each["name"] == f"job {job}" and "url" in each["args"]
    )
    assert life["ts"] == pytest.approx(first(trace, job, What.RELEASED).at * 1e6, abs=0.01)
    assert life["dur"] >= TIMEOUT * 1e6 / 2


def test_chrome_slices_of_a_track_contain_each_other_or_do_not_meet(trace: Trace) -> None:
    tracks: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for each in records(trace):
        if each["ph"] == "X":
            end = round(each["ts"] + each["dur"], 3)
            tracks.setdefault((each["pid"], each["tid"]), []).append((each["ts"], end))
    for track, spans in tracks.items():
        open_until: list[float] = []
        for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
            while open_until and open_until[-1] <= start:
                open_until.pop()
            assert not open_until or end <= open_until[-1], (track, start, end)
            open_until.append(end)


def test_chrome_names_every_track(trace: Trace) -> None:
    named = {(each["pid"], each["tid"]) for each in records(trace) if each["name"] == "thread_name"}
    used = {(each["pid"], each["tid"]) for each in records(trace) if each["ph"] != "M"}
    assert used <= named
    assert {JOB_TRACK + job.job for job in trace.jobs} <= {tid for _, tid in named}
    if trace.engine in PROCESSES:
        assert len({pid for pid, _ in named}) > 2


# --- the picture ---


def test_the_picture_shows_every_job(trace_of) -> None:
    pytest.importorskip("matplotlib")
    trace = trace_of("greenlet")
    drawn = picture.svg(trace).decode()
    assert drawn.startswith("<?xml")
    assert all(job.target.partition("://")[2] in drawn for job in trace.jobs)
    assert "the loop" in drawn
    assert picture.COLOURS[WIRE] in drawn
    assert picture.COLOURS[RUNNING] in drawn


def test_the_picture_takes_a_url_for_text() -> None:
    pytest.importorskip("matplotlib")
    import xml.etree.ElementTree as ElementTree

    hostile = "http://a.example/$\\frac{1}{2}$<script>&$x^2$"
    event = {"pid": 1, "thread": 1, "heard_from": "test", "job": 0}
    trace = Trace(
        engine="serial",
        options={"concurrency": 1},
        machine={},
        pid=1,
        thread=1,
        seconds=1.0,
        notes=[],
        jobs=[Job(job=0, url=hostile, target=hostile)],
        events=[Event(at=0.0, what=What.BEGAN, **event), Event(at=0.5, what=What.ENDED, **event)],
    )
    drawn = ElementTree.fromstring(picture.svg(trace))
    texts = [node.text for node in drawn.iter() if node.tag.endswith("text")]
    assert f"0: {hostile.partition('://')[2]}" in texts


def test_without_matplotlib_the_picture_names_the_pip_line() -> None:
    code = (
        "import sys\n"
        "sys.modules['matplotlib'] = None  # as if it were not installed\n"
        "from cormorant.lab.trace import picture\n"
        "picture.require()\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "MissingPackage" in answer.stderr
    assert "pip install 'cormorant[lab]'" in answer.stderr
