"""What driver and workers say to each other, and how it is encoded. In both directions in order, or not at all."""

from __future__ import annotations

import msgspec

from cormorant import errors
from cormorant.errors import CormorantError, EngineLost
from cormorant.fleet.budget import Standing
from cormorant.fleet.mail import Batch


class _Word(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    pass


class Take(_Word, frozen=True):
    """To a worker: own this shard from now on. `suspects` are requests that workers died of (`marks.py`), how often.

    `lines` of input it has said to have committed, whoever owned it: its journal must know them.
    """

    shard: int
    epoch: int
    suspects: dict[int, int]
    lines: int = 0


class InputEnded(_Word, frozen=True):
    """To a worker: the shard gets no line of input beyond so many."""

    shard: int
    lines: int


class Say(_Word, frozen=True):
    """Mail, in both directions: the driver passes on what one shard has for another."""

    batch: Batch


class Heard(_Word, frozen=True):
    """In both directions: shard `dest` has committed all items of `source` before number `until`."""

    source: int
    dest: int
    until: int


class Again(_Word, frozen=True):
    """To a worker: shard `dest` has a new owner, who may have missed what was sent."""

    dest: int


class Credit(_Word, frozen=True):
    """To a worker: so many outcomes, with so many bytes, were handed on: as many more may be sent."""

    outcomes: int
    size: int


class Probe(_Word, frozen=True):
    """To a worker: answer by a `Report` of this wave (`ending.py`)."""

    wave: int


class Grant(_Word, frozen=True):
    """To a worker: ask for so many pages more (`budget.py`); 0: give back what is left; None: there are no more."""

    pages: int | None


class Stop(_Word, frozen=True):
    """To a worker: start nothing more; bring home what is under way, then leave."""


class Leave(_Word, frozen=True):
    """To a worker: drop what is under way, commit what you may, close, and leave at once."""


class Finish(_Word, frozen=True):
    """To a worker: all is done, leave."""


class Beat(_Word, frozen=True):
    """In both directions: I am alive."""


class Taken(_Word, frozen=True):
    """From a worker: the shard is mine. It has committed so many `lines` of input, and asked for so many pages."""

    shard: int
    epoch: int
    lines: int
    asked_for: int


class Outcomes(_Word, frozen=True):
    """From a worker: outcomes of a shard, pickled, in order; `size` (bytes) is what counts against the credit."""

    shard: int
    count: int
    size: int
    pickled: bytes


class Committed(_Word, frozen=True):
    """From a worker: what was handed over of this shard so far will not come again."""

    shard: int


class Counts(msgspec.Struct, frozen=True, array_like=True):
    """The books of a worker: the fields of `worker.Statistics` that can be added up."""

    offered: int = 0
    duplicates: int = 0
    done: int = 0
    in_flight: int = 0
    ok: int = 0
    http_errors: int = 0
    failed: dict[str, int] = {}
    retried: int = 0
    redirected: int = 0
    bytes: int = 0
    statuses: dict[int, int] = {}
    left_out: dict[str, int] = {}
    by_robots: int = 0
    services: int = 0


class Report(_Word, frozen=True):
    """From a worker: how it stands. `wave` is the last it was asked by; `waiting` are requests not yet started.

    `lines` of input were read by its shards, in all runs.
    """

    counts: Counts
    lines: int
    waiting: int = 0
    wave: int = 0
    is_idle: bool = True
    sent: int = 0
    received: int = 0
    cpu_seconds: float = 0.0
    standing: Standing = Standing()


class Trouble(_Word, frozen=True):
    """From a worker: it ended by an error of `cormorant.errors`, by its name; no name: by another, with a traceback."""

    error: str
    message: str

    @classmethod
    def of(cls, error: CormorantError) -> Trouble:
        """Tell of one of our errors, by the nearest of its kinds that has a name there."""
        known = next(kind.__name__ for kind in type(error).__mro__ if hasattr(errors, kind.__name__))
        return cls(known, str(error))

    def as_error(self) -> CormorantError:
        """Return the error."""
        kind = getattr(errors, self.error, None) if self.error else None
        if kind is None:
            return EngineLost(f"a worker ended by an error that is not known here:\n{self.message}")
        raised: CormorantError = kind(self.message)
        return raised


class Bye(_Word, frozen=True):
    """From a worker: all is committed and closed."""

    report: Report


ToWorker = Take | InputEnded | Say | Heard | Again | Credit | Probe | Grant | Stop | Leave | Finish | Beat
FromWorker = Taken | Say | Heard | Outcomes | Committed | Report | Trouble | Bye | Beat

encode = msgspec.msgpack.Encoder().encode  # a list of words: what is said in one round is one message
decode_to_worker = msgspec.msgpack.Decoder(list[ToWorker]).decode
decode_from_worker = msgspec.msgpack.Decoder(list[FromWorker]).decode
