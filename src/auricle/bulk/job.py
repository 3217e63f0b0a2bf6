"""The work itself: pieces of the input to actors of Ray Data, which caption them and write a shard
each.

    driver: input -> pieces without a shard -> Ray Data -> reports -> errors.jsonl, progress
    actor:  piece -> sounds read in one thread as others are captioned -> shard, written whole -> report

An actor or a machine that dies takes nothing along: Ray gives its piece to another, which writes
the same shard.
"""

import contextlib
import io
import json
import logging
import os
import secrets
import tarfile
import tempfile
import warnings
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import pyarrow
from pyarrow import parquet

from auricle.bulk import ShardForm
from auricle.bulk.places import Piece, Place, place, text
from auricle.captioning.captioner import Captioner, load
from auricle.captioning.parallel import side_by_side
from auricle.captioning.results import Row
from auricle.checkpoint.folder import EMBEDDED, fingerprint
from auricle.errors import AuricleError, printable
from auricle.output.writers import row_fields
from auricle.sound.container import Source
from auricle.sound.find import MEDIA
from auricle.storage.files import PART_SUFFIX

SCHEMA = pyarrow.schema(
    {
        "file": pyarrow.string(),
        "start": pyarrow.float64(),  # seconds
        "end": pyarrow.float64(),
        "caption": pyarrow.string(),
        "score": pyarrow.float64(),
        "confidence": pyarrow.float64(),
        "tags": pyarrow.list_(
            pyarrow.struct({"name": pyarrow.string(), "probability": pyarrow.float64()})
        ),
    }
)
EMBEDDING = pyarrow.field("embedding", pyarrow.list_(pyarrow.float32()))
IN_MEMORY = 1 << 24  # bytes of a sound that is not on this machine; a longer one waits on the disk
# bytes of such a sound: an archive may claim anything, and few bytes inflate to many
LONGEST = 1 << 33
TOO_LONG = (
    f"is larger than {LONGEST >> 30} GB; cut it, or put it where bulk runs, outside of an archive"
)
ATTEMPTS = 3  # after so many deaths of its actor, a piece is taken apart
OBJECT_STORE = 1 << 28  # bytes: only names and counts travel


@dataclass(frozen=True)
class Options:
    """What decides about the captions: a folder holds those of one choice."""

    checkpoint: Path | None = None
    form: ShardForm = ShardForm.parquet
    window: float = 10.0  # seconds
    max_duration: float | None = None  # seconds
    embeddings: bool = False

    def described(self) -> dict[str, object]:
        """What stands beside the shards."""
        return {
            "model": fingerprint(self.checkpoint or EMBEDDED),
            "format": self.form.value,
            "window": self.window,
            "max_duration": self.max_duration,
            "embeddings": self.embeddings,
        }


@dataclass(frozen=True)
class Report:
    """What became of a piece."""

    sounds: int
    seconds: float  # of sound that was captioned
    failed: dict[str, str]  # names and reasons


@dataclass(frozen=True)
class Output:
    """The folder of shards: `captions/`, and for archives the members that failed, in
    `archives/`.
    """

    folder: Place
    options: Options

    def _shard(self, key: str) -> Place:
        return self.folder.below(f"captions/{key}.{self.options.form}")

    def begin(self) -> tuple[set[str], set[str], dict[str, str]]:
        """What is there already.

        Returns:
            Names of sounds with captions, keys of shards, and members of archives that failed, with
            the reason.

        Raises:
            AuricleError: the folder holds captions of another model or other options, or cannot be
                written.
        """
        described, wanted = self.folder.below("bulk.json"), self.options.described()
        there = [PurePosixPath(path) for path in self.folder.below("captions").listed()]
        shards = {path.stem for path in there if path.suffix == f".{self.options.form}"}
        try:
            if any(PurePosixPath(path).name == "bulk.json" for path in self.folder.listed()):
                found = json.loads(described.read())
                if other := [name for name in wanted if found.get(name) != wanted[name]]:
                    raise AuricleError(
                        f"{self.folder.name} holds captions made with another {', '.join(other)}: "
                        "give the same options, or another --output"
                    )
            else:
                described.write(json.dumps(wanted, indent=2).encode())
            with ThreadPoolExecutor(8) as pool:
                captioned = set[str]().union(*pool.map(self._files, shards))
            known: dict[str, str] = {}
            for path in self.folder.below("archives").listed():
                known |= json.loads(Place(self.folder.files, path, path).read())
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise AuricleError(f"{self.folder.name}: cannot go on there: {error}") from None
        return captioned, shards, known

    def write(
        self, piece: Piece, rows: Sequence[dict[str, object]], failed: dict[str, str]
    ) -> None:
        """Writes a piece's captions; last, since a shard says that the piece is done."""
        if piece.archive and failed:
            # What was read and is no sound will be none next time: its archive is not opened again
            # for it.
            self.folder.below(f"archives/{piece.key}.json").write(json.dumps(failed).encode())
        rows = [row | {"file": text(str(row["file"]))} for row in rows]
        buffer = io.BytesIO()
        if self.options.form is ShardForm.jsonl:
            buffer.writelines(f"{json.dumps(row, ensure_ascii=False)}\n".encode() for row in rows)
        else:
            schema = SCHEMA.append(EMBEDDING) if self.options.embeddings else SCHEMA
            parquet.write_table(
                pyarrow.Table.from_pylist(list(rows), schema), buffer, compression="zstd"
            )
        self._shard(piece.key).write(buffer.getvalue())

    def write_errors(self, errors: dict[str, str]) -> None:
        """Writes `errors.jsonl`, whole."""
        lines = (
            json.dumps({"file": text(name), "error": text(why)}, ensure_ascii=False)
            for name, why in errors.items()
        )
        self.folder.below("errors.jsonl").write("".join(f"{line}\n" for line in lines).encode())

    def end(self, errors: dict[str, str]) -> None:
        """Writes `errors.jsonl`, and removes the temporary files of killed workers."""
        self.write_errors(errors)
        if self.folder.local:
            for part in Path(self.folder.path, "captions").glob(f"*{PART_SUFFIX}"):
                part.unlink(missing_ok=True)

    def _files(self, key: str) -> set[str]:
        content = self._shard(key).read()
        if self.options.form is ShardForm.jsonl:
            return {json.loads(line)["file"] for line in content.splitlines()}
        table = parquet.read_table(io.BytesIO(content), columns=["file"])
        return set(cast("list[str]", table["file"].unique().to_pylist()))


@dataclass(frozen=True)
class _Outcome:
    name: str
    rows: list[dict[str, object]]
    seconds: float = 0.0
    error: str | None = None


class Worker:
    """An actor: one captioner, on one processor.

    Args:
        source: the file system of the input.
        output: where shards go.
    """

    def __init__(self, source: Place, output: Output) -> None:
        self._source, self._output = source, output
        self._captioner: Captioner | AuricleError
        try:
            self._captioner = load(output.options.checkpoint)
        except AuricleError as error:
            self._captioner = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Captions pieces: `piece`, as `Piece.dumps` has them -> `report`.

        What would befall all other pieces too, such as a full disk, is reported as `fatal`: Ray
        passes exceptions over.
        """
        return {"report": [json.dumps(self._report(Piece.loads(line))) for line in batch["piece"]]}

    def _report(self, piece: Piece) -> dict[str, object]:
        host = os.uname().nodename
        if isinstance(self._captioner, AuricleError):
            return {"fatal": f"{self._captioner} (on {host})"}
        rows, report, whole = self._captions(self._captioner, piece)
        try:
            if whole and (rows or piece.archive):
                self._output.write(piece, rows, report.failed)
        except OSError as error:
            return {
                "fatal": f"{self._output.folder.name}: captions cannot be written: {error.strerror or error} (on {host})"
            }
        return {"key": piece.key, **asdict(report)}

    def _captions(
        self, captioner: Captioner, piece: Piece
    ) -> tuple[list[dict[str, object]], Report, bool]:
        """A piece's captions, its report, and whether all of it was read."""
        failed: dict[str, str] = {}
        rows: list[dict[str, object]] = []
        captioned, seconds = 0, 0.0
        whole = True
        sources = self._members(piece, failed) if piece.archive else self._read(piece, failed)
        try:
            # One thread captions, as the actor has one processor; this one reads what comes next.
            for outcome in side_by_side(partial(self._caption, captioner), sources, jobs=1):
                if outcome.error is not None:
                    failed[outcome.name] = outcome.error
                    continue
                captioned += 1
                seconds += outcome.seconds
                rows += outcome.rows
        except (
            AuricleError,
            OSError,
        ) as error:  # of an archive not read to its end: it has no shard, and is tried again
            rows, whole = [], False
            captioned, seconds, failed = 0, 0.0, {piece.names[0]: _reason(piece.names[0], error)}
        return rows, Report(captioned + len(failed), seconds, failed), whole

    def _caption(self, captioner: Captioner, name: str, source: Source) -> Iterator[_Outcome]:
        options, rows, seconds = self._output.options, [], 0.0
        try:
            with contextlib.ExitStack() as stack:
                if isinstance(source, tempfile.SpooledTemporaryFile):
                    stack.enter_context(source)
                for caption in captioner.captions(
                    source, options.window, name, max_duration=options.max_duration
                ):
                    fields = row_fields(Row(name, caption), n_best=1)
                    if options.embeddings:
                        fields["embedding"] = (
                            None if caption.embedding is None else caption.embedding.tolist()
                        )
                    rows.append(fields)
                    seconds = caption.end
        except Exception as error:  # whatever one sound does, it does not stop a million others
            yield _Outcome(name, [], error=_reason(name, error))
        else:
            yield _Outcome(name, rows, seconds)

    def _read(self, piece: Piece, failed: dict[str, str]) -> Iterator[tuple[str, Source]]:
        """The sounds of a piece: on this machine as they are, from elsewhere as a copy."""
        for name, path in zip(piece.names, piece.paths, strict=True):
            try:
                there = self._place(name, path)
                if not there.local:
                    with there.files.open_input_stream(there.path) as stream:
                        source: Source = _kept(stream)
                else:
                    source = there.path
            except Exception as error:  # of any file system
                failed[name] = _reason(name, error)
            else:
                yield name, source

    def _place(self, name: str, path: str) -> Place:
        return Place(self._source.files, path, name) if path else place(name)

    def _members(self, piece: Piece, failed: dict[str, str]) -> Iterator[tuple[str, Source]]:
        """The sounds of an archive; what else is there, such as WebDataset's texts, is passed
        over.
        """
        name = piece.names[0]
        there = self._place(name, piece.paths[0])
        with there.files.open_input_stream(there.path, compression=None) as stream:
            try:
                with tarfile.open(fileobj=cast("BinaryIO", stream), mode="r|*") as archive:
                    for member in archive:
                        file = archive.extractfile(member) if member.isreg() else None
                        if file is None or PurePosixPath(member.name).suffix.lower() not in MEDIA:
                            continue
                        sound = f"{name}/{member.name}"
                        if member.size > LONGEST:
                            failed[sound] = TOO_LONG
                        else:
                            yield sound, _kept(file)
            except (tarfile.TarError, EOFError) as error:
                failed[name] = f"is damaged: {error}"


def _reason(name: str, error: Exception) -> str:
    """Why there is no caption, in a line without the name."""
    if isinstance(error, AuricleError):
        return str(error).removeprefix(f"{printable(name)}: ")
    if isinstance(error, OSError):
        return f"reading it failed ({error.strerror or error})"
    return f"{type(error).__name__}: {error}"


def _kept(stream: Any) -> BinaryIO:
    """All of a stream, to be read in any order, and to be closed."""
    kept = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
    try:
        while block := stream.read(1 << 20):
            kept.write(block)
            if kept.tell() > LONGEST:
                raise AuricleError(TOO_LONG)
    except BaseException:
        kept.close()
        raise
    kept.seek(0)
    return cast("BinaryIO", kept)


@contextlib.contextmanager
def cluster(address: str | None, workers: int | None) -> Iterator[int]:
    """A cluster that is joined, or one on this machine until the end of the context; none is joined
    without its token.

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
    import ray

    alone: dict[str, Any] = {
        "num_cpus": workers,
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE,
        "_node_ip_address": "127.0.0.1",
    }
    try:
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
    # GPUs are shared out evenly, in the fractions that Ray knows: an actor without a share would
    # not see any.
    share = min(1.0, int(ray.cluster_resources().get("GPU", 0) / actors * 1e4) / 1e4)
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
