"""Judges a machine against a wish: pure, so that tests can feed it any machine.

Each check says what was found, and the fix as a line to paste. `problem`: what was asked for cannot be had;
`warning`: it can, but something will be in the way.
"""

from __future__ import annotations

import dataclasses
import enum
import math

from cormorant import engines
from cormorant.lab.doctor.facts import Libcurl, Machine
from cormorant.options import DEFAULT_MAX_BODY, Options

LEAST_LIBCURL = (7, 80, 0)  # PREREQFUNCTION and MAXLIFETIME_CONN came with it
TIME_WAIT_SECONDS = 60  # Linux; macOS has 30
SLOW_LOOKUP_SECONDS = 0.5
PUBLIC_RESOLVER = "9.9.9.9"

# Threads and processes of an engine: always, and for each job (for loops: a name that is looked up).
TASKS = {
    "serial": (2, 0),
    "pool": (6, 1),
    "process": (3, 3),
    "thread": (2, 1),
    "greenlet": (1, 1),
    "gevent": (1, 1),
    "asyncio": (1, 1),
}


class State(enum.StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was found, and what to do about it."""

    name: str
    state: State
    found: str
    fix: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the machine is asked to bear."""

    engine: str
    concurrency: int
    max_body: int = DEFAULT_MAX_BODY


def examine(machine: Machine, wish: Wish) -> list[Check]:
    """Return every check, in the order in which a run would meet them."""
    return [
        engine(machine.packages, wish),
        files(machine, wish),
        ports(machine, wish),
        resolver(machine),
        cores(machine, wish),
        memory(machine, wish),
        tasks(machine, wish),
        libcurl(machine.libcurl, machine.libcurl_error),
        certificates(machine.libcurl),
        packages(machine.packages),
        alarm(machine.alarm_is_free, wish),
    ]


def engine(installed: dict[str, str | None], wish: Wish) -> Check:
    """Tell whether the engine is here, and how many it takes."""
    facts = engines.facts(wish.engine)
    if facts.package is not None and installed.get(facts.package) is None:
        fix = f"pip install 'cormorant[{facts.package}]'"
        return Check("engine", State.PROBLEM, f"{wish.engine} needs the package {facts.package}", fix)
    if facts.most_at_once is not None and wish.concurrency > facts.most_at_once:
        found = f"{wish.engine} runs {facts.most_at_once} at once, never {wish.concurrency}"
        return Check("engine", State.WARNING, found, f"cormorant doctor -e greenlet -c {wish.concurrency}")
    if wish.engine == "asyncio" and installed.get("uvloop") is None:
        found = "asyncio on Python's own loop; uvloop's is faster and is used when it is installed"
        return Check("engine", State.OK, found, "pip install 'cormorant[uvloop]'")
    loop = " on uvloop" if wish.engine == "asyncio" else ""
    return Check("engine", State.OK, f"{wish.engine}{loop}, {wish.concurrency:,} at once")


def files(machine: Machine, wish: Wish) -> Check:
    """Hold the limit on open files against what the engine opens."""
    each = engines.facts(wish.engine).descriptors_per_job
    need = wish.concurrency * each + engines.DESCRIPTORS_OF_OUR_OWN
    soft, hard = machine.files_soft, machine.files_hard
    limits = f"{_count(soft)} (at most {_count(hard)})"
    sum_of = f"{wish.concurrency:,} x {each} + {engines.DESCRIPTORS_OF_OUR_OWN} = {need:,} are needed"
    if soft is None or soft >= need:
        return Check("open files", State.OK, f"ulimit -n is {limits}; {sum_of}")
    room = max(1, (soft - engines.DESCRIPTORS_OF_OUR_OWN) // each)
    found = f"ulimit -n is {limits}; {sum_of}; there is room for {room:,} at once"
    if hard is None or hard >= need:
        return Check("open files", State.PROBLEM, found, f"ulimit -n {need}")
    return Check("open files", State.PROBLEM, found, _raise_hard_limit(machine.system, need))


def _raise_hard_limit(system: str, need: int) -> str:
    if system == "darwin":
        return f"sudo launchctl limit maxfiles {need} {need}"
    line = f"echo '* - nofile {need}' | sudo tee /etc/security/limits.d/cormorant.conf"
    return f"{line}  # and log in again; in a systemd unit: LimitNOFILE={need}; docker run --ulimit nofile={need}"


def ports(machine: Machine, wish: Wish) -> Check:
    """Hold the local ports against connections to one address (a proxy, a host): each takes a port of its own."""
    if machine.ports is None:
        return Check("local ports", State.OK, "their range cannot be told here")
    first, last = machine.ports
    count = last - first + 1
    reuse = {0: "never used again", 1: "used again", 2: "used again on loopback only"}.get(machine.ports_reused or 0)
    waits = f"a closed one rests {TIME_WAIT_SECONDS} s and is {reuse} meanwhile (tcp_tw_reuse)"
    found = f"{count:,} ({first} to {last}) for connections to one address"
    if machine.ports_reused is not None:
        found += f"; {waits}: {count // TIME_WAIT_SECONDS:,} new ones a second for long"
    state = State.PROBLEM if count < wish.concurrency else State.WARNING if count < 4 * wish.concurrency else State.OK
    fix = "sudo sysctl -w net.ipv4.ip_local_port_range='1024 65535'"
    if machine.system == "darwin":
        fix = "sudo sysctl -w net.inet.ip.portrange.first=16384"
    return Check("local ports", state, found, None if state is State.OK else fix)


def resolver(machine: Machine) -> Check:
    """Look at how names are found, and how long a dead one takes."""
    about = machine.resolver
    hosts = "echo '127.0.0.1 localhost' | sudo tee -a /etc/hosts"  # asked before any server is (nsswitch.conf(5))
    if about.seconds is None:
        return Check("resolver", State.PROBLEM, f"localhost: {about.error}", hosts)
    found = f"localhost took {about.seconds * 1000:.3g} ms"
    if not about.nameservers:
        found = f"no nameserver in /etc/resolv.conf; {found}"
        return Check("resolver", State.WARNING, found, _name_a_server(machine.system))
    worst = about.timeout * about.attempts * len(about.nameservers)
    found = f"{', '.join(about.nameservers)}; {found}; a name nobody answers for takes {worst} s"
    limit = Options().connect_timeout
    if about.seconds > SLOW_LOOKUP_SECONDS:
        return Check("resolver", State.WARNING, f"{found}; even localhost is slow", hosts)
    if worst > limit:
        found += f", longer than the connect timeout ({limit:g} s): it shows as a timeout, not as dns"
        return Check(
            "resolver", State.WARNING, found, "echo 'options timeout:2 attempts:1' | sudo tee -a /etc/resolv.conf"
        )
    return Check("resolver", State.OK, found)


def _name_a_server(system: str) -> str:
    if system == "darwin":
        return f"sudo networksetup -setdnsservers Wi-Fi {PUBLIC_RESOLVER}"
    return f"echo 'nameserver {PUBLIC_RESOLVER}' | sudo tee -a /etc/resolv.conf  # or your network's own"


def cores(machine: Machine, wish: Wish) -> Check:
    """Compare the cores that the machine shows with those that we may use."""
    quota = machine.group.cores
    usable = min(float(machine.cores_allowed), quota if quota is not None else math.inf)
    if usable >= machine.cores_shown:
        return Check("CPU", State.OK, f"{machine.cores_shown} cores, all usable")
    why = [f"{machine.cores_allowed} by affinity"] if machine.cores_allowed < machine.cores_shown else []
    why += [f"{quota:g} by the quota of the control group"] if quota is not None else []
    found = f"{usable:g} of the {machine.cores_shown} cores shown are ours ({', '.join(why)})"
    found += "; os.cpu_count() does not see that"
    return Check("CPU", State.WARNING, found, f"cormorant map … -e process -c {max(1, math.ceil(usable))}")


def memory(machine: Machine, wish: Wish) -> Check:
    """Hold the memory against the worst case: every page in flight at `max_body`, encoded and decoded."""
    limits = [limit for limit in (machine.group.memory_bytes, machine.memory_bytes) if limit is not None]
    if not limits:
        return Check("memory", State.OK, "its size cannot be told here")
    limit, worst = min(limits), wish.concurrency * 2 * wish.max_body
    what = "the control group allows" if limit == machine.group.memory_bytes else "the machine has"
    found = f"{what} {_size(limit)}; at worst {wish.concurrency:,} pages x 2 x --max-body are {_size(worst)}"
    if wish.engine in ("pool", "process"):
        found += f", besides {wish.concurrency:,} Python processes (not measured)"
    if worst <= limit:
        return Check("memory", State.OK, found)
    fits = limit // 2 // (wish.concurrency * 2) // 1024
    return Check("memory", State.WARNING, found, f"cormorant fetch … -c {wish.concurrency} --max-body {max(1, fits)}K")


def tasks(machine: Machine, wish: Wish) -> Check:
    """Hold the limits on threads and processes against what the engine starts."""
    name = "threads and processes"
    always, each = TASKS[wish.engine]
    need = always + each * wish.concurrency
    group, user = machine.group, machine.processes
    found = f"at most {need:,} threads and processes are started"
    if group.tasks is not None and group.tasks - (group.tasks_now or 0) < need:
        found += f"; the control group allows {group.tasks:,}, of which {group.tasks_now or 0:,} are taken (pids.max)"
        return Check(name, State.PROBLEM, found, _raise_tasks(group.unit, (group.tasks_now or 0) + need))
    if user is not None and user < need:
        found += f"; the user may have {user:,} (ulimit -u)"
        return Check(name, State.PROBLEM, found, f"ulimit -u {need * 2}")
    taken = machine.tasks or 0
    for knob, limit in (("kernel.pid_max", machine.pid_max), ("kernel.threads-max", machine.threads_max)):
        if limit is not None and limit - taken < need:
            found += f"; the kernel allows {limit:,} in all, of which {taken:,} are taken ({knob})"
            return Check(name, State.PROBLEM, found, f"sudo sysctl -w {knob}={taken + need * 2}")
    return Check(name, State.OK, f"{found}; {', '.join(_allowed(machine))} are allowed")


def _raise_tasks(unit: str | None, enough: int) -> str:
    if unit is None:
        return f"docker run --pids-limit {enough} …"
    sudo = "" if unit.startswith("--user ") else "sudo "
    option, _, name = unit.rpartition(" ")
    return f"{sudo}systemctl {option and option + ' '}set-property {name} TasksMax={enough}"


def _allowed(machine: Machine) -> list[str]:
    allowed = [f"{_count(machine.processes)} a user (ulimit -u)"]
    allowed += [f"{machine.group.tasks:,} in the control group"] if machine.group.tasks is not None else []
    kernel = [limit for limit in (machine.pid_max, machine.threads_max) if limit is not None]
    return allowed + ([f"{min(kernel):,} on this machine"] if kernel else [])


def libcurl(about: Libcurl | None, error: str | None) -> Check:
    """Look for what the transport needs in libcurl."""
    fix = "pip install --upgrade --force-reinstall --only-binary pycurl pycurl"
    if about is None:
        return Check("libcurl", State.PROBLEM, f"pycurl cannot be loaded: {error}", fix)
    least = ".".join(map(str, LEAST_LIBCURL))
    if about.version < LEAST_LIBCURL:
        return Check("libcurl", State.PROBLEM, f"{about.name}: at least {least} is needed", fix)
    if "SSL" not in about.features:
        return Check("libcurl", State.PROBLEM, f"{about.name}: built without TLS, so no https", fix)
    lost = {
        "HTTP2": "no HTTP/2",
        "IPV6": "no IPv6",
        "ASYNCHDNS": "a name that is looked up under serial, pool, process or thread cannot time out",
    }
    missing = [what for feature, what in lost.items() if feature not in about.features]
    if missing:
        return Check("libcurl", State.WARNING, f"{about.name}: {'; '.join(missing)}", fix)
    found = f"{about.name}; TLS, HTTP/2, IPv6 and AsynchDNS are there (its brotli and zstd are not used: bodies are"
    return Check("libcurl", State.OK, f"{found} decoded by us)")


def certificates(about: Libcurl | None) -> Check:
    """Look for the trusted certificates."""
    if about is None:
        return Check("certificates", State.PROBLEM, "not looked at: there is no libcurl")
    if about.certificates_error is not None:
        return Check(
            "certificates", State.PROBLEM, about.certificates_error, 'export SSL_CERT_FILE="$(python -m certifi)"'
        )
    return Check("certificates", State.OK, str(about.certificates))


def packages(installed: dict[str, str | None]) -> Check:
    """List what is optional."""
    here = [f"{name} {version}" for name, version in installed.items() if version is not None]
    absent = [name for name, version in installed.items() if version is None]
    if "greenlet" in absent:
        return Check("packages", State.PROBLEM, "greenlet is not installed", "pip install --force-reinstall greenlet")
    if not absent:
        return Check("packages", State.OK, ", ".join(here))
    extras = dict.fromkeys(name if name in ("gevent", "uvloop") else "lab" for name in absent)
    found = f"{', '.join(here)}; not installed, and not needed to fetch: {', '.join(absent)}"
    return Check("packages", State.OK, found, f"pip install 'cormorant[{','.join(extras)}]'")


def alarm(is_free: bool, wish: Wish) -> Check:
    """Look whether SIGALRM can end a function that blocks the main thread past its deadline."""
    if is_free:
        return Check("SIGALRM", State.OK, "free: a function that blocks past its deadline is ended")
    found = "taken or blocked by whoever started us: a function that blocks past its deadline holds the others up"
    if wish.engine in ("pool", "process", "thread"):
        return Check("SIGALRM", State.OK, f"taken or blocked, and not used by {wish.engine}")
    return Check("SIGALRM", State.WARNING, found, "cormorant map … -e process")


def _count(limit: int | None) -> str:
    return "unlimited" if limit is None else f"{limit:,}"


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:,.4g} TB"
