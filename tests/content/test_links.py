"""Where pages lead: the standard's URL cases as links, the book shop, other libraries' pages, and every odd tag."""

from __future__ import annotations

import html as stdlib_html
import json
import pathlib
import tarfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cormorant import urls
from cormorant.content import links
from cormorant.content.addresses import Addresses
from cormorant.content.links import Link, Links
from cormorant.errors import BadURL

DATA = pathlib.Path(__file__).parents[3] / "shared" / "data"
PAGES = DATA / "pages" / "bookfiles.tar.gz"
CASES = DATA / "url" / "urltestdata.json"
EXTRACTOR = DATA / "links" / "link_extractor"
HERE = "http://a.example/dir/page.html?q"


def find(text: str, url: str = HERE) -> Links:
    return links.find(text.encode(), url, "utf-8")


def found(text: str, url: str = HERE) -> list[str]:
    return [link.url for link in find(text, url).links]


def only(text: str) -> Link:
    [link] = find(text).links
    return link


def cleaned(href: str, base: str) -> str | None:
    try:
        return urls.split_credentials(urls.clean(href, base))[0]
    except BadURL:
        return None


def wpt_cases() -> list[dict[str, Any]]:
    listed = json.loads(CASES.read_text(encoding="utf-8"))
    cases = [case for case in listed if isinstance(case, dict)]
    return [case for case in cases if str(case["base"]).startswith(urls.PREFIXES)]


def right(case: dict[str, Any]) -> list[str]:
    href = str(case.get("href", ""))
    return [urls.split_credentials(href.partition("#")[0])[0]] if href.startswith(urls.PREFIXES) else []


@pytest.mark.skipif(not CASES.is_file(), reason="../shared/data/url is absent")
@pytest.mark.parametrize("by_base", [False, True], ids=["page", "base href"])
def test_every_wpt_case_as_a_link(by_base: bool) -> None:
    """202 of 202: each case with an http(s) base, its input as a page has it; the base from the page, and its tag."""
    cases, wrong = wpt_cases(), []
    for case in cases:
        page = f'<a href="{stdlib_html.escape(case["input"])}">x</a>'.replace("\r", "&#13;")
        if by_base:
            page = f'<base href="{stdlib_html.escape(case["base"])}">' + page
        got = found(page, "http://other.example/x" if by_base else urls.clean(case["base"]))
        if got != right(case):
            wrong.append((case["input"], case["base"], got))
    assert (len(cases), wrong) == (202, [])


@pytest.mark.skipif(not PAGES.is_file(), reason="../shared/data/pages is absent")
def test_book_shop() -> None:
    """200 pages; the numbers are those that Scrapy's LinkExtractor finds, page by page the same URLs."""
    with tarfile.open(PAGES) as archive:
        pages = [archive.extractfile(member).read() for member in archive if member.isfile()]  # type: ignore[union-attr]
    looked = [links.find(page, "http://books.example/catalogue/x_1/index.html", "utf-8") for page in pages]
    assert len(pages) == 200
    assert sum(len(seen.links) for seen in looked) == 1779
    assert {link.tag for seen in looked for link in seen.links} == {"a"}
    assert not any(seen.noindex or seen.nofollow for seen in looked)


@pytest.mark.skipif(not EXTRACTOR.is_dir(), reason="../shared/data/links is absent")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "linkextractor.html",
            [
                ("sample1.html", "sample1"),
                ("sample2.html", "sample 2"),
                ("sample3.html", "sample 3 text"),
                ("http://www.google.com/something", ""),
                ("innertag.html", "inner tag"),
                ("page%204.html", "href with whitespaces"),
            ],
        ),
        (
            "linkextractor_no_href.html",
            [
                ("author/Albert-Einstein", "(about)"),
                ("page/1/", "Page 1"),
                ("page/3/", "Page 3"),
                ("page/4/", "Page 4"),
            ],
        ),
        ("linkextractor_noenc.html", [("sample_%C3%B1.html", "sample2"), ("sample_%E2%82%AC.html", "sample € text")]),
    ],
)
def test_pages_of_scrapy(name: str, expected: list[tuple[str, str]]) -> None:
    """The URLs are Scrapy's, once each; texts are ours where it has none."""
    seen = links.find((EXTRACTOR / name).read_bytes(), HERE, "utf-8")
    full = [(url if "//" in url else f"http://example.com/{url}", text) for url, text in expected]
    assert [(link.url, link.text) for link in seen.links] == full


@pytest.mark.parametrize(
    ("page", "link"),
    [
        ("<a href=/x>Hello</a>", Link(url="http://a.example/x", text="Hello")),
        ("<map><area href=/x alt=Here></map>", Link(url="http://a.example/x", text="Here", tag="area")),
        ("<link rel=NEXT href=?2>", Link(url="http://a.example/dir/page.html?2", rel="next", tag="link")),
        ("<link rel='x prev' href=/x>", Link(url="http://a.example/x", rel="x prev", tag="link")),
        ("<link rel=canonical href=/x>", Link(url="http://a.example/x", rel="canonical", tag="link")),
        ("<link rel=alternate hreflang=de href=/de>", Link(url="http://a.example/de", rel="alternate", tag="link")),
        ("<iframe src=/x></iframe>", Link(url="http://a.example/x", tag="iframe")),
        ("<frameset><frame src=/x></frameset>", Link(url="http://a.example/x", tag="frame")),
        ('<meta http-equiv=Refresh content="0; URL=/x">', Link(url="http://a.example/x", tag="meta")),
        ("<a href=/x rel='NoFollow'>x</a>", Link(url="http://a.example/x", text="x", rel="nofollow", nofollow=True)),
        ("<a href=/x rel=ugc>x</a>", Link(url="http://a.example/x", text="x", rel="ugc", nofollow=True)),
        ("<a href=/x rel=sponsored>x</a>", Link(url="http://a.example/x", text="x", rel="sponsored", nofollow=True)),
        ("<svg><a href=/x><text>x</text></a></svg>", Link(url="http://a.example/x", text="x")),
        ("<noscript><a href=/x>x</a></noscript>", Link(url="http://a.example/x", text="x")),
    ],
)  # fmt: skip
def test_what_a_link_is(page: str, link: Link) -> None:
    assert find(page) == Links(links=(link,))


@pytest.mark.parametrize(
    "page",
    [
        "<link rel=stylesheet href=/x>",
        "<link rel=icon href=/x>",
        "<link rel=preload href=/x>",
        "<link rel='alternate' type=application/rss+xml href=/x>",
        "<link rel='alternate stylesheet' href=/x>",
        "<a>no address</a><a name=x>none</a>",
        "<img src=/x><script src=/x></script><form action=/x></form>",
        "<script>'<a href=/x>'</script><style><a href=/x></style><!-- <a href=/x> --><title><a href=/x></title>",
        "<template><a href=/x>x</a></template>",
        "<meta http-equiv=refresh content=5>",
        "<meta http-equiv=refresh content='url=/x'>",
        "<meta http-equiv=refresh href=/x>",
        "<meta name=refresh content='0;url=/x'>",
        "<a href=mailto:x@y.example>x</a><a href=javascript:x()>x</a><a href=tel:1>x</a><a href='data:,x'>x</a>",
        "<a href='JavaScript:void(0)'>x</a><a href=blob:http://a.example/1>x</a><a href=ftp://a.example/>x</a>",
        "<a href='http://'>x</a><a href='http://a b/'>x</a><a href='//[::1/'>x</a><a href='http://a:99999/'>x</a>",
        f"<a href=/{'x' * 9000}>x</a>",
        "",
        " ",
    ],
)
def test_what_no_link_is(page: str) -> None:
    assert find(page) == Links()


@pytest.mark.parametrize(
    ("content", "address"),
    [
        ("0;url=/x", "/x"),
        ("5, URL = '/x' y", "/x"),
        (' .5 ;url="/x" y', "/x"),
        ("0 /x", "/x"),
        ("0;/x", "/x"),
        ("0;'/x'y", "/x"),
        ("0;url='/x", "/x"),
        ("1.5.2;url=/x", "/x"),
        ("0;url=mailto:x@y.example", None),
        ("0;", None),
        ("x;url=/x", None),
        ("0x;url=/x", None),
    ],
)
def test_refresh(content: str, address: str | None) -> None:
    """As https://html.spec.whatwg.org/#shared-declarative-refresh-steps reads it."""
    page = f'<meta http-equiv="refresh" content="{stdlib_html.escape(content)}">'
    assert found(page) == ([] if address is None else [f"http://a.example{address}"])


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<a href=/x> two\n\t words </a>", "two words"),
        ("<a href=/x><b>in</b>ner <i>tag</i></a>", "inner tag"),
        ("<a href=/x><img src=y alt='an image' title=t></a>", "an image"),
        ("<a href=/x title=t><span><img alt=i></span></a>", "i"),
        ("<a href=/x><img title='of it'></a>", "of it"),
        ("<a href=/x title=t><img></a>", "t"),
        ("<a href=/x aria-label=l></a>", "l"),
        ("<a href=/x title=t aria-label=l> </a>", "t"),
        ("<a href=/x><img alt=i> text</a>", "text"),
        ("<a href=/x></a>", ""),
        ("<a href=/x>" + "<b></b>" * 100 + "far down</a>", ""),
        ("<a href=/x>" + "word " * 100 + "</a>", ("word " * 100)[:200]),
        ("<a href=/x>&lt;é&amp;\N{NO-BREAK SPACE}x</a>", "<é& x"),
    ],
)
def test_text(page: str, text: str) -> None:
    assert only(page).text == text


@pytest.mark.parametrize(
    ("page", "url"),
    [
        ("<base href=/b/><a href=x>", "http://a.example/b/x"),
        ("<base href=b/><a href=x>", "http://a.example/dir/b/x"),
        ("<base href=https://b.example><a href=x>", "https://b.example/x"),
        ("<a href=x></a><base href=/b/>", "http://a.example/b/x"),
        ("<base target=_top><base href=/b/><base href=/c/><a href=x>", "http://a.example/b/x"),
        ("<base href=data:text/plain,x><a href=x>", "http://a.example/dir/x"),
        ("<base href=ftp://b.example/><base href=/c/><a href=x>", "http://a.example/dir/x"),
        ("<base href='http://['><a href=x>", "http://a.example/dir/x"),
        ("<base href><a href=x>", "http://a.example/dir/x"),
        ("<base href=http://u:p@b.example/c/><a href=x>", "http://b.example/c/x"),
        ("<base href=/b/><a href=#top>", "http://a.example/b/"),
        ("<a href=b/../c/./d>", "http://a.example/dir/c/d"),
        ("<a href=/b/..>", "http://a.example/"),
        ("<a href=../../../b/.c//d?e>", "http://a.example/b/.c//d?e"),
        ("<a href=#top>", HERE),
        ("<a href>", HERE),
        ("<a href=' /x\n'>", "http://a.example/x"),
        ("<a href=http://u:p@b.example/x#y>", "http://b.example/x"),
        ("<a href=/x?a=1&copy=2&amp;b=3>", "http://a.example/x?a=1&copy=2&b=3"),
        ("<a href=/%7e/A%2f?B>", "http://a.example/%7e/A%2f?B"),
    ],
)
def test_where_a_link_leads(page: str, url: str) -> None:
    assert found(page) == [url]


def test_each_url_once_where_it_stands_first() -> None:
    page = "<a href=/x>one</a><a href=/y>y</a><a href=/x#z>two</a><a href=http://A.example:80/x>three</a>"
    assert [(link.url, link.text) for link in find(page).links] == [
        ("http://a.example/x", "one"),
        ("http://a.example/y", "y"),
    ]


def test_a_link_that_may_be_followed_stands_before_one_that_may_not() -> None:
    seen = find("<a href=/x rel=nofollow>one</a><a href=/y>y</a><a href=/x>two</a><a href=/y rel=nofollow>z</a>").links
    assert [(link.url, link.text, link.nofollow) for link in seen] == [
        ("http://a.example/x", "two", False),
        ("http://a.example/y", "y", False),
    ]


def test_most_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond is counted, each once; what is known already is not beyond."""
    monkeypatch.setattr(links, "MOST_LINKS", 2)
    seen = find("<a href=/1>1</a><a href=/2>2</a><a href=/3>3</a><a href=/1>1</a><a href=/4>4</a><a href=/3>3</a>")
    assert ([link.url[-1] for link in seen.links], seen.left_out) == (["1", "2"], 2)


def test_most_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MOST_HTML_BYTES", 20)
    assert found("<a href=/1>1</a><a href=/2>2</a>") == ["http://a.example/1"]


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("windows-1252", "http://a.example/%C3%B1?p=%A332&%B5=u&x=%26%238366%3B"),
        ("utf-8", "http://a.example/%C3%B1?p=%C2%A332&%C2%B5=u&x=%E2%82%AE"),
        ("utf-16le", "http://a.example/%C3%B1?p=%C2%A332&%C2%B5=u&x=%E2%82%AE"),
    ],
)
def test_a_query_is_written_in_the_charset_of_the_page(name: str, url: str) -> None:
    """The path is UTF-8 wherever it stands; what the charset lacks becomes a character reference."""
    assert Addresses(HERE, None, name).resolve("/ñ?p=£32&µ=u&x=₮#é") == url


@pytest.mark.parametrize(
    ("name", "text", "written"),
    [
        ("shift_jis", "表", "%95\\"),
        ("shift_jis", "表あ₮", "%95\\%82%A0%26%238366%3B"),
        ("iso-2022-jp", "ぃう", "%1B$B$%23$&%1B(B"),
    ],
)
def test_a_query_in_a_charset_with_ascii_in_its_characters(name: str, text: str, written: str) -> None:
    assert Addresses(HERE, None, name).resolve(f"/?{text}") == f"http://a.example/?{written}"


@pytest.mark.parametrize("name", ["utf-16le", "utf-16be", "windows-1251", "shift_jis", "gb18030"])
def test_pages_in_other_charsets(name: str) -> None:
    page = "<!doctype html><title>x</title><a href=/ж>Привет</a>".encode({"windows-1251": "cp1251"}.get(name, name))
    [link] = links.find(page, HERE, name).links
    assert (link.url, link.text) == ("http://a.example/%D0%B6", "Привет")


def test_a_byte_order_mark_is_no_text() -> None:
    assert found("\ufeff<frameset><frame src=/x></frameset>") == ["http://a.example/x"]


def test_xhtml() -> None:
    """In XML a tag may end itself. An HTML parser would take the rest of the page for the title's or the script's."""
    page = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "x">'
        '<html xmlns="http://www.w3.org/1999/xhtml"><head><title/><script src="s.js" /><base href="/b/" /></head>'
        '<body><p><a id="here"/><a href="x">x</a><br/><iframe src="f" /><a href="y" />outside</p></body></html>'
    )
    assert [(link.url, link.text) for link in find(page).links] == [
        ("http://a.example/b/x", "x"),
        ("http://a.example/b/f", ""),
        ("http://a.example/b/y", ""),
    ]


def test_frames_and_what_stands_for_them() -> None:
    page = "<frameset cols='1,2'><frame src=a><frame src=b><noframes><a href=c>c</a></noframes></frameset>"
    assert found(page) == ["http://a.example/dir/a", "http://a.example/dir/b"]


def test_nul_bytes() -> None:
    assert found("\0<a\0 href=/1>1</a><a href='/\0x'>2</a>\0<a href=/2>3\0</a>")[-1] == "http://a.example/2"


@pytest.mark.parametrize(
    ("page", "noindex", "nofollow"),
    [
        ("<meta name=robots content=noindex>", True, False),
        ("<meta name=ROBOTS content='NoFollow'>", False, True),
        ("<meta name=robots content='noindex,nofollow'>", True, True),
        ("<meta name=robots content=none>", True, True),
        ("<meta name=robots content=all>", False, False),
        ("<meta name=robots content='index, follow'>", False, False),
        ("<meta name=robots content='NOARCHIVE,NOCACHE'>", False, False),
        ("<meta name=cormorant content=noindex>", True, False),
        ("<meta name=googlebot content=noindex>", False, False),
        ("<meta name=robots content=index><meta name=cormorant content='noindex'>", True, False),
        ("<body><meta name=robots content=noindex>", True, False),
        ("<meta name=robots>", False, False),
        ("<meta name=robots href=x>", False, False),
    ],
)
def test_what_a_page_asks_of_robots(page: str, noindex: bool, nofollow: bool) -> None:
    seen = find(page)
    assert (seen.noindex, seen.nofollow) == (noindex, nofollow)


@pytest.mark.parametrize(
    ("values", "noindex", "nofollow"),
    [
        ([], False, False),
        (["noindex"], True, False),
        (["NOINDEX, NoFollow"], True, True),
        (["none"], True, True),
        (["all"], False, False),
        (["googlebot: noindex"], False, False),
        (["googlebot: noindex, nofollow"], False, False),
        (["googlebot: nofollow", "otherbot: noindex, nofollow"], False, False),
        (["cormorant: noindex"], True, False),
        (["Cormorant: noindex , nofollow"], True, True),
        (["*: nofollow"], False, True),
        (["googlebot: nofollow, cormorant: noindex"], True, False),
        (["noindex, googlebot: nofollow"], True, False),
        (["googlebot: noindex", "nofollow"], False, True),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST, noindex"], True, False),
        (["max-snippet: 20, nofollow"], False, True),
        (["noindexing, unfollow"], False, False),
        ([" , :, ,"], False, False),
    ],
)
def test_x_robots_tag(values: list[str], noindex: bool, nofollow: bool) -> None:
    assert links.robots_tag(values) == (noindex, nofollow)


WORDS = st.sampled_from(
    ["..", ".", "/", "a", "b-_~", "a.b", "?", "q=1", "&", "#", ":", "%41", "é", " ", "http:", "//", "\\"]
)


@given(
    st.lists(WORDS, max_size=8).map("".join), st.sampled_from([HERE, "https://x.example/", "http://x.example:81/a/b/"])
)
def test_joining_texts_is_what_the_parser_does(href: str, base: str) -> None:
    assert Addresses(base, None, "utf-8").resolve(href) == cleaned(href, base)


@given(st.binary(max_size=200), st.sampled_from(["utf-8", "windows-1252", "utf-16le", "shift_jis", "replacement"]))
def test_no_bytes_raise(body: bytes, name: str) -> None:
    assert all(urls.clean(link.url) == link.url for link in links.find(body, HERE, name).links)


MARKUP = st.sampled_from(
    (
        *(
            "<a href=",
            "<meta name=robots content=",
            "<meta http-equiv=refresh content='0;",
            "<base href=",
            "<area href='",
        ),
        *(
            "</a>",
            ">",
            "'",
            '"',
            "/x",
            "//",
            "http://",
            "x",
            " ",
            "\0",
            "\ud800",
            "<svg>",
            "<table>",
            "<iframe src=",
            "%",
        ),
        *(
            "<?xml ",
            "/>",
            "<frameset>",
            "<frame src=",
            "=",
            "<!--",
            "-->",
            "&#0;",
            "&#xD800;",
            "?é",
            "[",
            "<link rel=next ",
        ),
    )
)


@given(st.lists(MARKUP, max_size=30).map("".join), st.sampled_from(["utf-8", "windows-1252", "iso-2022-jp"]))
def test_no_markup_raises(page: str, name: str) -> None:
    seen = links.find(page.encode("utf-8", "surrogatepass"), HERE, name)
    assert all(urls.clean(link.url) == link.url and "#" not in link.url for link in seen.links)
