"""The report: a comparison as one HTML file that needs nothing else, no network and no script.

`write` is the door; `charts` gives single pictures for other documents. Whatever came from outside (URLs, names, error
texts, commands) is escaped by the template or by the SVG writer, and the page's own policy forbids scripts and loads.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cormorant
from cormorant.errors import MissingPackage
from cormorant.lab import whole
from cormorant.lab.comparison import Comparison
from cormorant.lab.report import charts, ranking, words


def require() -> None:
    """Raise MissingPackage, with the fix, when a report could not be written here."""
    missing = [name for name in ("jinja2", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackage(
            f"the report needs {' and '.join(missing)}: pip install 'cormorant[lab]'; or use --no-html"
        )


def write(comparison: Comparison, path: str | Path) -> None:
    """Write the report to `path`, whole or not at all.

    Raises MissingPackage without matplotlib or jinja2, OutputError when the file cannot be written.
    """
    whole.write(path, html(comparison).encode())


def html(comparison: Comparison) -> str:
    """Return the report as HTML text."""
    try:
        import jinja2
    except ImportError as error:
        raise MissingPackage("the report needs jinja2: pip install 'cormorant[lab]'") from error
    rooms = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    order = ranking.ranked(comparison)
    return rooms.get_template("page.html").render(
        comparison=comparison,
        equal=ranking.within_noise(order),
        groups=order,
        least_difference=ranking.LEAST_DIFFERENCE,
        memory=ranking.memory_measure(order),
        pictures=[draw(comparison) for draw in charts.ALL],
        version=cormorant.__version__,
        words=words,
    )
