"""The embedded site: what it says it serves is what it serves, on loopback, for as long as somebody wants it."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from cormorant.errors import CormorantError, MissingPackage, UsageError
from cormorant.lab import site
from cormorant.lab.site import pages, server
from cormorant.lab.site.distribution import Distribution
from cormorant.messages import Kind

needs_granian = pytest.mark.usefixtures("granian")
many_hosts = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
QUICK = site.Workload(pages=60, hosts=7, latency="constant:0", slow_seconds=0.02, drip_seconds=0.05, hang=1, cut=2)
PATIENCE = 20.0


@pytest.fixture(scope="module")
def granian() -> None:
    pytest.importorskip("granian")


@pytest.fixture(scope="module")
def served(granian: None) -> Iterator[site.Site]:
    with site.running(QUICK) as running:
        yield running


def ask(url: str) -> tuple[int, dict[str, str], bytes]:
    """Make one hop with nothing of ours: status, headers, body as it came."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)
    try:
        connection.request("GET", url[len(f"http://{parts.netloc}") :])
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def fetch(url: str) -> tuple[int, bytes, str]:
    """Follow redirects and decode: status, body, final URL."""
    status, headers, body = ask(url)
    for _ in range(5):
        if "location" not in headers:
            break
        url = urljoin(url, headers["location"])
        status, headers, body = ask(url)
    return status, gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body, url


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


@contextlib.contextmanager
def child(code: str, **words: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run `code` in a Python of its own, which does not outlive the block."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **words) as process:
        try:
            yield process
        finally:
            process.kill()


# distributions


@pytest.mark.parametrize(
    ("text", "middle"),
    [
        ("constant:0.5", 0.5),
        ("0.25", 0.25),
        ("uniform:1:3", 2.0),
        ("exponential:2", 1.386294),
        ("lognormal:0.02:0.8", 0.02),
    ],
)
def test_median_of_a_distribution(text: str, middle: float) -> None:
    assert Distribution.parse(text).at(0.5) == pytest.approx(middle)


@pytest.mark.parametrize("text", ["exponential:0.02", "lognormal:0.02:0.8", "uniform:0:1"])
def test_draws_rise_and_end_even_at_the_edges(text: str) -> None:
    distribution = Distribution.parse(text)
    draws = [distribution.at(u) for u in (2**-53, 0.1, 0.5, 0.9, 1 - 2**-53)]
    assert draws == sorted(draws)
    assert 0 <= draws[0] < draws[-1] < 60


@pytest.mark.parametrize(
    "text", ["", "normal:1:2", "uniform:1", "constant:1:2", "exponential:-1", "constant:nan", "constant:inf", "fast"]
)
def test_a_text_that_is_no_distribution_is_refused_with_the_known_forms(text: str) -> None:
    with pytest.raises(UsageError, match="lognormal:MEDIAN:SIGMA"):
        Distribution.parse(text)


# workloads and pages, without a server


def test_the_mix_is_what_it_says() -> None:
    workload = site.Workload.mixed(200, hang=3)
    kinds = Counter(urlsplit(url).path.split("/")[1] for url in workload.urls(8000))
    assert kinds == Counter(
        {"gzip": 20, "redirect": 8, "not-found": 6, "slow": 4, "server-error": 4, "cut": 4, "drip": 2, "hang": 3}
        | {"page": 149}
    )


def test_the_seed_changes_order_and_draws_and_nothing_else_does() -> None:
    one, two = (site.Workload.mixed(100, seed=seed) for seed in (1, 2))
    assert one.urls(80) == site.Workload.mixed(100).urls(80) != two.urls(80)
    url = "http://127.0.0.1:80/page/5"
    assert site.expected(one, url) == site.expected(site.Workload.mixed(100), url)
    assert site.expected(one, url).seconds != site.expected(two, url).seconds


def test_draws_follow_the_stated_distribution() -> None:
    workload = site.Workload(pages=4000, latency="exponential:0.02", body_bytes="uniform:1000:3000")
    ends = [site.expected(workload, url) for url in workload.urls(80)]
    assert sum(end.seconds for end in ends) / 4000 == pytest.approx(0.02, rel=0.1)
    assert sum(len(end.body) for end in ends) / 4000 == pytest.approx(2000, rel=0.1)


def test_the_port_changes_no_draw() -> None:
    late = site.Workload(body_bytes="uniform:1000:9000")
    near, far = (site.expected(late, f"http://127.0.0.3:{port}/page/9") for port in (8000, 9000))
    assert (near.seconds, len(near.body)) == (far.seconds, len(far.body))


def test_a_body_has_its_own_url_its_size_and_links_into_the_list() -> None:
    urls = QUICK.urls(8000)
    body = site.expected(QUICK, "http://127.0.0.3:8000/page/9?a=1&b=2").body
    assert b"http://127.0.0.3:8000/page/9?a=1&amp;b=2</p>" in body
    assert b"<title>Page 9 of" in body
    assert len(body) == 10240
    links = [part.split('"')[0] for part in body.decode().split('<a href="')[1:]]
    assert links == [urls[10], urls[11], urls[19]]


def test_no_two_pages_are_alike() -> None:
    ends = [site.expected(QUICK, url) for url in QUICK.urls(8000)]
    assert len({end.body for end in ends}) == len(ends)


@pytest.mark.parametrize(
    "path", ["/nowhere", "/page/x", "/page/1/2/3", "/page/" + "9" * 5000, "/bytes/99999999999", "/page/-1"]
)
def test_what_is_not_there_is_404(path: str) -> None:
    end = site.expected(QUICK, f"http://127.0.0.1:80{path}")
    assert (end.status, end.good) == (404, False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"pages": 5, "hang": 6}, "6 pages of special kinds do not fit into 5"),
        ({"hosts": 0}, "hosts is 0; give 1"),
        ({"cut": -1}, "cut is -1"),
        ({"latency": "soon"}, "no distribution"),
        ({"body_bytes": "big"}, "no distribution"),
    ],
)
def test_a_workload_that_cannot_be_is_refused(words: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(site.Workload(), **words)


@many_hosts
def test_hosts_are_used_in_turn() -> None:
    workload = site.Workload(pages=600, hosts=300)
    hosts = Counter(urlsplit(url).hostname for url in workload.urls(80))
    assert set(hosts.values()) == {2}
    assert len(hosts) == 300
    assert {"127.0.0.1", "127.0.0.250", "127.0.1.1", "127.0.1.50"} <= set(hosts)


# the server


@pytest.mark.parametrize("kind", sorted(set(site.KINDS) - {"hang", "cut"}))
def test_served_is_expected(served: site.Site, kind: str) -> None:
    for number in range(12):
        url = f"http://{QUICK.host(number)}:{served.port}/{kind}/{number}"
        end = served.expected(url)
        assert (end.status, end.body, end.final_url) == fetch(url)


@pytest.mark.parametrize("path", ["/", "/urls.txt", "/nowhere", "/page/7?x=%20y", "/bytes/0", "/bytes/100000"])
def test_other_paths_are_served_as_expected(served: site.Site, path: str) -> None:
    url = f"http://127.0.0.1:{served.port}{path}"
    status, body, _ = fetch(url)
    assert (status, body) == served.expected(url)[:2]


def test_the_list_can_be_had_from_the_site(served: site.Site) -> None:
    assert ask(f"http://127.0.0.1:{served.port}/urls.txt")[2].decode().splitlines() == served.urls()


def test_a_cut_page_breaks_off_where_expected(served: site.Site) -> None:
    url = f"http://127.0.0.1:{served.port}/cut/3"
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(url)
    end = served.expected(url)
    assert (end.status, end.kind) == (200, Kind.TRUNCATED)
    assert caught.value.partial == end.body
    assert len(end.body) == 5120


def test_a_hung_page_never_answers_and_hinders_nobody(served: site.Site) -> None:
    assert served.expected(f"http://127.0.0.1:{served.port}/hang/1").kind is Kind.TIMEOUT
    with socket.create_connection(("127.0.0.1", served.port)) as hung:
        hung.sendall(b"GET /hang/1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        for number in range(20):
            assert ask(f"http://127.0.0.1:{served.port}/page/{number}")[0] == 200
        hung.settimeout(0.1)
        with pytest.raises(TimeoutError):
            hung.recv(1)


def test_a_dripping_page_comes_in_pieces(served: site.Site) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE) as dripping:
        dripping.sendall(b"GET /drip/1 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        pieces = list(iter(lambda: dripping.recv(1 << 20), b""))
    assert len(pieces) > 5


def test_redirects_take_one_to_three_hops_and_change_the_host() -> None:
    hops = Counter()
    for number in range(50):
        url = start = f"http://{QUICK.host(number)}:80/redirect/{number}"
        while "location" in (headers := dict(pages.answer(QUICK, url).headers)):
            url = urljoin(url, headers["location"])
            hops[number] += 1
        assert url == f"http://{QUICK.host(number + 1)}:80/page/{number}"
        assert sys.platform != "linux" or urlsplit(url).hostname != urlsplit(start).hostname
    assert set(hops.values()) == {1, 2, 3}


@many_hosts
def test_the_socket_takes_nothing_that_came_over_a_network() -> None:
    with server._loopback_listener(0) as listener:
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"lo"


@many_hosts
@needs_granian
def test_without_that_option_it_listens_on_its_own_addresses_only() -> None:
    code = (
        "import os, socket; del socket.SO_BINDTODEVICE\n"
        "from cormorant.lab.site import Workload, server\n"
        "workload = Workload(hosts=3, latency='constant:0')\n"
        "server.serve_for(os.getppid(), workload, 0, lambda port: print(port, flush=True))"
    )
    with child(code) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert [ask(f"http://127.0.0.{host}:{port}/bytes/3")[2] for host in (1, 2, 3)] == [b"000"] * 3
        with pytest.raises(ConnectionRefusedError):
            ask(f"http://127.0.0.4:{port}/bytes/3")


def test_the_cache_is_bounded_and_stays_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_CACHE_BYTES", 50_000)
    application = server.Application(QUICK)
    for url in QUICK.urls(80):
        assert application._compute(url) == pages.answer(QUICK, url)
        assert sum(len(answer.body) for answer in application._answers.values()) <= 50_000
    assert application._answers


# its life


@needs_granian
def test_ctrl_c_ends_serve_quietly_even_with_a_hung_page_under_way() -> None:
    code = (
        "from cormorant.lab import site\n"
        "site.serve(site.Workload(), 0, ready=lambda port: print(port, flush=True))\nprint('after')"
    )
    with child(code) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)) as hung:
            hung.sendall(b"GET /hang/1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert ask(f"http://127.0.0.1:{port}/bytes/2")[2] == b"00"
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=PATIENCE) == (b"after\n", b"")
        assert process.returncode == 0
    with pytest.raises(ConnectionRefusedError):
        ask(f"http://127.0.0.1:{port}/bytes/2")


@needs_granian
def test_serve_says_that_its_server_died(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    popen = subprocess.Popen

    def note(*args: Any, **words: Any) -> subprocess.Popen[bytes]:
        process = popen(*args, **words)
        started.append(process.pid)
        return process

    monkeypatch.setattr(subprocess, "Popen", note)
    with pytest.raises(CormorantError, match="exit code -9"):
        site.serve(QUICK, 0, ready=lambda port: os.kill(started[0], signal.SIGKILL))


@needs_granian
def test_running_ends_with_its_block() -> None:
    with site.running(QUICK) as running:
        assert ask(f"http://127.0.0.1:{running.port}/bytes/1")[2] == b"0"
    assert not is_alive(running.pid)
    with pytest.raises(ConnectionRefusedError):
        ask(f"http://127.0.0.1:{running.port}/bytes/1")


@needs_granian
def test_running_ends_when_its_parent_is_killed() -> None:
    code = (
        "import time\nfrom cormorant.lab import site\n"
        "with site.running(site.Workload()) as running:\n    print(running.port, flush=True)\n    time.sleep(60)"
    )
    with child(code) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        assert ask(f"http://127.0.0.1:{port}/bytes/1")[2] == b"0"
        parent.kill()
    # The end of a grandchild can only be looked for; its pid may stay as a zombie, its socket does not.
    end = time.monotonic() + PATIENCE
    while is_listening(port) and time.monotonic() < end:
        time.sleep(0.02)
    assert not is_listening(port)


@needs_granian
def test_ctrl_c_does_not_reach_the_site_of_a_running_block() -> None:
    code = (
        "import signal, sys\nfrom cormorant.lab import site\n"
        "with site.running(site.Workload()) as running:\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\n"
        "    print(running.port, flush=True)\n"
        "    signal.sigwait([signal.SIGINT])\n    print('told', flush=True)\n    sys.stdin.read()"
    )
    with child(code, start_new_session=True, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.readline() == b"told\n"
        assert ask(f"http://127.0.0.1:{port}/bytes/1")[2] == b"0"
        assert process.communicate(timeout=PATIENCE) == (b"", b"")
        assert process.returncode == 0


@needs_granian
def test_the_site_takes_more_connections_than_the_soft_limit_of_files() -> None:
    code = (
        "import resource, time\nfrom cormorant.lab import site\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "with site.running(site.Workload()) as running:\n    print(running.port, flush=True)\n    time.sleep(60)"
    )
    with child(code) as process, contextlib.ExitStack() as open_at_once:
        assert process.stdout is not None
        address = ("127.0.0.1", int(process.stdout.readline()))
        for _ in range(120):
            connection = open_at_once.enter_context(socket.create_connection(address, timeout=PATIENCE / 4))
            connection.sendall(b"GET /bytes/1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")


@needs_granian
@pytest.mark.parametrize(
    ("host", "error"),
    [("127.0.0.1", OSError), pytest.param("127.0.0.2", CormorantError, marks=many_hosts)],
    ids=["first host", "another host"],
)
def test_a_taken_port_is_said(host: str, error: type[Exception]) -> None:
    with socket.socket() as taken:
        taken.bind((host, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(error, match="in use"), site.running(QUICK, port):
            pass


def test_without_granian_the_error_holds_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "granian", None)
    with pytest.raises(MissingPackage, match=r"pip install 'cormorant\[lab\]'"):
        site.serve(QUICK, 0)
    with pytest.raises(MissingPackage, match=r"pip install 'cormorant\[lab\]'"), site.running(QUICK):
        pass
