"""`cormorant doctor` and `--version`: what this installation is made of, and which of its limits will be met first."""

from __future__ import annotations

import platform
import resource
import sys

import typer

# A page in flight holds a socket; the rest is for files, the resolver and the loop.
SPARE_DESCRIPTORS = 32

EPILOG = """
Send this along with a bug report.
"""


def version_line() -> str:
    """Return our version and Python's in one line."""
    return f"cormorant {_version('cormorant') or '(not installed)'} (Python {platform.python_version()})"


def doctor() -> None:
    """Show versions, engines and limits of this installation."""
    typer.echo(version_line())
    typer.echo(f"platform   {platform.platform()}")
    typer.echo(f"libcurl    {_libcurl()}")
    for package in ("greenlet", "gevent", "uvloop"):
        typer.echo(f"{package:<10} {_version(package) or 'not installed'}")
    typer.echo(f"engines    {_engines()}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = max(0, soft - SPARE_DESCRIPTORS)
    typer.echo(f"ulimit -n  {soft} (at most {hard}): good for about {room:,} pages at once; raise it by `ulimit -n`")
    typer.echo(f"executable {sys.executable}")


def _version(package: str) -> str | None:
    # Imported here: it takes 14 ms that --help need not wait for.
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _libcurl() -> str:
    try:
        import pycurl
    except ImportError as error:
        return f"missing ({error}): pip install pycurl"
    return str(pycurl.version)


def _engines() -> str:
    from cormorant import engines

    return ", ".join(name if engines.missing(name) is None else f"({name})" for name in engines.names())
