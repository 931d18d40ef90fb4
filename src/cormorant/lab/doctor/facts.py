"""Reads what this machine, this process and this libcurl are. Nothing is judged here, and nothing can hang.

What cannot be told is None.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import queue
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from cormorant.errors import UsageError
from cormorant.lab.doctor import cgroup

LOOKUP_SECONDS = 3.0  # how long to wait for the name `localhost`
PACKAGES = ("greenlet", "gevent", "uvloop", "granian", "jinja2", "matplotlib", "psutil")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """How names are looked up: `timeout` (seconds) and `attempts` by resolv.conf, `seconds` for `localhost`."""

    nameservers: tuple[str, ...]
    timeout: int = 5
    attempts: int = 2
    seconds: float | None = None
    error: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Libcurl:
    """What libcurl was built with, and where it looks for trusted certificates."""

    version: tuple[int, ...]
    features: frozenset[str]
    name: str
    certificates: str | None
    certificates_error: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Everything the checks ask for; a limit that is None does not exist or cannot be told.

    `processes` is the user's limit; `pid_max` and `threads_max` are the kernel's, for all its `tasks` (threads).
    """

    system: str
    files_soft: int | None
    files_hard: int | None
    ports: tuple[int, int] | None
    ports_reused: int | None
    resolver: Resolver
    cores_shown: int
    cores_allowed: int
    group: cgroup.Group
    memory_bytes: int | None
    processes: int | None
    pid_max: int | None
    threads_max: int | None
    tasks: int | None
    libcurl: Libcurl | None
    libcurl_error: str | None
    packages: dict[str, str | None]
    alarm_is_free: bool


def machine() -> Machine:
    """Read it all; takes at most some seconds, whatever the resolver does."""
    soft, hard = map(_limit, resource.getrlimit(resource.RLIMIT_NOFILE))
    processes = _limit(resource.getrlimit(resource.RLIMIT_NPROC)[0]) if os.geteuid() else None  # root has none
    curl = _libcurl()
    return Machine(
        system=sys.platform,
        files_soft=soft,
        files_hard=hard,
        ports=_ports(),
        ports_reused=_number("/proc/sys/net/ipv4/tcp_tw_reuse"),
        resolver=resolver(Path("/etc/resolv.conf")),
        cores_shown=os.cpu_count() or 1,
        cores_allowed=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        group=cgroup.read(),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        processes=processes,
        pid_max=_number("/proc/sys/kernel/pid_max"),
        threads_max=_number("/proc/sys/kernel/threads-max"),
        tasks=_tasks(Path("/proc/loadavg")),
        libcurl=curl if isinstance(curl, Libcurl) else None,
        libcurl_error=curl if isinstance(curl, str) else None,
        packages={name: version(name) for name in PACKAGES},
        alarm_is_free=signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
        and signal.SIGALRM not in signal.pthread_sigmask(signal.SIG_BLOCK, ()),
    )


def version(package: str) -> str | None:
    """Return the version of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _limit(number: int) -> int | None:
    return None if number == resource.RLIM_INFINITY else number


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


def _tasks(path: Path) -> int | None:
    """Return how many threads there are on this machine: `running/all`, the fourth field of loadavg (proc(5))."""
    try:
        return int(path.read_text().split()[3].partition("/")[2])
    except (OSError, ValueError, IndexError):
        return None


def _ports() -> tuple[int, int] | None:
    """Return the first and the last local port the system gives out by itself."""
    try:
        if sys.platform == "darwin":
            names = ("net.inet.ip.portrange.first", "net.inet.ip.portrange.last")
            answer = subprocess.run(["sysctl", "-n", *names], capture_output=True, text=True, timeout=5, check=True)
            first, last = answer.stdout.split()
        else:
            first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        return int(first), int(last)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def resolver(path: Path) -> Resolver:
    """Read resolv.conf at `path`, and look `localhost` up in a thread that is given `LOOKUP_SECONDS`."""
    nameservers, options = [], {"timeout": 5, "attempts": 2}  # resolv.conf(5)
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for words in (line.split() for line in lines):
        if words[:1] == ["nameserver"]:
            nameservers += words[1:2]
        for name, _, value in (word.partition(":") for word in words[1:] if words[0] == "options"):
            if name in options and value.isdigit():
                options[name] = int(value)
    seconds, error = _look_up("localhost")
    return Resolver(nameservers=tuple(nameservers[:3]), seconds=seconds, error=error, **options)


def _look_up(name: str) -> tuple[float | None, str | None]:
    """Return how long the system took to look a name up, or why it has no answer."""
    answers: queue.SimpleQueue[tuple[float | None, str | None]] = queue.SimpleQueue()

    def ask() -> None:
        began = time.monotonic()
        try:
            socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
        except OSError as error:
            answers.put((None, str(error)))
        else:
            answers.put((time.monotonic() - began, None))

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=LOOKUP_SECONDS)
    except queue.Empty:
        return None, f"no answer within {LOOKUP_SECONDS:g} s"


def _libcurl() -> Libcurl | str:
    try:
        import pycurl

        from cormorant.transport.exchange import ca_options
    except ImportError as error:
        return str(error)
    about = pycurl.version_info()
    features = {
        name.removeprefix("VERSION_")
        for name in dir(pycurl)
        if name.startswith("VERSION_") and about[4] & getattr(pycurl, name)
    }
    path, fault = None, None
    ca_options.cache_clear()  # the environment as it is, not as it was when a page was fetched first
    try:
        ((_, path),) = ca_options()
        fault = _unreadable(Path(path))
    except UsageError as refused:
        fault = str(refused)
    return Libcurl(
        version=tuple(int(part) if part.isdigit() else 0 for part in about[1].split("-")[0].split(".")),
        features=frozenset(features),
        name=str(pycurl.version),
        certificates=path,
        certificates_error=fault,
    )


def _unreadable(path: Path) -> str | None:
    """Say what is wrong with a bundle or a folder of certificates."""
    try:
        if path.is_dir():
            return None if any(path.iterdir()) else f"{path} is empty"
        return None if b"BEGIN CERTIFICATE" in path.read_bytes() else f"{path} holds no PEM certificate"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
