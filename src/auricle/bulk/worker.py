"""Captions a piece of the input in an actor of `auricle bulk`, and writes its shard.

piece -> sounds, read in one thread while others are captioned -> shard, written whole -> report
"""

import contextlib
import json
import os
import posixpath
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, BinaryIO, cast

from auricle.bulk.output import Output, PieceReport
from auricle.bulk.places import Piece, Place, place
from auricle.captioning.captioner import Captioner, load
from auricle.captioning.parallel import side_by_side
from auricle.captioning.results import Row
from auricle.errors import AuricleError, printable
from auricle.output.writers import row_fields
from auricle.sound.container import Source
from auricle.sound.find import is_sound_name
from auricle.sound.network import without_secrets

IN_MEMORY_BYTES = 1 << 24  # copies of larger sounds are kept on the disk
# Limits the copy of a sound from an archive or another machine: a few bytes may unpack to many.
MAX_COPY_BYTES = 1 << 33
TOO_LARGE = (
    f"is larger than {MAX_COPY_BYTES >> 30} GB: cut it, or extract it to a folder where bulk runs"
)


@dataclass(frozen=True)
class _Outcome:
    name: str
    rows: list[dict[str, object]]
    seconds: float = 0.0
    error: str | None = None


class Worker:
    """An actor with one captioner, on one processor.

    Args:
        source: the file system of the input.
        output: receives the shards.
    """

    def __init__(self, source: Place, output: Output) -> None:
        self._source, self._output = source, output
        self._captioner: Captioner | AuricleError
        try:
            self._captioner = load(output.options.checkpoint)
        except AuricleError as error:
            self._captioner = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Captions pieces: `piece`, lines of `Piece.dumps` -> `report`, lines of JSON.

        An error that would stop all other pieces too, such as a full disk, is reported as `fatal`,
        because Ray ignores exceptions.
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
                "fatal": f"{self._output.folder.name}: captions cannot be written: "
                f"{error.strerror or error} (on {host})"
            }
        return {"key": piece.key, **asdict(report)}

    def _captions(
        self, captioner: Captioner, piece: Piece
    ) -> tuple[list[dict[str, object]], PieceReport, bool]:
        """Returns a piece's captions, its report, and whether it was read to its end."""
        failed: dict[str, str] = {}
        links: dict[str, str] = {}
        outcomes: dict[str, _Outcome] = {}
        if piece.archive:
            sources = self._members(piece, failed, links)
        else:
            sources = self._read(piece, failed)
        try:
            # One thread captions, because the actor has one processor. This thread reads the next
            # sound.
            for outcome in side_by_side(partial(self._caption, captioner), sources, jobs=1):
                # The last of several members with one name counts, as when tar unpacks them.
                outcomes[outcome.name] = outcome
        except (AuricleError, OSError) as error:
            # An archive that was not read to its end gets no shard, so the next run tries it again.
            name = piece.names[0]
            return [], PieceReport(1, 0.0, {name: _reason(name, error)}), False
        for link in links:
            outcomes[link] = _linked(link, links, outcomes, failed)
        captioned = [name for name, outcome in outcomes.items() if outcome.error is None]
        failed |= {o.name: o.error for o in outcomes.values() if o.error is not None}
        rows = [row for outcome in outcomes.values() for row in outcome.rows]
        seconds = sum(outcome.seconds for outcome in outcomes.values())
        return rows, PieceReport(len(captioned) + len(failed), seconds, failed), True

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
        except Exception as error:  # one bad sound must not stop a million others
            # A late error keeps the captions of the sound before it.
            yield _Outcome(name, rows, seconds, _reason(name, error))
        else:
            yield _Outcome(name, rows, seconds)

    def _read(self, piece: Piece, failed: dict[str, str]) -> Iterator[tuple[str, Source]]:
        """Yields the sounds of a piece: paths on this machine, copies of others."""
        for name, path in zip(piece.names, piece.paths, strict=True):
            try:
                sound = self._place(name, path)
                if not sound.local:
                    with sound.files.open_input_stream(sound.path) as stream:
                        source: Source = _copy(stream)
                else:
                    source = sound.path
            except Exception as error:  # each file system has its own errors
                failed[name] = _reason(name, error)
            else:
                yield name, source

    def _place(self, name: str, path: str) -> Place:
        return Place(self._source.files, path, name) if path else place(name)

    def _members(
        self, piece: Piece, failed: dict[str, str], links: dict[str, str]
    ) -> Iterator[tuple[str, Source]]:
        """Yields the sounds of an archive, and skips other files, such as texts.

        Args:
            piece: the archive.
            failed: receives the reason for each sound that cannot be read.
            links: receives the target of each link that has the name of a sound. The archive is a
                stream, so the target may come earlier.
        """
        name = piece.names[0]
        archive_place = self._place(name, piece.paths[0])
        with archive_place.files.open_input_stream(archive_place.path, compression=None) as stream:
            try:
                with tarfile.open(fileobj=cast("BinaryIO", stream), mode="r|*") as archive:
                    for member in archive:
                        if not is_sound_name(member.name):
                            continue
                        sound = f"{name}/{posixpath.normpath(member.name)}"
                        if member.issym() or member.islnk():
                            links[sound] = f"{name}/{_link_target(member)}"
                            continue
                        file = archive.extractfile(member) if member.isreg() else None
                        if file is None:
                            continue
                        links.pop(sound, None)
                        if member.size > MAX_COPY_BYTES:
                            failed[sound] = TOO_LARGE
                        else:
                            yield sound, _copy(file)
            except (tarfile.TarError, EOFError) as error:
                failed[name] = f"is damaged: {error}"


def _link_target(link: tarfile.TarInfo) -> str:
    """Returns the target of a link, as a path in its archive."""
    start = posixpath.dirname(link.name) if link.issym() else ""
    return posixpath.normpath(posixpath.join(start, link.linkname))


def _linked(
    link: str, links: dict[str, str], outcomes: dict[str, _Outcome], failed: dict[str, str]
) -> _Outcome:
    """Returns the outcome of the target of a link in an archive, with the name of the link."""
    target = links[link]
    passed = {link}
    while target in links and target not in passed:
        passed.add(target)
        target = links[target]
    outcome = None if target in links else outcomes.get(target)
    if outcome is None:
        reason = failed.get(target, "is a link, but not to a sound of its archive")
        return _Outcome(link, [], error=reason)
    rows = [row | {"file": link} for row in outcome.rows]
    return _Outcome(link, rows, outcome.seconds, outcome.error)


def _reason(name: str, error: Exception) -> str:
    """Returns the reason of a failure, in one line without the sound's name and secrets."""
    if isinstance(error, AuricleError):
        reason = str(error).removeprefix(f"{printable(name)}: ")
    elif isinstance(error, OSError):
        reason = f"reading it failed ({error.strerror or error})"
    else:
        reason = f"{type(error).__name__}: {error}"
    return without_secrets(reason)


def _copy(stream: Any) -> BinaryIO:
    """Copies a stream into a seekable temporary file, which the caller closes."""
    copy = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115
    try:
        while block := stream.read(1 << 20):
            copy.write(block)
            if copy.tell() > MAX_COPY_BYTES:
                raise AuricleError(TOO_LARGE)
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    return cast("BinaryIO", copy)
