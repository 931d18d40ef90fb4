"""Bytes to text as browsers do it: which character set a body is in, and how to read it. For pages and records.

Laws: pure and total (no bytes and no header make these functions raise); names are those of the WHATWG Encoding
standard in lower case, and `windows-1252` is what `latin-1` and `ascii` mean on the web; UTF-7 does not exist.
The order is: byte order mark, Content-Type, `<meta>` or `<?xml encoding?>`, then a guess (UTF-8 when it fits).
"""

from __future__ import annotations

import codecs
import functools
import re

import webencodings  # type: ignore[import-untyped]  # the label table of the standard; has no type hints

DEFAULT = "windows-1252"
SNIFF_BYTES = 1024
# The standard prescans 1,024 bytes too, but a parser that meets a later <meta> changes its mind: so we look further.
PRESCAN_BYTES = 16 * 1024
GUESS_BYTES = 4 * 1024
LONGEST_CONTENT_TYPE = 512

_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xfe\xff", "utf-16be"), (b"\xff\xfe", "utf-16le"))

# The Python codec that reads what browsers read under a name; the rest are codecs of the same name.
_CODECS = {
    "big5": "big5hkscs",
    "euc-kr": "cp949",
    "gbk": "gb18030",
    "iso-2022-jp": "iso2022_jp_ext",
    "iso-8859-8-i": "iso8859-8",
    "macintosh": "mac-roman",
    "shift_jis": "cp932",
    "windows-874": "cp874",
    "x-mac-cyrillic": "mac-cyrillic",
}
_MULTI_BYTE = frozenset(
    ("utf-8", "utf-16le", "utf-16be", "gbk", "gb18030", "big5", "euc-jp", "euc-kr", "iso-2022-jp", "shift_jis")
)
# Where Python's tables differ from https://encoding.spec.whatwg.org/#indexes.
_CORRECTIONS = {
    "koi8-u": {0xAE: "\u045e", 0xBE: "\u040e"},
    "windows-1255": {0xCA: "\u05ba"},
}
# What is guessed among. The detector cannot tell the Latin sets apart (French as windows-1250).
_LATIN = ("windows-1252", "windows-1250", "windows-1257", "windows-1258", "iso-8859-2")
_GUESSED = (
    *_LATIN,
    *("windows-1254", "windows-1251", "koi8-r", "ibm866", "windows-1253", "windows-1255", "windows-1256"),
    *("windows-874", "shift_jis", "euc-jp", "gbk", "big5", "euc-kr"),
)
_HOLE = "\ufffe"  # what a charmap table holds where a byte has no meaning

_PARAMETER = re.compile(r';[\t\n\r ]*([^;=]*)(?:="((?:[^"\\]|\\.)*)[^;]*|=([^;]*))?', re.S)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TEXT_TYPE = re.compile(
    r"text/|[^/]+/(?:[^/]+\+)?(?:json|xml|yaml)\Z|application/(?:x-)?(?:"
    r"javascript|ecmascript|ndjson|json-seq|jsonlines|jsonl|yaml|toml|sql|graphql|www-form-urlencoded|sh|latex|tex)\Z"
)
# https://mimesniff.spec.whatwg.org/#binary-data-byte
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")

_ISO_2022_JP = re.compile(rb"\x1b\$[@B]")
_TAG = re.compile(rb"<(?:(!--)|(meta)(?=[\t\n\f\r /])|(/?[a-z])|[!/?])", re.I)
_TAG_NAME = re.compile(rb"[^\t\n\f\r >]*")
_BEFORE_NAME = re.compile(rb"[\t\n\f\r /]*")
_NAME = re.compile(rb"[^\t\n\f\r />][^\t\n\f\r />=]*")
_SPACE = re.compile(rb"[\t\n\f\r ]*")
_UNQUOTED = re.compile(rb"[^\t\n\f\r >]*")
_CONTENT_CHARSET = re.compile(
    rb"""charset[\t\n\f\r ]*=[\t\n\f\r ]*(?:"([^"]*)"|'([^']*)'|(?!["'])([^\t\n\f\r ;]*))""", re.I
)
_XML_ENCODING = re.compile(rb"""<\?xml[^>]*?encoding[\x00-\x20]*=[\x00-\x20]*(?:"([^">]*)"|'([^'>]*)')""")


def of(body: bytes, content_type: str | None) -> str:
    """Name the character set of `body`, sent as `content_type`. Always a name that `decode` knows."""
    return declared(body, content_type) or _guess(body)


def declared(body: bytes, content_type: str | None) -> str | None:
    """Name the character set that the page itself or its header states, or None when neither does."""
    for mark, name in _MARKS:
        if body.startswith(mark):
            return name
    header = content_type[:LONGEST_CONTENT_TYPE] if content_type else ""
    xml = "xml" in header and "xhtml" not in header
    return _header_charset(header) or _prescan(body[:SNIFF_BYTES], xml) or _prescan(body[:PRESCAN_BYTES], xml)


def decode(body: bytes, name: str) -> str:
    """Read `body` as `name`, without its byte order mark; what does not fit becomes U+FFFD."""
    return _decode(_without_mark(body, name), name, "replace")


def decode_strict(body: bytes, name: str) -> str | None:
    """Read `body` as `name`, without its byte order mark; None when some bytes do not fit."""
    try:
        return _decode(_without_mark(body, name), name, "strict")
    except UnicodeError:
        return None


def decode_exact(body: bytes, name: str) -> str | None:
    """Read `body` as `name` such that `encode` gives the same bytes back; None when no text does.

    A byte order mark stays, as U+FEFF.
    """
    try:
        text = _decode(body, name, "strict")
        # UTF-8 without errors has one spelling for each text; the other codecs may have several.
        return text if name == "utf-8" or encode(text, name) == body else None
    except UnicodeError:
        return None


def encode(text: str, name: str) -> bytes:
    """Write `text` as `name`. Raises UnicodeEncodeError where `name` lacks a character."""
    if name in _MULTI_BYTE:
        return text.encode(_CODECS.get(name, name))
    return codecs.charmap_encode(text, "strict", _table(name)[1])[0]


def is_text(body: bytes, content_type: str | None) -> bool:
    """Tell whether this is text for people or programs: by its type; without one, by the absence of control bytes."""
    essence = (content_type or "").partition(";")[0].strip().lower()
    if "/" in essence:
        return bool(_TEXT_TYPE.match(essence))
    return body.startswith(tuple(mark for mark, _ in _MARKS)) or not _BINARY.search(body, 0, SNIFF_BYTES)


def _decode(body: bytes, name: str, errors: str) -> str:
    if name in _MULTI_BYTE:
        return body.decode(_CODECS.get(name, name), errors)
    if name == "replacement" and errors == "replace":  # sets that were used for attacks: one U+FFFD for everything
        return "\ufffd" if body else ""
    return codecs.charmap_decode(body, errors, _table(name)[0])[0]


def _without_mark(body: bytes, name: str) -> bytes:
    for mark, marked in _MARKS:
        if name == marked and body.startswith(mark):
            return body[len(mark) :]
    return body


@functools.lru_cache(maxsize=64)
def _table(name: str) -> tuple[str, dict[int, int]]:
    """Build a single-byte charset's decoding table and its inverse.

    Python leaves bytes 80-9F undefined in the windows sets where the standard has the C1 controls.
    """
    if name == "x-user-defined":
        table = "".join(chr(byte if byte < 0x80 else 0xF700 + byte) for byte in range(256))
    elif name == "replacement":
        table = _HOLE * 256
    else:
        codec = _CODECS.get(name, name)
        plain = [bytes([byte]).decode(codec, "replace") for byte in range(256)]
        for byte, character in enumerate(plain):
            if character == "\ufffd":
                plain[byte] = chr(byte) if 0x80 <= byte <= 0x9F else _HOLE
        for byte, character in _CORRECTIONS.get(name, {}).items():
            plain[byte] = character
        table = "".join(plain)
    return table, {ord(character): byte for byte, character in enumerate(table) if character != _HOLE}


@functools.lru_cache(maxsize=1024)
def _header_charset(content_type: str) -> str | None:
    """Return the charset that the first `charset` parameter names (https://mimesniff.spec.whatwg.org/)."""
    for match in _PARAMETER.finditer(content_type):
        name, quoted, bare = match.groups()
        if name.lower() != "charset" or (quoted is None and not bare):
            continue
        value = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        if not _CONTROL.search(value.strip("\t\n\r ")):
            return _named(value)
    return None


def _named(label: str) -> str | None:
    """Return the charset that `label` stands for (https://encoding.spec.whatwg.org/#names-and-labels), or None."""
    found = webencodings.lookup(label) if label.isascii() else None
    return None if found is None else str(found.name)


def _prescan(head: bytes, xml_first: bool) -> str | None:
    """Return the charset that `<meta>` or an XML declaration in `head` names, or None."""
    if head.startswith(b"<\0?\0x\0"):
        return "utf-16le"
    if head.startswith(b"\0<\0?\0x"):
        return "utf-16be"
    scans = (_xml_charset, _meta_charset) if xml_first else (_meta_charset, _xml_charset)
    return scans[0](head) or scans[1](head)


def _xml_charset(head: bytes) -> str | None:
    match = _XML_ENCODING.match(head)
    return None if match is None else _named_inside(match[1] or match[2] or b"")


def _meta_charset(head: bytes) -> str | None:
    """Run the standard's prescan (https://html.spec.whatwg.org/#prescan-a-byte-stream-to-determine-its-encoding)."""
    lowered = head.lower()
    last = lowered.rfind(b"<meta")
    if last < 0 or b"charset" not in lowered:
        return None
    at = 0
    try:
        while at <= last and (found := _TAG.search(head, at)):
            comment, meta, tag = found.groups()
            if comment:
                at = head.index(b"-->", found.start() + 2)  # `<!-->` is a whole comment
            elif meta:
                name, at = _read_meta(head, found.end())
                if name:
                    return name
            elif tag:
                at = _past_attributes(head, _end(_TAG_NAME, head, found.end()))
            else:
                at = head.index(b">", found.end())
    except (IndexError, ValueError):  # the bytes ended inside a tag: the standard gives up, and so do we
        pass
    return None


def _read_meta(head: bytes, at: int) -> tuple[str | None, int]:
    """Read one `<meta>`'s attributes; return the charset it names, if any, and where it ends."""
    seen: dict[bytes, bytes] = {}
    while True:
        name, value, at = _attribute(head, at)
        if not name:
            break
        seen.setdefault(name, value)
    if b"charset" in seen:
        return _named_inside(seen[b"charset"]), at
    match = _CONTENT_CHARSET.search(seen.get(b"content", b""))
    if match is None or seen.get(b"http-equiv", b"").lower() != b"content-type":
        return None, at
    return _named_inside(match[1] or match[2] or match[3] or b""), at


def _past_attributes(head: bytes, at: int) -> int:
    name = b"?"
    while name:
        name, _, at = _attribute(head, at)
    return at


def _attribute(head: bytes, at: int) -> tuple[bytes, bytes, int]:
    """Get one attribute (https://html.spec.whatwg.org/#concept-get-attributes-when-sniffing).

    Returns its lower-case name (empty at the end of the tag), its value and where to go on. Raises IndexError or
    ValueError when the bytes end within.
    """
    at = _end(_BEFORE_NAME, head, at)
    if head[at] == 0x3E:
        return b"", b"", at
    start, at = at, _end(_NAME, head, at)
    name = head[start:at].lower()
    after = _end(_SPACE, head, at)
    if head[after] != 0x3D:
        return name, b"", after
    at = _end(_SPACE, head, after + 1)
    if head[at] in b"\"'":
        end = head.index(head[at : at + 1], at + 1)
        return name, head[at + 1 : end], end + 1
    end = _end(_UNQUOTED, head, at)
    if end == len(head):
        raise IndexError("the bytes end within a value")
    return name, head[at:end], end


def _end(pattern: re.Pattern[bytes], head: bytes, at: int) -> int:
    return match.end() if (match := pattern.match(head, at)) else at


def _named_inside(label: bytes) -> str | None:
    """Return the charset a page names within itself: readable ASCII until then, so it cannot be UTF-16."""
    name = _named(label.decode("latin-1"))
    return {"utf-16le": "utf-8", "utf-16be": "utf-8", "x-user-defined": DEFAULT}.get(name or "", name)


def _guess(body: bytes) -> str:
    """Name the likeliest charset of a body that states none: UTF-8 when it fits, else by its letters."""
    if body.isascii():
        return "iso-2022-jp" if _ISO_2022_JP.search(body) else "utf-8"
    if decode_strict(body, "utf-8") is not None:
        return "utf-8"
    import charset_normalizer  # here: slow to import, and few pages come this far

    names = {codecs.lookup(_CODECS.get(name, name)).name.replace("-", "_"): name for name in _GUESSED}
    matches = charset_normalizer.from_bytes(body[:GUESS_BYTES], cp_isolation=list(names), preemptive_behaviour=False)
    best = matches.best()
    if best is None:
        return DEFAULT
    name = names.get(best.encoding, DEFAULT)
    equals = {codec for match in matches if match.chaos == best.chaos for codec in match.could_be_from_charset}
    return DEFAULT if name in _LATIN and "cp1252" in equals else name
