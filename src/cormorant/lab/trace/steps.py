"""A coroutine's steps as they are: an awaitable that drives it and writes down every step in and every suspension.

What the coroutine yields goes up to its task unchanged, what the task sends or throws goes down unchanged.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any

from cormorant.lab.trace.events import What
from cormorant.lab.trace.notes import Notes


class Steps:
    """Awaiting this is awaiting `coroutine`, with every step noted for `job`."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], notes: Notes, job: int | None) -> None:
        self._coroutine, self._notes, self._job = coroutine, notes, job

    def __await__(self) -> Generator[Any, Any, Any]:
        """Drive the coroutine to its end."""
        sent: Any = None
        thrown: BaseException | None = None
        while True:
            try:
                yielded = self._step(sent, thrown)
            except StopIteration as end:
                self._out("returned to its task")
                return end.value
            except BaseException as error:
                self._out(f"raised {type(error).__name__}")
                raise
            self._out(f"awaits {type(yielded).__name__}")
            sent, thrown = None, None
            try:
                sent = yield yielded
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as error:
                thrown = error

    def _step(self, sent: Any, thrown: BaseException | None) -> Any:
        if thrown is None:
            self._notes.note(What.SWITCH_IN, "coroutine.send", job=self._job, detail="its task steps on")
            return self._coroutine.send(sent)
        detail = f"its task throws {type(thrown).__name__} into it"
        self._notes.note(What.SWITCH_IN, "coroutine.throw", job=self._job, detail=detail)
        return self._coroutine.throw(thrown)

    def _out(self, detail: str) -> None:
        self._notes.note(What.SWITCH_OUT, "coroutine.send", job=self._job, detail=detail)
