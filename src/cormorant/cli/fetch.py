"""`cormorant fetch`: a list of URLs in, a page or a failure for each out, in the order in which they are done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from cormorant.cli import choices, units
from cormorant.cli.choices import DEFAULTS, LIMITS, REQUEST, SPEED
from cormorant.cli.destination import Destination
from cormorant.cli.exits import Exit, told
from cormorant.errors import UsageError
from cormorant.options import Options

EPILOG = """
Examples:

  cormorant fetch https://a.example/ https://b.example/

  cormorant fetch -i urls.txt -o pages.jsonl -e gevent -c 200

  cat urls.txt | cormorant fetch -i - -o - | jq .status

Exit codes: 0 every URL reached a good end · 1 some failed · 2 wrong usage or unreadable input · 3 none succeeded · \
4 output not written · 5 engine lost · 7 stopped (Ctrl-C once: what is in flight is finished) · 130 stopped at once \
(Ctrl-C twice) · 141 the reader of stdout left.
"""

_CONNECT_TIMEOUT: Any = f"{DEFAULTS['connect_timeout']:g}s"
_MAX_BODY: Any = units.size_option(DEFAULTS["max_body"])
_DELAY: Any = f"{DEFAULTS['delay']:g}"


# One parameter per option is how typer reads a command; they become one value, `Options`, at once.
def fetch(
    urls: Annotated[list[str] | None, typer.Argument(metavar="URL", help="Pages to fetch.")] = None,
    input: choices.Input = None,
    output: choices.Output = None,
    format: choices.Format = None,
    overwrite: choices.Overwrite = False,
    quiet: choices.Quiet = False,
    engine: choices.Engine = DEFAULTS["engine"],
    concurrency: choices.Concurrency = DEFAULTS["concurrency"],
    per_host: Annotated[
        int,
        typer.Option("--per-host", metavar="N", rich_help_panel=SPEED, help="Most at once to one host; 0: no limit."),
    ] = DEFAULTS["per_host"],
    delay: Annotated[
        float,
        typer.Option(
            "--delay",
            metavar="TIME",
            parser=units.seconds,
            rich_help_panel=SPEED,
            help="Least time between two starts to one host.",
        ),
    ] = _DELAY,
    watchdog: choices.Watchdog = None,
    timeout: choices.Timeout = choices.TIMEOUT_DEFAULT,
    connect_timeout: Annotated[
        float,
        typer.Option(
            "--connect-timeout",
            metavar="TIME",
            parser=units.seconds,
            rich_help_panel=LIMITS,
            help="Time until the connection stands (name, TCP and TLS).",
        ),
    ] = _CONNECT_TIMEOUT,
    max_body: Annotated[
        int,
        typer.Option(
            "--max-body",
            metavar="SIZE",
            parser=units.size,
            rich_help_panel=LIMITS,
            help="Longest decoded body: 512K, 10M, 1.5G; 0: no limit. A longer one fails as too_large.",
        ),
    ] = _MAX_BODY,
    no_body: Annotated[bool, typer.Option("--no-body", rich_help_panel=LIMITS, help="Read the headers only.")] = False,
    retries: Annotated[
        int,
        typer.Option(
            "--retries", metavar="N", rich_help_panel=LIMITS, help="Further attempts after a passing failure."
        ),
    ] = DEFAULTS["retries"],
    keep_duplicates: Annotated[
        bool,
        typer.Option(
            "--keep-duplicates", rich_help_panel=choices.IN, help="Fetch a URL as often as it is listed, not once."
        ),
    ] = False,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            "-H",
            metavar="'NAME: VALUE'",
            rich_help_panel=REQUEST,
            help="Send this header too. May be repeated.",
        ),
    ] = None,
    user_agent: Annotated[
        str, typer.Option("--user-agent", "-A", metavar="NAME", rich_help_panel=REQUEST, help="What we call ourselves.")
    ] = DEFAULTS["user_agent"],
    proxy: Annotated[
        str | None,
        typer.Option(
            "--proxy",
            "-x",
            metavar="URL",
            rich_help_panel=REQUEST,
            help="http://host:port or socks5h://host:port. The environment is not read.",
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", "-k", rich_help_panel=REQUEST, help="Do not verify TLS certificates.")
    ] = False,
    allow_private: Annotated[
        bool,
        typer.Option(
            "--allow-private/--no-allow-private",
            rich_help_panel=REQUEST,
            help="Whether loopback, private and link-local addresses may be dialled.",
        ),
    ] = DEFAULTS["allow_private"],
    parse: Annotated[
        str | None,
        typer.Option(
            "--parse",
            metavar="MODULE:FUNCTION",
            rich_help_panel=choices.OUT,
            help="Call FUNCTION(page) beside the fetch; what it returns is the record's `data`.",
        ),
    ] = None,
) -> None:
    """Fetch many pages at once. Each URL ends in exactly one record: a page, or a failure that says why.

    Formats of OUT: .jsonl (one JSON object a line), FOLDER/ (bodies as files, with an index), - (JSON Lines on stdout).
    """
    with told():
        options = Options(
            engine=engine,
            concurrency=concurrency,
            timeout=timeout,
            connect_timeout=connect_timeout,
            max_body=max_body,
            no_body=no_body,
            retries=retries,
            per_host=per_host,
            delay=delay,
            allow_private=allow_private,
            header=header or (),  # type: ignore[arg-type]  # Options reads lines as well as pairs
            user_agent=user_agent,
            proxy=proxy,
            insecure=insecure,
            keep_duplicates=keep_duplicates,
            watchdog=watchdog,
        )
        destination = Destination(target=output, format=format, overwrite=overwrite, quiet=quiet)
        raise typer.Exit(_run(urls or [], input or [], options, parse, destination))


def _run(
    urls: Sequence[str], sources: Sequence[str], options: Options, parse: str | None, destination: Destination
) -> Exit:
    if not urls and not sources:
        raise UsageError("nothing to fetch: give URLs, or -i FILE (-i - reads stdin)")
    # Imported here, like all that only a run needs: --help must not wait for libcurl.
    from cormorant import api
    from cormorant.cli import usercode
    from cormorant.cli.inputs import Lines
    from cormorant.cli.running import Work, carry_out
    from cormorant.cli.splitter import LONGEST_URL_LINE, url_line

    lines = Lines(sources, url_line, LONGEST_URL_LINE, first=urls)
    function = usercode.load(parse) if parse is not None else None
    work = Work.of(options, noun="URL", unit="page", sources=sources)
    return carry_out(lambda sink: api.open_fetch(lines, options, function, sink), lines, destination, work)
