"""Cuts the power under the command over and over, lets it end, and has the checker judge what is there.

    python power_cut.py --rounds 20 [--format warc.gz] [--engine asyncio] [--crawl] [--rotate 1M]

Output and job lie on an ext4 file system in a file (`disks.py`), list and server's log elsewhere. After a random time
the file system is stopped without a flush and the command is killed; then it is mounted again, its journal is replayed,
and the same command goes on. The words are those of `kill_loop.py`. As root. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from disks import Disk  # noqa: E402 - found beside this file
from kill_loop import Trial, words_of  # noqa: E402
from killing import LOG, PATIENCE_SECONDS, Tally, asks, one_run  # noqa: E402

MEGABYTES = 256


def cut_over_and_over(folder: Path, words: argparse.Namespace, draw: random.Random) -> Tally:
    """Cut the power up to `rounds` times, let the command end, and judge."""
    disk = Disk(folder / "disk", MEGABYTES)
    trial = Trial(folder, words, disk.folder)
    tally, began = Tally(), time.monotonic()
    with disk.mounted(), trial.served():
        for command in trial.commands():
            is_cut = tally.kills < words.rounds
            patience = draw.uniform(words.shortest, words.longest) if is_cut else PATIENCE_SECONDS
            once = asks(folder / LOG) if is_cut and draw.random() >= words.starting else None
            run = one_run(command, folder, patience, once=once, first=disk.cut if is_cut else None)
            tally.runs.append(run)
            if run.has_ended or run.fault is not None or not is_cut:
                break
            disk.start_again()
        tally.seconds = round(time.monotonic() - began, 1)
        return trial.judged(tally)


def main() -> None:
    asked = words_of()
    folder = Path(tempfile.mkdtemp(prefix="cormorant-cuts-", dir="/var/tmp"))
    tally = cut_over_and_over(folder, asked, random.Random(asked.seed))
    print(json.dumps({"folder": str(folder), **tally.told(folder / LOG)}, indent=2))
    raise SystemExit(1 if tally.faults else 0)


if __name__ == "__main__":
    main()
