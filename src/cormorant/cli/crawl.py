"""`cormorant crawl`: seeds in, and every page within bounds that they lead to, each once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cormorant.cli import choices
from cormorant.cli.choices import DEFAULTS, OUT, SCOPE
from cormorant.cli.destination import Destination
from cormorant.cli.exits import Exit, told
from cormorant.cli.kept import FOLDER, kept, reading
from cormorant.errors import CormorantError, UsageError
from cormorant.options import Options

if TYPE_CHECKING:
    from cormorant.fleet.driver import Fleet
    from cormorant.interfaces import Sink
    from cormorant.jobs import Job
    from cormorant.sinks.left_out import LeftOutFile
    from cormorant.worker import Worker

EPILOG = """
Examples:

  cormorant crawl https://docs.example.org/ --depth 3 --max-pages 10000 -o site.jsonl

  cormorant crawl seeds.txt --scope domain --include '/blog/' --exclude '\\?sort=' --sitemaps

  cormorant crawl https://example.org/docs/ --scope prefix --report-skipped skipped.jsonl -o docs/

A crawl is polite: one page at a time to a host, 1 s apart, robots.txt kept to. For a site of your own say otherwise: \
--per-host 8 --delay 0.

Exit codes: as of `cormorant fetch`; a page that robots.txt keeps us from is no failure.
"""

_DELAY: Any = f"{choices.CRAWL_DEFAULTS['delay']:g}s"


def crawl(
    seeds: Annotated[
        list[str] | None, typer.Argument(metavar="SEED", help="Where to begin: URLs, or files that list them.")
    ] = None,
    input: choices.Input = None,
    scope: Annotated[
        str,
        typer.Option(
            "--scope",
            metavar="REACH",
            rich_help_panel=SCOPE,
            help="How far from the seeds: host, domain (registered), prefix (the folder of a seed, and below) or any.",
        ),
    ] = "host",
    depth: Annotated[
        int | None,
        typer.Option(
            "--depth", "-l", min=0, metavar="N", rich_help_panel=SCOPE, show_default="no limit", help="Most links away."
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include", metavar="REGEX", rich_help_panel=SCOPE, help="Only URLs in which it is found. Repeatable."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude", metavar="REGEX", rich_help_panel=SCOPE, help="No URLs in which it is found. Repeatable."
        ),
    ] = None,
    max_pages: Annotated[
        int | None,
        typer.Option(
            "--max-pages", min=1, metavar="N", rich_help_panel=SCOPE, show_default="no limit", help="Most pages in all."
        ),
    ] = None,
    max_pages_per_host: Annotated[
        int | None,
        typer.Option(
            "--max-pages-per-host",
            min=1,
            metavar="N",
            rich_help_panel=SCOPE,
            show_default="no limit",
            help="Most pages of one host.",
        ),
    ] = None,
    sitemaps: Annotated[
        bool, typer.Option("--sitemaps", rich_help_panel=SCOPE, help="Also fetch what the sites' sitemaps list.")
    ] = False,
    prefer: Annotated[
        list[str] | None,
        typer.Option(
            "--prefer",
            metavar="REGEX",
            rich_help_panel=SCOPE,
            help="URLs in which it is found go first; else the nearest to a seed. Repeatable.",
        ),
    ] = None,
    obey_meta: Annotated[
        bool,
        typer.Option("--obey-meta", rich_help_panel=SCOPE, help="Follow no `nofollow` link, keep no `noindex` page."),
    ] = False,
    drop_tracking: Annotated[
        bool,
        typer.Option(
            "--drop-tracking",
            rich_help_panel=SCOPE,
            help="Take URLs that differ in tracking parameters alone (utm_source, gclid) for one.",
        ),
    ] = False,
    output: choices.Output = None,
    format: choices.Format = None,
    overwrite: choices.Overwrite = False,
    rotate: choices.Rotate = None,
    job: choices.JobFolder = None,
    accept_changed_list: choices.AcceptChangedList = False,
    workers: choices.Workers = None,
    merge: choices.Merge = False,
    shards: choices.Shards = None,
    split: choices.Split = None,
    cluster: choices.ClusterAt = None,
    quiet: choices.Quiet = False,
    report_skipped: Annotated[
        str | None,
        typer.Option(
            "--report-skipped",
            metavar="FILE",
            rich_help_panel=OUT,
            help="Write what was seen and left out, and why, as JSON Lines.",
        ),
    ] = None,
    parse: choices.Parse = None,
    engine: choices.Engine = DEFAULTS["engine"],
    concurrency: choices.Concurrency = DEFAULTS["concurrency"],
    per_host: choices.PerHost = choices.CRAWL_DEFAULTS["per_host"],
    delay: choices.Delay = _DELAY,
    jitter: choices.Jitter = DEFAULTS["jitter"],
    polite_by: choices.PoliteBy = DEFAULTS["polite_by"],
    max_delay: choices.MaxDelay = choices.MAX_DELAY_DEFAULT,
    throttle: choices.Throttle = DEFAULTS["throttle"],
    robots: choices.Robots = choices.CRAWL_DEFAULTS["robots"],
    watchdog: choices.Watchdog = DEFAULTS["watchdog"],
    timeout: choices.Timeout = choices.TIMEOUT_DEFAULT,
    connect_timeout: choices.ConnectTimeout = choices.CONNECT_TIMEOUT_DEFAULT,
    max_body: choices.MaxBody = choices.MAX_BODY_DEFAULT,
    retries: choices.Retries = choices.CRAWL_DEFAULTS["retries"],
    max_retry_after: choices.MaxRetryAfter = choices.MAX_RETRY_AFTER_DEFAULT,
    breaker: choices.Breaker = choices.CRAWL_DEFAULTS["breaker"],
    header: choices.Header = None,
    user_agent: choices.UserAgent = DEFAULTS["user_agent"],
    proxy: choices.Proxy = DEFAULTS["proxy"],
    insecure: choices.Insecure = DEFAULTS["insecure"],
    allow_private: choices.AllowPrivate = DEFAULTS["allow_private"],
) -> None:
    """Fetch the seeds and what their pages link to, within bounds, each page once.

    Every page is a record, as of `cormorant fetch`, and says how it was found.
    """
    words = dict(locals())
    with told():
        raise typer.Exit(run(words))


_PATTERNS = ("include", "exclude", "prefer")
_WHERE = ("scope", "depth", "max_pages", "max_pages_per_host", "sitemaps", "obey_meta", "drop_tracking")


def run(words: Mapping[str, Any], job: Job | None = None) -> Exit:
    """Carry out the command with these parameters, by name; `job` is the one that is open, where it goes on."""
    where = {name: words[name] for name in _WHERE} | {name: words[name] or () for name in _PATTERNS}
    options = Options.of(choices.options_in(words))
    destination = Destination.of(words)
    seeds, lists = words["seeds"] or [], words["input"] or []
    if not seeds and not lists:
        raise UsageError("nowhere to begin: give seed URLs, a file that lists them, or -i FILE (-i - reads stdin)")
    from cormorant import opening
    from cormorant.cli import usercode
    from cormorant.cli.fleets import begin_fleet
    from cormorant.cli.inputs import Lines
    from cormorant.cli.running import Work, carry_out
    from cormorant.cli.splitter import LONGEST_URL_LINE, url_line

    files = [seed for seed in seeds if _is_list(seed)]
    sources = [*files, *lists]
    first = [seed for seed in seeds if seed not in files]
    function = usercode.load(words["parse"], words.get(FOLDER)) if words["parse"] is not None else None
    work = Work.of(options, noun="URL", unit="page", sources=sources)
    with kept("crawl", words, sources, job) as held, contextlib.ExitStack() as open_until_the_end:
        lines = Lines(sources, url_line, LONGEST_URL_LINE, first=first, **reading(held))

        wanted = choices.wanted_in(words, held)

        def begin(sink: Sink) -> Worker | Fleet:
            if wanted.is_fleet:
                return begin_fleet(words, wanted, lines, destination, function, sink, held, where=where)
            worker = opening.open_crawl(lines, where | choices.options_in(words), function, sink, job=held)
            if words["report_skipped"] is not None:
                others = [other for other in (*sources, destination.target) if other]
                open_until_the_end.enter_context(_reporting(words, others, held, worker))
            return worker

        return carry_out(begin, lines, destination, work, held)


def _is_list(seed: str) -> bool:
    """Tell whether a seed is a file that lists seeds rather than a URL. Raises UsageError when it is neither."""
    if "://" in seed or seed.startswith(("http:", "https:")):
        return False
    if not os.path.exists(seed):
        raise UsageError(f"{seed!r} is no file, and no URL either; write https://{seed} or name a file that lists URLs")
    return True


@contextlib.contextmanager
def _reporting(words: Mapping[str, Any], others: Sequence[str], job: Job | None, worker: Worker) -> Iterator[None]:
    """Open the file of --report-skipped, which is none of `others`; when the run cannot begin no new file is left."""
    path = words["report_skipped"]
    if any(_is_same_file(path, other) for other in others):
        raise UsageError(f"{path!r} is already a list or the output; give --report-skipped a file of its own")
    from cormorant.commits import Commits
    from cormorant.jobs import REPORT

    is_new = not os.path.exists(path)
    with contextlib.closing(_report(path, words["overwrite"], job)) as file:
        worker.report_to(file.write)
        if isinstance(worker.commits, Commits):
            worker.commits.keep_beside(REPORT, file)
        try:
            yield
        except CormorantError:
            if is_new:
                os.unlink(path)
            raise


def _report(path: str, overwrite: bool, job: Job | None) -> LeftOutFile:
    from cormorant.jobs import REPORT
    from cormorant.sinks import make_room
    from cormorant.sinks.left_out import LeftOutFile

    if job is None:
        return LeftOutFile(path, overwrite)
    committed = job.beside(REPORT)
    if committed is None:
        make_room(path, "jsonl", overwrite)
        committed = job.beside(REPORT, begin=True)
    return LeftOutFile(path, resume=committed)


def _is_same_file(one: str, other: str) -> bool:
    if os.path.abspath(one) == os.path.abspath(other):
        return True
    return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)
