"""Pages made to hang a tree builder end in time, and flattening loses no link of an honest page."""

from __future__ import annotations

import pathlib
import tarfile
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cormorant.content import flat, links

PAGES = pathlib.Path(__file__).parents[3] / "shared" / "data" / "pages" / "bookfiles.tar.gz"
HERE = "http://a.example/dir/page.html"
LINK = b"<a href=/end>the end</a>"
# Without the guard each of these takes a minute, or gigabytes; with it about a second. The limit is for slow machines.
MOST_SECONDS = 20


def every(template: str, count: int) -> bytes:
    return "".join(template.replace("N", f"{number:x}") for number in range(count)).encode()


def aligned(quote: str) -> bytes:
    """Attributes of 100 bytes, of which every block (4,000 bytes on a page of 1,250,000) begins within a value."""
    values = "".join(f"a{number:05x}={quote}{'>' * 90}{quote} " for number in range(12_499))
    return b"<br><p".ljust(50) + values.encode().ljust(1_249_949) + b">"


HOSTILE = {
    "nested div": b"<div>" * 100_000,
    "nested lists": b"<ul><li>" * 100_000,
    "paragraph ends under div": b"<div>" * 100_000 + b"</p>" * 100_000,
    "headings": b"<h1><div>" * 100_000,
    "fonts in paragraphs": every("<font a=N><p>", 4_000),
    "fonts in paragraphs, ends within values": every('<font a="N></font>" b><p>', 4_000),
    "ends that end nothing": every("<font a=N><table><td></font></table><p>", 4_000),
    "plain formatting": b"<b><i><u><s><tt><em><small><big><code>" * 3 + b"<p>x" * 100_000,
    "formatting ends late": b"<b><div>" * 100_000 + b"</b>" * 100_000,
    "attributes": b"<p " + every("aN ", 200_000) + b">",
    "attributes with brackets": b"<p " + every("aN='>'", 150_000) + b">",
    "attributes with tags": b"<p " + every("aN='<p>'", 15_000) * 10 + b">",
    "attributes by slashes": b"<p/" + every("aN/", 200_000) + b">",
    "many tags with many attributes": (b"<p " + every("aN ", 6_500) + b">") * 40,
    "few attributes, long values": b"<p " + every(f"aN={'v' * 90} ", 18_000) + b">",
    "few attributes, brackets in values": b"<p " + every(f"aN='{'>' * 90}' ", 18_000) + b">",
    "few attributes, brackets in quotes": b"<p " + every(f'aN="{">" * 90}" ', 18_000) + b">",
    "blocks begin in values": aligned("'"),
    "blocks begin in quotes": aligned('"'),
    "just too many tags": b"<div>" * (flat.MOST_TAGS + 1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pages_end(name: str) -> None:
    body = HOSTILE[name]
    assert not flat.is_tame(body)
    began = time.process_time()
    seen = links.find(body[: links.MOST_HTML_BYTES - len(LINK)] + LINK, HERE, "utf-8")
    assert time.process_time() - began < MOST_SECONDS
    assert [link.url for link in seen.links] == ["http://a.example/end"]


@pytest.mark.parametrize(
    "body",
    [
        every("<a href=N><object>", 7_000) + b"<b>x</b> " * 100 + b"x" * 1_800_000,
        b'<a x="' * 280_000,
        b"<" * 2_000_000,
        b"<a" * 1_000_000,
        b"<script></scrip" * 130_000,
        b"<?xml>" + b'<script "/' * 190_000,
        b"<meta http-equiv=refresh content='" + b" " * 1_900_000,
        b"<a href='" + b"../" * 600_000 + b"'>",
        b"<a href='" + b"a/" * 900_000 + b"'>",
    ],
    ids=lambda body: body[:20].decode(),
)
def test_odd_pages_end(body: bytes) -> None:
    began = time.process_time()
    links.find(body, HERE, "utf-8")
    assert time.process_time() - began < MOST_SECONDS


@pytest.mark.parametrize(
    "body",
    [
        b"<p>A paragraph with <b class=x>bold</b> words.</p>" * 2_000,
        b"<li><i class='icon'></i><a href=/x>x</a></li>" * 500,
        b"<p>some words</p>" * 5_000,
        b"<p>words</p>" * 100 + b"<img src='data:image/png;base64," + b"QUJD" * 10_000 + b"'>",
        b"",
    ],
    ids=["bold", "icons", "paragraphs", "image", "empty"],
)
def test_ordinary_pages_are_tame(body: bytes) -> None:
    assert flat.is_tame(body)


@pytest.mark.skipif(not PAGES.is_file(), reason="../shared/data/pages is absent")
def test_book_shop_flattened(monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(PAGES) as archive:
        pages = [archive.extractfile(member).read() for member in archive if member.isfile()]  # type: ignore[union-attr]
    assert all(flat.is_tame(page) for page in pages)
    whole = [links.find(page, HERE, "utf-8") for page in pages]
    monkeypatch.setattr(flat, "is_tame", lambda page: False)
    assert [links.find(page, HERE, "utf-8") for page in pages] == whole
    assert sum(len(flat.flatten(page)) for page in pages) < 0.8 * sum(len(page) for page in pages)


@pytest.mark.parametrize(
    ("page", "flattened"),
    [
        (b"<div><A HREF='>' b>x<b>y</b></A></div>", b"</><A HREF='>' b>x</>y</></A></>"),
        (b"<div title='<a href=x>'>", b"</>"),
        (b"<!-- <a href=x> --><a href=y>", b"</><a href=y>"),
        (b"<script>'<a href=x>'</script>", b"</></>"),
        (b"<script><a href=x>", b"</>"),
        (b"<abbr><a-b><map><area/href=x>", b"</></></><area/href=x>"),
        (b"1 < 2 <> <3 </> <!x>", b"1 < 2 <> <3 </> <!x>"),
        (b"<<b>div>", b"<</>div>"),
        (b"<a " + every("x ", 200) + b">", b"<a" + b" x" * flat.MOST_ATTRIBUTES + b">"),
    ],
)
def test_what_is_left(page: bytes, flattened: bytes) -> None:
    assert flat.flatten(page) == flattened


NESTING = st.sampled_from(
    [b"<div>", b"</div>", b"<p>", b"<b>", b"</b>", b"x", b"<!-- -->", b"<span title='a>b'>", b"<br/>"]
)
LINKS = st.sampled_from(
    [b"<a href=1>", b"</a>", b"<a href='2>' rel=nofollow>", b"<area href=3>", b"<img alt=i>", b"<base href=/4/>"]
)


@given(st.lists(NESTING | LINKS, max_size=20).map(b"".join))
def test_flattening_loses_no_link(page: bytes) -> None:
    def urls_of(page: bytes) -> list[tuple[str, bool]]:
        return [(link.url, link.nofollow) for link in links.find(page, HERE, "utf-8").links]

    assert urls_of(flat.flatten(page)) == urls_of(page)


@given(st.binary(max_size=300) | st.text(alphabet="<>a/='\" -!", max_size=60).map(str.encode))
def test_no_bytes_raise(page: bytes) -> None:
    flat.flatten(page)
    flat.is_tame(page * 400)
