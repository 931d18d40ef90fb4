"""How a request begins, and what it ends in where nothing was fetched. Pure."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import unquote_to_bytes

import msgspec

from cormorant import urls
from cormorant.messages import Failure, Fault, Headers, Kind, Outcome, Page, Purpose, Request

ASKED_BY = {"if-none-match": "ETag", "if-modified-since": "Last-Modified"}


def first_request(text: str, line: int | None, headers: Headers, seconds: float) -> Request:
    """Return the first hop for a line of input. Raises BadURL.

    `user:password@` becomes an Authorization header (RFC 7617) and stays out of every record.
    """
    if not text.isprintable():
        urls.refuse_control_characters(text)
    url, credentials = urls.split_credentials(urls.clean(text))
    if credentials is not None:
        text = url
        secret = b64encode(b":".join(unquote_to_bytes(part) for part in credentials)).decode()
        headers = (*headers, ("Authorization", f"Basic {secret}"))
    return Request(url=url, target=url, input=text, line=line, headers=headers, seconds=seconds)


def with_credentials(key: str, request: Request, headers: Headers) -> str:
    """Return what a first request is known by, given what its URL is known by and the headers that all requests have.

    Other credentials make another request, though no record shows them.
    """
    return key if request.headers is headers else f"{key} {request.headers[-1][1]}"


def address_request(origin: str, seconds: float) -> Request:
    """Return what asks for the address of a host, and for nothing else."""
    url = f"{origin}/"
    return Request(url=url, target=url, seconds=seconds, purpose=Purpose.ADDRESS)


def with_conditions(request: Request, conditions: Headers) -> Request:
    """Return a request that asks for its page only if it changed (RFC 9110 13.1)."""
    return msgspec.structs.replace(request, headers=(*request.headers, *conditions)) if conditions else request


def with_validators(outcome: Outcome, request: Request) -> Outcome:
    """Return a 304 with the validators by which it was asked for, where it does not tell them itself.

    So an unchanged page can be asked for in the same way next time: it stands for the page (RFC 9111 4.3.4).
    """
    asked = {ASKED_BY[name.lower()]: value for name, value in request.headers if name.lower() in ASKED_BY}
    if not isinstance(outcome, Page) or any(outcome.header(name) for name in asked):
        return outcome
    return msgspec.structs.replace(outcome, headers=(*outcome.headers, *asked.items()))


def bad_line(text: str, line: int | None, reason: str) -> Failure:
    """Return the outcome of a line that is no URL."""
    text = urls.without_surrogates(text)
    return Failure(url=text, kind=Kind.BAD_URL, message=reason, input=text, line=line, attempts=0)


def failure_of(request: Request, fault: Fault) -> Failure:
    """Return the outcome of a request whose job gave no value."""
    return _without_answer(request, fault.kind, fault.message, phase="job", attempts=request.attempts)


def refused(request: Request, kind: Kind, message: str, phase: str | None = None) -> Failure:
    """Return the outcome of a request that was not made; attempts before it are counted."""
    return _without_answer(request, kind, message, phase=phase, attempts=request.attempts - 1)


def _without_answer(request: Request, kind: Kind, message: str, *, phase: str | None, attempts: int) -> Failure:
    return Failure(
        url=request.url,
        kind=kind,
        message=message,
        phase=phase,
        input=request.input,
        line=request.line,
        final_url=request.target,
        attempts=attempts,
        redirects=request.redirects,
        found=request.found,
    )
