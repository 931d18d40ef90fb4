"""Choosing an engine: unknown names, missing packages, widths that the machine cannot bear."""

from __future__ import annotations

import importlib.util
import resource
from collections.abc import Iterator
from typing import Any

import pytest

import cormorant
import engine_jobs
from cormorant import engines
from cormorant.errors import MissingPackage, UsageError


def test_an_unknown_engine_is_refused_with_the_list() -> None:
    with pytest.raises(UsageError, match="choose one of serial, pool, process, thread, greenlet, gevent, asyncio"):
        next(cormorant.fetch(["http://127.0.0.1/"], engine="fibre"))


def test_a_missing_package_is_named_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def without_gevent(name: str, *rest: Any) -> Any:
        return None if name == "gevent" else found(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without_gevent)
    assert engines.missing("gevent") == "pip install 'cormorant[gevent]'"
    with pytest.raises(MissingPackage, match=r"pip install 'cormorant\[gevent\]'"):
        next(cormorant.fetch(["http://127.0.0.1/"], engine="gevent"))


@pytest.fixture
def few_files() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.usefixtures("few_files")
def test_a_width_the_open_files_cannot_bear_is_lowered_and_said(caplog: pytest.LogCaptureFixture) -> None:
    assert engines.width("greenlet", 1000) == 104
    assert "concurrency lowered from 1000 to 104" in caplog.text
    assert "ulimit -n 2048" in caplog.text
    caplog.clear()
    assert engines.width("greenlet", 100) == 100
    assert caplog.text == ""


def test_widths_follow_the_engine() -> None:
    assert engines.width("serial", 64) == 1
    assert engines.width("greenlet", None) == engines.facts("greenlet").default_concurrency


@pytest.mark.parametrize("engine", [name for name in engines.names() if name != "asyncio"])
def test_an_async_parse_is_refused_when_it_is_asked_for(engine: str) -> None:
    with pytest.raises(UsageError, match="'asyncio' only"):
        cormorant.fetch(["http://127.0.0.1/"], engine=engine, parse=engine_jobs.awaited_parse)
