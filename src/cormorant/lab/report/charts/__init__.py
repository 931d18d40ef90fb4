"""The pictures: each a pure function from a comparison to a `Picture`, whose `svg` can also stand alone in a file."""

from cormorant.lab.report.charts.drawing import Picture
from cormorant.lab.report.charts.engines import cpu, memory, throughput, waits
from cormorant.lab.report.charts.progress import progress
from cormorant.lab.report.charts.waterfall import waterfall

ALL = (throughput, cpu, memory, progress, waterfall, waits)

__all__ = ["ALL", "Picture", "cpu", "memory", "progress", "throughput", "waits", "waterfall"]
