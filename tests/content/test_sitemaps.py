"""What a sitemap lists: every kind of it, careless and cut ones, and hostile bytes that cost no more than they may."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cormorant.content import sitemaps
from cormorant.content.sitemaps import MOST_URLS, Sitemap, SitemapLink, read

URL = "https://a.example/maps/sitemap.xml"
NAMESPACE = "http://www.sitemaps.org/schemas/sitemap/0.9"


def addresses(found: Sitemap) -> list[str]:
    return [link.url for link in found.links]


def urlset(*locs: str) -> str:
    return "<urlset>" + "".join(f"<url><loc>{loc}</loc></url>" for loc in locs) + "</urlset>"


EXAMPLE = f"""<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="{NAMESPACE}" xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">
  <url>
    <loc> https://a.example/caf\u00e9?x=1&amp;y=2#top </loc>
    <lastmod>2024-05-06T07:08:09+00:00</lastmod>
    <changefreq>weekly</changefreq><priority>0.5</priority>
    <image:image><image:loc>https://a.example/picture.png</image:loc></image:image>
  </url>
  <url><loc>/relative</loc></url>
</urlset>"""


def test_urlset() -> None:
    assert read(EXAMPLE.encode(), URL) == Sitemap(
        links=(
            SitemapLink(url="https://a.example/caf%C3%A9?x=1&y=2", lastmod="2024-05-06T07:08:09+00:00"),
            SitemapLink(url="https://a.example/relative"),
        )
    )


@pytest.mark.parametrize(
    "body",
    [
        EXAMPLE.encode("utf-8-sig"),
        EXAMPLE.encode("utf-16"),
        EXAMPLE.replace("UTF-8", "utf-16be").encode("utf-16-be"),
        EXAMPLE.replace("UTF-8", "ISO-8859-1").encode("latin-1"),
        b"\n\r\n  " + EXAMPLE.encode(),
        gzip.compress(EXAMPLE.encode()),
        gzip.compress(EXAMPLE.encode()[:300]) + gzip.compress(EXAMPLE.encode()[300:]) + bytes(512),
        EXAMPLE.replace(f'xmlns="{NAMESPACE}" ', "").encode(),
        EXAMPLE.replace("<loc>", "<LOC>").replace("</loc>", "</LOC>").encode(),
        EXAMPLE.replace("&amp;", "&").encode(),
        EXAMPLE.replace("https://a.example/caf", "<![CDATA[https://a.example/caf")
        .replace("&amp;y=2", "&y=2]]>")
        .encode(),
        EXAMPLE.replace("<", "<s:")
        .replace("<s:/", "</s:")
        .replace("<s:?", "<?")
        .replace("s:image:", "image:")
        .encode(),
        EXAMPLE.replace("weekly", "week\x00\x0bly").encode(),
    ],
    ids=[
        *("utf-8 mark", "utf-16 mark", "utf-16 without mark", "latin-1", "blank first", "gzip", "gzip members"),
        *("no namespace", "upper case", "bare ampersand", "cdata", "prefix", "control characters"),
    ],
)
def test_the_same_in_many_guises(body: bytes) -> None:
    assert read(body, URL) == read(EXAMPLE.encode(), URL)


def test_index() -> None:
    body = """<sitemapindex><sitemap><loc>https://a.example/1.xml.gz</loc><lastmod>2024-05-06</lastmod></sitemap>
        <sitemap><loc>2.xml</loc></sitemap></sitemapindex>"""
    assert read(body.encode(), URL) == Sitemap(
        sitemaps=(
            SitemapLink(url="https://a.example/1.xml.gz", lastmod="2024-05-06"),
            SitemapLink(url="https://a.example/maps/2.xml"),
        )
    )


def test_lines() -> None:
    body = b"\xef\xbb\xbfhttps://a.example/1\r\n\r\n  https://a.example/2  \rno URL\nhttps://a.example/3\tx\nhttps://a.example/1"
    assert read(body, URL) == Sitemap(
        links=(SitemapLink(url="https://a.example/1"), SitemapLink(url="https://a.example/2")), left_out=2
    )


def test_rss() -> None:
    body = """<?xml version="1.0"?><rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom"><channel>
        <link>https://a.example/</link><image><url>https://a.example/i.png</url><link>https://a.example/</link></image>
        <item><atom:link href="https://a.example/feed"/><title>&nbsp;One &lt;b></title><link>https://a.example/1</link>
            <pubDate>Wed, 02 Oct 2002 13:00:00 GMT</pubDate></item>
        <item><link><![CDATA[ https://a.example/2?a=1&b=2 ]]></link></item></channel></rss>"""
    assert read(body.encode(), URL) == Sitemap(
        links=(
            SitemapLink(url="https://a.example/1", lastmod="Wed, 02 Oct 2002 13:00:00 GMT"),
            SitemapLink(url="https://a.example/2?a=1&b=2"),
        )
    )


def test_rss_1_0() -> None:
    body = """<rdf:RDF xmlns:rdf="x" xmlns:dc="y"><item><link>/1</link><dc:date>2024-05-06</dc:date></item></rdf:RDF>"""
    assert read(body.encode(), URL).links == (SitemapLink(url="https://a.example/1", lastmod="2024-05-06"),)


def test_atom() -> None:
    body = """<feed xmlns="http://www.w3.org/2005/Atom"><link href="https://a.example/"/><entry>
        <link rel="enclosure" href="/sound.mp3"/><link rel="alternate" href="/1"/><link href="/1-fr" hreflang="fr"/>
        <updated>2024-05-06T07:08:09Z</updated><source><link href="https://b.example/"/></source></entry></feed>"""
    assert read(body.encode(), URL).links == (
        SitemapLink(url="https://a.example/1", lastmod="2024-05-06T07:08:09Z"),
        SitemapLink(url="https://a.example/1-fr"),
    )


def test_alternates_stand_behind_the_pages_and_are_not_counted_twice() -> None:
    entry = """<url><loc>/{0}</loc><xhtml:link rel="alternate" hreflang="de" href="/de"/>
        <xhtml:link rel="alternate" hreflang="en" href="/en"/><xhtml:link rel="canonical" href="/c"/></url>"""
    found = read(f"<urlset>{entry.format('en')}{entry.format('fr')}</urlset>".encode(), URL)
    assert [address.rpartition("/")[2] for address in addresses(found)] == ["en", "fr", "de"]
    assert (found.left_out, found.problem) == (0, None)


def test_what_is_no_url_is_counted() -> None:
    found = read(urlset("https://a.example/1", "", "ftp://a.example/", "https://[", "mailto:a@b.example").encode(), URL)
    assert (addresses(found), found.left_out) == (["https://a.example/1"], 4)


def test_a_lastmod_too_long_to_be_one_is_dropped() -> None:
    body = "<urlset><url><loc>/1</loc><lastmod>{}</lastmod></url></urlset>"
    assert read(body.format("x" * 40).encode(), URL).links[0].lastmod == "x" * 40
    assert read(body.format("x" * 41).encode(), URL).links[0].lastmod is None


@pytest.mark.parametrize("end", range(len(urlset("/1", "/2")) - 1, len("<urlset><url><loc>/1</loc>") - 1, -1))
def test_xml_that_breaks_off_gives_what_came(end: int) -> None:
    body = urlset("/1", "/2").encode()[:end]
    found = read(body, URL)
    complete = body.count(b"</loc>")
    assert addresses(found) == ["https://a.example/1", "https://a.example/2"][:complete]
    assert "the XML is broken" in (found.problem or "")


def test_xml_broken_in_the_middle_gives_what_came_before() -> None:
    found = read(b"<urlset><url><loc>/1</loc></url><url><loc>/2<</loc></url></urlset>", URL)
    assert addresses(found) == ["https://a.example/1"]


def test_gzip_that_breaks_off_gives_what_came_but_no_half_url() -> None:
    body = gzip.compress("\n".join(f"https://a.example/{number * 7919}" for number in range(5000)).encode())
    found = read(body[: len(body) // 2], URL)
    assert 1000 < len(found.links) < 4000
    assert found.links == read(gzip.compress(gzip.decompress(body)), URL).links[: len(found.links)]
    assert found.problem == "the gzip stream breaks off"


def test_damaged_gzip_gives_what_came_before() -> None:
    body = bytearray(gzip.compress("\n".join(f"https://a.example/{n * n * 7919}" for n in range(20_000)).encode()))
    body[len(body) * 3 // 4] ^= 0xFF
    found = read(bytes(body), URL)
    assert len(found.links) > 5000
    assert "gzip stream is damaged" in (found.problem or "")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "the sitemap is empty"),
        (b" \n", "the sitemap is empty"),
        (b"<!DOCTYPE html><html><body><a href='/1'>x</a></body></html>", "root element is <html>"),
        (b"Not found\n", "neither XML nor a list of URLs"),
        (bytes(range(256)), "neither XML nor a list of URLs"),
        (b"<urlset>" + b"<a>" * 100_000, "nested more than 64 deep"),
        (b"<urlset><!--" + b"x" * 3_000_000, "longer than 1,048,576 bytes"),
        (b"<urlset>" + b"".join(b"<a%d/>" % n for n in range(2000)) + b"</urlset>", "more than 1,000 different names"),
        (b"<urlset>" + b"<url/>" * 200_000 + b"</urlset>", "100,000 entries"),
        (b"x\n" * 200_000, "neither XML nor a list of URLs"),
        (gzip.compress(b"") * 10_001, "more than 10,000 gzip members"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_sitemap_says_so(body: bytes, problem: str) -> None:
    found = read(body, URL)
    assert (found.links, found.sitemaps) == ((), ())
    assert problem in (found.problem or "")


def test_limit_of_urls() -> None:
    found = read(urlset(*(f"/{number}" for number in range(MOST_URLS + 5)), "/0").encode(), URL)
    assert (len(found.links), found.left_out, found.problem) == (50_000, 5, None)


def test_limit_of_alternates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitemaps, "MOST_URLS", 3)
    alternates = "".join(f'<xhtml:link rel="alternate" href="/{number}"/>' for number in (1, 2, 3, 4, 5, 1))
    found = read(f"<urlset><url>{alternates}<loc>/0</loc></url></urlset>".encode(), URL)
    assert [address.rpartition("/")[2] for address in addresses(found)] == ["0", "1", "2"]
    assert found.left_out == 3


def test_limit_of_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitemaps, "_MOST_ELEMENTS", 100)
    found = read(b"<urlset><url><loc>/1</loc></url>" + b"<a/>" * 100 + b"</urlset>", URL)
    assert addresses(found) == ["https://a.example/1"]
    assert "more than 100 elements" in (found.problem or "")


def test_too_many_ampersands_to_mend_end_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitemaps, "_MOST_MENDED", 2)
    found = read(urlset("/1", "/2?a&b&c&d").encode(), URL)
    assert addresses(found) == ["https://a.example/1"]


def test_a_gzip_bomb_is_read_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitemaps, "MOST_BYTES", 1_000_000)
    bomb = gzip.compress(b"<urlset><url><loc>/1</loc></url>" + bytes(100_000_000))
    tracemalloc.start()
    try:
        found = read(bomb, URL)
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()
    assert addresses(found) == ["https://a.example/1"]
    assert "larger than 1,000,000 bytes" in (found.problem or "")


LAUGHS = "".join(f'<!ENTITY l{level} "{f"&l{level - 1};" * 10}">' for level in range(1, 10))


@pytest.mark.parametrize(
    "declarations",
    [
        f'<!ENTITY l0 "lol">{LAUGHS}',
        '<!ENTITY l9 SYSTEM "file:///etc/passwd">',
        '<!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd"> %p;',
        f'<!ATTLIST url x CDATA "{"x" * 1000}">',
    ],
    ids=["laughs", "file", "parameter", "attribute"],
)
def test_declarations_end_the_reading(declarations: str) -> None:
    found = read(f"<!DOCTYPE urlset [{declarations}]>{urlset('/&l9;', '/2')}".encode(), URL)
    assert found.links == ()
    assert "DOCTYPE" in (found.problem or "")


def test_a_doctype_without_declarations_is_read_past_and_nothing_is_fetched() -> None:
    found = read(f'<!DOCTYPE urlset SYSTEM "file:///etc/passwd">{urlset("/1?&l9;")}'.encode(), URL)
    assert addresses(found) == ["https://a.example/1?&l9;"]
    assert found.problem is None


@given(st.binary(max_size=500))
@settings(deadline=None)
def test_no_bytes_raise(body: bytes) -> None:
    assert isinstance(read(body, URL), Sitemap)
    assert isinstance(read(gzip.compress(body), URL), Sitemap)
    assert isinstance(read(b"\x1f\x8b\x08" + body, URL), Sitemap)


PARTS = st.sampled_from(
    [
        *("<urlset>", "</urlset>", "<url>", "</url>", "<loc>", "</loc>", "<sitemapindex>", "<sitemap>", "</sitemap>"),
        *("<rss>", "<channel>", "<item>", "<link>", "</link>", "</item>", "<feed>", "<entry>", "<link href='/x'/>"),
        *("<![CDATA[", "]]>", "&", "&amp;", "&#0;", "&#x110000;", "<!--", "-->", "<?xml version='1.0'?>", "<", ">"),
        *("<!DOCTYPE urlset>", "<!DOCTYPE a [", "]", "https://a.example/", "\x00", "\ud800", "\uffff", "\n"),
    ]
)


@given(st.lists(PARTS, max_size=40), st.sampled_from(["<urlset>", "<rss><channel>", "<feed>", ""]))
@settings(deadline=None)
def test_no_tags_raise(parts: list[str], start: str) -> None:
    body = (start + "".join(parts)).encode("utf-8", "surrogatepass")
    found = read(body, URL)
    assert all(link.url.startswith(("http://", "https://")) for link in found.links + found.sitemaps)
