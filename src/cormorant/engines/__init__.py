"""Who waits: one file per concurrency model, imported only when chosen.

`FACTS` is the table behind `cormorant engines`; `start` builds the engine of a name. Engines know `work`, a way to
the wire and a width, and nothing of URLs, schedulers or each other.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import logging
import resource
from typing import cast

from cormorant.errors import MissingPackage, UsageError
from cormorant.interfaces import AwaitedEngine, Engine, Rounds, Transports, Work
from cormorant.options import AUTO

DESCRIPTORS_OF_OUR_OWN = 48  # standard streams, output files, loops, libraries


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a user wants to know before choosing an engine."""

    name: str
    waits: str
    switches: str
    threads: str
    processes: str
    cores: str
    default_concurrency: int
    most_at_once: int | None = None
    descriptors_per_job: int = 2  # a connection under way and one kept, or the pipes of a worker process
    package: str | None = None
    one_loop: bool = False  # whether all jobs share one loop: the engine implements `interfaces.OneLoop`


FACTS = {
    facts.name: facts
    for facts in (
        Facts(
            name="serial",
            waits="the program itself, page by page",
            switches="never",
            threads="1",
            processes="1",
            cores="1",
            default_concurrency=1,
            most_at_once=1,
        ),
        Facts(
            name="pool",
            waits="one process per page (multiprocessing.Pool.apply_async)",
            switches="the kernel, between processes",
            threads="1 + 3",
            processes="1 + concurrency",
            cores="all",
            default_concurrency=16,
            descriptors_per_job=3,
        ),
        Facts(
            name="process",
            waits="one process per page (ProcessPoolExecutor)",
            switches="the kernel, between processes",
            threads="1 + 2 x concurrency",
            processes="1 + concurrency",
            cores="all",
            default_concurrency=16,
            descriptors_per_job=10,
        ),
        Facts(
            name="thread",
            waits="one thread per page (ThreadPoolExecutor)",
            switches="the kernel, and the GIL between threads",
            threads="1 + concurrency",
            processes="1",
            cores="1",
            default_concurrency=32,
        ),
        Facts(
            name="greenlet",
            waits="one epoll for all pages",
            switches="by hand: job to hub, hub to job",
            threads="1, and 1 per name looked up",
            processes="1",
            cores="1",
            default_concurrency=64,
            one_loop=True,
        ),
        Facts(
            name="gevent",
            waits="gevent's loop (libev) for all pages",
            switches="gevent's hub",
            threads="1, and 1 per name looked up",
            processes="1",
            cores="1",
            default_concurrency=64,
            one_loop=True,
            package="gevent",
        ),
        Facts(
            name="asyncio",
            waits="the event loop (uvloop when installed) for all pages",
            switches="await",
            threads="1, and 1 per name looked up",
            processes="1",
            cores="1",
            default_concurrency=64,
            one_loop=True,
        ),
    )
}


def names() -> tuple[str, ...]:
    """Return the names of all engines, from the simplest wait to the cleverest."""
    return tuple(FACTS)


def facts(name: str) -> Facts:
    """Return what is known of an engine. Raises UsageError for an unknown name."""
    if name == AUTO:
        raise UsageError(f"{AUTO!r} is for fetch and map; here choose one of {', '.join(FACTS)}")
    if name not in FACTS:
        raise UsageError(f"no engine {name!r}; choose one of {', '.join(FACTS)}; or {AUTO}, in fetch, crawl and map")
    return FACTS[name]


def missing(name: str) -> str | None:
    """Return the pip line that would make an engine available here, or None when it is."""
    package = facts(name).package
    if package is None or importlib.util.find_spec(package) is not None:
        return None
    return f"pip install 'cormorant[{package}]'"


def width(name: str, wanted: int | None) -> int:
    """Return how many jobs an engine may have at once: as wanted (None: its default), as it can, as files allow.

    Running out of descriptors looks like a dead host, so the limit on open files (`ulimit -n`) is respected
    beforehand; a warning says so.
    """
    about = facts(name)
    most = wanted or about.default_concurrency
    if about.most_at_once is not None:
        most = min(most, about.most_at_once)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    affordable = max(1, (files - DESCRIPTORS_OF_OUR_OWN) // about.descriptors_per_job)
    if files == resource.RLIM_INFINITY or most <= affordable:
        return most
    logging.getLogger(__name__).warning(
        "concurrency lowered from %d to %d: this process may open %d files; raise it with `ulimit -n %d`",
        most,
        affordable,
        files,
        most * about.descriptors_per_job + DESCRIPTORS_OF_OUR_OWN,
    )
    return affordable


def require(name: str) -> Facts:
    """Return what is known of an engine that can be had here. Raises UsageError or MissingPackage with the fix."""
    line = missing(name)
    if line is not None:
        raise MissingPackage(f"engine {name!r} needs the package {facts(name).package}: {line}")
    return facts(name)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What an engine is built from.

    `has_user_code` says that `work` may run longer than the transport's own deadline lets it, so that the
    engine has to see to the deadline; a plain fetch ends by itself. `rounds` hears of the waits of an engine that
    has a loop.
    """

    work: Work
    transports: Transports
    width: int
    has_user_code: bool
    rounds: Rounds | None = None


def is_async(work: Work) -> bool:
    """Return whether calling `work` gives something to await."""
    return inspect.iscoroutinefunction(work) or inspect.iscoroutinefunction(type(work).__call__)


def check(name: str, setup: Setup) -> None:
    """Raise UsageError or MissingPackage, both with the fix, when the engine cannot be had or cannot run the work."""
    require(name)
    if is_async(setup.work) and name != "asyncio":
        raise UsageError(f"an async function runs under engine 'asyncio' only; give a plain function to {name!r}")
    if name in ("pool", "process"):
        from cormorant.engines import children

        children.pickled_work(setup, name)


def start(name: str, setup: Setup) -> Engine:
    """Build the engine `name`, which `check` has passed."""
    return cast(Engine, importlib.import_module(f"cormorant.engines.{name}").open_engine(setup))


def start_awaited(setup: Setup) -> AwaitedEngine:
    """Build the asyncio engine inside the running event loop."""
    return cast(AwaitedEngine, importlib.import_module("cormorant.engines.asyncio").open_awaited(setup))
