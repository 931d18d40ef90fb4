"""The input of a run: line by line, and what becomes of each: a request, an outcome of its own, or nothing. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cormorant import urls
from cormorant.errors import BadURL
from cormorant.interfaces import Books, Entry, Frontier
from cormorant.messages import Failure, Headers, Request
from cormorant.scheduler.discovery import Discovery
from cormorant.scheduler.requests import bad_line, first_request, with_conditions, with_credentials

END_OF_INPUT: Entry = ("", None)

Conditions = Callable[[str], Headers]


class Intake:
    """Reads `entries`, which may yield None: nothing there yet. Of a URL that was listed before nothing comes.

    `headers` and `seconds` are for every request; `conditions` gives the headers that make one conditional.
    """

    def __init__(
        self,
        entries: Iterator[Entry | None],
        frontier: Frontier,
        discovery: Discovery | None,
        *,
        headers: Headers,
        seconds: float,
        keep_duplicates: bool,
        conditions: Conditions | None,
    ) -> None:
        self._entries, self._frontier, self._discovery = entries, frontier, discovery
        self._headers, self._seconds = headers, seconds
        self._keep_duplicates, self._conditions = keep_duplicates, conditions
        self._books: Books | None = None
        self._again: list[Entry] = []  # the next one last
        self.offered = self.duplicates = 0
        self.has_ended = self.is_paused = self.had_ended = False

    def go_on(self, books: Books, counters: Mapping[str, Any]) -> None:
        """Go on with a run: `books` hear of lines that are no URL, and give back those that were lost."""
        self._books = books
        self._again = books.lines_again()[::-1]  # they were counted when they were read first
        self.offered, self.duplicates = counters.get("offered", 0), counters.get("duplicates", 0)
        self.had_ended = counters.get("input_ended", False)

    def counters(self) -> dict[str, Any]:
        """Return what was counted, for `go_on`."""
        is_read = self.has_ended or self.had_ended
        return {"offered": self.offered, "duplicates": self.duplicates, "input_ended": is_read}

    def next(self) -> Request | Failure | None:
        """Read one line, or the end, or find that there is nothing yet (`is_paused`); return what it leads to."""
        if self._again:
            return self._taken(*self._again.pop())
        entry = next(self._entries, END_OF_INPUT)
        self.is_paused = entry is None
        if entry is None:
            return None
        if entry is END_OF_INPUT:
            self.has_ended = True
            return None
        self.offered += 1
        self.had_ended = False  # the input has grown
        return self._taken(*entry)

    def _taken(self, text: str, line: int | None) -> Request | Failure | None:
        headers, discovery = self._headers, self._discovery
        try:
            request = first_request(text, line, headers, self._seconds)
        except BadURL as error:
            if self._books is not None:
                self._books.settle_line(text, line)
            return bad_line(text, line, str(error))
        key = urls.canonical(request.url) if discovery is None else discovery.key(request.url)
        if not self._frontier.is_new(with_credentials(key, request, headers)) and not self._keep_duplicates:
            self.duplicates += 1
            return None
        if self._conditions is not None:
            request = with_conditions(request, self._conditions(request.url))
        return request if discovery is None else discovery.seed(request)

    def __repr__(self) -> str:
        return f"<Intake offered={self.offered} duplicates={self.duplicates}{' ended' if self.has_ended else ''}>"
