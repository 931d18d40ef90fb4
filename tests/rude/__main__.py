"""Run the rude site: `python -m rude [FOLDER]`, commands on stdin (see `rude.server`)."""

import asyncio
import sys
import tempfile
from pathlib import Path

from rude.server import run

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as spare:
        asyncio.run(run(Path(sys.argv[1] if len(sys.argv) > 1 else spare)))
