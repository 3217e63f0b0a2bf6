"""Unpacks archives into one folder, which appears whole or not at all.

zip, tar, 7z -> each member checked -> folder.part/ -> folder/
"""

import gzip
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

from auricle.errors import AuricleError
from auricle.storage.download import DownloadProgress, require_space
from auricle.storage.unpacking import ArchiveError, MemberTarget, Unpacking

_BLOCK_BYTES = 1 << 20


def unpack(
    archive: Path, folder: Path, place: MemberTarget, progress: DownloadProgress | None = None
) -> None:
    """Unpacks the members of a .zip, .7z or .tar.gz that `place` accepts into a new folder.

    Args:
        archive: the file; its suffix tells the format.
        folder: the new folder; it appears when all members are in it.
        place: returns the path of a member in the folder, or None to skip the member.
        progress: receives the bytes unpacked so far, and the total if the archive states it.

    Raises:
        ArchiveError: the folder exists already; the archive is damaged; it holds a path that leaves
            the folder, a link, a device, or a path twice; it has more than
            `MOST_FILES_PER_ARCHIVE` members or `MOST_BYTES`; or `place` accepts no member.
        AuricleError: the disk has too little space.
    """
    if folder.exists():
        raise ArchiveError(f"{archive}: the folder {folder} exists already")
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    unpacking = Unpacking(archive, part, place, progress)
    try:
        if archive.suffix == ".7z":
            from auricle.storage.sevenzip import unpack_7z

            unpack_7z(archive, unpacking)
        elif archive.suffix == ".zip":
            _unpack_zip(archive, unpacking)
        else:
            _unpack_tar(archive, unpacking)
        if not unpacking.files:
            raise ArchiveError(f"{archive}: it holds none of the expected files")
    except (AuricleError, ModuleNotFoundError):
        raise
    except Exception as error:  # readers of damaged archives raise errors of many types
        raise ArchiveError(
            f"{archive}: cannot be unpacked: {str(error) or type(error).__name__}"
        ) from error
    finally:
        unpacking.close()
    part.replace(folder)


def _unpack_zip(archive: Path, unpacking: Unpacking) -> None:
    with zipfile.ZipFile(archive) as opened:
        accepted: list[tuple[zipfile.ZipInfo, Path]] = []
        for member in opened.infolist():
            file_type = member.external_attr >> 28  # of the Unix mode; 0 from other systems
            if target := unpacking.target(member.filename, link=file_type not in (0, 0o4, 0o10)):
                accepted.append((member, target))
        unpacking.expect(sum(member.file_size for member, _ in accepted))
        for member, target in accepted:
            unpacking.begin(target)
            with opened.open(member) as file:
                while block := file.read(_BLOCK_BYTES):
                    unpacking.write(block)


def _unpack_tar(archive: Path, unpacking: Unpacking) -> None:
    # Reads a stream, because listing the members of a compressed tar would read all of it first.
    with gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as opened:
        for member in opened:
            name = f"{member.name}/" if member.isdir() else member.name
            target = unpacking.target(name, link=not (member.isfile() or member.isdir()))
            if target is None:
                continue
            require_space(unpacking.folder, member.size, os.fspath(target.name))
            unpacking.begin(target)
            file = opened.extractfile(member)
            assert file is not None
            while block := file.read(_BLOCK_BYTES):
                unpacking.write(block)
        while stream.read(_BLOCK_BYTES):  # gzip compares the checksum at the end
            pass
