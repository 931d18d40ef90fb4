"""What waits in a crawl: the spool, the order of a host, requests unharmed, and little memory."""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
import typing
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cormorant.errors import OutputError, UsageError
from cormorant.frontier import ranked
from cormorant.frontier import spool as spool_module
from cormorant.frontier.crawl import CrawlFrontier, by_priority_and_depth
from cormorant.frontier.memory import MemoryFrontier
from cormorant.frontier.spool import Spool
from cormorant.interfaces import Frontier
from cormorant.messages import Found, Redirect, Request

HOST = "https://a.example"


def request(number: int, priority: int = 0, depth: int = 0) -> Request:
    url = f"{HOST}/{number}"
    return Request(url=url, target=url, priority=priority, found=Found(depth=depth))


# --- the spool ---


@given(st.lists(st.binary(max_size=2_000)))
def test_records_come_back_by_their_offset(records: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as small:
        small.setattr(spool_module, "BLOCK_BYTES", 700)
        small.setattr(spool_module, "READ_BYTES", 100)
        spool = Spool()
        offsets = [spool.append(record) for record in records]
        assert [spool.read(offset) for offset in offsets] == records
        assert len(set(offsets)) == len(offsets)


def test_a_small_run_never_touches_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    spool = Spool()
    offsets = [spool.append(b"x" * 1_000) for _ in range(200)]
    assert all(spool.read(offset) == b"x" * 1_000 for offset in offsets)
    assert spool.bytes_on_disk == 0


def test_the_file_is_private_has_no_name_and_goes_with_the_spool(tmp_path: Path, fresh_tempdir: Path) -> None:
    spool = Spool()
    spool.append(b"x" * spool_module.BLOCK_BYTES)
    assert spool._file is not None
    descriptor = spool._file.fileno()
    status = os.fstat(descriptor)
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_nlink == 0
    assert status.st_dev == tmp_path.stat().st_dev
    assert list(fresh_tempdir.iterdir()) == []
    assert not os.get_inheritable(descriptor)
    del spool
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_missing_folder_is_named_with_the_fix(fresh_tempdir: Path) -> None:
    fresh_tempdir.rmdir()
    with pytest.raises(OutputError, match=rf"{fresh_tempdir}: No such file or directory; .*set TMPDIR to"):
        Spool().append(b"x" * spool_module.BLOCK_BYTES)


def test_a_full_disk_is_an_output_error_and_loses_nothing(monkeypatch: pytest.MonkeyPatch, fresh_tempdir: Path) -> None:
    monkeypatch.setattr(spool_module, "BLOCK_BYTES", 100)
    written, pwrite = list[int](), os.pwrite

    def filling_up(descriptor: int, data: bytes, offset: int) -> int:
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(pwrite(descriptor, data[:30], offset))  # short, as POSIX allows
        return written[-1]

    spool = Spool()
    first = spool.append(b"a" * 90)
    monkeypatch.setattr(os, "pwrite", filling_up)
    with pytest.raises(OutputError, match=rf"write .* in {fresh_tempdir}: No space left on device; make room .*TMPDIR"):
        spool.append(b"b" * 90)
    assert spool.read(first) == b"a" * 90
    monkeypatch.setattr(os, "pwrite", pwrite)  # room was made
    last = spool.append(b"c" * 90)
    assert (spool.read(first), spool.read(last)) == (b"a" * 90, b"c" * 90)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other limits")
def test_a_real_limit_on_file_size_is_an_output_error() -> None:
    import resource
    import signal

    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    spool = Spool()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with pytest.raises(OutputError, match="File too large; make room there, or set TMPDIR"):
            spool.append(b"x" * spool_module.BLOCK_BYTES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_file_that_cannot_be_read_is_an_output_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "BLOCK_BYTES", 1)
    spool = Spool()
    offset = spool.append(b"x" * 2_000)
    assert spool._file is not None
    spool._file.truncate(100)
    with pytest.raises(OutputError, match="cut short"):
        spool.read(offset)

    def broken(descriptor: int, size: int, offset: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", broken)
    with pytest.raises(OutputError, match=r"cannot read the temporary file in .*: Input/output error"):
        spool.read(offset)


def test_offsets_never_outgrow_40_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "BLOCK_BYTES", 100)
    monkeypatch.setattr(spool_module, "MOST_BYTES", 1_000)
    spool, offsets = Spool(), list[int]()
    with pytest.raises(OutputError, match="1 TiB"):
        offsets.extend(spool.append(b"x" * 46) for _ in range(1_000))
    assert offsets == list(range(0, 950, 50))
    assert spool.bytes_on_disk == 1_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_reads_and_cannot_write_over_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "BLOCK_BYTES", 100)
    spool = Spool()
    first = spool.append(b"a" * 200)
    child = os.fork()
    if not child:
        try:
            assert spool.read(first) == b"a" * 200
            with pytest.raises(UsageError, match="forkserver"):
                spool.append(b"c" * 200)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    second = spool.append(b"b" * 200)
    assert (spool.read(first), spool.read(second)) == (b"a" * 200, b"b" * 200)


@pytest.mark.parametrize("name", ["TMPDIR", "TEMP", "TMP"])
def test_the_folder_is_the_one_that_was_named(
    name: str, no_folder_named: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "/named")
    assert spool_module.folder() == "/named"


def test_the_folder_is_one_for_large_files(
    no_folder_named: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(spool_module, "FOR_LARGE_FILES", str(tmp_path))
    assert spool_module.folder() == str(tmp_path)
    monkeypatch.setattr(spool_module, "FOR_LARGE_FILES", str(tmp_path / "missing"))
    assert spool_module.folder() == tempfile.gettempdir()


def test_no_folder_at_all_is_an_output_error(no_folder_named: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_found() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(spool_module, "FOR_LARGE_FILES", "/missing")
    monkeypatch.setattr(tempfile, "gettempdir", none_found)
    with pytest.raises(OutputError, match=r"any folder: No usable temporary directory found; .*set TMPDIR"):
        Spool().append(b"x" * spool_module.BLOCK_BYTES)


# --- the order of one host ---


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 2)) | st.none()))
def test_the_lowest_rank_first_and_then_as_it_came(calls: list[ranked.Rank | None]) -> None:
    """None takes one, if one is there."""
    queues: list[ranked.Queue] = []
    truth: list[tuple[ranked.Rank, int]] = []
    for offset, rank in enumerate(calls):
        if rank is not None:
            ranked.put(queues, rank, offset)
            truth.append((rank, offset))
        elif truth:
            truth.sort()
            assert ranked.pop(queues) == truth.pop(0)[1]
        assert bool(queues) == bool(truth)


def test_a_queue_is_cut_as_it_is_taken() -> None:
    queues: list[ranked.Queue] = []
    for offset in range(10_000):
        ranked.put(queues, (0, 0), offset)
    for offset in range(9_500):
        assert ranked.pop(queues) == offset
    assert len(queues[0]) <= 1_003
    for offset in range(9_500, 100_000):  # one in, one out: it does not grow
        ranked.put(queues, (0, 0), offset + 500)
        assert ranked.pop(queues) == offset
    assert sys.getsizeof(queues[0]) < 12_000


# --- the frontier ---


def any_of(hint: object) -> st.SearchStrategy[object]:
    """Return values of a type of `Request`, within what 64 bits hold and what equals itself."""
    arguments = typing.get_args(hint)
    if hint is int:
        return st.integers(-(2**63), 2**63 - 1)
    if hint is float:
        return st.floats(allow_nan=False)
    if typing.get_origin(hint) is tuple and arguments[-1] is ...:
        return st.lists(any_of(arguments[0]), max_size=3).map(tuple)
    if typing.get_origin(hint) is tuple:
        return st.tuples(*map(any_of, arguments))
    if arguments:
        return st.one_of(*map(any_of, arguments))
    if hint in (Request, Redirect, Found):
        return st.builds(hint, **{name: any_of(of) for name, of in typing.get_type_hints(hint).items()})
    return st.from_type(hint)  # type: ignore[arg-type]


@given(any_of(Request), any_of(Request))
def test_a_request_comes_back_as_it_went(one: Request, other: Request) -> None:
    """Whatever fields it has, now or later."""
    frontier = CrawlFrontier(lambda request: (0, 0))
    frontier.add(HOST, one)
    frontier.add(HOST, other)
    for expected in (one, other):
        back = frontier.take(HOST)
        assert back == expected
        assert [type(value) for value in astuple(back)] == [type(value) for value in astuple(expected)]


def astuple(request: Request) -> tuple[object, ...]:
    return tuple(getattr(request, name) for name in request.__struct_fields__)


CALL = st.tuples(st.sampled_from("abc"), st.sampled_from(["add", "add", "first", "take", "take"]), st.integers(0, 3))


@given(st.lists(CALL))
def test_any_calls_in_any_order_take_what_a_sorted_list_says(calls: list[tuple[str, str, int]]) -> None:
    frontier = CrawlFrontier()
    truth: dict[str, list[tuple[int, int, int, Request]]] = defaultdict(list)
    for number, (host, call, level) in enumerate(calls):
        waiting = truth[host]
        new = request(number, priority=level % 2, depth=level)
        if call == "first":
            frontier.add(host, new, first=True)
            waiting.append((-2, 0, -number, new))
        elif call == "add":
            frontier.add(host, new)
            waiting.append((*by_priority_and_depth(new), number, new))
        elif waiting:
            waiting.sort()
            assert frontier.take(host) == waiting.pop(0)[-1]
        assert {host: frontier.has(host) for host in "abc"} == {host: bool(truth[host]) for host in "abc"}
        assert len(frontier) == sum(map(len, truth.values()))


@pytest.mark.parametrize("make", [MemoryFrontier, CrawlFrontier])
def test_every_frontier_keeps_the_contract(make: type[MemoryFrontier] | type[CrawlFrontier]) -> None:
    frontier: Frontier = make()
    assert not frontier.has(HOST)
    assert not frontier.knows("x")
    assert [frontier.is_new("x"), frontier.is_new("x"), frontier.knows("x")] == [True, False, True]
    for number in range(3):
        frontier.add(HOST, request(number))
    frontier.add(HOST, request(9), first=True)
    frontier.add("https://b.example", request(5))
    assert len(frontier) == 5
    assert "waiting=5 hosts=2" in repr(frontier)
    assert [frontier.take(HOST) for _ in range(4)] == [request(number) for number in (9, 0, 1, 2)]
    assert not frontier.has(HOST)
    assert frontier.has("https://b.example")
    assert len(frontier) == 1
    with pytest.raises(KeyError):
        frontier.take(HOST)
    assert len(frontier) == 1


def test_breadth_first_and_priority_before_it() -> None:
    frontier = CrawlFrontier()
    for number, (priority, depth) in enumerate([(0, 2), (0, 1), (0, 2), (5, 9), (-1, 0), (0, 1)]):
        frontier.add(HOST, request(number, priority, depth))
    frontier.add(HOST, Request(url=HOST, target=HOST))  # a seed: nobody found it
    assert "waiting=7 hosts=1" in repr(frontier)
    taken = [frontier.take(HOST) for _ in range(7)]
    assert [one.target.removeprefix(f"{HOST}/") for one in taken] == ["3", HOST, "1", "5", "0", "2", "4"]


def test_waiting_urls_are_no_objects_in_memory() -> None:
    """100,000 hosts of one URL, and one host of 100,000: what Python holds of them, without the hosts' names."""
    import gc
    import tracemalloc

    names = [f"https://h{number}.example" for number in range(100_000)]
    frontier = CrawlFrontier()
    gc.collect()
    tracemalloc.start()
    try:
        for number, name in enumerate(names):
            frontier.add(name, request(number))
        many_hosts = tracemalloc.get_traced_memory()[0]
        for number in range(100_000):
            frontier.add(HOST, request(number))
        one_host = tracemalloc.get_traced_memory()[0] - many_hosts
    finally:
        tracemalloc.stop()
    assert many_hosts / 100_000 < 120
    assert one_host / 100_000 < 12


@pytest.fixture
def fresh_tempdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "spools"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def no_folder_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
