"""The error tree: what `cormorant` raises. A page that fails is a value (`Failure`), not an error.

CormorantError
├── UsageError           the call or its input is wrong (also a ValueError); the message shows the fix
│   └── BadURL           the text is no http(s) URL
├── MissingPackage       an engine or format needs a package that is not installed (also an ImportError)
├── OutputError          a result could not be written; names the file
├── EngineLost           the engine cannot go on; what was handed over is safe
└── FetchError           `get` did not get a page; carries the Failure
DeadlineExceeded         thrown into a user's function when its time is up (a BaseException, so that
                         `except Exception` inside the function does not swallow it)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cormorant.messages import Failure


class CormorantError(Exception):
    """The root of what this package raises."""


class UsageError(CormorantError, ValueError):
    """The call or its input is wrong; the message shows the fix."""


class BadURL(UsageError):
    """The text is no http or https URL."""


class MissingPackage(CormorantError, ImportError):
    """A chosen engine or format needs a package that is not installed."""


class OutputError(CormorantError):
    """A result could not be written; the message names the file."""


class EngineLost(CormorantError):
    """The engine cannot go on. Outcomes already handed over are safe."""


class FetchError(CormorantError):
    """`get` did not get a page. `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure

    def __str__(self) -> str:
        return f"{self.failure.kind}: {self.failure.message} ({self.failure.url})"


class DeadlineExceeded(BaseException):
    """A job's time is up. Raised inside the user's function so that its `finally` blocks run."""
