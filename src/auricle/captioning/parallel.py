"""Many sounds at a time, in threads, with results in order."""

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event
from typing import TypeVar

from auricle.errors import AudioError
from auricle.sound.container import Source

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def in_order(
    work: Callable[[ItemT], ResultT], items: Iterable[ItemT], jobs: int
) -> Iterator[ResultT]:
    """The results of all items, in the order of the items.

    With several jobs, that many items are worked on while the next ones are taken. An error of
    taking an item is raised after the results of all items before it.

    Args:
        work: gives the result of an item; called in threads where there are several jobs.
        items: the items.
        jobs: items at a time.
    """
    if jobs == 1:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(jobs)
    waiting: deque[Future[ResultT]] = deque()
    try:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > jobs:
                    yield waiting.popleft().result()
        except AudioError:
            yield from (future.result() for future in waiting)
            raise
        yield from (future.result() for future in waiting)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def side_by_side(
    work: Callable[[str, Source], Iterator[ResultT]],
    sources: Iterable[tuple[str, Source]],
    jobs: int | None,
) -> Iterator[ResultT]:
    """The results of many sounds, in the order of the sounds, each as soon as it is ready.

    Args:
        work: gives the results of one sound from its name and source; its errors are raised here.
        sources: names and sounds.
        jobs: sounds at a time; as many as there are processors if None.
    """
    jobs = jobs or os.cpu_count() or 1

    def put(
        name: str, source: Source, results: SimpleQueue[ResultT | BaseException | None]
    ) -> None:
        try:
            for result in work(name, source):
                if stopped.is_set():
                    return
                results.put(result)
            results.put(None)
        except BaseException as error:
            results.put(error)

    stopped = Event()
    pool = ThreadPoolExecutor(jobs)
    waiting: deque[SimpleQueue[ResultT | BaseException | None]] = deque()
    try:
        remaining = iter(sources)
        while True:
            for name, source in itertools.islice(remaining, 4 * jobs - len(waiting)):
                waiting.append(SimpleQueue())
                pool.submit(put, name, source, waiting[-1])
            if not waiting:
                return
            while (result := waiting[0].get()) is not None:
                if isinstance(result, BaseException):
                    raise result
                yield result
            waiting.popleft()
    finally:
        stopped.set()  # the caller may stop early: hours of sound need not be finished
        pool.shutdown(wait=False, cancel_futures=True)
