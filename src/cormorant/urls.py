"""Text to a clean absolute http(s) URL, once, by the WHATWG rules; everything after sees only the clean form.

libcurl is not a browser's URL parser (it finds another host in 21 of WPT's cases), so it is handed
only what the WHATWG parser (ada) serialised. The fragment is dropped: it never goes on the wire.
"""

from __future__ import annotations

import re

import ada_url

from cormorant.errors import BadURL

MAX_URL_CHARACTERS = 8192
LOOPBACK = "127.0.0.1"  # where libcurl finds every name below localhost (RFC 6761 6.3)
PREFIXES = ("http://", "https://")

# Query parameters that say how a visitor came, and not what he sees: those that Brave takes out on every site
# (brave-core: components/query_filter/utils.cc), and Google Analytics' own (utm_*, gbraid).
TRACKING = frozenset(
    (
        *("__hsfp", "__hssc", "__hstc", "__s", "_bhlid", "_branch_match_id", "_branch_referrer", "_gl", "_hsenc"),
        *("_kx", "_openstat", "at_recipient_id", "at_recipient_list", "bbeml", "bsft_clkid", "bsft_uid", "dclid"),
        *("et_rid", "fb_action_ids", "fb_comment_id", "fbclid", "gbraid", "gclid", "guce_referrer"),
        *("guce_referrer_sig", "hsCtaTracking", "irclickid", "mc_eid", "ml_subscriber", "ml_subscriber_hash"),
        *("msclkid", "mtm_cid", "oft_c", "oft_ck", "oft_d", "oft_id", "oft_ids", "oft_k", "oft_lk", "oft_sk"),
        *("oly_anon_id", "oly_enc_id", "pk_cid", "rb_clickid", "s_cid", "sc_customer", "sc_eh", "sc_uid", "srsltid"),
        *("ss_email_id", "twclid", "unicorn_click_id", "vero_conv", "vero_id", "vgo_ee", "wbraid", "wickedid"),
        *("yclid", "ymclid", "ysclid"),
    )
)
TRACKING_PREFIX = "utm_"

_TRACKED = re.compile(
    rf"[?&](?=[{''.join(sorted({name[0] for name in (*TRACKING, TRACKING_PREFIX)}))}])"  # dismisses most names at once
    rf"(?:{TRACKING_PREFIX}|(?:{'|'.join(sorted(TRACKING))})(?:[=&]|\Z))"
)
_ENCODED = re.compile("%[0-9A-Fa-f]{2}")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


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


def canonical(url: str, tracking: bool = False) -> str:
    """Return the identity of a clean URL: two URLs are one where this is one. Not meant to be fetched.

    What `clean` leaves is the percent-encoding: unreserved characters are decoded, hexadecimal digits are upper-case
    (RFC 3986 6.2.2). With `tracking`, parameters that only track (TRACKING) are dropped. The path's case, reserved
    characters and the order of the query mean something, and stay.
    """
    if "%" in url:
        path = url.index("/", 8)
        url = url[:path] + _ENCODED.sub(_normal, url[path:])
    if tracking and "?" in url and _TRACKED.search(url):
        return _without_tracking(url)
    return url


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


def name_in(host: str) -> str | None:
    """Return the name to look up for a clean URL's host: None for an address and for localhost, which libcurl knows."""
    last = host.rpartition(".")[2]
    return None if host[0] == "[" or last.isdigit() or last == "localhost" else host


def address_in(origin: str) -> str | None:
    """Return the address that the host of an origin spells or stands for; None: it has to be looked up."""
    host = host_and_port(origin)[0]
    if name_in(host) is not None:
        return None
    return LOOPBACK if host.rpartition(".")[2] == "localhost" else host.strip("[]")


def split_credentials(url: str) -> tuple[str, tuple[str, str] | None]:
    """Take `user:password@` out of a clean URL: returns the bare URL and the pair (still %-encoded), or None."""
    if "@" not in url[: url.index("/", 8)]:
        return url, None
    parsed = ada_url.URL(url)
    pair = (parsed.username, parsed.password)
    parsed.username = parsed.password = ""
    return parsed.href, pair


def _normal(encoded: re.Match[str]) -> str:
    character = chr(int(encoded[0][1:], 16))
    return character if character in _UNRESERVED else encoded[0].upper()


def _without_tracking(url: str) -> str:
    address, _, query = url.partition("?")
    kept = [part for part in query.split("&") if not _tracks(part.partition("=")[0])]
    return f"{address}?{'&'.join(kept)}" if kept else address


def _tracks(name: str) -> bool:
    return name in TRACKING or name.startswith(TRACKING_PREFIX)


def _advice(text: str) -> str:
    stripped = text.strip()
    if not stripped:
        return "empty; write an absolute URL such as https://example.org/"
    if "://" not in stripped and "." in stripped.split("/")[0] and " " not in stripped:
        return f"not an absolute URL; did you mean https://{stripped} ?"
    return "not an absolute URL; write one such as https://example.org/page"
