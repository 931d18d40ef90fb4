"""One thread behind a sink, for what would stall its writer: compression, and files that are completed.

Calls run one after another in the order given. At most `WAITING` wait; then whoever brings the next one waits too, so
that memory stays flat. What a call raises, the next `do` or `wait` raises; the calls after it do not run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future

WAITING = 1


class Behind:
    """Runs calls in a thread of its own, which begins with the first of them."""

    def __init__(self, name: str) -> None:
        from concurrent.futures import ThreadPoolExecutor  # here: most sinks need no thread

        self._thread = ThreadPoolExecutor(1, name)
        self._under_way: deque[Future[None]] = deque()

    def do(self, call: Callable[..., None], *arguments: Any) -> None:
        """Have `call(*arguments)` run. Raises what an earlier call raised."""
        while len(self._under_way) > WAITING or (self._under_way and self._under_way[0].done()):
            self._settle_first()
        self._under_way.append(self._thread.submit(call, *arguments))

    def wait(self) -> None:
        """Wait until every call has run. Raises what one of them raised."""
        while self._under_way:
            self._settle_first()

    def close(self) -> None:
        """End the thread after the call that runs now; what waits behind it is dropped. Safe to call twice."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _settle_first(self) -> None:
        error = self._under_way[0].exception()  # waits; an interrupt leaves it where it is
        self._under_way.popleft()
        if error is not None:
            self.close()
            self._under_way.clear()
            raise error
