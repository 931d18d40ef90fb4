"""What all pictures share: matplotlib without pyplot, one colour for each engine, scales, and the way to SVG text.

Colours are those of Okabe and Ito, made for colour-blind eyes; each engine has a marker and a dash of its own besides.
Text stays text in the SVG (`svg.fonttype: none`), so that it can be found and read aloud; it is measured in DejaVu
Sans, wider than what else a reader is likely to have. Ids are the same in every run, and of each picture's own.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree

from cormorant.errors import MissingPackage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

WIDTH_INCHES = 6.6
GREY = "#6b6b6b"
_LOG_FROM = 20.0  # the largest value over the smallest
_FEW_TICKS_UP_TO = 200.0
_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"
_MEASURED_IN = "DejaVu Sans"  # matplotlib brings it; a reader may have another
_READ_IN = f"'{_MEASURED_IN}', Verdana, sans-serif"
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": _MEASURED_IN,
    "font.size": 8.0,
    "text.parse_math": False,
    "text.usetex": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.axisbelow": True,
    "grid.color": "#e2e2e2",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "figure.facecolor": "white",
}


class Look(NamedTuple):
    """How an engine looks in every picture."""

    colour: str
    marker: str
    dash: str


LOOKS = {
    "serial": Look("#404040", "s", "-"),
    "pool": Look("#E69F00", "v", "--"),
    "process": Look("#D55E00", "^", "-."),
    "thread": Look("#009E73", "D", ":"),
    "greenlet": Look("#56B4E9", "o", "-"),
    "gevent": Look("#0072B2", "P", "--"),
    "asyncio": Look("#CC79A7", "X", "-"),
}
_OTHERS = [Look("#882255", "<", "-"), Look("#999933", ">", "--"), Look("#332288", "h", "-.")]


class Picture(NamedTuple):
    """A picture with its words: what one sees, and how to read it. `svg` is None where nothing was measured."""

    name: str
    title: str
    aid: str
    svg: str | None


def look(engine: str) -> Look:
    """Return the look of an engine; one that is not known gets the same each time."""
    return LOOKS.get(engine) or _OTHERS[sum(engine.encode()) % len(_OTHERS)]


@contextlib.contextmanager
def drawing(name: str) -> Iterator[None]:
    """Draw the picture of that name in the style of all. Raises MissingPackage without matplotlib."""
    try:
        import matplotlib
    except ImportError as error:
        raise MissingPackage("pictures need matplotlib: pip install 'cormorant[lab]'") from error
    style: Any = {**_STYLE, "svg.hashsalt": name}
    with matplotlib.rc_context(style):
        yield


def figure(height_inches: float, columns: int = 1, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Return an empty figure and its axes, row by row."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
    made.get_layout_engine().set(hspace=0.06, wspace=0.04)  # type: ignore[union-attr, call-arg]
    axes = made.subplots(rows, columns, squeeze=False)
    return made, [each for row in axes for each in row]


def scaled(axis: Axis, values: Iterable[float], label: str) -> bool:
    """Label the axis, in log scale where the values ask for it; returns whether they do."""
    from matplotlib.ticker import LogLocator

    values = list(values)
    known = [value for value in values if value > 0]
    wide = bool(known) and max(known) > _LOG_FROM * min(known)
    if wide:
        letter = "x" if axis is axis.axes.xaxis else "y"
        rescale = getattr(axis.axes, f"set_{letter}scale")
        if len(known) == len(values):
            rescale("log")
            if max(known) < _FEW_TICKS_UP_TO * min(known):
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        else:  # which has no place for 0
            rescale("symlog", linthresh=min(known), linscale=0.7)
            getattr(axis.axes, f"set_{letter}lim")(0, max(known) * 1.6)
        axis.set_minor_formatter(lambda value, _: "")
        label += ", log scale" if len(known) == len(values) else ", log scale above 0"
    least = min(known, default=0.0) if len(known) < len(values) else 0.0
    axis.set_major_formatter(lambda value, _: "" if wide and 0 < value < least else f"{value:,.10g}")
    axis.set_label_text(label)
    return wide


def to_svg(drawn: Figure, name: str, spoken: str) -> str:
    """Return the figure as an SVG element that scales, says what it shows, and can stand beside others on a page."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        if _LINK in element.attrib:
            element.set("href", element.attrib.pop(_LINK))
        _settle(element, f"{name}-")
    for unwanted in (*root.findall("metadata"), *root.findall("defs/style/..")):
        root.remove(unwanted)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib.update({"xmlns": _SVG, "role": "img", "aria-label": spoken})
    root.set("style", "stroke-linejoin: round; stroke-linecap: butt")
    return re.sub(r"\n\s*", "\n", ElementTree.tostring(root, encoding="unicode"))


def _settle(element: ElementTree.Element, prefix: str) -> None:
    """Give ids a prefix, text its fallback fonts, and coordinates no more places than one can see."""
    for attribute, value in element.attrib.items():
        if attribute == "id":
            element.set("id", prefix + value)
        elif attribute == "href":
            element.set("href", value.replace("#", f"#{prefix}", 1))
        elif "url(#" in value:
            element.set(attribute, value.replace("url(#", f"url(#{prefix}"))
        elif attribute == "d":
            element.set("d", re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", value.replace("\n", "")))
        elif attribute == "style":
            element.set("style", value.replace(f"'{_MEASURED_IN}'", _READ_IN))
