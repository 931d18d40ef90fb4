"""The embedded site: a rude little web on loopback whose every answer can be computed without asking it.

For anyone's tests, for `make demo` and for the lab. Its laws:

* page = f(seed, host, path). `expected(workload, url)` is that function, and the server serves what it says.
* Every body carries its own URL, so that an answer given to the wrong request is noticed.
* Loopback only. On Linux every address of 127.0.0.0/8 is a host; elsewhere there is one, 127.0.0.1.
* What it does is written in the path: `/hang/7` hangs, `/cut/7` breaks off (`workload.KINDS` is the list).

`running` serves it beside us for a block, `serve` until Ctrl-C; both need granian, the extra `lab`.
"""

from cormorant.lab.site.pages import Expected, expected
from cormorant.lab.site.process import Site, running, serve
from cormorant.lab.site.workload import KINDS, Workload

__all__ = ["KINDS", "Expected", "Site", "Workload", "expected", "running", "serve"]
