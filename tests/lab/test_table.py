"""The table of `cormorant compare`: what is loud comes first, what was not measured is no figure."""

from __future__ import annotations

import pytest

import comparison_data as made
from cormorant.cli.table import show
from cormorant.lab.comparison import Origin, Trial

FREE = Origin(name="site", is_ours=True, capacity_pages_per_second=12_345.0, capacity_cores=0.6)


def shown(capsys: pytest.CaptureFixture[str], **words: object) -> list[str]:
    show(made.comparison(**words))  # type: ignore[arg-type]
    return capsys.readouterr().out.splitlines()


def test_a_saturated_origin_is_said_above_everything(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, trials=[made.trial("greenlet", 50, origin_cores=0.97), made.trial("serial", 1)])
    assert lines[0].startswith("THE ORIGIN WAS SATURATED")
    assert "greenlet, 50 at once: the origin used 97% of a core" in lines[0]
    assert sum("SATURATED" in line for line in lines) == 1


def test_an_origin_with_time_to_spare_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, trials=[made.trial("serial", 1)], origin=FREE)
    assert not any("SATURATED" in line for line in lines)
    assert "The origin gives, when nothing is late, at least 12,345 pages a second: it used 60% of a core" in " ".join(
        lines
    )


def test_loud_is_red_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    lines = shown(capsys, trials=[made.trial("greenlet", 50, origin_cores=0.97)])
    assert lines[0].startswith("\x1b[1;37;41m")


def test_without_a_trial_there_is_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, trials=[], stopped=True)
    assert "No throughput was measured." in lines


def test_the_spread_ignores_the_repeat_that_was_disturbed(capsys: pytest.CaptureFixture[str]) -> None:
    rates = (10.0, 100.0, 100.0, 100.0, 100.0)
    trials = [
        Trial(engine="thread", concurrency=4, repeat=number, pages_per_second=rate)
        for number, rate in enumerate(rates, 1)
    ]
    (row,) = (line.split() for line in shown(capsys, trials=trials) if line.split()[1:2] == ["thread"])
    assert row[:5] == ["1", "thread", "4", "100", "0%"]


def test_what_strangers_wrote_cannot_colour_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    lost = Trial(engine="pool", concurrency=4, repeat=1, error="\x1b[31mred")
    lines = shown(capsys, trials=[lost], caveats=["pool broke: \x1b[31mred"])
    assert not any("\x1b" in line for line in lines)
