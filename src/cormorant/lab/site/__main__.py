"""The child of `process`: `python -m cormorant.lab.site PORT PARENT_PID WORKLOAD_JSON`.

Writes its port as one line to stdout once it answers; ends when killed, or when its parent is gone.
"""

from __future__ import annotations

import os
import sys

import msgspec

from cormorant.lab.site.server import serve_for
from cormorant.lab.site.workload import Workload


def main(port: str, parent: str, workload: str) -> None:
    """Serve until the parent has had enough."""
    try:
        serve_for(int(parent), msgspec.json.decode(workload, type=Workload), int(port), tell)
    except OSError as error:
        sys.exit(f"port {port}: {error.strerror or error}")


def tell(port: int) -> None:
    """Write the line our parent waits for."""
    os.write(sys.stdout.fileno(), b"%d\n" % port)


if __name__ == "__main__":
    main(*sys.argv[1:])
