"""The report: it stands alone, escapes strangers' text, invents nothing, and survives whatever is missing."""

from __future__ import annotations

import os
import random
import re
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

import comparison_data as made
from cormorant.errors import MissingPackage, OutputError
from cormorant.lab import report, whole
from cormorant.lab.claims.verdict import Verdict
from cormorant.lab.comparison import Comparison, Machine, Origin, Phases, Trial
from cormorant.lab.report import charts, ranking, words
from cormorant.lab.report.charts.waterfall import COLOURS, bars

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

HOSTILE = """</script><script>alert(1)</script></style><img src=x onerror=alert(2)>'"&amp; $x^2$ {{ 7 * 7 }}"""
HOSTILE_NAME = "<script>$x^2$</script>&"
PICTURES = [draw.__name__ for draw in charts.ALL]


class Parsed(HTMLParser):
    """The elements, their attributes and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def tags(self) -> Counter[str]:
        return Counter(tag for tag, _ in self.elements)

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] or "" for _, attributes in self.elements if attribute in attributes]


@pytest.fixture(scope="module")
def usual() -> str:
    return report.html(made.comparison())


def section(page: str, name: str) -> str:
    return Parsed(page.partition(f'id="{name}"')[2].partition("</section>")[0]).text


# --- it stands alone ---


def test_nothing_is_loaded_from_anywhere(usual: str) -> None:
    parsed = Parsed(usual)
    loading = {"script", "link", "iframe", "object", "embed", "img", "image", "base", "audio", "video", "foreignobject"}
    assert not loading & set(parsed.tags())
    assert [
        value for name in ("src", "srcset", "data", "xlink:href", "background") for value in parsed.values(name)
    ] == []
    links = [attributes["href"] for tag, attributes in parsed.elements if tag == "a"]
    assert links == [made.SOURCE]
    assert {value[0] for value in parsed.values("href") if value not in links} == {"#"}
    assert not re.search(r"@import|@font-face", usual)
    assert set(re.findall(r"url\((.)", usual)) == {"#"}


def test_policy_forbids_scripts_and_loads_before_anything_else(usual: str) -> None:
    parsed = Parsed(usual)
    (policy,) = (each["content"] for _, each in parsed.elements if each.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert usual.index("Content-Security-Policy") < usual.index("<style")
    assert usual.lstrip().startswith("<!DOCTYPE html>")
    (generator,) = (each["content"] for _, each in parsed.elements if each.get("name") == "generator")
    assert generator == f"cormorant {report.cormorant.__version__}"


def test_ids_are_unique_and_every_reference_is_answered(usual: str) -> None:
    parsed = Parsed(usual)
    ids = Counter(parsed.values("id"))
    assert {name: count for name, count in ids.items() if count > 1} == {}
    referred = {value[1:] for value in parsed.values("href") if value.startswith("#")} | set(
        re.findall(r"url\(#([^)]+)\)", usual)
    )
    assert referred
    assert referred <= set(ids)


def test_the_same_comparison_gives_the_same_file(usual: str) -> None:
    assert report.html(made.comparison()) == usual


def test_default_comparison_stays_below_two_megabytes() -> None:
    trials = [
        made.trial(engine, width, repeat, 500) for engine in made.ENGINES for width in (50, 500) for repeat in (1, 2, 3)
    ]
    assert len(report.html(made.comparison(trials)).encode()) < 2_000_000


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_speaks_and_names_every_engine(name: str) -> None:
    picture = getattr(charts, name)(made.comparison())
    assert picture.svg
    parsed = Parsed(picture.svg)
    root = parsed.elements[0]
    assert root[0] == "svg"
    assert root[1]["role"] == "img"
    assert picture.title in str(root[1]["aria-label"])
    assert {engine for engine in made.ENGINES if engine in parsed.text} == set(made.ENGINES)


# --- text of strangers ---


def test_hostile_text_stays_text() -> None:
    trials = [made.trial(HOSTILE_NAME, 4), made.trial("asyncio", 4), made.trial("serial", 1, error=HOSTILE)]
    phases = trials[0].phases
    assert phases is not None
    phases.url[0] = phases.end[1] = HOSTILE
    comparison = made.comparison(
        trials,
        command=HOSTILE,
        measured_at=HOSTILE,
        machine=Machine(system=HOSTILE, processor=HOSTILE, cores=1, memory_bytes=None),
        versions={HOSTILE: HOSTILE},
        caveats=[HOSTILE],
        origin=Origin(name=HOSTILE, is_ours=False),
        claims=[
            Verdict(name="x", claim=HOSTILE, holds=None, figure=HOSTILE, how=HOSTILE, source="javascript:alert(3)")
        ],
    )
    page = report.html(comparison)
    parsed = Parsed(page)
    assert not {"script", "img"} & set(parsed.tags())
    assert [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")] == []
    for name in ("caveats", "machine", "versions", "commands", "medians", "workload", "claims"):
        assert " ".join(HOSTILE.split())[:50] in section(page, name), name
    for draw in (charts.throughput, charts.progress, charts.waterfall, charts.memory):
        assert HOSTILE_NAME in Parsed(draw(comparison).svg or "").text, draw
    assert HOSTILE_NAME in section(page, "medians")
    assert "a" not in parsed.tags()
    assert parsed.tags()["style"] == 1


# --- nothing is invented ---


def test_a_trial_that_broke_off_is_shown_with_its_reason_and_gives_no_figure() -> None:
    lost = Trial(engine="gevent", concurrency=9, repeat=1, error="the engine was lost at page 12", pages_per_second=1e9)
    page = report.html(made.comparison([made.trial("serial", 1), lost]))
    assert "broke off: the engine was lost at page 12" in section(page, "medians")
    assert "Broke off, so do not count on it: gevent, 9 at once." in page
    assert "The fastest was serial, 1 at once" in page
    assert "1,000,000,000" not in page
    assert "broke off" in Parsed(charts.throughput(made.comparison([made.trial("serial", 1), lost])).svg or "").text


def test_what_was_not_measured_is_called_so_and_never_zero() -> None:
    unknown = Trial(engine="thread", concurrency=5, repeat=1, jobs=3, ok=3, pages_per_second=7.0)
    page = report.html(made.comparison([unknown]))
    row = section(page, "medians").partition("thread, 5 at once")[2]
    assert row.count("not measured") == 7
    assert not re.search(r"(?<![\w.])0(?! of)", row)
    for name in ("cpu", "memory", "waits", "progress", "waterfall"):
        assert getattr(charts, name)(made.comparison([unknown])).svg is None, name
    assert page.count("no trial has what this picture needs") == 5


@pytest.mark.parametrize(
    "trials",
    [
        pytest.param([], id="no-trials"),
        pytest.param([made.trial("asyncio", 16)], id="one-trial"),
        pytest.param([made.trial("asyncio", width, repeat) for width in (2, 9) for repeat in (1, 2)], id="one-engine"),
        pytest.param([made.trial("pool", 4, phases=Phases())], id="empty-phases"),
        pytest.param([made.trial("pool", 4, phases=None)], id="no-phases"),
        pytest.param([Trial(engine="pool", concurrency=4, repeat=1, error="no")], id="only-errors"),
        pytest.param(
            [made.trial("a stranger " * 9, 4, workers=3), made.trial("serial", 1)], id="long-name-and-workers"
        ),
        pytest.param([made.trial("serial", 1, waited_behind_hung_seconds=0.0, hand_over_p50_seconds=0.0)], id="zeros"),
    ],
)
def test_whatever_is_missing_the_report_is_whole(trials: list[Trial]) -> None:
    page = report.html(made.comparison(trials, caveats=[], versions={}))
    parsed = Parsed(page)
    assert page.rstrip().endswith("</html>")
    assert parsed.tags()["figure"] == len(PICTURES)
    assert [trial.engine for trial in trials if trial.engine not in parsed.text] == []


def test_memory_is_pss_only_when_every_engine_has_it() -> None:
    has, has_not = made.trial("thread", 4, peak_pss_bytes=30 << 20), made.trial("pool", 4)
    assert "peak memory, PSS" in section(report.html(made.comparison([has])), "medians")
    assert "30 MiB" in section(report.html(made.comparison([has])), "medians")
    assert "peak memory, RSS" in section(report.html(made.comparison([has, has_not])), "medians")


def test_a_page_that_nobody_answered_is_a_failure_to_its_end() -> None:
    columns = {"began_at": [0.5], "dns": [0.1], "ended_at": [2.5], "handed_over_at": [2.6]}
    rest = {name: [0.0] for name in ("connect", "tls", "first_byte", "body")}
    found = bars(Phases(url=["u"], end=["timeout"], **columns, **rest))
    assert {phase: each for phase, each in found.items() if each} == {
        "in the queue": [(0, 0.0, 0.5)],
        "dns": [(0, 0.5, 0.6)],
        "failed": [(0, 0.6, 2.5)],
        "waits for hand-over": [(0, 2.5, 2.6)],
    }


def test_rows_are_pages_in_the_order_of_their_beginning() -> None:
    phases = made.played(8, 300, random.Random(1))
    began = [bar[2] for bar in bars(phases)["in the queue"]]
    assert began == sorted(phases.began_at)[: len(began)]
    assert len(began) == 120


def test_every_bar_of_the_waterfall_is_drawn_in_the_colour_of_its_phase() -> None:
    alone = made.trial("asyncio", 16)
    svg = charts.waterfall(made.comparison([alone])).svg or ""
    expected = {phase: len(each) for phase, each in bars(alone.phases or Phases()).items() if each}
    assert expected["failed"] == 2
    for phase, count in expected.items():
        filled = re.findall(rf'd="([^"]+)"[^>]*style="fill: {COLOURS[phase]}', svg, re.I)
        assert max(path.count("M") for path in filled) == count, phase


def test_claims_are_told_as_they_were_judged(usual: str) -> None:
    assert re.findall(r'class="claim (\w+)"', usual) == ["holds", "fails", "open"]
    told = section(usual, "claims")
    assert "“One thread waits for many” holds : 1 thread, 100 pages counted" in told
    assert f"“epoll is mmap” does not hold : 0 pages shared read Source: {made.SOURCE}" in told
    assert "“Greenlets are small” not measured : no PSS here PSS Source: a book" in told


def test_a_capacity_that_the_client_set_is_a_least_one_and_saturates_nobody() -> None:
    near = [made.trial("gevent", 50, pages_per_second=3900.0)]
    free = Origin(name="site", is_ours=True, capacity_pages_per_second=4000.0, capacity_cores=0.5)
    busy = Origin(name="site", is_ours=True, capacity_pages_per_second=4000.0, capacity_cores=0.97)
    assert words.capacity(free).startswith("at least 4,000 pages a second: it used 50% of a core")
    assert words.capacity(busy) == "4,000 pages a second"
    assert words.capacity(Origin(name="site", is_ours=True)) == "not measured"
    assert words.saturated(made.comparison(near, origin=free)) == []
    assert len(words.saturated(made.comparison(near, origin=busy))) == 1
    assert "at least 4,000" in section(report.html(made.comparison(near, origin=free)), "workload")


def test_memory_is_drawn_against_what_was_really_in_flight() -> None:
    wide = [made.trial("asyncio", 64, most_in_flight=11), made.trial("asyncio", 16, most_in_flight=11)]
    assert [charts.engines._in_flight(group) for group in ranking.groups(made.comparison(wide))] == [11.0, 11.0]
    assert charts.memory(made.comparison(wide)).svg
    assert charts.engines._in_flight(ranking.groups(made.comparison([made.trial("serial", 1)]))[0]) == 1.0


def test_a_saturated_origin_is_said_before_all_else() -> None:
    full = [made.trial("greenlet", 50, origin_cores=0.98), made.trial("gevent", 50, pages_per_second=3500.0)]
    page = report.html(made.comparison([*full, made.trial("serial", 1)]))
    said = section(page, "saturated")
    assert "greenlet, 50 at once: the origin used 98% of a core" in said
    assert "gevent, 50 at once: reached 88% of what the origin gives" in said
    assert "serial" not in said
    assert page.index("The origin was saturated") < page.index("Caveats first")
    assert words.saturated(made.comparison(full, origin=Origin(name="a.example", is_ours=False))) == []
    assert 'id="saturated"' not in report.html(made.comparison([made.trial("serial", 1)]))


# --- what is concluded ---


def rates(**engines: list[float]) -> Comparison:
    return made.comparison(
        [
            Trial(engine=engine, concurrency=8, repeat=number, pages_per_second=rate)
            for engine, each in engines.items()
            for number, rate in enumerate(each, 1)
        ]
    )


def test_who_cannot_be_told_from_the_fastest_is_computed() -> None:
    comparison = rates(thread=[80, 105, 111], gevent=[100, 120, 140], asyncio=[10, 11, 94])
    assert words.result(comparison) == (
        "The fastest was gevent, 8 at once: 120 good pages a second in the median. "
        "Within its noise, so not to be told from it: thread, 8 at once."
    )
    assert [group.engine for group in ranking.ranked(comparison)] == ["gevent", "thread", "asyncio"]
    assert section(report.html(comparison), "medians").count("≈ fastest") == 1 + 1  # and the legend


def test_order_of_the_trials_does_not_matter_to_the_order_of_engines() -> None:
    trials = made.every_trial()
    random.Random(3).shuffle(trials)
    found = [(group.engine, group.concurrency) for group in ranking.groups(made.comparison(trials))]
    assert list(dict.fromkeys(engine for engine, _ in found)) == list(made.ENGINES)
    assert [width for engine, width in found if engine == "asyncio"] == [16, 100]


def test_one_outlier_makes_nobody_equal() -> None:
    disturbed = rates(gevent=[10, 119, 120, 121], thread=[60, 61, 62, 63], asyncio=[57, 58, 59, 300])
    assert ranking.places(ranking.ranked(disturbed)) == [1, 2, 2]  # the last two differ by less than 5 %
    assert "No other came within its noise." in words.result(disturbed)


def test_an_engine_that_gave_nothing_is_equal_to_nobody() -> None:
    broke = made.comparison([Trial(engine=name, concurrency=8, repeat=1, error="no") for name in ("pool", "thread")])
    assert ranking.places(ranking.ranked(broke)) == [1, 2]


def test_a_clear_lead_and_a_lead_nobody_can_judge_are_told_apart() -> None:
    assert "No other came within its noise." in words.result(rates(thread=[10, 11], gevent=[20, 21]))
    assert "nobody knows how much of its lead is noise" in words.result(rates(thread=[10], gevent=[20]))
    assert words.result(made.comparison([])) == "No throughput was measured."


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "not measured"),
        (0.0, "0 s"),
        (12.345, "12.3 s"),
        (0.0123, "12.3 ms"),
        (4.5e-6, "4.5 µs"),
        (754.2, "754 s"),
    ],
)
def test_times_are_said_in_readable_units(value: float | None, said: str) -> None:
    assert words.seconds(value) == said


@pytest.mark.parametrize(
    ("source", "links"),
    [
        ("https://a.example/x", ["https://a.example/x"]),
        ("man 7 epoll, https://a.example/epoll.7.html.", ["https://a.example/epoll.7.html"]),
        ("(http://a.example/), http://b.example/x", ["http://a.example/", "http://b.example/x"]),
        ("javascript:alert(1)", []),
        ("data:text/html,x ftp://a.example/", []),
        ("see epoll(7)", []),
    ],
)
def test_web_addresses_in_a_source_become_links_and_nothing_else(source: str, links: list[str]) -> None:
    pieces = words.linked(source)
    assert [piece for piece, is_link in pieces if is_link] == links
    assert "".join(piece for piece, _ in pieces) == source


# --- the file ---


def test_file_is_written_whole_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    report.write(made.comparison([made.trial("serial", 1)]), path)
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert list(tmp_path.iterdir()) == [path]


def test_a_device_is_written_into_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    whole.write(pipe, b"all")
    assert os.read(reading, 10) == b"all"
    os.close(reading)
    assert pipe.is_fifo()


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_bytes(b"old")
    (tmp_path / "link.json").symlink_to("real.json")
    whole.write(tmp_path / "link.json", b"new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_bytes() == b"new"


def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=re.escape("nowhere/report.html")):
        report.write(made.comparison([]), tmp_path / "nowhere" / "report.html")


def test_path_that_is_a_folder_stays_and_leaves_nothing_beside(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError):
        report.write(made.comparison([]), str(tmp_path / "report.html"))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_missing_package_names_the_pip_line(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage, match=re.escape("pip install 'cormorant[lab]'")):
        report.html(made.comparison([made.trial("serial", 1)]))
