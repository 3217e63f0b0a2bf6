"""The pool of workers: processes that end before their time, and jobs that must end."""

import asyncio
import contextlib
import multiprocessing
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

import auricle.checkpoint
from auricle.serving.limits import Limits, RequestRefusedError
from auricle.serving.messages import (
    CaptionFound,
    CaptionJob,
    Job,
    JobProgress,
    JobResult,
    SoundFile,
)
from auricle.serving.metrics import Metrics
from auricle.serving.stopping import Stopping
from auricle.serving.workers import Workers
from server import EXAMPLES

BELL = EXAMPLES / "bell.wav"


def caption_job(path: Path, overview_columns: int = 0) -> CaptionJob:
    file = SoundFile(str(path), path.name)
    return CaptionJob(file, max_seconds=1e6, overview_columns=overview_columns)


def processes() -> list[BaseProcess]:
    return [p for p in multiprocessing.active_children() if p.name == "auricle-worker"]


@contextlib.asynccontextmanager
async def pool(limits: Limits, checkpoint: Path | None = None) -> AsyncIterator[Workers]:
    workers = Workers(checkpoint, limits, Metrics())
    try:
        await workers.start()
        yield workers
    finally:
        await workers.close()


def kill_all() -> None:
    for process in processes():
        process.kill()


async def outcome(
    workers: Workers, job: Job, on_result: Callable[[], None] = lambda: None
) -> list[JobResult] | RequestRefusedError:
    """All results of a job, or its refusal."""
    results = []
    try:
        async for result in workers.run(job):
            results.append(result)
            on_result()
    except RequestRefusedError as refusal:
        return refusal
    return results


def count(workers: Workers, metric: str) -> float:
    return workers._metrics.registry.get_sample_value(metric) or 0.0


def replaced(workers: Workers) -> float:
    return count(workers, "auricle_workers_replaced_total")


async def refused(workers: Workers, job: Job) -> RequestRefusedError:
    """The refusal of a job, after which the next job is answered all the same."""
    refusal = await outcome(workers, job)
    assert isinstance(refusal, RequestRefusedError)
    found = await outcome(workers, caption_job(BELL))
    assert isinstance(found, list)
    assert any(isinstance(result, CaptionFound) for result in found)
    return refusal


def test_a_file_is_refused_once_it_crashed_two_workers(hour: Path):
    async def run() -> None:
        async with pool(Limits(jobs=1)) as workers:
            job = caption_job(hour)
            refusal = await outcome(workers, job, on_result=kill_all)
            assert isinstance(refusal, RequestRefusedError)
            assert (refusal.status, "crashed 2 decoders" in str(refusal)) == (422, True)
            assert isinstance(await outcome(workers, caption_job(BELL)), list)
            assert replaced(workers) == 2

    asyncio.run(run())


def test_a_crash_in_the_middle_repeats_nothing(scene: Path):
    async def run() -> None:
        async with pool(Limits(jobs=1)) as workers:
            job = replace(caption_job(scene), segments="events", overview_columns=5)
            unbroken = await outcome(workers, job)
            assert isinstance(unbroken, list)
            found: list[JobResult] = []
            async for result in workers.run(job):
                found.append(result)
                if isinstance(result, CaptionFound) and not replaced(workers):
                    kill_all()
            assert replaced(workers) == 1
            kept = [[r for r in rs if not isinstance(r, JobProgress)] for rs in (found, unbroken)]
            assert kept[0] == kept[1]
            seconds = [r.seconds for r in found if isinstance(r, JobProgress)]
            assert seconds == sorted(seconds)

    asyncio.run(run())


def test_workers_killed_while_idle_cost_no_request():
    async def run() -> None:
        async with pool(Limits(jobs=2)) as workers:
            for _ in range(2):
                kill_all()
                assert isinstance(await outcome(workers, caption_job(BELL)), list)

    asyncio.run(run())


def test_a_pool_fills_up_again_without_any_request():
    async def run() -> None:
        async with pool(Limits(jobs=2)) as workers:
            killed = processes()
            kill_all()
            async with asyncio.timeout(60):
                while count(workers, "auricle_workers_replaced_total") < 2:
                    await asyncio.sleep(0.05)
                while count(workers, "auricle_workers") < 2:
                    await asyncio.sleep(0.05)
            workers.check_ready()
            assert not set(processes()) & set(killed)

    asyncio.run(run())


def test_a_pool_that_cannot_be_refilled_says_so_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("auricle.serving.workers.LONGEST_PAUSE", 0.5)
    checkpoint, away = tmp_path / "checkpoint", tmp_path / "away"
    shutil.copytree(Path(auricle.checkpoint.__file__).parent / "embedded", checkpoint)

    async def run() -> None:
        async with pool(Limits(jobs=2), checkpoint) as workers:
            workers.check_ready()
            checkpoint.rename(away)
            kill_all()
            async with asyncio.timeout(60):
                refusal = await outcome(workers, caption_job(BELL))  # waits, and does not hang
            assert isinstance(refusal, RequestRefusedError)
            assert refusal.status == 503
            assert refusal.retry_after is not None
            with pytest.raises(RequestRefusedError):
                workers.check_ready()
            away.rename(checkpoint)
            async with asyncio.timeout(60):
                while isinstance(
                    found := await outcome(workers, caption_job(BELL)), RequestRefusedError
                ):
                    await asyncio.sleep(0.1)
            assert any(isinstance(result, CaptionFound) for result in found)
            workers.check_ready()

    asyncio.run(run())


def test_a_job_that_takes_too_long_is_stopped(hour: Path):
    async def run() -> None:
        async with pool(Limits(jobs=1, job_seconds=0.5)) as workers:
            refusal = await refused(workers, caption_job(hour))
            assert refusal.status == 422
            assert "longer than 0.5 s" in str(refusal)
            assert replaced(workers) == 0  # it obeyed

    asyncio.run(run())


@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="only Linux holds a process to its memory"
)
def test_a_job_that_takes_too_much_memory_ends_its_worker():
    async def run() -> None:
        async with pool(Limits(jobs=1, memory=4 << 20)) as workers:
            # As many columns as no page asks for: the memory of a sound may fit into memory that
            # threads have left.
            refusal = await refused(workers, caption_job(BELL, overview_columns=10**9))
            assert refusal.status == 422
            assert "4 MB of memory" in str(refusal)
            assert replaced(workers) == 1

    asyncio.run(run())


def test_an_upload_that_is_gone_does_not_blame_the_file(tmp_path: Path):
    async def run() -> None:
        async with pool(Limits(jobs=1)) as workers:
            refusal = await refused(workers, caption_job(tmp_path / "gone"))
            assert refusal.status == 503
            assert str(tmp_path) not in str(refusal)
            assert replaced(workers) == 0

    asyncio.run(run())


def test_jobs_end_soon_after_the_server_is_told_to_stop(
    hour: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("auricle.serving.stopping.GRACE_SECONDS", 0.2)

    async def run() -> None:
        stopping = Stopping()
        workers = Workers(None, Limits(jobs=1), Metrics(), stopping)
        await workers.start()
        try:
            # One runs, and one waits.
            tasks = [asyncio.create_task(outcome(workers, caption_job(hour))) for _ in range(2)]
            await asyncio.sleep(1)
            stopping.begin()
            async with asyncio.timeout(20):
                for refusal in await asyncio.gather(*tasks):
                    assert isinstance(refusal, RequestRefusedError)
                    assert (refusal.status, "stopping" in str(refusal)) == (503, True)
        finally:
            await workers.close()

    asyncio.run(run())
