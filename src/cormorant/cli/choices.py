"""The options that commands share, each with its name, unit and help in one place.

Defaults are those of `cormorant.options.Options`, read from there so that they cannot drift apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cormorant.cli import units
from cormorant.errors import CormorantError
from cormorant.options import CRAWL_DEFAULTS as CRAWL_DEFAULTS
from cormorant.options import Options

if TYPE_CHECKING:
    from cormorant.fleet.wanted import Wanted
    from cormorant.jobs import Job

DEFAULTS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Options)}
TIMEOUT_DEFAULT: Any = f"{DEFAULTS['timeout']:g}s"
CONNECT_TIMEOUT_DEFAULT: Any = f"{DEFAULTS['connect_timeout']:g}s"
MAX_BODY_DEFAULT: Any = units.size_option(DEFAULTS["max_body"])
MAX_DELAY_DEFAULT: Any = f"{DEFAULTS['max_delay']:g}s"
MAX_RETRY_AFTER_DEFAULT: Any = f"{DEFAULTS['max_retry_after']:g}s"

FLEET = "Workers"
IN, OUT, LIMITS, REQUEST = "Input", "Output", "Limits and retries", "Request"
SPEED, SCOPE = "Speed and politeness", "Scope"


def _each(names: list[str] | None) -> list[str] | None:
    """Return the lists that are meant: all files, or objects of a store, that a pattern in quotes stands for."""
    if not names:
        return names
    from cormorant.cli.sources import matching

    try:
        return [each for name in names for each in matching(name)]
    except CormorantError as error:
        raise typer.BadParameter(str(error)) from error


Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        metavar="FILE",
        rich_help_panel=IN,
        callback=_each,
        help="Read the list from FILE, one a line; .gz and .zst are unpacked, - is stdin. May be repeated; in quotes "
        "it may be a pattern ('*.txt').",
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        rich_help_panel=OUT,
        help="Where results go, chosen by suffix: .jsonl, .csv (also .gz, .zst), .warc.gz, .warc.zst, .parquet, "
        ".sqlite, a folder ending in /, - for stdout as JSON Lines. Without it: readable lines on a terminal, JSON "
        "Lines into a pipe.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        rich_help_panel=OUT,
        help="Override the suffix of OUT: jsonl, csv, warc, parquet, sqlite or folder.",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", rich_help_panel=OUT, help="Replace OUT if it exists; else that is an error.")
]
Rotate = Annotated[
    int | None,
    typer.Option(
        "--rotate",
        metavar="SIZE",
        parser=units.size,
        rich_help_panel=OUT,
        show_default="one file",
        help="Go on in OUT-00001, OUT-00002, ... when a file has grown to SIZE: 500M, 1G.",
    ),
]
JobFolder = Annotated[
    str | None,
    typer.Option(
        "--job",
        metavar="FOLDER",
        rich_help_panel=OUT,
        help="Remember the run in FOLDER: after Ctrl-C, kill -9 or a power cut the same command goes on, "
        "each URL once.",
    ),
]
AcceptChangedList = Annotated[
    bool,
    typer.Option(
        "--accept-changed-list",
        rich_help_panel=OUT,
        help="Go on although a list was changed: what was read of it still stands where it stood.",
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", rich_help_panel=OUT, help="No progress and no summary; errors are still told.")
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        "-e",
        metavar="ENGINE",
        rich_help_panel=SPEED,
        help="serial, pool, process, thread, greenlet, gevent or asyncio; see `cormorant engines`. auto chooses "
        "from a short probe, and says why.",
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        "-c",
        metavar="N",
        rich_help_panel=SPEED,
        show_default="the engine's own",
        help="How many at once.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-w",
        min=1,
        metavar="N",
        rich_help_panel=FLEET,
        show_default="one, here",
        help="N processes, each with the engine and --concurrency, and hosts of its own: processes x coroutines. Each "
        "part of the job writes its own OUT-s0003.jsonl (or OUT/s0003/).",
    ),
]
Merge = Annotated[
    bool,
    typer.Option("--merge", rich_help_panel=FLEET, help="Put the workers' parts together in OUT when all is done."),
]
Shards = Annotated[
    int | None,
    typer.Option(
        "--shards",
        min=1,
        metavar="N",
        rich_help_panel=FLEET,
        show_default="4 a worker",
        help="Into how many parts the job is cut, for ever; -w may change from run to run.",
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="BY",
        rich_help_panel=FLEET,
        show_default="domain",
        help="What stays with one worker: domain, host, address (with --polite-by address), or url (for lists of few "
        "hosts: each worker then has its part of --per-host and --delay). A crawl is split by domain.",
    ),
]
ClusterAt = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        rich_help_panel=FLEET,
        show_default="this machine",
        help="Workers on a Ray cluster: local starts one here, HOST:PORT joins one.",
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="TIME",
        parser=units.seconds,
        rich_help_panel=LIMITS,
        help="Total time for each one, from its start: 1.5, 500ms, 2m.",
    ),
]
Watchdog = Annotated[
    float | None,
    typer.Option(
        "--watchdog",
        metavar="TIME",
        parser=units.seconds,
        rich_help_panel=SPEED,
        show_default="no watch",
        help="Name each call that holds the loop longer than TIME, with its stack (greenlet, gevent, asyncio).",
    ),
]
PerHost = Annotated[
    int,
    typer.Option("--per-host", metavar="N", rich_help_panel=SPEED, help="Most at once to one host; 0: no limit."),
]
Delay = Annotated[
    float,
    typer.Option(
        "--delay",
        metavar="TIME",
        parser=units.seconds,
        rich_help_panel=SPEED,
        help="Least time between two starts to one host.",
    ),
]
Jitter = Annotated[
    float,
    typer.Option(
        "--jitter",
        metavar="SHARE",
        rich_help_panel=SPEED,
        help="Stretch each gap by up to this share of it: 0.5 makes 1 s into 1 to 1.5 s.",
    ),
]
PoliteBy = Annotated[
    str,
    typer.Option(
        "--polite-by",
        metavar="PARTY",
        rich_help_panel=SPEED,
        help="Whose budget --per-host and --delay are: host, domain (registered) or address.",
    ),
]
MaxDelay = Annotated[
    float,
    typer.Option(
        "--max-delay",
        metavar="TIME",
        parser=units.seconds,
        rich_help_panel=SPEED,
        help="A Crawl-delay that is longer is cut to this.",
    ),
]
Throttle = Annotated[
    bool,
    typer.Option(
        "--throttle",
        rich_help_panel=SPEED,
        help="Give a host that gets slower, or says 429 or 503, fewer requests, and later ones, until it recovers.",
    ),
]
Robots = Annotated[
    bool, typer.Option("--robots/--no-robots", rich_help_panel=SPEED, help="Whether to keep to each host's robots.txt.")
]
ConnectTimeout = Annotated[
    float,
    typer.Option(
        "--connect-timeout",
        metavar="TIME",
        parser=units.seconds,
        rich_help_panel=LIMITS,
        help="Time until the connection stands (name, TCP and TLS).",
    ),
]
MaxBody = Annotated[
    int,
    typer.Option(
        "--max-body",
        metavar="SIZE",
        parser=units.size,
        rich_help_panel=LIMITS,
        help="Longest decoded body: 512K, 10M, 1.5G; 0: no limit. A longer one fails as too_large.",
    ),
]
Retries = Annotated[
    int,
    typer.Option("--retries", metavar="N", rich_help_panel=LIMITS, help="Further attempts after a passing failure."),
]
MaxRetryAfter = Annotated[
    float,
    typer.Option(
        "--max-retry-after",
        metavar="TIME",
        parser=units.seconds,
        rich_help_panel=LIMITS,
        help="Longest Retry-After that is waited for; a page that asks for more is not tried again.",
    ),
]
Breaker = Annotated[
    int,
    typer.Option(
        "--breaker",
        metavar="N",
        rich_help_panel=LIMITS,
        help="Leave a host alone for a while after so many failures in a row, and give it up when probes fail too; "
        "0: never.",
    ),
]
Header = Annotated[
    list[str] | None,
    typer.Option(
        "--header",
        "-H",
        metavar="'NAME: VALUE'",
        rich_help_panel=REQUEST,
        help="Send this header too. May be repeated.",
    ),
]
UserAgent = Annotated[
    str, typer.Option("--user-agent", "-A", metavar="NAME", rich_help_panel=REQUEST, help="What we call ourselves.")
]
Proxy = Annotated[
    str | None,
    typer.Option(
        "--proxy",
        "-x",
        metavar="URL",
        rich_help_panel=REQUEST,
        help="http://host:port or socks5h://host:port. The environment is not read.",
    ),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", "-k", rich_help_panel=REQUEST, help="Do not verify TLS certificates.")
]
AllowPrivate = Annotated[
    bool,
    typer.Option(
        "--allow-private/--no-allow-private",
        rich_help_panel=REQUEST,
        help="Whether loopback, private and link-local addresses may be dialled.",
    ),
]
Parse = Annotated[
    str | None,
    typer.Option(
        "--parse",
        metavar="MODULE:FUNCTION",
        rich_help_panel=OUT,
        help="Call FUNCTION(page) beside the fetch; what it returns is the record's `data`.",
    ),
]


def wanted_in(words: Mapping[str, Any], job: Job | None) -> Wanted:
    """Return what workers a command's parameters ask for; `job` is the one it goes on with. Raises UsageError."""
    from cormorant.fleet.wanted import Wanted

    return Wanted.of(job, **{word: words[word] for word in ("workers", "shards", "split", "cluster", "merge")})


def options_in(words: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a command's parameters that are fields of `Options`."""
    taken = {name: words[name] for name in DEFAULTS if name in words}
    return taken | {"header": words.get("header") or ()}
