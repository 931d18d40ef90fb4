"""What a control group (a container, a systemd unit) allows: CPU, memory, tasks. Both versions; none on macOS.

A limit holds for all groups below it, so the least one on the way up counts. In a container the path in
/proc/self/cgroup is often the host's and is not there: then the group that is mounted counts.
Sources: docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1/.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

Number = TypeVar("Number", int, float)

NO_LIMIT_BYTES = 1 << 60  # version 1 says "none" by a number near 2**63


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The limits of our control group; None: none, or it cannot be told.

    `unit` is systemd's, whose limit `tasks` is, as systemctl is told of it: `--user` before one of the user's own.
    """

    cores: float | None = None
    memory_bytes: int | None = None
    tasks: int | None = None
    tasks_now: int | None = None
    unit: str | None = None


def read(root: Path = Path("/")) -> Group:
    """Return the limits of this process's group; `root` is where proc and sys lie."""
    paths = _paths(root)
    v2 = _folders(root, "", paths.get("", "/"))
    cpu, memory, pids = (_folders(root, name, paths.get(name, "/")) for name in ("cpu", "memory", "pids"))
    limits = [_whole(folder, "memory.max") for folder in v2]
    limits += [_whole(folder, "memory.limit_in_bytes") for folder in memory]
    limited = _tightest([*v2, *pids])
    return Group(
        cores=_least([*map(_quota_v2, v2), *map(_quota_v1, cpu)]),
        memory_bytes=_least(limit for limit in limits if limit is not None and limit < NO_LIMIT_BYTES),
        tasks=None if limited is None else _whole(limited, "pids.max"),
        tasks_now=None if limited is None else _whole(limited, "pids.current"),
        unit=None if limited is None else _unit(limited),
    )


def _paths(root: Path) -> dict[str, str]:
    """Return controller -> path, from /proc/self/cgroup; version 2 has the controller ''."""
    paths: dict[str, str] = {}
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        paths |= dict.fromkeys(controllers.split(","), path)
    return paths


def _folders(root: Path, controller: str, path: str) -> list[Path]:
    """Return the folders of a group and of those above it, the innermost first."""
    top = root / "sys/fs/cgroup" / controller
    inner = top / path.strip("/")
    above = (inner, *inner.parents)
    return [folder for folder in above if folder.is_relative_to(top) and folder.is_dir()]


def _quota_v2(folder: Path) -> float | None:
    quota, _, period = _text(folder / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.strip().isdigit() else None


def _quota_v1(folder: Path) -> float | None:
    quota, period = _whole(folder, "cpu.cfs_quota_us"), _whole(folder, "cpu.cfs_period_us")
    return quota / period if quota and period else None


def _whole(folder: Path, name: str) -> int | None:
    """Return a file's number; None for `max`, `-1`, or no file."""
    text = _text(folder / name).strip()
    return int(text) if text.isdigit() else None


def _tightest(folders: list[Path]) -> Path | None:
    """Return the group in which the fewest tasks can still be made."""
    limited = [folder for folder in folders if _whole(folder, "pids.max") is not None]
    return min(limited, key=lambda f: (_whole(f, "pids.max") or 0) - (_whole(f, "pids.current") or 0), default=None)


def _unit(folder: Path) -> str | None:
    """Return the systemd unit of a group's folder; the manager of a user's own is a unit itself, `user@UID.service`."""
    if folder.suffix not in (".service", ".scope", ".slice"):
        return None
    is_users = any(above.name.startswith("user@") for above in folder.parents)
    return f"--user {folder.name}" if is_users else folder.name


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _least(limits: Iterable[Number | None]) -> Number | None:
    return min((limit for limit in limits if limit is not None), default=None)
