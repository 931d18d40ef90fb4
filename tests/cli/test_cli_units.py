"""Sizes and times as people write them."""

import pytest
import typer

from cormorant.cli import units


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("17", 17),
        ("512k", 524288),
        ("10M", 10485760),
        ("1.5G", 1610612736),
        ("2MiB", 2097152),
        ("3MB", 3145728),
        ("5b", 5),
    ],
)
def test_size(text, count):
    assert units.size(text) == count


@pytest.mark.parametrize("text", ["", "x", "-1", "10X", "1.5.2", "ib", "nan", "inf", "M", "1e3", "1" * 400])
def test_no_size(text):
    with pytest.raises(typer.BadParameter, match="10M"):
        units.size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1.5", 1.5), ("500ms", 0.5), ("2m", 120.0), ("10 s", 10.0), ("1h", 3600.0), (".5", 0.5), ("0", 0.0)],
)
def test_seconds(text, seconds):
    assert units.seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1", "1M2", "inf", "nan", "5 years"])
def test_no_time(text):
    with pytest.raises(typer.BadParameter, match="500ms"):
        units.seconds(text)


@pytest.mark.parametrize("count", [0, 1, 1000, 1024, 64 * 1024 * 1024, 3 << 30])
def test_a_size_in_the_help_reads_back(count):
    assert units.size(units.size_option(count)) == count


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.00s"), (0.123, "0.12s"), (4.21, "4.2s"), (59.96, "1m00s"), (112, "1m52s"), (11100, "3h05m")],
)
def test_span_text(seconds, text):
    assert units.span_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (10240, "10.0 KB"), (43201331, "41.2 MB"), (1 << 50, "1,024.0 TB")]
)
def test_size_text(count, text):
    assert units.size_text(count) == text
