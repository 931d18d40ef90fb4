"""`multiprocessing.Pool.apply_async`, with its callback in the parent, as the textbooks have it.

Theory of operation. A Pool replaces a worker that died but never answers for the job it had, and its two queues
are guarded by locks that die with whoever held them: an idle worker holds the one while it waits for
a task, a working one the other while it sends its result. Marks in shared memory tell what the dead was at.

1. It was running a job: no lock was held. The job is late (we killed it) or lost; the Pool goes on.
2. It was idle or sending: the Pool may hang for ever. It is given up: jobs not begun move to a new Pool, jobs that
   are running may still come back, and what was being sent is run again.

A Pool takes all its workers for dead when the server that started them is killed. They live on, so it has too many
then, and is given up, too.
"""

from __future__ import annotations

import functools
import queue
import time
from multiprocessing import util
from multiprocessing.pool import TERMINATE, Pool
from typing import Any

from cormorant.engines import Setup, children, job
from cormorant.errors import EngineLost
from cormorant.messages import Done

BEGINNINGS = 3  # how many Pools in a row may die without a worker that was ever ready, or let a job wait in vain
AT_EXIT = 15  # as the finalizer of multiprocessing's own Pools: before the locks go and daemons are ended
LOOK_EVERY_SECONDS = 0.1  # how often the workers are counted
THREAD_SECONDS = 1.0  # how long the threads of a Pool may take to notice that it is over
LOCK_SECONDS = 0.2  # how long a living thread may hold a queue's lock
SENDING_SECONDS = 1.0  # how long a job of a given-up Pool may be on its way back before it is run again


class _Task:
    """A job handed to a Pool, the `beginnings`th of those it was handed to. `slot` is its place among the marks."""

    def __init__(self, ticket: int, argument: bytes, seconds: float, beginnings: int = 1) -> None:
        self.ticket, self.argument, self.seconds, self.beginnings = ticket, argument, seconds, beginnings
        self.slot = -1
        self.handed_over_at = time.monotonic()
        self.ends_at: float | None = None
        self.is_late = False
        self.sending_since: float | None = None


class _Pool(Pool):
    """A Pool that keeps every process it has started, until that is known to be dead."""

    def __init__(self, width: int, told: bytes, marks: children.Marks, context: Any) -> None:
        self.started: list[Any] = []
        try:
            super().__init__(width, children.begin, (told, marks), context=context)
        except BaseException:
            if (handler := getattr(self, "_worker_handler", None)) is not None:
                handler._state = TERMINATE
            for pid in self.pids():
                children.kill(pid)
            raise
        end: Any = self._terminate  # type: ignore[attr-defined]
        end.cancel()  # it hangs on a lock of the dead: `_Generation.destroy` stands for it

    def pids(self) -> set[int]:
        """Return the processes that were started and are not known to be dead, as far as they are known."""
        return {process.pid for process in list(self.started) if process.pid}

    def Process(self, context: Any, *arguments: Any, **words: Any) -> Any:  # type: ignore[override]
        """Make a process: what a Pool calls for each, from its own thread too."""
        self.started.append(context.Process(*arguments, **words))
        return self.started[-1]


class _Generation:
    """One Pool, from its start until it is closed or given up, with the jobs it has."""

    def __init__(self, context: Any, told: bytes, width: int) -> None:
        self.marks = context.RawArray("q", width + 1)
        self.pool: Any = children.started(lambda: _Pool(width, told, self.marks, context))
        self.free_slots = list(range(width))
        self.tasks: dict[int, _Task] = {}
        self._was_crowded = False
        self._at_exit = util.Finalize(None, self.destroy, exitpriority=AT_EXIT)  # of a run that nobody has closed

    def deaths(self) -> list[int]:
        """Return the workers that have died, each once.

        The Pool strikes them off its list, but also all that it had when the server of processes was killed. Those
        live on as long as nobody drops what we keep of them. And one that is just being started is not listed yet.
        """
        is_deserted = self.is_deserted
        listed = set() if is_deserted else set(self.pool._pool)  # no public way to see a Pool's workers
        dead = []
        for process in list(self.pool.started):
            if process.pid and process not in listed:
                is_told = is_deserted and process.exitcode not in (None, children.UNKNOWN)  # else its thread asks
                if is_told or not children.is_there(process.pid):
                    dead.append(process)
        for process in dead:
            self.pool.started.remove(process)
        return [process.pid for process in dead]

    def strangers(self) -> set[int]:
        """Return dead workers that have a job, and that the Pool never knew: their server died as it started them."""
        marks = {self.mark(task) for task in self.tasks.values()}
        return {pid for pid in marks - self.pool.pids() if pid > 0 and not children.is_there(pid)}

    def is_crowded(self) -> bool:
        """Tell whether workers live on that the Pool has replaced, and did when this was asked last."""
        was, self._was_crowded = self._was_crowded, len(self.pool.pids()) > len(self.marks) - 1
        return was and self._was_crowded

    @property
    def is_deserted(self) -> bool:
        """Whether nobody replaces workers any more: the Pool's thread died as it started one, so of a dead server."""
        return not self.pool._worker_handler.is_alive()

    def mark(self, task: _Task) -> int:
        return int(self.marks[task.slot])

    def release(self, task: _Task) -> None:
        del self.tasks[task.ticket]
        self.free_slots.append(task.slot)

    def destroy(self) -> None:
        """Kill every worker and end the Pool's threads, also when a dead worker took a lock with it.

        `Pool.terminate` hangs then: it waits for the task queue's lock (CPython, `_help_stuff_finish`) and for a
        result that was cut in the middle. So its steps are taken here one by one: nobody restarts workers,
        workers die, locks that no living process can hold are freed, and closed pipes wake the threads.
        """
        pool = self.pool
        self._at_exit.cancel()
        pool._worker_handler._state = pool._state = TERMINATE
        pool._change_notifier.put(None)
        pool._worker_handler.join()
        for process in list(pool.started):
            if process.pid and process.exitcode in (None, children.UNKNOWN):  # else its number may be another's by now
                children.kill(process.pid)
        for process in pool._pool:
            process.join()
        for pid in pool.pids():
            children.wait_until_gone(pid)
        for lock in (pool._inqueue._rlock, pool._outqueue._wlock):
            lock.acquire(True, LOCK_SECONDS)  # in vain if the dead had it: then it is released for them
            lock.release()
        pool._task_handler._state = TERMINATE
        pool._taskqueue.put(None)
        pool._task_handler.join(THREAD_SECONDS)
        pool._outqueue._writer.close()
        pool._result_handler.join(THREAD_SECONDS)


class PoolEngine:
    """Implements `interfaces.Engine` over `multiprocessing.Pool`."""

    def __init__(self, setup: Setup) -> None:
        self._context: Any = children.context()
        self._told = children.pickled_work(setup, "pool")
        self._width = setup.width
        self._news: queue.SimpleQueue[tuple[_Task, bytes | BaseException | None]] = queue.SimpleQueue()
        self._refused: list[Done] = []
        self._given_up: list[_Generation] = []
        self._owner: dict[int, _Generation] = {}
        self._look_at = 0.0
        self._stillborn = 0
        self._has_begun = False
        self._current = _Generation(self._context, self._told, self._width)

    def start(self, ticket: int, argument: Any, seconds: float) -> None:
        """Hand the job to the Pool by `apply_async`; its callbacks put the answer into our queue."""
        pickled = children.pickled_argument(ticket, argument)
        if isinstance(pickled, Done):
            self._refused.append(pickled)
            return
        self._hand_over(_Task(ticket, pickled, seconds))

    def _hand_over(self, task: _Task) -> None:
        pool = self._current
        task.slot = pool.free_slots.pop()
        pool.marks[task.slot] = children.WAITING
        pool.tasks[task.ticket] = task
        self._owner[task.ticket] = pool
        answer = functools.partial(self._on_answer, task)
        pool.pool.apply_async(
            children.run, (task.slot, task.ticket, task.argument, task.seconds), callback=answer, error_callback=answer
        )

    def _on_answer(self, task: _Task, answer: bytes | BaseException | None) -> None:
        self._news.put((task, answer))

    def collect(self, timeout: float | None) -> list[Done]:
        """Return every job whose callback was called, and every one that is late or lost."""
        ended, self._refused = self._refused, []
        give_up_at = None if timeout is None else time.monotonic() + timeout
        while True:
            patience = LOOK_EVERY_SECONDS if self._owner else 3600.0
            if give_up_at is not None:
                patience = min(patience, max(0.0, give_up_at - time.monotonic()))
            ended += self._take_news(0.0 if ended else patience)
            if time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + LOOK_EVERY_SECONDS
                self._kill_late()
                ended += self._end_unbegun()
                ended += self._look_for_deaths()
            if ended or (give_up_at is not None and time.monotonic() >= give_up_at):
                return ended

    def _take_news(self, seconds: float) -> list[Done]:
        ended = []
        try:
            news = self._news.get(timeout=seconds)
            while True:
                done = self._hear(*news)
                if done is not None:
                    ended.append(done)
                news = self._news.get_nowait()
        except queue.Empty:
            return ended

    def _hear(self, task: _Task, answer: bytes | BaseException | None) -> Done | None:
        ticket = task.ticket
        owner = self._owner.get(ticket)
        if owner is None or answer is None:  # settled otherwise, or withdrawn from a Pool that was given up
            return None
        if owner.tasks[ticket] is not task:  # it was handed to another Pool meanwhile, where it has a worker, or will
            return None
        self._has_begun = True
        self._forget(ticket)
        if isinstance(answer, BaseException):
            return Done(ticket=ticket, fault=job.fault_of(answer))
        return children.unpickled(ticket, answer)

    def _forget(self, ticket: int) -> None:
        owner = self._owner.pop(ticket)
        owner.release(owner.tasks[ticket])

    # --- deadlines and deaths ---

    def _kill_late(self) -> None:
        """Kill the workers whose jobs overstayed; a job's time runs from when a worker took it up."""
        now = time.monotonic()
        for ticket, owner in self._owner.items():
            task = owner.tasks[ticket]
            pid = owner.mark(task)
            if pid <= 0 or task.is_late:
                continue
            if task.ends_at is None:
                task.ends_at = now + task.seconds
            elif task.ends_at <= now:
                task.is_late = True
                children.kill(pid)

    def _end_unbegun(self) -> list[Done]:
        """Give up a Pool in which a job waits for long: workers hang as they begin. The last one ends the job."""
        ended = []
        handed_over_by = time.monotonic() - children.BEGIN_SECONDS
        for ticket, owner in list(self._owner.items()):
            task = owner.tasks[ticket]
            if owner.mark(task) != children.WAITING or task.handed_over_at > handed_over_by:
                continue
            if task.beginnings >= BEGINNINGS:
                if not (self._has_begun or owner.marks[-1]):
                    raise EngineLost(children.NEVER_BEGUN)
                owner.marks[task.slot] = children.WITHDRAWN
                self._forget(ticket)
                ended.append(Done(ticket=ticket, fault=job.late()))
            if owner is self._current:
                self._give_up(owner)
        return ended

    def _look_for_deaths(self) -> list[Done]:
        ended: list[Done] = []
        for pool in (self._current, *self._given_up):
            for pid in pool.deaths():
                ended += self._bury(pool, pid)
            for pid in pool.strangers():
                ended += self._bury(pool, pid)
            if pool is self._current and (pool.is_deserted or pool.is_crowded()):
                self._give_up(pool)
        for pool in list(self._given_up):
            self._rescue(pool)
        return ended

    def _bury(self, pool: _Generation, pid: int) -> list[Done]:
        for task in list(pool.tasks.values()):
            if pool.mark(task) == pid:
                fault = job.late() if task.is_late else job.lost(f"worker process {pid} died while it had this job")
                self._forget(task.ticket)
                return [Done(ticket=task.ticket, fault=fault)]
        if pool is self._current:
            self._stillborn = 0 if pool.marks[-1] else self._stillborn + 1
            if self._stillborn >= BEGINNINGS:
                raise EngineLost(children.STILLBORN)
            self._give_up(pool)
        return []

    def _give_up(self, pool: _Generation) -> None:
        self._current = _Generation(self._context, self._told, self._width)
        self._given_up.append(pool)

    def _rescue(self, pool: _Generation) -> None:
        """Move to the current Pool what a given-up one will not bring back; destroy it when it has nothing left."""
        now = time.monotonic()
        for task in list(pool.tasks.values()):
            mark = pool.mark(task)
            if mark < 0:
                task.sending_since = task.sending_since or now
            if mark == children.WAITING or (mark < 0 and now - (task.sending_since or now) > SENDING_SECONDS):
                pool.marks[task.slot] = children.WITHDRAWN
                del pool.tasks[task.ticket]
                self._hand_over(_Task(task.ticket, task.argument, task.seconds, task.beginnings + 1))
        if not pool.tasks:
            self._given_up.remove(pool)
            pool.destroy()

    def close(self) -> None:
        """Kill the workers and wait until all are gone."""
        self._owner.clear()
        for pool in (*self._given_up, self._current):
            pool.destroy()
        self._given_up.clear()


def open_engine(setup: Setup) -> PoolEngine:
    """Build the engine."""
    return PoolEngine(setup)
