"""Our own origin beside a trial: how much of a core it used, and what it gives when nothing is late.

Who compares engines wants to know that he did not measure the server.
"""

from __future__ import annotations

from cormorant.lab import meters, site
from cormorant.lab.comparison import Origin
from cormorant.lab.measures import last_good_at
from cormorant.lab.trial import Broken, Plan, Raw, run

NAME = "the embedded site (granian) on loopback"
PAGES = 4000
TRIES = 2  # the best counts: other programs can only slow it down


def beside(plan: Plan, origin: site.Site | None) -> tuple[Raw, meters.Sampler, float | None]:
    """Run a trial and see how much of a core our origin used in its busiest stretch. Raises Broken."""
    if origin is None:
        return *run(plan), None
    with meters.CpuOf(origin.pid) as used:
        raw, sampler = run(plan)
    return raw, sampler, used.busiest(raw.began, last_good_at(raw))


def measured(origin: site.Site) -> Origin:
    """Measure what the origin gives: the fastest engine on plain pages, each time in a fresh process."""
    tried = [facts for _ in range(TRIES) if (facts := _capacity(origin)) is not None]
    return max(tried, key=lambda facts: facts.capacity_pages_per_second or 0.0, default=Origin(name=NAME, is_ours=True))


def _capacity(origin: site.Site) -> Origin | None:
    jobs = [f"http://127.0.0.1:{origin.port}/bytes/10240?{number}" for number in range(PAGES)]
    plan = Plan(engine="greenlet", concurrency=64, jobs=jobs, warm_up=jobs[:100], timeout_seconds=30.0, per_host=0)
    try:
        with meters.CpuOf(origin.pid) as used:
            raw, _ = run(plan)
    except Broken:
        return None
    return Origin(
        name=NAME,
        is_ours=True,
        capacity_pages_per_second=len(jobs) / (raw.ended - raw.began),
        capacity_cores=used.busiest(raw.began, raw.ended),
        cpu_seconds_per_page=used.seconds() / (len(jobs) + len(plan.warm_up)),
    )
