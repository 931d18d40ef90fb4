"""What is shown on a terminal cannot command it."""

import io

import pytest

from cormorant.cli.terminal import TerminalSink, neutral, readable
from cormorant.errors import OutputError
from cormorant.messages import Failure, Kind, Page, Result, Timings


@pytest.mark.parametrize(
    "text", ["\x1b]0;title\x07", "\x9b31m", "a\rb", "a\nb", "\u202egpj.exe", "\u2066x", "a\u2028b", "\udcff", "\x00"]
)
def test_nothing_is_left_to_obey(text):
    shown = neutral(text)
    assert all(character.isprintable() for character in shown)
    assert "\\" in shown


def test_letters_of_the_world_stay():
    assert neutral("https://例え.example/ü?q=שלום") == "https://例え.example/ü?q=שלום"


def test_a_page():
    page = Page(url="http://a.example/", status=200, body=b"x" * 10240, timings=Timings(total=0.123))
    assert readable(page).split() == ["200", "10.0", "KB", "0.12s", "http://a.example/"]


def test_a_page_elsewhere():
    page = Page(url="http://a.example/", status=200, final_url="http://b.example/")
    assert readable(page).endswith("http://a.example/  -> http://b.example/")


def test_a_failure_says_why_in_one_line():
    line = readable(Failure(url="http://a.example/", kind=Kind.DNS, message="no such\nname"))
    assert line.split()[0] == "dns"
    assert line.endswith("(no such\\nname)")


def test_results_of_map():
    assert readable(Result(item="x", index=0, ok=True, value={"a": "\x1b"})).split()[0] == "ok"
    assert len(readable(Result(item="x", index=0, ok=True, value="y" * 10_000))) < 300
    failed = Result(item="x", index=0, ok=False, kind=Kind.CALLBACK, message="ValueError: no")
    assert readable(failed).endswith("x  (ValueError: no)")


def test_a_terminal_that_cannot_show_a_letter():
    raw = io.BytesIO()
    sink = TerminalSink(io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    sink.write(Page(url="http://a.example/ü", status=200))
    sink.close()
    assert raw.getvalue().endswith(b"http://a.example/\\xfc\n")


def test_a_terminal_that_is_gone():
    class Gone(io.StringIO):
        def write(self, text):
            raise OSError(5, "Input/output error")

    with pytest.raises(OutputError, match="terminal"):
        TerminalSink(Gone()).write(Page(url="http://a.example/", status=200))
