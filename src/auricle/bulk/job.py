"""Hands the pieces of an input to actors of Ray Data, and collects their reports.

    input -> pieces without a shard -> Ray Data -> reports

When an actor or a machine dies, Ray gives its piece to another, which writes the same shard.
"""

import contextlib
import json
import logging
import os
import secrets
import sys
import warnings
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import onnxruntime

from auricle.bulk.output import Output, Report
from auricle.bulk.places import Piece, Place
from auricle.bulk.worker import Worker
from auricle.errors import AuricleError

ATTEMPTS = 3  # tries of a piece before it is taken apart, because its actor died each time
OBJECT_STORE_BYTES = 1 << 28  # only names and counts travel


@contextlib.contextmanager
def cluster(address: str | None, workers: int | None) -> Iterator[int]:
    """Joins a cluster, or starts one on this machine, until the end of the context.

    A cluster is only joined with its token.

    Yields:
        How many processors it has.

    Raises:
        AuricleError: it cannot be joined.
    """
    # Ray reads them as it is imported, and so do all processes that it starts.
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if address is None:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # nobody else is to join
    with _quiet_standard_error():
        import ray

    alone: dict[str, Any] = {
        "num_cpus": workers,
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
        "_node_ip_address": "127.0.0.1",
    }
    try:
        with _quiet_standard_error():
            ray.init(
                address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if address else alone),
            )
    except Exception as error:  # among them RuntimeError, ConnectionError and Ray's own
        ray.shutdown()
        where = address or "a cluster on this machine"
        raise AuricleError(
            f"{where}: Ray cannot join it: {str(error).strip().splitlines()[0].partition('. ')[0]} "
            "(its token goes into RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH; see docs/bulk.md)"
        ) from None
    try:
        yield max(1, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _quiet_standard_error() -> Iterator[None]:
    """Drops the lines that Ray's C++ code writes to standard error as it starts.

    Ray's errors come as exceptions, which pass.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def caption_pieces(
    pieces: Sequence[Piece], source: Place, output: Output, workers: int
) -> Iterator[Report]:
    """Captions pieces on the cluster that was joined, and writes their shards.

    A piece at which actors die again and again is taken apart, so that one sound is lost and not
    its neighbours.

    Args:
        pieces: of the input.
        source: the input.
        output: where shards go.
        workers: actors.

    Yields:
        A report for each piece, in the order in which they are done.
    """
    lost = yield from _run(pieces, source, output, workers)
    single = [
        Piece([name], [path], piece.archive)
        for piece in lost
        for name, path in zip(piece.names, piece.paths, strict=True)
    ]
    for piece in (yield from _run(single, source, output, workers)):
        yield Report(
            1,
            0.0,
            {
                piece.names[
                    0
                ]: "whatever reads it dies; it is damaged, or needs more memory than there is"
            },
        )


def _gpu_share(gpus: float, actors: int) -> float:
    """Returns the GPUs to ask Ray for, per actor: an even share, in the fractions that Ray knows.

    An actor without a share sees no GPU. Without a GPU build of ONNX Runtime the share is 0, as
    actors would only wait for GPUs that they do not use.
    """
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return 0.0
    return min(1.0, int(gpus / actors * 1e4) / 1e4)


def _run(
    pieces: Sequence[Piece], source: Place, output: Output, workers: int
) -> Generator[Report, None, list[Piece]]:
    """As `caption_pieces`; returns pieces without a report."""
    if not pieces:
        return []
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what concerns users comes in reports
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    left = {piece.key: piece for piece in pieces}
    rows = [{"piece": piece.dumps()} for piece in pieces]
    actors = min(workers, len(pieces))
    share = _gpu_share(ray.cluster_resources().get("GPU", 0), actors)
    with warnings.catch_warnings():
        # Until 2.64 there is no other way to bound how often a task is tried: without, a sound that
        # kills would stop the job.
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
        captioned = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            Worker,
            fn_constructor_args=(source, output),
            compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
            batch_size=1,  # as large as a block; with GPUs Ray wants it said
            num_cpus=1,
            num_gpus=share or None,
            max_task_retries=ATTEMPTS - 1,
        )
    for row in captioned.iter_rows():
        report = json.loads(row["report"])
        if "fatal" in report:
            raise AuricleError(report["fatal"])
        del left[report.pop("key")]
        yield Report(**report)
    return list(left.values())
