"""What a robots.txt says: the parser's own cases, files as they are found on the web, and files made to hurt."""

from __future__ import annotations

import json
import pathlib
import pickle
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from protego import Protego

from cormorant.content import robots
from cormorant.content.robots import MOST_BYTES, RobotsFile, product_token, read

CASES = pathlib.Path(__file__).parents[3] / "shared" / "data" / "robots" / "protego_cases.json"
URL = "https://a.example/robots.txt"
SECRET = "https://a.example/private/x"
RULES = "User-agent: *\nDisallow: /private/\nDisallow: /caf\u00e9/\n"


def refusal(body: str | bytes, url: str = SECRET, token: str = robots.PRODUCT_TOKEN) -> str | None:
    return read(body if isinstance(body, bytes) else body.encode()).refusal(url, token)


def cases(name: str) -> list[dict[str, Any]]:
    if not CASES.is_file():
        pytest.skip("../shared/data/robots is absent")
    return json.loads(CASES.read_text())[name]


# --- the parser's own cases ---


def test_every_case_of_the_parser() -> None:
    wrong = [
        case
        for case in cases("allowed_cases")
        if (read(case["robots"].encode(), URL).refusal(case["url"], case["agent"]) is None) != case["allowed"]
    ]
    assert (len(cases("allowed_cases")), wrong) == (348, [])


def test_every_other_call_of_the_parser_that_we_answer() -> None:
    answered = 0
    for case in cases("other_calls"):
        file = read(case["robots"].encode(), URL)
        if case["call"] == "sitemaps":
            assert list(file.sitemaps) == case["result"]
        elif case["call"] == "crawl_delay":
            assert file.crawl_delay(*case["args"]) == case["result"]
        elif case["call"] == "request_rate":
            rate = Protego.parse(case["robots"]).request_rate(*case["args"])
            assert file.crawl_delay(*case["args"]) == (None if rate is None else rate.seconds / rate.requests)
        else:
            continue
        answered += 1
    assert answered == 21


LINES = st.sampled_from(
    [
        *("User-agent: *", "User-agent: cormorant", "User-agent: other", "user agent CORMORANT", "User-agent:"),
        *("Useragent: cor", "User-agent: cor*", "User-agent: *other", "Disallow: /a", "Allow: /a/b", "disallow /b"),
        *("Allow: /", "Disallow: /", "Disallow:", "Sitemap: /s", "Host: x", "Unknown: x", "no directive", "", "# x"),
        *("Crawl-delay: 3", "Request-rate: 1/5", "Disallow: /*c$", "Disallow: /$"),
    ]
)


@given(st.lists(LINES, max_size=14), st.sampled_from(["", "a", "a/b", "b", "a/c", "d"]))
def test_the_groups_left_away_make_no_difference(lines: list[str], path: str) -> None:
    text, url = "\n".join(lines), f"https://a.example/{path}"
    whole, ours = Protego.parse(text), read(text.encode())
    assert (ours.refusal(url, "cormorant") is None) == whole.can_fetch(url, "cormorant")
    rate = whole.request_rate("cormorant")
    expected = [whole.crawl_delay("cormorant"), rate and rate.seconds / rate.requests]
    assert ours.crawl_delay("cormorant") == max(filter(None, expected), default=None)


# --- which rule ---


@pytest.mark.parametrize(
    ("body", "url", "rule"),
    [
        (RULES, SECRET, "Disallow: /private/ (for *)"),
        (RULES, "https://a.example/caf%C3%A9/", "Disallow: /caf%C3%A9/ (for *)"),
        (RULES, "https://a.example/private", None),
        ("User-agent: *\nDisallow: /\nAllow: /private/\nDisallow: /private/x", SECRET, "Disallow: /private/x (for *)"),
        ("User-agent: *\nDisallow: /*/x$\nDisallow: /p", SECRET, "Disallow: /*/x$ (for *)"),
        ("User-agent: *\nAllow: /\nUser-agent: Cormorant\nDisallow: /", SECRET, "Disallow: / (for cormorant)"),
        ("User-agent: *\nDisallow: /\nUser-agent: Cormorant\nDisallow:", SECRET, None),
        ("User-agent: a\nUser-agent: cormorant\nUser-agent: b\nDisallow: /", SECRET, "Disallow: / (for cormorant)"),
        ("User-agent: cormorant/1.0\nDisallow: /", SECRET, "Disallow: / (for cormorant)"),
        ("User-agent: Cormorant (our archive)\nDisallow: /", SECRET, "Disallow: / (for cormorant)"),
        ("User-agent: other\nDisallow: /", SECRET, None),
        ("User-agent: morant\nAllow: /\nUser-agent: *\nDisallow: /", SECRET, "Disallow: / (for *)"),
        ("User-agent: cormorant\nSitemap: /s\nUser-agent: b\nDisallow: /", SECRET, "Disallow: / (for cormorant)"),
        (f"User-agent: *\nDisallow: /{'*x' * 500}", f"https://a.example/{'x' * 500}", "Disallow: /*x*x"),
        ("User-agent: *\nDisallow: /", "https://a.example/robots.txt", None),
        ("Disallow: /", SECRET, None),
        ("", SECRET, None),
    ],
)
def test_the_rule_that_refuses(body: str, url: str, rule: str | None) -> None:
    said = refusal(body, url)
    assert said == rule or (said is not None and rule is not None and said.startswith(rule) and len(said) < 250)


def test_another_token_is_another_question() -> None:
    file = read(b"User-agent: cormorant\nDisallow: /\nUser-agent: other\nDisallow: /private/")
    assert file.refusal(SECRET, "cormorant") == "Disallow: / (for cormorant)"
    assert file.refusal(SECRET, "other") == "Disallow: /private/ (for other)"
    assert file.refusal(SECRET, "third") is None


@pytest.mark.parametrize(
    ("user_agent", "token"),
    [
        ("cormorant/0.1 (+https://a.example/)", "cormorant"),
        ("MyBot (me@a.example)", "MyBot"),
        ("  MyBot\t1", "MyBot"),
        ("Mozilla/5.0 (compatible; MyBot/1.0)", "Mozilla"),
        ("", ""),
    ],
)
def test_product_token(user_agent: str, token: str) -> None:
    assert product_token(user_agent) == token


# --- files as they are found ---


@pytest.mark.parametrize(
    "body",
    [
        RULES.encode(),
        RULES.encode("utf-8-sig"),
        b"\xef\xbb\xbf" + RULES.encode("utf-8-sig"),
        RULES.encode("utf-16"),
        b"\xfe\xff" + RULES.encode("utf-16-be"),
        RULES.encode("utf-16-le"),
        RULES.encode("utf-16-be"),
        RULES.encode("latin-1"),
        RULES.encode() + b"# \xff\xfe not UTF-8 in one line\n",
        RULES.replace("\n", "\r").encode(),
        RULES.replace("\n", "\r\n").encode(),
        RULES.replace("\n", " # why\n").encode(),
        RULES.replace("/p", "\0/p\0").encode(),
        bytes(3) + RULES.encode(),
        b"<!-- ours -->\n" + RULES.encode(),
        RULES.rstrip().encode(),
    ],
    ids=[
        *("plain", "mark", "two marks", "utf-16le", "utf-16be", "utf-16le without mark", "utf-16be without mark"),
        *("latin-1", "one line not utf-8", "cr", "crlf", "comments", "nul", "nul first", "html comment", "no end"),
    ],
)
def test_rules_are_found_in_any_encoding(body: bytes) -> None:
    assert refusal(body) == "Disallow: /private/ (for *)"
    assert refusal(body, "https://a.example/caf%C3%A9/x") == "Disallow: /caf%C3%A9/ (for *)"
    assert refusal(body, "https://a.example/") is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_letters_of_any_script(encoding: str) -> None:
    body = "# \u0434\u043e\u043c\nUser-agent: *\nDisallow: /\u0434\u043e\u043c/".encode(encoding)
    assert refusal(body, "https://a.example/%D0%B4%D0%BE%D0%BC/x") == "Disallow: /%D0%B4%D0%BE%D0%BC/ (for *)"


@pytest.mark.parametrize(
    "start", ["<!DOCTYPE html>", "\ufeff\n <HTML lang=en>", "<?xml version='1.0'?>", "<!-- a --> <!-- b -->\n<head>"]
)
def test_an_html_page_holds_no_rules(start: str) -> None:
    assert refusal(f"{start}\n<pre>\n{RULES}Sitemap: https://a.example/s.xml\n</pre>") is None


@pytest.mark.parametrize("character", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_only_cr_and_lf_end_a_line(character: str) -> None:
    assert refusal(f"User-agent: *\n# all of it{character}Disallow: /\n") is None


# --- size ---


def padded(rule: str, end: int, line_end: str = "\n") -> bytes:
    """Return a file of which `rule` ends with byte number `end`."""
    start = f"User-agent: *{line_end}"
    filler = "#" * (end - len(start) - len(rule) - 2 * len(line_end))
    return f"{start}{filler}{line_end}{rule}{line_end}".encode()


@pytest.mark.parametrize("line_end", ["\n", "\r"])
def test_half_a_mebibyte_is_read_and_cut_at_a_line_end(line_end: str) -> None:
    behind = b"Disallow: /\n"
    whole = padded("Disallow: /private/", MOST_BYTES, line_end)
    assert len(whole) == MOST_BYTES == 512_000
    assert refusal(whole + behind) == "Disallow: /private/ (for *)"
    assert refusal(whole + behind, "https://a.example/") is None
    cut = padded("Disallow: /private/not-this", MOST_BYTES + 9, line_end)
    assert refusal(cut + behind) is None


def test_a_last_line_without_an_end_is_a_rule_only_in_a_whole_file() -> None:
    body = padded("Disallow: /private/", MOST_BYTES + 1).rstrip()
    assert len(body) == MOST_BYTES
    assert refusal(body) == "Disallow: /private/ (for *)"
    assert refusal(body + b"x") is None


def test_a_long_utf_16_file_is_cut_too() -> None:
    body = padded("Disallow: /private/", MOST_BYTES // 2 - 1).decode().encode("utf-16")
    assert len(body) == MOST_BYTES
    assert refusal(body + "Disallow: /".encode("utf-16-le")) == "Disallow: /private/ (for *)"
    assert refusal(body + "Disallow: /".encode("utf-16-le"), "https://a.example/") is None


def test_many_agents_with_many_rules_cost_no_more_than_their_bytes() -> None:
    agents = "".join(f"User-agent: a{number}\n" for number in range(2000))
    ours = "".join(f"User-agent: {'cormorant'[:length]}\n" for length in range(1, 10)) * 50
    body = agents + ours + "Disallow: /private/\n" * 2000
    tracemalloc.start()
    try:
        said = refusal(body)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert said == "Disallow: /private/ (for cormorant)"
    assert peak_bytes < 10_000_000  # 290 MB when Protego is shown the whole file


# --- delays and sitemaps ---


@pytest.mark.parametrize(
    ("lines", "delay"),
    [
        ("Crawl-delay: 2.5", 2.5),
        ("Crawl-delay: 0", 0.0),
        ("Crawl-delay: -1", None),
        ("Crawl-delay: abc", None),
        ("Crawl-delay: inf", None),
        ("Request-rate: 1/5", 5.0),
        ("Request-rate: 2/1m 0900-1700", 30.0),
        ("Crawl-delay: 2\nRequest-rate: 1/5", 5.0),
        ("Crawl-delay: 9\nRequest-rate: 1/5", 9.0),
        (f"Request-rate: 1/{'9' * 4000}", 1e9),
        (f"Request-rate: {'9' * 4000}/1", 0.0),
        ("Disallow: /", None),
    ],
)
def test_crawl_delay(lines: str, delay: float | None) -> None:
    assert read(f"User-agent: *\n{lines}".encode()).crawl_delay("cormorant") == delay
    assert read(f"User-agent: other\n{lines}".encode()).crawl_delay("cormorant") is None


def test_sitemaps() -> None:
    body = """Sitemap: https://a.example/1.xml
User-agent: other
SITEMAP: //b.example/2.xml # another host's
Site-map: 3.xml
Sitemap: https://a.example/1.xml#again
Sitemap: ftp://a.example/4.xml
Sitemap: https://[
Sitemap:
"""
    assert read(body.encode(), URL).sitemaps == (
        "https://a.example/1.xml",
        "https://b.example/2.xml",
        "https://a.example/3.xml",
    )
    assert read(body.encode()).sitemaps == ("https://a.example/1.xml",)


def test_at_most_a_thousand_sitemaps() -> None:
    body = "".join(f"Sitemap: https://a.example/{number}\n" for number in range(1500)).encode()
    assert read(body).sitemaps == tuple(f"https://a.example/{number}" for number in range(1000))


# --- the value ---


def test_a_file_survives_pickling() -> None:
    file = read(f"{RULES}Crawl-delay: 3\nSitemap: /s.xml".encode(), URL)
    file.refusal(SECRET, "cormorant")
    copy = pickle.loads(pickle.dumps(file))
    assert copy.refusal(SECRET, "cormorant") == "Disallow: /private/ (for *)"
    assert (copy.crawl_delay("cormorant"), copy.sitemaps) == (3.0, ("https://a.example/s.xml",))
    assert repr(copy) == repr(file) == "<RobotsFile 81 characters, 1 sitemaps>"
    assert b"protego" not in pickle.dumps(file)


@given(st.binary(max_size=300), st.sampled_from([b"", b"User-agent: *\n", b"\xff\xfe", b"<!--", b"Request-rate: "]))
@example(b"Disallow: %\xff%zz\nAllow: *$*$", b"User-agent: *\n")
@settings(deadline=None)
def test_no_bytes_raise(body: bytes, start: bytes) -> None:
    file = read(start + body, URL)
    assert isinstance(file, RobotsFile)
    assert file.refusal(SECRET, "cormorant") is None or file.refusal(SECRET, "cormorant").startswith("Disallow: ")
    file.crawl_delay("cormorant")
