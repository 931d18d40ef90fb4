"""`cormorant fetch`: a list of URLs in, a page or a failure for each out, in the order in which they are done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cormorant.cli import choices
from cormorant.cli.choices import DEFAULTS, LIMITS
from cormorant.cli.destination import Destination
from cormorant.cli.exits import Exit, refuse_files, told
from cormorant.cli.kept import FOLDER, kept, reading
from cormorant.errors import UsageError
from cormorant.options import Options

if TYPE_CHECKING:
    from cormorant.fleet.driver import Fleet
    from cormorant.interfaces import Sink
    from cormorant.jobs import Job
    from cormorant.worker import Worker

EPILOG = """
Examples:

  cormorant fetch https://a.example/ https://b.example/

  cormorant fetch -i urls.txt -o pages.jsonl -e gevent -c 200

  cat urls.txt | cormorant fetch -i - -o - | jq .status

  cormorant fetch -i ten_million.txt -o pages.warc.gz --job jobs/run1

  cormorant fetch -i urls.txt -o pages/ -w 4 -e greenlet

Exit codes: 0 every URL reached a good end · 1 some failed · 2 wrong usage or unreadable input · 3 none succeeded · \
4 output not written · 5 engine lost · 7 stopped (Ctrl-C once: what is in flight is finished) · 130 stopped at once \
(Ctrl-C twice) · 141 the reader of stdout left.
"""

_DELAY: Any = f"{DEFAULTS['delay']:g}"


# One parameter per option is how typer reads a command; they become one value, `Options`, at once.
def fetch(
    urls: Annotated[list[str] | None, typer.Argument(metavar="URL", help="Pages to fetch.")] = None,
    input: choices.Input = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="FILE",
            rich_help_panel=choices.IN,
            help="The .jsonl (or folder) of an earlier run: ask only for what changed since (ETag, Last-Modified).",
        ),
    ] = None,
    keep_duplicates: Annotated[
        bool,
        typer.Option(
            "--keep-duplicates", rich_help_panel=choices.IN, help="Fetch a URL as often as it is listed, not once."
        ),
    ] = DEFAULTS["keep_duplicates"],
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
    parse: choices.Parse = None,
    engine: choices.Engine = DEFAULTS["engine"],
    concurrency: choices.Concurrency = DEFAULTS["concurrency"],
    per_host: choices.PerHost = DEFAULTS["per_host"],
    delay: choices.Delay = _DELAY,
    jitter: choices.Jitter = DEFAULTS["jitter"],
    polite_by: choices.PoliteBy = DEFAULTS["polite_by"],
    max_delay: choices.MaxDelay = choices.MAX_DELAY_DEFAULT,
    throttle: choices.Throttle = DEFAULTS["throttle"],
    robots: choices.Robots = DEFAULTS["robots"],
    watchdog: choices.Watchdog = DEFAULTS["watchdog"],
    timeout: choices.Timeout = choices.TIMEOUT_DEFAULT,
    connect_timeout: choices.ConnectTimeout = choices.CONNECT_TIMEOUT_DEFAULT,
    max_body: choices.MaxBody = choices.MAX_BODY_DEFAULT,
    no_body: Annotated[
        bool, typer.Option("--no-body", rich_help_panel=LIMITS, help="Read the headers only.")
    ] = DEFAULTS["no_body"],
    retries: choices.Retries = DEFAULTS["retries"],
    max_retry_after: choices.MaxRetryAfter = choices.MAX_RETRY_AFTER_DEFAULT,
    breaker: choices.Breaker = DEFAULTS["breaker"],
    header: choices.Header = None,
    user_agent: choices.UserAgent = DEFAULTS["user_agent"],
    proxy: choices.Proxy = DEFAULTS["proxy"],
    insecure: choices.Insecure = DEFAULTS["insecure"],
    allow_private: choices.AllowPrivate = DEFAULTS["allow_private"],
) -> None:
    """Fetch many pages at once. Each URL ends in exactly one record: a page, or a failure that says why.

    Formats of OUT: .jsonl (one JSON object a line), .csv, .warc.gz, .parquet, .sqlite, FOLDER/ (bodies as files, with
    an index), - (JSON Lines on stdout). `cormorant cat OUT` reads any of them back.
    """
    words = dict(locals())
    with told():
        raise typer.Exit(run(words))


def run(words: Mapping[str, Any], job: Job | None = None) -> Exit:
    """Carry out the command with these parameters, by name; `job` is the one that is open, where it goes on."""
    options = Options.of(choices.options_in(words))
    destination = Destination.of(words)
    urls, sources, since = words["urls"] or [], words["input"] or [], words["since"]
    if not urls and not sources:
        raise UsageError("nothing to fetch: give URLs, or -i FILE (-i - reads stdin)")
    refuse_files(urls)
    # Imported here, like all that only a run needs: --help must not wait for libcurl.
    from cormorant import opening
    from cormorant.cli import usercode
    from cormorant.cli.fleets import begin_fleet
    from cormorant.cli.inputs import Lines
    from cormorant.cli.running import Work, carry_out
    from cormorant.cli.splitter import LONGEST_URL_LINE, url_line

    function = usercode.load(words["parse"], words.get(FOLDER)) if words["parse"] is not None else None
    work = Work.of(options, noun="URL", unit="page", sources=sources if since is None else [*sources, since])
    with kept("fetch", words, sources, job) as held:
        lines = Lines(sources, url_line, LONGEST_URL_LINE, first=urls, **reading(held))

        wanted = choices.wanted_in(words, held)

        def begin(sink: Sink) -> Worker | Fleet:
            if not wanted.is_fleet:
                return opening.open_fetch(lines, options, function, sink, since=since, job=held)
            return begin_fleet(words, wanted, lines, destination, function, sink, held, since=since)

        return carry_out(begin, lines, destination, work, held)
