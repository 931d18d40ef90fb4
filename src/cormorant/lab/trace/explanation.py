"""How each engine waits, in plain words, beside the essence of its own source, read from the source as it is now.

The words are ours; figures are not among them, for `cormorant compare` measures those. The code is what
`inspect.getsource` gives of a few named functions, docstrings left out and long ones cut, so that it all fits a screen.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import os
import textwrap
from typing import Any

import cormorant
from cormorant import engines

MOST_LINES = 17  # of all functions
ROOT = os.path.dirname(os.path.abspath(cormorant.__file__))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """`essence` names functions as `module:Class.function`, below `cormorant`."""

    waits: str
    costs: str
    hung: str
    essence: tuple[str, ...]


EXPLANATIONS = {
    "serial": Explanation(
        waits="The for loop: ask for a page, sleep in the kernel until it is there, then look at the next URL. libcurl "
        "blocks the one thread there is; nothing overlaps.",
        costs="Nothing: one thread, one connection at a time, no switch to pay for. The time is the sum of all waits.",
        hung="Everybody behind it waits until its timeout is over.",
        essence=("engines.serial:SerialEngine.collect", "transport.blocking:BlockingCurl._perform"),
    ),
    "pool": Explanation(
        waits="multiprocessing.Pool: apply_async puts the job into a pipe, a worker process takes it, blocks in "
        "libcurl and sends the page back; a thread of the parent reads it and calls the callback.",
        costs="A Python process for each page under way: its memory, its start, and pickling of every page on its way "
        "home. In exchange all cores work.",
        hung="It keeps one worker busy until its timeout; the others go on as long as there are other workers.",
        essence=("engines.pool:PoolEngine._hand_over", "engines.pool:PoolEngine._on_answer", "engines.children:run"),
    ),
    "process": Explanation(
        waits="ProcessPoolExecutor: a future for each job; a worker process blocks in libcurl, a thread of the parent "
        "takes the answer, and the future's callback puts it into one queue. Here each worker has an executor of its "
        "own, so that a death costs one job.",
        costs="A Python process, a manager thread and pipes for each page under way, and pickling. All cores work.",
        hung="It keeps one worker busy until its timeout; the others go on as long as there are other workers.",
        essence=("engines.process:ProcessEngine._hand_over", "engines.process:ProcessEngine._take_news"),
    ),
    "thread": Explanation(
        waits="ThreadPoolExecutor: a thread for each page under way. Each blocks in libcurl, which lets go of the "
        "GIL; the kernel wakes the thread whose socket is ready, and the callback puts the job into one queue.",
        costs="A stack and a kernel thread for each page under way, a switch by the kernel for each wake, and the GIL "
        "when many wake at once.",
        hung="It keeps one thread asleep until its timeout; the others go on as long as there are other threads.",
        essence=(
            "engines.thread:ThreadEngine._run",
            "engines.thread:ThreadEngine._on_done",
            "transport.blocking:BlockingCurl._perform",
        ),
    ),
    "greenlet": Explanation(
        waits="One thread. A job asks for its page and switches to the hub; the hub asks epoll once for all sockets, "
        "gives the ready ones to libcurl, and switches back into the jobs whose pages are whole.",
        costs="A switch is a function call that swaps stacks: no kernel, no GIL. A waiting job is a small piece of "
        "stack and a socket. One core, and code that blocks without the hub stops everybody.",
        hung="Nobody waits for it: it is one socket more in epoll, and the hub, which knows its deadline, ends it.",
        essence=("engines.greenlet:GreenletEngine.fetch", "engines.greenlet:GreenletEngine._one_round"),
    ),
    "gevent": Explanation(
        waits="One thread. As with raw greenlets, but the hub is gevent's, over libev: every socket of libcurl has a "
        "watcher there, and other code for gevent runs beside it in the same loop.",
        costs="A switch as with greenlets, and gevent's hub between: a watcher for each change of a socket, a callback "
        "for each start. One core; code that blocks stops everybody unless gevent has patched it.",
        hung="Nobody waits for it: it is one watcher more, and a timer of ours ends it.",
        essence=(
            "engines.gevent:GeventEngine.fetch",
            "engines.gevent:GeventEngine.watch",
            "engines.gevent:GeventEngine._on_ready",
        ),
    ),
    "asyncio": Explanation(
        waits="One thread. A job is a task that awaits a future; the event loop watches libcurl's sockets, and the end "
        "of a page sets the future, which steps the task on in the loop's next round.",
        costs="A task and a future for each page, and a round of the loop between the page and its job. `await` must "
        "be written all the way up. One core; code that blocks stops everybody.",
        hung="Nobody waits for it: it is one socket more in the selector, and a timer of ours ends it.",
        essence=(
            "engines.asyncio:AwaitedAsyncioEngine.fetch",
            "engines.asyncio:deliver_to",
            "engines.asyncio:AwaitedAsyncioEngine._on_ready",
        ),
    ),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """A function's code: `lines` as they stand, `left_out` lines more at its end."""

    name: str
    place: str
    lines: list[str]
    left_out: int = 0


def of(engine: str) -> Explanation:
    """Return the words for an engine. Raises UsageError for an unknown one, MissingPackage for one not installed."""
    return EXPLANATIONS[engines.require(engine).name]


def excerpts(engine: str) -> list[Excerpt]:
    """Return the essence of an engine's source, cut to `MOST_LINES` in all: what short ones leave is for the long."""
    whole = [_excerpt(name) for name in of(engine).essence]
    room = MOST_LINES
    shares: dict[str, int] = {}
    for rank, excerpt in enumerate(sorted(whole, key=lambda each: len(each.lines))):
        shares[excerpt.name] = min(len(excerpt.lines), room // (len(whole) - rank))
        room -= shares[excerpt.name]
    return [_cut(excerpt, shares[excerpt.name]) for excerpt in whole]


def _cut(excerpt: Excerpt, most: int) -> Excerpt:
    left_out = len(excerpt.lines) - most
    return dataclasses.replace(excerpt, lines=excerpt.lines[:most], left_out=left_out)


def _excerpt(name: str) -> Excerpt:
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(f"cormorant.{module}")
    for part in path.split("."):
        found = getattr(found, part)
    source, first = inspect.getsourcelines(found)
    lines = _without_docstring(textwrap.dedent("".join(source)))
    place = f"{os.path.relpath(inspect.getsourcefile(found) or module, ROOT)}:{first}"
    return Excerpt(name=path, place=place, lines=lines)


def _without_docstring(source: str) -> list[str]:
    lines = source.rstrip().splitlines()
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        del lines[docstring.lineno - 1 : docstring.end_lineno]
    return lines
