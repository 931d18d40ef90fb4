"""Has the command fill its disk, makes room, has it go on, and has the checker judge what is there.

    python full_disk.py --size 200k --size 400k [--format warc.gz] [--engine asyncio]

Output and job lie on a disk in memory (`disks.py`), list and server's log elsewhere. The run has to end by exit code 4
and name the file; what stands on the full disk is read by the foreign readers as it is. The words are those of
`kill_loop.py`. As root. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from disks import memory_disk, remount  # noqa: E402 - found beside this file
from kill_loop import Trial, words_of  # noqa: E402
from killing import GROUP, LOG, NOT_WRITTEN, PATIENCE_SECONDS, Tally, one_run  # noqa: E402
from strangers import read  # noqa: E402

ROOM = "256m"


def filled(folder: Path, words: argparse.Namespace, size: str) -> Tally:
    """Fill a disk of `size`, make room, let the command end, and judge."""
    place, torn = folder / "small", folder / "torn"
    trial = Trial(folder, words, place)
    with memory_disk(place, size), trial.served():
        command = next(trial.commands())
        tally = Tally([one_run(command, folder, PATIENCE_SECONDS)])
        shutil.copytree(place, torn)
        remount(place, f"size={ROOM}")
        tally.runs.append(one_run(command, folder, PATIENCE_SECONDS))
        tally.runs[0].how = GROUP  # as far as the bound goes
        trial.judged(tally)
    tally.left_behind += wrong_with_the_end(tally, torn / trial.output.name, folder, place)
    return tally


def wrong_with_the_end(tally: Tally, torn: Path, folder: Path, place: Path) -> list[str]:
    """Return what is wrong with how the first run ended: its code, what it said, and what it left there."""
    code, said = tally.runs[0].code, (folder / "stderr.log").read_text()
    faults = [] if code == NOT_WRITTEN else [f"exit code {code}"]
    full = rf"full|{os.strerror(errno.ENOSPC)}|disk I/O error"  # the last is SQLite's, when its index cannot grow
    if not re.search(rf"^cormorant: cannot \w+ {place}\S*: .*({full})", said, re.MULTILINE):
        faults.append(f"it says {said!r}")
    try:
        list(read(torn) if torn.exists() else ())
    except Exception as error:  # whatever a foreign reader says
        if "no such table" not in str(error):  # it was full before there was anything
            faults.append(f"torn: {type(error).__name__}: {error}")
    return faults


def main() -> None:
    sizes = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes.add_argument("--size", action="append", required=True, help="as mount takes it: 300k")
    asked, rest = sizes.parse_known_args()
    words, found = words_of(rest), {}
    for size in asked.size:
        folder = Path(tempfile.mkdtemp(prefix="cormorant-full-", dir="/var/tmp"))
        found[size] = filled(folder, words, size).told(folder / LOG)
    print(json.dumps(found, indent=2))
    raise SystemExit(1 if any(one["faults"] for one in found.values()) else 0)


if __name__ == "__main__":
    main()
