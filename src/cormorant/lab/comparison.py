"""What `compare` finds, as values: the JSON of `--json`, the input of the table and of the report.

The schema is documented in `docs/reference.md`; every key says its unit. None means that this machine, this engine
or this workload could not tell, never zero. A `Comparison` is read back by `read`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from cormorant.errors import UsageError
from cormorant.lab.claims.verdict import Verdict

FORMAT = "cormorant-comparison/1"


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured."""

    system: str
    processor: str
    cores: int
    memory_bytes: int | None


class WorkDone(msgspec.Struct, frozen=True, kw_only=True):
    """What every engine was given. `source` is embedded, list or function.

    For the embedded site `workload` holds the fields of `lab.site.Workload`, seed included: whoever has them has the
    same pages.
    """

    name: str
    source: str
    jobs: int
    hosts: int | None
    timeout_seconds: float
    per_host: int
    workload: dict[str, Any] = {}


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The server that was asked. Of a stranger's nothing but the name is known.

    `capacity_pages_per_second` is what it gave to the fastest engine when nothing was late, `capacity_cores` what it
    used of one core meanwhile: with far less than one, the engine was the limit and the capacity is at least that.
    `cpu_seconds_per_page` is its own cost there.
    """

    name: str
    is_ours: bool
    capacity_pages_per_second: float | None = None
    capacity_cores: float | None = None
    cpu_seconds_per_page: float | None = None


class Phases(msgspec.Struct, frozen=True, kw_only=True):
    """Pages of one trial as columns, in the order of their beginning; seconds from the start of the trial.

    `began_at` is when the job began in its worker (when it was let go, for one that was ended from outside),
    `ended_at` when it ended there, `handed_over_at` when the caller had the outcome. The phases follow each other from
    `began_at` (the last hop's, as libcurl timed them; all 0.0 for a function of the user's).
    `end` is ok, http_error or the kind of the failure.
    """

    url: list[str] = []
    end: list[str] = []
    began_at: list[float] = []
    dns: list[float] = []
    connect: list[float] = []
    tls: list[float] = []
    first_byte: list[float] = []
    body: list[float] = []
    ended_at: list[float] = []
    handed_over_at: list[float] = []


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One engine over the whole work once, in a fresh process, its warm-up dropped. The whole process tree is counted.

    `pages_per_second` are good outcomes until the last good one was handed over: a hung page at the end keeps nobody
    from reading. `waited_behind_hung_seconds` is the longest stretch with a hung page under way in which no good page
    was handed over, less the own time of the page that ended it. `most_in_flight` is how many jobs were under way at
    one instant at the most, which `bytes_per_page_in_flight` divides by. `origin_cores` is what our origin used of one
    core in its busiest stretch until the last good page was handed over: a quarter of that time, 0.1 s at the least.
    """

    engine: str
    workers: int = 1
    concurrency: int
    repeat: int
    loop: str | None = None
    error: str | None = None

    jobs: int = 0
    ok: int = 0
    http_errors: int = 0
    failed: dict[str, int] = {}

    pages_per_second: float | None = None
    wall_seconds: float | None = None
    startup_seconds: float | None = None
    first_seconds: float | None = None
    half_seconds: float | None = None
    ninety_percent_seconds: float | None = None
    ninety_nine_percent_seconds: float | None = None
    last_seconds: float | None = None
    latency_p50_seconds: float | None = None
    latency_p90_seconds: float | None = None
    latency_p99_seconds: float | None = None
    hand_over_p50_seconds: float | None = None
    hand_over_p99_seconds: float | None = None
    waited_behind_hung_seconds: float | None = None

    cpu_seconds: float | None = None
    cpu_user_seconds: float | None = None
    cpu_system_seconds: float | None = None
    cpu_seconds_per_page: float | None = None
    context_switches_voluntary: int | None = None
    context_switches_involuntary: int | None = None
    loop_rounds: int | None = None
    ready_per_round: float | None = None

    peak_rss_bytes: int | None = None
    peak_pss_bytes: int | None = None
    most_in_flight: int | None = None
    bytes_per_page_in_flight: float | None = None
    threads: int | None = None
    processes: int | None = None
    descriptors: int | None = None

    origin_cores: float | None = None
    phases: Phases | None = None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one `compare` found, with what a sceptic needs to run it again.

    `stopped` says that Ctrl-C came before all was measured.
    """

    format: str = FORMAT
    measured_at: str
    command: str
    machine: Machine
    versions: dict[str, str]
    work: WorkDone
    origin: Origin
    stopped: bool = False
    caveats: list[str]
    trials: list[Trial]
    claims: list[Verdict] = []

    def json(self) -> bytes:
        """Return the document that `--json` writes."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1)


def read(path: str | Path) -> Comparison:
    """Return a comparison that `--json` wrote. Raises UsageError when the file is none."""
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Comparison)
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(f"{str(path)!r} is no comparison written by `cormorant compare --json`: {error}") from None
