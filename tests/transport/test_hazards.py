"""Hazards that take more than one fetch, or a second look at the server, to show."""

from __future__ import annotations

import base64
import itertools
import json
import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cormorant import urls
from cormorant.errors import BadURL, UsageError
from cormorant.messages import Kind, Outcome, Page
from cormorant.options import Options
from cormorant.transport import Curl
from driving import DRIVERS, asking
from rude import Rude, body

Drive = Callable[..., Any]
Fetch = Callable[..., Outcome]
TESTS = Path(__file__).parent.parent
LOOPBACK = [
    "127.0.0.1",
    "localhost",
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    "127.1",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::1]",
    "0",
    "\uff11\uff12\uff17.0.0.1",
]
NOT_PUBLIC = [
    "10.0.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
]


def echoed(outcome: Outcome) -> dict[str, Any]:
    """Return what the site says it was asked, field names in lower case."""
    said: dict[str, Any] = json.loads(outcome.body)
    said["headers"] = {name.lower(): value for name, value in said["headers"]}
    return said


# --- connections ---


def test_connection_is_reused(rude: Rude, drive: Drive) -> None:
    """Pages of one host come over one connection."""
    driver = drive()
    for number in range(5):
        assert driver.fetch(asking(rude.url(f"/ok/{number}"))).ok
    assert len({hit.port for hit in rude.log()}) == 1


@pytest.mark.parametrize("path", ["/surplus", "/surplus/0", "/surplus/0.05", "/204-with-body", "/304-with-body"])
def test_surplus_answer_is_never_taken_for_the_next_page(path: str, rude: Rude, drive: Drive) -> None:
    """Bytes nobody asked for (RFC 9112 9.2) drop the connection, and the page is asked for again."""
    driver = drive()
    for number in range(5):
        driver.fetch(asking(rude.url(f"{path}?{number}")))
        time.sleep(0.5 if path == "/surplus/0.05" else 0.02)  # on its way over loopback; no event tells us
        url = rude.url(f"/ok/{number}")
        page = driver.fetch(asking(url))
        assert (page.kind, page.body) == (None, body(url)), page.message
    seen = [hit.path for hit in rude.log() if hit.path.startswith("/ok")]
    assert seen == [f"/ok/{number}" for number in range(5)]


@pytest.mark.parametrize("path", ["/close-idle", "/close-next", "/lie-close", "/drop", "/rst", "/partial/10"])
def test_connection_the_server_gave_up_is_replaced(path: str, rude: Rude, drive: Drive) -> None:
    """Whatever became of the last connection, the next page is right."""
    driver = drive()
    for number in range(4):
        driver.fetch(asking(rude.url(path)))
        page = driver.fetch(asking(rude.url(f"/ok/{number}")))
        assert (page.kind, page.body) == (None, body(rude.url(f"/ok/{number}"))), page.message


def test_connection_that_was_said_to_close_is_not_reused(rude: Rude, drive: Drive) -> None:
    """`Connection: close` is believed, though the server keeps it open."""
    driver = drive()
    driver.fetch(asking(rude.url("/lie-close")))
    driver.fetch(asking(rude.url("/ok")))
    first, second = rude.log()
    assert first.port != second.port


def test_connection_after_conflicting_lengths_is_not_reused(rude: Rude, drive: Drive) -> None:
    """Content-Length beside chunks is a smuggler's mark: page or protocol failure, but never a mixed-up next page."""
    driver = drive()
    outcome = driver.fetch(asking(rude.url("/cl-te")))
    assert outcome.kind is Kind.PROTOCOL or outcome.body == body(rude.url("/cl-te"))
    assert driver.fetch(asking(rude.url("/ok"))).body == body(rude.url("/ok"))
    first, second = rude.log()
    assert first.port != second.port


@pytest.mark.skipif(sys.platform != "linux", reason="other addresses than 127.0.0.1 need an alias on this system")
def test_hosts_do_not_mix(rude: Rude, drive: Drive) -> None:
    """Every page names its own URL, over many hosts at once."""
    requests = [asking(rude.url(f"/ok/{n}", host=f"127.0.0.{1 + n % 5}")) for n in range(100)]
    pages = drive().fetch_all(requests)
    assert [page.body for page in pages] == [body(request.url) for request in requests]
    assert len(rude.log()) == 100


@pytest.mark.parametrize("rounds", [20])
def test_close_gives_every_descriptor_back(rounds: int, rude: Rude, kind_of_transport: str) -> None:
    """Open, fetch and close leaves nothing open; closing twice is allowed."""
    folder = Path("/dev/fd")
    counts = []
    for _ in range(rounds):
        driver = DRIVERS[kind_of_transport](Curl(Options()))
        driver.fetch_all([asking(rude.url(path), 0.2) for path in ("/ok", "/partial/5", "/ok/2")])
        driver.fetch(asking("http://no-such-host.invalid/"))
        driver.close()
        driver.transport.close()
        counts.append(len(list(folder.iterdir())))
    assert counts[-1] <= counts[0]


# --- what leaks between requests, or out of the machine ---


def test_cookies_are_not_kept(rude: Rude, drive: Drive) -> None:
    """A cookie handed out is in the headers of its page and nowhere else."""
    driver = drive()
    assert driver.fetch(asking(rude.url("/set-cookie"))).header("set-cookie") == "taste=dough; Path=/"
    assert "cookie" not in echoed(driver.fetch(asking(rude.url("/echo"))))["headers"]


@pytest.fixture
def strange_environment(rude: Rude, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set up a home with .netrc and .curlrc, and proxies in the environment."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\ndefault login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    (tmp_path / ".curlrc").write_text('header = "X-Curlrc: yes"\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CURL_HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, rude.url(""))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


@pytest.mark.usefixtures("strange_environment")
def test_netrc_curlrc_and_proxy_variables_have_no_effect(rude: Rude, fetch: Fetch) -> None:
    """The environment is not asked for."""
    said = echoed(fetch(rude.url("/echo")))
    assert said["target"] == "/echo"
    assert {"authorization", "x-curlrc", "proxy-connection"}.isdisjoint(said["headers"])


@pytest.mark.parametrize("name", ["any.example", "no-such-host.invalid"])
def test_proxy_that_was_asked_for_is_used_and_finds_the_name_itself(name: str, rude: Rude, fetch: Fetch) -> None:
    """With `proxy=` every name is the proxy's to find."""
    url = f"http://{name}/ok"
    page = fetch(url, proxy=rude.url(""))
    assert (page.kind, page.body) == (None, body(url)), page.message
    assert [hit.path for hit in rude.log()] == [url]


def test_proxy_and_address_guard_together_are_refused(rude: Rude) -> None:
    """The proxy dials, so no address could be checked: this is said, not ignored."""
    with pytest.raises(UsageError, match="proxy"):
        Curl(Options(proxy=rude.url(""), allow_private=False))


@pytest.mark.parametrize(
    ("userinfo", "pair"),
    [("user:p%40ss%3a", b"user:p@ss:"), ("user", b"user:"), (":secret", b":secret"), ("a%20b:c%2Fd", b"a b:c/d")],
)
def test_userinfo_becomes_authorization_and_shows_nowhere(userinfo: str, pair: bytes, rude: Rude, drive: Drive) -> None:
    """`user:password@` goes to its own origin only; no field of an outcome holds it."""
    driver = drive()
    url = rude.url("/echo").replace("//", f"//{userinfo}@")
    page = driver.fetch(asking(url))
    said = echoed(page)
    assert said["headers"]["authorization"] == "Basic " + base64.b64encode(pair).decode()
    assert "@" not in said["url"]
    assert page.url == page.input == rude.url("/echo")
    assert page.final_url == rude.url("/echo")
    assert "authorization" not in echoed(driver.fetch(asking(rude.url("/echo"))))["headers"]


def test_userinfo_shows_nowhere_in_a_failure(closed_url: str, rude: Rude, fetch: Fetch) -> None:
    """A failure does not tell the password either."""
    for base in (closed_url, rude.url("/drop"), rude.url("/partial/3"), "http://no-such-host.invalid/"):
        failure = fetch(base.replace("//", "//user:canary@"))
        assert failure.kind is not None
        assert "canary" not in failure.message
        assert failure.final_url == base


def test_401_is_a_page(rude: Rude, fetch: Fetch) -> None:
    """Wrong credentials give the 401, right ones the page."""
    assert fetch(rude.url("/auth")).status == 401
    assert fetch(rude.url("/auth").replace("//", "//user:wrong@")).status == 401
    assert fetch(rude.url("/auth").replace("//", "//user:password@")).status == 200


# --- what is asked ---


def test_an_accept_encoding_of_ones_own_takes_the_place_of_ours(rude: Rude, drive: Drive) -> None:
    page = drive().fetch(asking(rude.url("/echo"), headers=(("accept-encoding", "identity"),)))
    fields = json.loads(page.body)["headers"]
    assert [value for name, value in fields if name.lower() == "accept-encoding"] == ["identity"]


def test_nothing_of_one_request_is_left_in_the_next(rude: Rude, drive: Drive) -> None:
    """Method, body and headers belong to one hop, though the handle is reused."""
    driver = drive(user_agent="cormorant-test")
    url = rude.url("/echo")
    plain = echoed(driver.fetch(asking(url)))
    assert (plain["method"], plain["body"], plain["version"]) == ("GET", "", "HTTP/1.1")
    assert plain["headers"]["user-agent"] == "cormorant-test"
    assert {"gzip", "deflate", "br", "zstd"} <= set(plain["headers"]["accept-encoding"].split(", "))
    extra = (("X-One", "1"), ("X-Empty", ""), ("User-Agent", "other"))
    posted = echoed(driver.fetch(asking(url, method="POST", body=b"a=b\0c", headers=extra)))
    assert (posted["method"], posted["body"]) == ("POST", "a=b\0c")
    assert (posted["headers"]["x-one"], posted["headers"]["x-empty"]) == ("1", "")
    assert posted["headers"]["user-agent"] == "other"
    put = echoed(driver.fetch(asking(url, method="PUT", body=b"new")))
    assert (put["method"], put["body"]) == ("PUT", "new")
    empty = echoed(driver.fetch(asking(url, method="POST")))
    assert (empty["method"], empty["body"], empty["headers"].get("content-length")) == ("POST", "", "0")
    head = driver.fetch(asking(url, method="HEAD"))
    assert (head.kind, head.status, head.body) == (None, 200, b"")
    assert echoed(driver.fetch(asking(url, method="DELETE")))["method"] == "DELETE"
    assert echoed(driver.fetch(asking(url))) == plain


def test_large_upload_arrives_whole(rude: Rude, fetch: Fetch, drive: Drive) -> None:
    """A large POST is not held up by `Expect: 100-continue`, and arrives."""
    sent = "x" * 3_000_000
    said = echoed(drive().fetch(asking(rude.url("/echo"), method="POST", body=sent.encode())))
    assert said["body"] == sent


def test_redirect_is_handed_back_not_followed(rude: Rude, fetch: Fetch) -> None:
    """Even one to a file: the transport makes one hop."""
    page = fetch(rude.url("/redir?to=file:///etc/passwd&status=307"))
    assert (page.status, page.header("location")) == (307, "file:///etc/passwd")
    assert len(rude.log()) == 1


def test_the_wire_sees_the_clean_url(rude: Rude, kind_of_transport: str) -> None:
    """Path and query arrive as the WHATWG parser wrote them: libcurl changes nothing."""
    driver = DRIVERS[kind_of_transport](Curl(Options()))
    origin = rude.url("")

    @settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.text(max_size=30) | st.text("/.%2eE?#@:[]{}|\\^`\"'<> \t\r\n~&=+;!$()*,", max_size=30))
    def check(text: str) -> None:
        try:
            clean = urls.clean(f"{origin}/echo/{text}")
        except BadURL:
            return
        page = driver.fetch(asking(clean))
        if clean.startswith(f"{origin}/echo/"):
            assert echoed(page)["target"] == clean.removeprefix(origin), clean
        else:
            assert page.status == 404  # dot segments led out of /echo/

    check()
    driver.close()


# --- addresses ---


@pytest.mark.parametrize("host", LOOPBACK + NOT_PUBLIC)
def test_private_address_is_blocked_in_every_spelling(host: str, rude: Rude, drive: Drive) -> None:
    """With `allow_private=False` nothing but public addresses is dialled, however the host is written."""
    url = rude.url("/ok").replace("127.0.0.1", host)
    driver = drive(allow_private=False)
    for _ in range(2):
        failure = driver.fetch(asking(url, seconds=3.0))
        assert (failure.kind, failure.status, failure.body) == (Kind.BLOCKED, None, b""), failure.message
    assert rude.log() == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "127.1"])
def test_private_address_is_fetched_where_allowed(host: str, rude: Rude, fetch: Fetch) -> None:
    """The guard is off by default."""
    assert fetch(rude.url("/ok").replace("127.0.0.1", host)).ok


# --- what stays, what travels ---


def test_transports_travel_to_another_process() -> None:
    """`Curl` survives pickling with its options."""
    transports = Curl(Options(max_body=5, header=("X-A: b",)))
    assert pickle.loads(pickle.dumps(transports)) == transports


def test_flaky_and_retry_after_are_pages(rude: Rude, drive: Drive) -> None:
    """The transport does not retry: each 503 is handed over with its Retry-After."""
    driver = drive()
    got = [driver.fetch(asking(rude.url("/flaky/a/2"))).status for _ in range(3)]
    assert got == [503, 503, 200]
    assert driver.fetch(asking(rude.url("/retry-after/17"))).header("retry-after") == "17"


@pytest.mark.parametrize("many", [300])
def test_handles_reused_under_faults_stay_right(many: int, rude: Rude, drive: Drive) -> None:
    """Good and bad pages in turn over the same handles: nothing of one shows in the next."""
    driver = drive()
    paths = itertools.islice(
        itertools.cycle(["/ok", "/partial/200", "/gzip/ok", "/drop", "/status/204", "/gzip/cut"]), many
    )
    requests = [asking(rude.url(f"{path}?{n}")) for n, path in enumerate(paths)]
    for at in range(0, many, 60):
        for request, outcome in zip(requests[at : at + 60], driver.fetch_all(requests[at : at + 60]), strict=True):
            path = request.url.split("/", 3)[3].partition("?")[0]
            right = {
                "ok": (None, 200),
                "partial/200": (Kind.TRUNCATED, 200),
                "gzip/ok": (None, 200),
                "drop": (Kind.CONNECT, None),
                "status/204": (None, 204),
                "gzip/cut": (Kind.TRUNCATED, 200),
            }[path]
            assert (outcome.kind, outcome.status) == right, request.url
            assert not outcome.body or request.url.encode() in outcome.body
            assert isinstance(outcome, Page) is (outcome.kind is None)
