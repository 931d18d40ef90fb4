"""The block at the end: everything offered is in exactly one line, and the exit code follows from it."""

import dataclasses
from types import MappingProxyType

import pytest

from cormorant.cli import summary
from cormorant.cli.exits import Exit
from cormorant.messages import Kind
from cormorant.worker import Statistics

NONE = Statistics(
    offered=0,
    duplicates=0,
    done=0,
    in_flight=0,
    ok=0,
    http_errors=0,
    failed=MappingProxyType({}),
    not_reached=0,
    retried=0,
    redirected=0,
    bytes=0,
    statuses=MappingProxyType({}),
    seconds=1.0,
    stopped=False,
    input_ended=True,
)
FULL = dataclasses.replace(
    NONE,
    offered=10_020,
    duplicates=9,
    done=10_001,
    ok=9_874,
    http_errors=61,
    failed=MappingProxyType({"timeout": 21, "dns": 11, "connect": 6, "blocked": 20, "too_large": 7, "bad_url": 1}),
    not_reached=10,
    retried=76,
    redirected=73,
    bytes=4_838_549_095,
    statuses=MappingProxyType({200: 9_801, 304: 73, 404: 55, 403: 6}),
    seconds=112.0,
)


def test_the_block():
    head = summary.title(FULL, "URL", "page")
    assert summary.block(FULL, head, "9,801 records to pages.jsonl").plain.splitlines() == [
        "10,020 URLs in 1m52s (89.3 pages/s, 41.2 MB/s)",
        "    9,874  ok           200: 9,801  304 unchanged: 73",
        "       61  http error   404: 55  403: 6",
        "       38  network      timeout: 21  dns: 11  connect: 6",
        "       20  not allowed  blocked: 20",
        "        7  too large    too_large: 7",
        "        1  no URL       bad_url: 1",
        "        9  duplicate    fetched once",
        "       10  not reached",
        " saved 9,801 records to pages.jsonl; 76 retries; 73 redirects followed",
    ]


def test_the_lines_of_the_block_add_up():
    lines = summary.block(FULL, "", "").plain.splitlines()[1:-1]
    assert sum(int(line.split()[0].replace(",", "")) for line in lines) == FULL.offered


def test_a_run_of_nothing_has_its_line():
    assert summary.block(NONE, "0 URLs", "0 records").plain.splitlines()[1] == "        0  ok"


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_of_failure_has_a_group(kind):
    assert [label for label, kinds in summary.GROUPS.items() if kind in kinds].__len__() == 1


def test_a_kind_nobody_thought_of_has_its_own_line():
    odd = dataclasses.replace(NONE, offered=2, failed=MappingProxyType({"moon": 2}))
    assert "        2  moon         moon: 2" in summary.block(odd, "", "").plain.splitlines()


def test_the_target_cannot_command_the_terminal():
    assert "\x1b" not in summary.block(NONE, "", "1 record to \x1b[31m.jsonl").plain


STOPPED = dataclasses.replace(FULL, stopped=True)


def test_a_right_sum_is_no_fault():
    assert summary.fault(STOPPED, 10_001) is None


@pytest.mark.parametrize(
    ("change", "written"),
    [
        ({"offered": 10_021}, 10_001),
        ({"ok": 9_873}, 10_000),
        ({"duplicates": 8}, 10_001),
        ({"failed": MappingProxyType({})}, 9_935),
        ({}, 10_000),
        ({}, 10_002),
        ({"stopped": False}, 10_001),
        ({"not_reached": -1, "offered": 10_009}, 10_001),
    ],
)
def test_a_wrong_sum_is_a_fault(change, written):
    assert summary.fault(dataclasses.replace(STOPPED, **change), written)


@pytest.mark.parametrize(
    ("change", "list_ended", "code"),
    [
        ({}, True, Exit.GOOD),
        ({"offered": 2, "ok": 1, "duplicates": 1}, True, Exit.GOOD),
        ({"offered": 2, "ok": 1, "http_errors": 1}, True, Exit.FAILURES),
        ({"offered": 2, "ok": 1, "failed": {"dns": 1}}, True, Exit.FAILURES),
        ({"offered": 2, "http_errors": 2}, True, Exit.NOTHING),
        ({"offered": 2, "failed": {"dns": 2}}, True, Exit.NOTHING),
        ({"offered": 2, "ok": 1, "not_reached": 1, "stopped": True}, True, Exit.STOPPED),
        ({"offered": 1, "ok": 1, "stopped": True, "input_ended": False}, False, Exit.STOPPED),
        ({"offered": 1, "ok": 1, "stopped": True, "input_ended": False}, True, Exit.GOOD),
        ({"offered": 1, "ok": 1, "stopped": True}, False, Exit.GOOD),
        ({"offered": 1, "failed": {"dns": 1}, "stopped": True, "input_ended": False}, False, Exit.STOPPED),
    ],
)
def test_the_exit_code(change, list_ended, code):
    assert summary.verdict(dataclasses.replace(NONE, **change), list_ended) is code


@pytest.mark.parametrize(
    ("expected", "text"),
    [(20_000.0, "9,990 of 20,000 URLs left"), (None, "10,001 URLs done, the rest of the list was not read")],
)
def test_what_a_stop_leaves(expected, text):
    assert summary.left_text(FULL, "URL", expected) == text
