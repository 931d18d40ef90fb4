"""The benchmark behind the figures in `benchmarks/results/`: every engine beside its peers, in the same minutes.

    make bench                       # or: python benchmarks/run.py [--rounds 5] [--engines greenlet,asyncio] [--save]

Each round runs each contestant once in a fresh process against the same origin, one at a time, so that a drift of the
machine's speed hits all alike; the ratio to a peer is taken within a round, and medians are quoted. The origin is
nginx where it is installed (Debian: nginx-light), else the embedded site; it runs in a process of its own, its
CPU is not counted, and 10 KB pages are served over keep-alive connections on loopback.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
PAGE_BYTES = 10 * 1024
PEERS = {"aiohttp + uvloop": "peer_aiohttp.py"}
PACKAGES = ("cormorant", "pycurl", "greenlet", "gevent", "uvloop", "aiohttp", "ada-url", "msgspec")
NGINX = """
daemon off; worker_processes 1; error_log stderr crit; pid {folder}/pid;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 300; client_body_temp_path {folder};
  proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port} backlog=4096; root {folder}; types {{ text/html html; }} {locations} }}
}}
"""


@contextlib.contextmanager
def nginx(program: str) -> Iterator[str]:
    """Serve one 10 KB page under every path; yields its URL."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "page.html").write_bytes(b"x" * PAGE_BYTES)
        with nginx_in(folder, program, "location / { try_files /page.html =404; }") as site:
            yield f"{site}/page"


@contextlib.contextmanager
def nginx_in(folder: str, program: str, locations: str) -> Iterator[str]:
    """Serve a folder, as the `location` blocks say; yields the site's origin."""
    os.chmod(folder, 0o755)  # the workers of a root nginx run as another user
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (Path(folder) / "conf").write_text(NGINX.format(folder=folder, port=port, locations=locations))
    server = subprocess.Popen([program, "-c", f"{folder}/conf"], stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def embedded_site() -> Iterator[str]:
    """Serve 10 KB at once from the embedded site; yields the URL."""
    from cormorant.lab import site

    with site.running(site.Workload(pages=1)) as running:
        yield f"http://127.0.0.1:{running.port}/bytes/{PAGE_BYTES}"


def wait_for(port: int) -> None:
    end = time.monotonic() + 10
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < end, "the origin does not answer"
        time.sleep(0.05)


def measure(script: str, *words: str) -> dict[str, object]:
    done = subprocess.run([sys.executable, str(HERE / script), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures: dict[str, object] = json.loads(done.stdout)
    return figures


def rounds(url: str, engines: list[str], many: int, pages: int, width: int) -> list[dict[str, dict[str, object]]]:
    size = (str(pages), str(width))
    taken = []
    for number in range(many + 1):  # the first warms caches up and is dropped
        figures = {name: measure(script, url, *size) for name, script in PEERS.items()}
        figures |= {engine: measure("fetch_10k.py", engine, url, *size) for engine in engines}
        if number:
            taken.append(figures)
    return taken


def summary(taken: list[dict[str, dict[str, object]]], name: str) -> dict[str, object]:
    def spread(values: list[float]) -> list[float]:
        return [round(value, 3) for value in (min(values), statistics.median(values), max(values))]

    cpu = [float(str(figures[name]["cpu_microseconds_per_page"])) for figures in taken]
    peer = [float(str(figures[next(iter(PEERS))]["cpu_microseconds_per_page"])) for figures in taken]
    return {
        "cpu_microseconds_per_page": spread(cpu),
        "cpu_ratio_to_aiohttp_uvloop": spread([ours / theirs for ours, theirs in zip(cpu, peer, strict=True)]),
        "pages_per_second": spread([float(str(figures[name]["pages_per_second"])) for figures in taken]),
        "peak_rss_bytes": spread([float(str(figures[name]["peak_rss_bytes"])) for figures in taken]),
    }


def machine() -> dict[str, object]:
    import pycurl

    model = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "system": platform.platform(),
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "libcurl": pycurl.version,
        "load_before": os.getloadavg(),
    }


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--pages", type=int, default=10_000)
    words.add_argument("--concurrency", type=int, default=64)
    words.add_argument("--engines", default="greenlet,gevent,asyncio,thread,serial")
    words.add_argument("--save", action="store_true", help="write benchmarks/results/DATE.json")
    asked = words.parse_args()
    where, program = machine(), shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    with nginx(program) if program else embedded_site() as url:
        engines = asked.engines.split(",")
        taken = rounds(url, engines, asked.rounds, asked.pages, asked.concurrency)
    result = {
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "origin": "nginx" if program else "embedded site",
        "machine": where,
        "load": {
            "pages": asked.pages,
            "page_bytes": PAGE_BYTES,
            "concurrency": asked.concurrency,
            "rounds": asked.rounds,
        },
        "min_median_max": {name: summary(taken, name) for name in (*PEERS, *engines)},
    }
    print(json.dumps(result, indent=2))
    if asked.save:
        place = HERE / "results" / f"fetch_10k-{datetime.date.today()}.json"
        place.parent.mkdir(exist_ok=True)
        place.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
