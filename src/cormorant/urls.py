"""Text to a clean absolute http(s) URL, once, by the WHATWG rules; everything after sees only the clean form.

libcurl is not a browser's URL parser (it finds another host in 21 of WPT's cases), so it is handed
only what the WHATWG parser (ada) serialised. The fragment is dropped: it never goes on the wire.
"""

from __future__ import annotations

import ada_url

from cormorant.errors import BadURL

MAX_URL_CHARACTERS = 8192
PREFIXES = ("http://", "https://")


def clean(text: str, base: str | None = None) -> str:
    """Return the clean absolute form of `text`, resolved against the clean URL `base` when given.

    Source: https://url.spec.whatwg.org/. Credentials stay in: `split_credentials` takes them out.
    Raises BadURL, with what to write instead, when `text` is no http or https URL.
    """
    if len(text) > MAX_URL_CHARACTERS:
        raise BadURL(f"longer than {MAX_URL_CHARACTERS} characters")
    try:
        href = ada_url.normalize_url(text) if base is None else ada_url.join_url(base, text)
    except (ValueError, UnicodeError):
        raise BadURL(_advice(text)) from None
    if not href.startswith(PREFIXES):
        raise BadURL(f"scheme {href.partition(':')[0]!r} is not fetched; only http and https are")
    return href.partition("#")[0]


def refuse_control_characters(text: str) -> None:
    """Raise BadURL for a line that holds what is no part of an URL.

    The WHATWG parser drops tabs and line breaks, so a table's line would become an URL that nobody wrote.
    """
    if any(character in text.strip() for character in "\t\r\n"):
        raise BadURL("holds a tab or a line break; write one URL a line, and nothing else")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise BadURL("not UTF-8; convert the list, for example with iconv")


def without_surrogates(text: str) -> str:
    """Return `text` with U+FFFD for what was no UTF-8, so that it can be written."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def origin(url: str) -> str:
    """Return scheme, host and port of a clean URL: `https://a.example`, `http://127.0.0.1:8000`."""
    text = url[: url.index("/", 8)]
    at = text.rfind("@")
    return text if at < 0 else text[: text.index("//") + 2] + text[at + 1 :]


def host_and_port(origin: str) -> tuple[str, int]:
    """Return the host (an IPv6 address in its brackets) and the port of an origin."""
    scheme, _, rest = origin.partition("://")
    host, colon, port = rest.rpartition(":")
    if colon and not port.endswith("]"):
        return host, int(port)
    return rest, 443 if scheme == "https" else 80


def split_credentials(url: str) -> tuple[str, tuple[str, str] | None]:
    """Take `user:password@` out of a clean URL: returns the bare URL and the pair (still %-encoded), or None."""
    if "@" not in url[: url.index("/", 8)]:
        return url, None
    parsed = ada_url.URL(url)
    pair = (parsed.username, parsed.password)
    parsed.username = parsed.password = ""
    return parsed.href, pair


def _advice(text: str) -> str:
    stripped = text.strip()
    if not stripped:
        return "empty; write an absolute URL such as https://example.org/"
    if "://" not in stripped and "." in stripped.split("/")[0] and " " not in stripped:
        return f"not an absolute URL; did you mean https://{stripped} ?"
    return "not an absolute URL; write one such as https://example.org/page"
