"""What an answer to the question for robots.txt means: the cases of RFC 9309 2.3.1, and when to ask again."""

from __future__ import annotations

import pickle

import pytest

from cormorant.messages import Failure, Kind, Outcome, Page
from cormorant.policies.robots import MOST_REDIRECTS, Robots, robots_url

URL = "https://a.example/robots.txt"
DAY, HOUR = 86_400.0, 3600.0


def page(status: int, body: bytes = b"") -> Page:
    return Page(url=URL, status=status, body=body)


def failure(kind: Kind, message: str = "why", status: int | None = None) -> Failure:
    return Failure(url=URL, kind=kind, message=message, status=status)


def test_where_it_is() -> None:
    assert robots_url("https://a.example:8443") == "https://a.example:8443/robots.txt"
    assert MOST_REDIRECTS == 5


@pytest.mark.parametrize("status", [200, 203, 206])
def test_a_file_rules_for_a_day(status: int) -> None:
    verdict = Robots().judge(page(status, b"User-agent: *\nDisallow: /x"), tries=1)
    assert verdict.file is not None
    assert verdict.file.refusal("https://a.example/x", "cormorant") == "Disallow: /x (for *)"
    assert (verdict.refused, verdict.again_after_seconds, verdict.keep_seconds) == (None, None, DAY)


def test_sitemaps_are_resolved_against_where_the_file_was_found() -> None:
    found = Page(url=URL, final_url="https://b.example/r/robots.txt", status=200, body=b"Sitemap: s.xml")
    verdict = Robots().judge(found, tries=1)
    assert verdict.file is not None
    assert verdict.file.sitemaps == ("https://b.example/r/s.xml",)


@pytest.mark.parametrize(
    "outcome",
    [
        page(400),
        page(401),
        page(403),
        page(404, b"User-agent: *\nDisallow: /"),
        page(410),
        page(499),
        page(301),
        page(304),
        failure(Kind.TRUNCATED, status=404),
        failure(Kind.TOO_LARGE, status=404),
        failure(Kind.TIMEOUT, status=404),
        failure(Kind.REDIRECT, "more than 5 redirects", status=302),
        failure(Kind.BLOCKED, "redirect to 'ftp://a.example/'", status=302),
    ],
    ids=repr,
)
def test_no_file_allows_everything_for_a_day(outcome: Outcome) -> None:
    verdict = Robots().judge(outcome, tries=1)
    assert (verdict.file, verdict.refused, verdict.again_after_seconds) == (None, None, None)
    assert verdict.keep_seconds == DAY


UNREACHABLE = [
    (page(500), "HTTP 500"),
    (page(503), "HTTP 503"),
    (page(999), "HTTP 999"),
    *(
        (failure(kind), "why")
        for kind in (Kind.DNS, Kind.CONNECT, Kind.TLS, Kind.TIMEOUT, Kind.PROTOCOL, Kind.WORKER_LOST, Kind.LOCAL)
    ),
    (failure(Kind.TRUNCATED, status=200), "why"),
    (failure(Kind.TRUNCATED, status=503), "why"),
]


@pytest.mark.parametrize(("outcome", "reason"), UNREACHABLE, ids=repr)
def test_an_unreachable_file_is_asked_for_again_and_then_refuses_everything(outcome: Outcome, reason: str) -> None:
    verdicts = [Robots().judge(outcome, tries) for tries in (1, 2, 3)]
    assert [verdict.again_after_seconds for verdict in verdicts] == [1.0, 4.0, None]
    assert [verdict.refused for verdict in verdicts] == [
        None,
        None,
        f"robots.txt could not be read: {reason}, 3 tries",
    ]
    assert (verdicts[2].file, verdicts[2].keep_seconds) == (None, HOUR)


def test_too_many_requests_pass_and_else_mean_that_there_is_no_file() -> None:
    verdicts = [Robots().judge(page(429), tries) for tries in (1, 2, 3)]
    assert [verdict.again_after_seconds for verdict in verdicts] == [1.0, 4.0, None]
    assert [verdict.refused for verdict in verdicts] == [None, None, None]
    assert verdicts[2].keep_seconds == DAY


def test_a_file_too_large_to_read_refuses_at_once() -> None:
    verdict = Robots().judge(failure(Kind.TOO_LARGE, "the body is larger than 9 bytes", status=200), tries=1)
    assert verdict.refused == "robots.txt could not be read: the body is larger than 9 bytes, 1 try"
    assert verdict.again_after_seconds is None


def test_the_settings_are_kept_to() -> None:
    robots = Robots(tries=7, cache_seconds=5.0, back_after_seconds=6.0)
    verdicts = [robots.judge(page(500), tries) for tries in range(1, 9)]
    assert [verdict.again_after_seconds for verdict in verdicts] == [1.0, 4.0, 16.0, 60.0, 60.0, 60.0, None, None]
    assert [verdict.keep_seconds for verdict in verdicts[6:]] == [6.0, 6.0]
    assert robots.judge(page(200), tries=1).keep_seconds == 5.0


def test_a_verdict_survives_pickling() -> None:
    verdict = pickle.loads(pickle.dumps(Robots().judge(page(200, b"User-agent: *\nDisallow: /"), tries=1)))
    assert verdict.file.refusal("https://a.example/", "cormorant") == "Disallow: / (for *)"
