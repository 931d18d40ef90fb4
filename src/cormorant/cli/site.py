"""`cormorant site`: the embedded site on loopback, for anyone's tests."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cormorant.cli.exits import Exit, complain, told

if TYPE_CHECKING:
    from cormorant.lab.site import Workload

EPILOG = """
Examples:

  cormorant site --port 8000

  cormorant site --port 8000 --pages 1000 --urls > urls.txt
"""


def site(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.0/8; 0: any free one.")] = 8000,
    pages: Annotated[int, typer.Option("--pages", min=1, help="How many URLs the list has.")] = 500,
    hosts: Annotated[int, typer.Option("--hosts", min=1, help="How many hosts they are spread over.")] = 20,
    seed: Annotated[int, typer.Option("--seed", help="Changes every page and the order of the list.")] = 1,
    latency: Annotated[
        str | None,
        typer.Option(
            "--latency",
            metavar="NAME:…",
            show_default="lognormal:0.02:0.8",
            help="constant:S, uniform:LOW:HIGH, exponential:MEAN or lognormal:MEDIAN:SIGMA, in seconds.",
        ),
    ] = None,
    urls: Annotated[bool, typer.Option("--urls", help="Print the list of URLs, one a line, and do not serve.")] = False,
) -> None:
    """Serve a rude little web on loopback: pages that are late, hang, drip, fail, redirect; the same every time."""
    with told():
        from cormorant.lab.site import Workload

        changes: dict[str, Any] = {"hosts": hosts, "seed": seed} | ({"latency": latency} if latency else {})
        workload = Workload.mixed(pages, **changes)
        if urls:
            sys.stdout.writelines(f"{url}\n" for url in workload.urls(port))
        else:
            _serve(workload, port)


def _serve(workload: Workload, port: int) -> None:
    from cormorant.lab.site import serve

    try:
        serve(workload, port, ready=lambda taken: complain(f"serving http://127.0.0.1:{taken}/ until Ctrl-C"))
    except OSError as error:
        complain(f"cannot serve on port {port}: {error.strerror or error}; choose another with --port")
        raise typer.Exit(Exit.USAGE) from None
