"""The report in a real browser: it renders, asks for nothing, complains of nothing, and fits narrow and wide screens.

A small server gives the report and, beside it, a page with a script that looks into it through a frame and writes down
what it saw (the report itself may run no script). The server's log is the truth about loads.
"""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import comparison_data as made
from cormorant.lab import report
from cormorant.lab.report import charts
from cormorant.lab.report.charts.drawing import LOOKS
from cormorant.lab.report.charts.waterfall import COLOURS

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
Image = pytest.importorskip("PIL.Image")

WIDTHS = (400, 1400)
PROBE = """<!DOCTYPE html><meta charset="utf-8"><body><pre id="seen"></pre><script>
const boxOf = (each) => each.getBoundingClientRect();
const isCut = (text, outer) => {
  const inner = boxOf(text);
  return inner.left < outer.left - 1 || inner.right > outer.right + 1
    || inner.top < outer.top - 1 || inner.bottom > outer.bottom + 1;
};
const picture = (figure) => {
  const svg = figure.querySelector("svg"), texts = [...svg.querySelectorAll("text")], outer = boxOf(svg);
  const cut = texts.filter((text) => isCut(text, outer)).map((text) => text.textContent);
  return { name: figure.id, width: outer.width, height: outer.height, texts: texts.length, cut };
};
const look = (width) => new Promise((done) => {
  const frame = document.createElement("iframe");
  frame.style.cssText = `border: 0; width: ${width}px; height: 900px`;
  frame.onload = () => {
    const page = frame.contentDocument;
    done({
      width: page.documentElement.scrollWidth,
      pictures: [...page.querySelectorAll("figure")].map(picture),
      headings: [...page.querySelectorAll("h2")].map((each) => each.textContent),
    });
  };
  frame.src = "report.html";
  document.body.append(frame);
});
Promise.all([WIDTHS].map(look)).then((seen) => {
  document.getElementById("seen").textContent = JSON.stringify(seen);
});
</script>"""


class Served(NamedTuple):
    """The site with the report, and the paths that were asked for."""

    base: str
    asked: list[str]


def browser() -> str:
    """Return a Chromium that starts, or skip."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        path = shutil.which(name)
        if path and subprocess.run([path, "--version"], capture_output=True, timeout=60).returncode == 0:
            return path
    pytest.skip("no Chromium that starts is installed")


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--hide-scrollbars", *quiet]
    command += ["--enable-logging=stderr", "--v=0", f"--user-data-dir={folder / 'profile'}", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=90)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    browser()
    folder, asked = tmp_path_factory.mktemp("site"), []
    report.write(made.comparison(), folder / "report.html")
    (folder / "probe.html").write_text(PROBE.replace("WIDTHS", ", ".join(map(str, WIDTHS))))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Served(f"http://127.0.0.1:{server.server_port}", asked)
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def seen(served: Served, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    """What the probe wrote down, for each width."""
    address = f"{served.base}/probe.html"
    answer = run(tmp_path_factory.mktemp("probe"), "--virtual-time-budget=20000", "--dump-dom", address)
    written = answer.stdout.partition('<pre id="seen">')[2].partition("</pre>")[0]
    assert written, answer.stdout + answer.stderr
    return dict(zip(WIDTHS, json.loads(unescape(written)), strict=True))


@pytest.fixture(scope="module")
def shot(served: Served, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    """The report as pixels, and what the browser complained of."""
    folder = tmp_path_factory.mktemp("shot")
    before = len(served.asked)
    answer = run(folder, f"--screenshot={folder / 'a.png'}", "--window-size=1280,7000", f"{served.base}/report.html")
    asked = [path for path in served.asked[before:] if path != "/favicon.ico"]
    assert asked == ["/report.html"], asked
    return Image.open(folder / "a.png").convert("RGB"), answer.stderr


@pytest.mark.parametrize("width", WIDTHS)
def test_page_is_no_wider_than_the_screen(seen: dict[int, Any], width: int) -> None:
    assert seen[width]["width"] <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_every_picture_has_its_size_and_no_text_is_cut(seen: dict[int, Any], width: int) -> None:
    pictures = {picture["name"]: picture for picture in seen[width]["pictures"]}
    assert list(pictures) == [draw.__name__ for draw in charts.ALL]
    for name, picture in pictures.items():
        assert picture["width"] >= 380, name
        assert picture["height"] >= 150, name
        assert picture["texts"] > 10, name
        assert picture["cut"] == [], name


def test_caveats_stand_first_and_commands_last(seen: dict[int, Any]) -> None:
    headings = seen[1400]["headings"]
    assert (headings[0], headings[-1]) == ("Caveats first", "The exact command")


def test_browser_complains_of_nothing(shot: tuple[Any, str]) -> None:
    assert [line for line in shot[1].splitlines() if "CONSOLE" in line or "Refused" in line] == []


def test_pixels_show_every_engine_and_every_phase(shot: tuple[Any, str]) -> None:
    counts = {colour: count for count, colour in shot[0].getcolors(maxcolors=1 << 24)}
    wanted = {name: look.colour for name, look in LOOKS.items()} | COLOURS
    del wanted["not split further"]  # libcurl timed all of what these pages did
    found = {name: counts.get(tuple(bytes.fromhex(colour[1:])), 0) for name, colour in wanted.items()}
    assert {name: count for name, count in found.items() if count < 30} == {}
