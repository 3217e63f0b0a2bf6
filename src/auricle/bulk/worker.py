"""An actor of `auricle bulk`: captions a piece of the input, and writes its shard.

piece -> sounds, read in one thread as others are captioned -> shard, written whole -> report
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

from auricle.bulk.output import Output, Report
from auricle.bulk.places import Piece, Place, place
from auricle.captioning.captioner import Captioner, load
from auricle.captioning.parallel import side_by_side
from auricle.captioning.results import Row
from auricle.errors import AuricleError, printable
from auricle.output.writers import row_fields
from auricle.sound.container import Source
from auricle.sound.find import is_sound_name
from auricle.sound.network import without_secrets

IN_MEMORY = 1 << 24  # bytes of a sound that is not on this machine; a longer one waits on the disk
# bytes of such a sound: an archive may claim anything, and few bytes inflate to many
LONGEST = 1 << 33
TOO_LONG = (
    f"is larger than {LONGEST >> 30} GB; cut it, or put it where bulk runs, outside of an archive"
)


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
                "fatal": f"{self._output.folder.name}: captions cannot be written: "
                f"{error.strerror or error} (on {host})"
            }
        return {"key": piece.key, **asdict(report)}

    def _captions(
        self, captioner: Captioner, piece: Piece
    ) -> tuple[list[dict[str, object]], Report, bool]:
        """A piece's captions, its report, and whether all of it was read."""
        failed: dict[str, str] = {}
        links: dict[str, str] = {}
        outcomes: dict[str, _Outcome] = {}
        if piece.archive:
            sources = self._members(piece, failed, links)
        else:
            sources = self._read(piece, failed)
        try:
            # One thread captions, as the actor has one processor; this one reads the next sound.
            for outcome in side_by_side(partial(self._caption, captioner), sources, jobs=1):
                # Of members with one name the last counts, as when tar unpacks them.
                outcomes[outcome.name] = outcome
        except (AuricleError, OSError) as error:
            # The archive was not read to its end: it gets no shard, and is tried again.
            name = piece.names[0]
            return [], Report(1, 0.0, {name: _reason(name, error)}), False
        for link in links:
            outcomes[link] = _linked(link, links, outcomes, failed)
        captioned = [outcome for outcome in outcomes.values() if outcome.error is None]
        failed |= {o.name: o.error for o in outcomes.values() if o.error is not None}
        rows = [row for outcome in captioned for row in outcome.rows]
        seconds = sum(outcome.seconds for outcome in captioned)
        return rows, Report(len(captioned) + len(failed), seconds, failed), True

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

    def _members(
        self, piece: Piece, failed: dict[str, str], links: dict[str, str]
    ) -> Iterator[tuple[str, Source]]:
        """Yields the sounds of an archive, and passes over other files, such as texts.

        Args:
            piece: the archive.
            failed: gets sounds that cannot be read, with the reason.
            links: gets links named as sounds, with the name of the sound that they lead to. The
                archive is a stream, so that sound may have passed already.
        """
        name = piece.names[0]
        there = self._place(name, piece.paths[0])
        with there.files.open_input_stream(there.path, compression=None) as stream:
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
                        if member.size > LONGEST:
                            failed[sound] = TOO_LONG
                        else:
                            yield sound, _kept(file)
            except (tarfile.TarError, EOFError) as error:
                failed[name] = f"is damaged: {error}"


def _link_target(link: tarfile.TarInfo) -> str:
    """Returns the path in its archive to which a link leads."""
    start = posixpath.dirname(link.name) if link.issym() else ""
    return posixpath.normpath(posixpath.join(start, link.linkname))


def _linked(
    link: str, links: dict[str, str], outcomes: dict[str, _Outcome], failed: dict[str, str]
) -> _Outcome:
    """Returns the outcome of the sound that a link of an archive leads to, under its own name."""
    target = links[link]
    passed = {link}
    while target in links and target not in passed:
        passed.add(target)
        target = links[target]
    outcome = None if target in links else outcomes.get(target)
    if outcome is None:
        reason = failed.get(target, "is a link to no sound of its archive")
        return _Outcome(link, [], error=reason)
    rows = [row | {"file": link} for row in outcome.rows]
    return _Outcome(link, rows, outcome.seconds, outcome.error)


def _reason(name: str, error: Exception) -> str:
    """Returns why there is no caption, in a line without the name and without secrets."""
    if isinstance(error, AuricleError):
        reason = str(error).removeprefix(f"{printable(name)}: ")
    elif isinstance(error, OSError):
        reason = f"reading it failed ({error.strerror or error})"
    else:
        reason = f"{type(error).__name__}: {error}"
    return without_secrets(reason)


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
