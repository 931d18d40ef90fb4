"""A record has the fields of the contract, is one valid line whatever it holds, and gives its body's bytes back."""

from __future__ import annotations

import json
import math
import pathlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cormorant.messages import Failure, Found, Kind, Page, Redirect, Result, Timings
from cormorant.sinks import records

BLNS = pathlib.Path(__file__).parents[3] / "shared" / "data" / "strings" / "blns.json"
FIELDS = [
    *("url", "input", "line", "final_url", "ok", "status", "headers", "BODY", "charset", "kind", "phase", "message"),
    *("attempts", "redirects", "fetched_at", "timings", "ip", "http_version", "found", "truncated", "data"),
]
PNG = b"\x89PNG\r\n\x1a\n\0\xff"

PAGE = Page(
    url="https://a.example/b",
    input="HTTPS://A.example/b#c",
    line=7,
    final_url="https://a.example/c",
    status=404,
    headers=(("Content-Type", "text/html; charset=iso-8859-1"), ("Set-Cookie", "a=1"), ("set-cookie", "b=2")),
    body="grüße".encode("latin-1"),
    attempts=2,
    redirects=(Redirect(url="https://a.example/b", status=301, seconds=0.25),),
    fetched_at=1_700_000_000.1239,
    timings=Timings(queue=0.5, dns=0.125, total=2.0),
    ip="127.0.0.1",
    http_version="2",
    found=Found(depth=2, source="https://a.example/", text="on", lastmod="2026-01-02"),
    data={"title": ["x", 1, None, True, 1.5]},
)
FAILURE = Failure(url="https://a.example/", kind=Kind.TIMEOUT, message="no answer in 30 s", phase="first_byte")


def load(outcome: Any) -> dict[str, Any]:
    line = records.line(outcome)
    assert line.endswith(b"\n")
    assert len(line.decode("utf-8").splitlines()) == 1
    return json.loads(line, parse_constant=pytest.fail)


def page(**fields: Any) -> Page:
    return Page(**{"url": "https://a.example/", "status": 200, **fields})


def test_every_field_of_a_page() -> None:
    assert load(PAGE) == {
        "url": "https://a.example/b",
        "input": "HTTPS://A.example/b#c",
        "line": 7,
        "final_url": "https://a.example/c",
        "ok": False,
        "status": 404,
        "headers": [["Content-Type", "text/html; charset=iso-8859-1"], ["Set-Cookie", "a=1"], ["set-cookie", "b=2"]],
        "body": "grüße",
        "charset": "windows-1252",
        "kind": None,
        "phase": None,
        "message": None,
        "attempts": 2,
        "redirects": [{"url": "https://a.example/b", "status": 301, "seconds": 0.25}],
        "fetched_at": "2023-11-14T22:13:20.123Z",
        "timings": {
            "queue": 0.5,
            "dns": 0.125,
            "connect": 0.0,
            "tls": 0.0,
            "first_byte": 0.0,
            "body": 0.0,
            "total": 2.0,
        },
        "ip": "127.0.0.1",
        "http_version": "2",
        "found": {"depth": 2, "source": "https://a.example/", "text": "on", "lastmod": "2026-01-02"},
        "truncated": False,
        "data": {"title": ["x", 1, None, True, 1.5]},
    }


@pytest.mark.parametrize(
    "outcome",
    [
        PAGE,
        FAILURE,
        page(body=PNG),
        page(),
        Failure(url="x", kind=Kind.TRUNCATED, message="cut", body=b"<p>", status=200),
    ],
    ids=["text", "failure", "binary", "empty", "cut"],
)
def test_every_record_has_the_same_fields_in_the_same_order(outcome: Any) -> None:
    names = ["BODY" if name in ("body", "body_base64") else name for name in load(outcome)]
    assert names == FIELDS


def test_a_failure_says_why_and_has_no_body() -> None:
    record = load(FAILURE)
    expected = {"ok": False, "status": None, "body": None, "charset": None, "kind": "timeout", "phase": "first_byte"}
    expected |= {"message": "no answer in 30 s", "fetched_at": None, "truncated": False, "input": FAILURE.url}
    assert {name: record[name] for name in expected} == expected
    assert records.body(record) is None


def test_a_cut_page_keeps_what_came() -> None:
    record = load(Failure(url="x", kind=Kind.TRUNCATED, message="cut", body=b"<p>gr\xc3", status=200))
    assert (record["truncated"], record["kind"], record["status"]) == (True, "truncated", 200)
    assert records.body(record) == b"<p>gr\xc3"


@pytest.mark.parametrize(
    ("body", "content_type", "field", "name"),
    [
        (b"", None, "body", "utf-8"),
        (b"", "image/png", "body_base64", None),
        (PNG, None, "body_base64", None),
        (PNG, "image/png", "body_base64", None),
        (b"\xff\xfe\0\xd8", "text/plain", "body_base64", "utf-16le"),
        (b"gr\xfc", "text/html; charset=utf-8", "body_base64", "utf-8"),
        (b"\xef\xbb\xbfabc", "text/html", "body", "utf-8"),
        ("日本".encode("cp932"), "text/html; charset=shift_jis", "body", "shift_jis"),
        (b'{"a": 1}', "application/json", "body", "utf-8"),
        (b"abc", "text/html; charset=iso-2022-kr", "body_base64", "replacement"),
    ],
)
def test_a_body_is_text_where_text_loses_nothing(
    body: bytes, content_type: str | None, field: str, name: str | None
) -> None:
    headers = (("content-type", content_type),) if content_type else ()
    record = load(page(body=body, headers=headers))
    assert {"body", "body_base64"} & set(record) == {field}
    assert record["charset"] == name
    assert records.body(record) == body


CONTENT_TYPES = st.one_of(
    st.sampled_from([None, "application/json", "image/png", "x", "text/html"]),
    st.sampled_from(
        ("utf-8", "gbk", "shift_jis", "utf-16", "windows-1253", "iso-2022-jp", "big5", "hz-gb-2312", "koi8-u")
    ).map("text/html; charset={}".format),
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text().map(lambda text: text.encode("utf-8", "replace"))), CONTENT_TYPES)
def test_any_body_comes_back_byte_by_byte(body: bytes, content_type: str | None) -> None:
    headers = (("Content-Type", content_type),) if content_type else ()
    assert records.body(load(page(body=body, headers=headers))) == body


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=30)  # lone surrogates included
ANY_DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT, ANY_DATA)
def test_any_text_and_data_come_back(text: str, data: Any) -> None:
    outcome = Failure(url=text or "-", kind=Kind.BAD_URL, message=text, headers=((text, text),), data=data)
    record = load(outcome)
    assert (record["url"], record["message"], record["headers"]) == (text or "-", text, [[text, text]])
    assert record["data"] == data


@pytest.mark.parametrize(
    "text", ["\u2028", "\u2029", "\x85", "\0", "\x1b[31m", "\ud800", "\n\r\x0b\x0c\x1c", "\U0001f600"]
)
def test_naughty_characters_stay_on_their_line(text: str) -> None:
    record = load(page(body=text.encode("utf-8", "replace"), input=text, data=text))
    assert (record["input"], record["data"]) == (text, text)


@pytest.mark.skipif(not BLNS.is_file(), reason="../shared/data/strings is absent")
def test_the_big_list_of_naughty_strings() -> None:
    strings = json.loads(BLNS.read_text("utf-8"))
    assert len(strings) > 500
    for text in strings:
        body = text.encode("utf-8")
        record = load(page(url=text or "-", body=body, input=text, headers=((text, text),), data={text: text}))
        assert (record["url"], record["input"]) == (text or "-", text or "-")
        assert (record["headers"], record["data"]) == ([[text, text]], {text: text})
        assert records.body(record) == body


class Stubborn:
    def __repr__(self) -> str:
        raise RuntimeError("no repr either")


def endless() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (object, "<class 'object'>"),
        (Stubborn(), "<Stubborn whose repr fails>"),
        (endless(), "[[...]]"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (["\udcff", math.nan], "['\\udcff', nan]"),
    ],
    ids=["type", "no-repr", "endless", "keys", "nan-beside-surrogate"],
)
def test_data_that_cannot_be_json_never_loses_the_page(data: Any, expected: str) -> None:
    record = load(page(body=b"kept", data=data))
    assert record["data"] == expected
    assert record["body"] == "kept"
    assert "data cannot be JSON" in record["message"]


def test_a_long_repr_is_cut() -> None:
    record = load(page(data={("k", number): "x" * 50 for number in range(1000)}))
    assert len(record["data"]) == records.LONGEST_REPR


def test_a_result_of_map_is_a_record() -> None:
    assert load(Result(item="x", index=3, ok=True, value=[1], seconds=0.5)) == {
        "item": "x",
        "index": 3,
        "ok": True,
        "value": [1],
        "kind": None,
        "message": None,
        "traceback": None,
        "seconds": 0.5,
    }
    failed = load(Result(item=object, index=0, ok=False, kind=Kind.CALLBACK, message="boom", traceback="Traceback"))
    assert (failed["item"], failed["kind"], failed["traceback"]) == ("<class 'object'>", "callback", "Traceback")
    assert failed["message"].startswith("boom; item cannot be JSON")
