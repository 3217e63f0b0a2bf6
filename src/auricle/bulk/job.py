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

from auricle.bulk.output import Output, PieceReport
from auricle.bulk.places import Piece, Place
from auricle.bulk.worker import Worker
from auricle.errors import AuricleError

ATTEMPTS_PER_PIECE = 3  # a piece whose actor died as often as this is split into single sounds
OBJECT_STORE_BYTES = 1 << 28  # small, because only names and counts travel


@contextlib.contextmanager
def cluster(address: str | None, workers: int | None) -> Iterator[int]:
    """Joins a cluster, or starts one on this machine, until the end of the context.

    Joining needs the cluster's token.

    Args:
        address: of a cluster; starts one on this machine if None.
        workers: processors of a cluster on this machine; all if None.

    Yields:
        The number of processors of the cluster.

    Raises:
        AuricleError: the cluster cannot be joined.
    """
    # Ray reads these variables when it is imported, and so do all processes that it starts.
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if address is None:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # others cannot join
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
    except Exception as error:  # such as RuntimeError, ConnectionError and Ray's own errors
        ray.shutdown()
        where = address or "a cluster on this machine"
        raise AuricleError(
            f"{where}: Ray cannot join it: {str(error).strip().splitlines()[0].partition('. ')[0]} "
            "(set its token in RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH; see docs/bulk.md)"
        ) from None
    try:
        yield max(1, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _quiet_standard_error() -> Iterator[None]:
    """Drops the lines that Ray's C++ code writes to standard error when it starts.

    Ray reports errors as exceptions, which are kept.
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
) -> Iterator[PieceReport]:
    """Captions pieces on the joined cluster, and writes their shards.

    Splits a piece whose actors die repeatedly, so that one bad sound does not lose its neighbours.

    Args:
        pieces: of the input.
        source: the input.
        output: receives the shards.
        workers: the number of actors.

    Yields:
        A report for each piece, in the order in which they are finished.
    """
    lost = yield from _run(pieces, source, output, workers)
    single = [
        Piece([name], [path], piece.archive)
        for piece in lost
        for name, path in zip(piece.names, piece.paths, strict=True)
    ]
    for piece in (yield from _run(single, source, output, workers)):
        problem = "each process that read it died: it is damaged, or needs more memory than is free"
        yield PieceReport(sounds=1, seconds=0.0, failed={piece.names[0]: problem})


def _gpu_share(gpus: float, actors: int) -> float:
    """Returns each actor's share of the GPUs: even shares, in fractions that Ray can assign.

    An actor without a share sees no GPU. Without a GPU build of ONNX Runtime the share is 0,
    because actors would wait for GPUs that they cannot use.
    """
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return 0.0
    return min(1.0, int(gpus / actors * 1e4) / 1e4)


def _run(
    pieces: Sequence[Piece], source: Place, output: Output, workers: int
) -> Generator[PieceReport, None, list[Piece]]:
    """Yields the reports of pieces, and returns the pieces whose actors died."""
    if not pieces:
        return []
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # reports tell users enough
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    left = {piece.key: piece for piece in pieces}
    rows = [{"piece": piece.dumps()} for piece in pieces]
    actors = min(workers, len(pieces))
    share = _gpu_share(ray.cluster_resources().get("GPU", 0), actors)
    with warnings.catch_warnings():
        # Up to Ray 2.64, only this argument limits the tries of a task. Without a limit, a sound
        # that kills its actor would stop the job.
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
        captioned = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            Worker,
            fn_constructor_args=(source, output),
            compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
            batch_size=1,  # the size of a block; with GPUs, Ray needs it explicitly
            num_cpus=1,
            num_gpus=share or None,
            max_task_retries=ATTEMPTS_PER_PIECE - 1,
        )
    for row in captioned.iter_rows():
        report = json.loads(row["report"])
        if "fatal" in report:
            raise AuricleError(report["fatal"])
        del left[report.pop("key")]
        yield PieceReport(**report)
    return list(left.values())
