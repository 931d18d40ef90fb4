"""Fetch web pages in bulk, with any of Python's concurrency models behind one switch.

Importing this package imports no engine, no libcurl and nothing optional: each name is loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cormorant.api import acrawl as acrawl
    from cormorant.api import afetch as afetch
    from cormorant.api import crawl as crawl
    from cormorant.api import fetch as fetch
    from cormorant.api import map as map
    from cormorant.errors import BadURL as BadURL
    from cormorant.errors import CormorantError as CormorantError
    from cormorant.errors import DeadlineExceeded as DeadlineExceeded
    from cormorant.errors import EngineLost as EngineLost
    from cormorant.errors import FetchError as FetchError
    from cormorant.errors import MissingPackage as MissingPackage
    from cormorant.errors import OutputError as OutputError
    from cormorant.errors import UsageError as UsageError
    from cormorant.getting import aget as aget
    from cormorant.getting import get as get
    from cormorant.lab.compare import compare as compare
    from cormorant.lab.comparison import Comparison as Comparison
    from cormorant.messages import Failure as Failure
    from cormorant.messages import Found as Found
    from cormorant.messages import Kind as Kind
    from cormorant.messages import LeftOut as LeftOut
    from cormorant.messages import Outcome as Outcome
    from cormorant.messages import Page as Page
    from cormorant.messages import Redirect as Redirect
    from cormorant.messages import Result as Result
    from cormorant.messages import Timings as Timings
    from cormorant.options import Options as Options
    from cormorant.reading import read as read

__version__ = "0.1.0"

_HOME = {
    "BadURL": "errors",
    "Comparison": "lab.comparison",
    "CormorantError": "errors",
    "DeadlineExceeded": "errors",
    "EngineLost": "errors",
    "Failure": "messages",
    "FetchError": "errors",
    "Found": "messages",
    "Kind": "messages",
    "LeftOut": "messages",
    "MissingPackage": "errors",
    "Options": "options",
    "Outcome": "messages",
    "OutputError": "errors",
    "Page": "messages",
    "Redirect": "messages",
    "Result": "messages",
    "Timings": "messages",
    "UsageError": "errors",
    "acrawl": "api",
    "afetch": "api",
    "aget": "getting",
    "compare": "lab.compare",
    "crawl": "api",
    "fetch": "api",
    "get": "getting",
    "map": "api",
    "read": "reading",
}

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cormorant' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"cormorant.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
