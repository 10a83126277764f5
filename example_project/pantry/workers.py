"""Jobs on several processes.

A job that fails, or takes its process down, is told from one that succeeds.
"""

from __future__ import annotations

import multiprocessing
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.process import BaseProcess

Job = TypeVar("Job")
Result = TypeVar("Result")

# Functions need not be importable by name, and a worker costs a fork rather than a new interpreter.
_context = multiprocessing.get_context("fork")


class JobFailedError(Exception):
    """A job raised; the message says what."""


class WorkerDiedError(Exception):
    """A job's process ended under it; the message says how."""


class _Worker(NamedTuple):
    process: BaseProcess
    pipe: Connection


def run_jobs(function: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> list[Result]:
    """The results of ``function`` for each of the jobs, in their order; ``workers`` processes at
    most run at once.

    The first job to fail ends it all: ``JobFailedError`` or ``WorkerDiedError``. No process is left
    behind.
    """
    results: dict[int, Result] = {}
    waiting = list(enumerate(jobs))[::-1]
    running: dict[object, tuple[_Worker, int]] = {}
    team: list[_Worker] = []
    try:
        for _ in range(min(workers, len(jobs))):
            team.append(worker := _start(function))
            _hand_out(worker, waiting, running)
        while running:
            for pipe in wait([worker.pipe for worker, _ in running.values()]):
                worker, number = running.pop(pipe)
                results[number] = cast("Result", _result_of(worker, number))
                if waiting:
                    _hand_out(worker, waiting, running)
        return [results[number] for number in range(len(jobs))]
    finally:
        for worker in team:
            worker.pipe.close()
            worker.process.kill()
            worker.process.join()
            worker.process.close()


def _start(function: Callable[[Job], Result]) -> _Worker:
    ours, theirs = _context.Pipe()
    process = _context.Process(target=_work, args=(function, theirs), daemon=True)
    process.start()
    theirs.close()  # the worker's is then the only one, and its death is the pipe's end
    return _Worker(process, ours)


def _hand_out(
    worker: _Worker, waiting: list[tuple[int, Job]], running: dict[object, tuple[_Worker, int]]
) -> None:
    number, job = waiting.pop()
    running[worker.pipe] = worker, number
    with suppress(BrokenPipeError):  # it is dead already, which the next wait() will show
        worker.pipe.send(job)


def _result_of(worker: _Worker, number: int) -> object:
    try:
        succeeded, value = worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        raise WorkerDiedError(
            f"the worker of job {number} ended with {worker.process.exitcode}"
        ) from None
    if not succeeded:
        raise JobFailedError(f"job {number}: {value}")
    return value


def _work(function: Callable[[Job], Result], pipe: Connection) -> None:
    """The life of a worker: until it is killed."""
    while True:
        job = pipe.recv()
        try:
            answer = True, function(job)
        except Exception as error:  # noqa: BLE001 - whatever a job raises is its caller's business
            pipe.send((False, repr(error)))
        else:
            pipe.send(answer)
