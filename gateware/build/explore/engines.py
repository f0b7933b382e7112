"""Who does the work: this process, several processes, or the workers of a Dask cluster."""

import concurrent.futures
import concurrent.futures.process
import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from support.errors import InputError, ToolchainError, first_line

__all__ = ["completed"]

_Answer = TypeVar("_Answer")

#: Longest wait for the scheduler of a cluster, in seconds.
_CONNECT_SECONDS = 10


def completed(tasks: Sequence[Callable[[], _Answer]], *, jobs: int,
              scheduler: str | None = None) -> Iterator[tuple[int, _Answer]]:
    """Do ``tasks``, and yield the number of each with its answer as they are completed.

    Parameters
    ----------
    tasks
        What is to be done: objects that can be pickled.
    jobs
        Processes, from 1; with 1, this one does everything.
    scheduler
        Address of the scheduler of a Dask cluster, as ``tcp://host:8786``, whose workers do the work instead. Sterna
        must be installed there.

    Raises
    ------
    :exc:`InputError`
        If no scheduler answers at the address.
    """
    if not tasks:
        return
    if scheduler is not None:
        yield from _on_cluster(tasks, scheduler)
    elif jobs == 1 or len(tasks) == 1:
        for number, task in enumerate(tasks):
            yield number, task()
    else:
        yield from _in_processes(tasks, min(jobs, len(tasks)))


def _call(task: Callable[[], _Answer]) -> _Answer:
    return task()


def _ignore_interruption() -> None:
    # Ctrl-C reaches every process of the terminal; this one alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _in_processes(tasks: Sequence[Callable[[], _Answer]], jobs: int) -> Iterator[tuple[int, _Answer]]:
    # Forked processes have all modules imported, which takes longer than many a task.
    pool = concurrent.futures.ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork"),
                                                  initializer=_ignore_interruption)
    others = set(multiprocessing.active_children())
    try:
        futures = {pool.submit(_call, task): number for number, task in enumerate(tasks)}
        for future in concurrent.futures.as_completed(futures):
            yield futures[future], future.result()
    except (KeyboardInterrupt, GeneratorExit):
        # Nobody takes what they are at, which may last minutes. What they have started ends with them. They answer
        # SIGTERM as support.start has told this process to, and would go on with the next task.
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        raise
    except concurrent.futures.process.BrokenProcessPool:
        raise ToolchainError("a process of the exploration was ended from outside, as for want of memory: give the "
                             "same command with fewer --jobs, it goes on") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _on_cluster(tasks: Sequence[Callable[[], _Answer]], scheduler: str) -> Iterator[tuple[int, _Answer]]:
    # Here, because nothing else needs the package, which comes with the extra `explore`.
    import distributed

    client: Any
    try:
        client = distributed.Client(scheduler, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise InputError(f"--scheduler must be the address of a Dask scheduler, and {scheduler} does not answer as "
                         f"one: {first_line(error)}") from None
    with contextlib.closing(client):
        futures = {client.submit(_call, task, pure=False): number for number, task in enumerate(tasks)}
        try:
            for future in distributed.as_completed(futures):
                yield futures[future], future.result()
        finally:
            client.cancel(list(futures))
