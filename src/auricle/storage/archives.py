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
from auricle.storage.download import Progress, require_space
from auricle.storage.unpacking import ArchiveError, Place, Unpacking

_BLOCK = 1 << 20


def unpack(archive: Path, folder: Path, place: Place, progress: Progress | None = None) -> None:
    """Unpacks the wanted members of a .zip, .7z or .tar.gz into a new folder.

    Args:
        archive: what kind it is, its name says.
        folder: must not exist; it appears when all is in it.
        place: where each member goes.
        progress: told of bytes unpacked, and of all where the archive says.

    Raises:
        ArchiveError: a damaged archive; a path that leaves the folder; a link or a device; a path
            twice; more than `MOST_FILES` members or `MOST_BYTES`; nothing wanted in it.
        AuricleError: it does not fit on the disk.
    """
    if folder.exists():
        raise ArchiveError(f"{archive}: {folder} is there already")
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
            raise ArchiveError(f"{archive}: nothing of what was expected is in it")
    except (AuricleError, ModuleNotFoundError):
        raise
    except Exception as error:  # a reader of damaged archives raises whatever it met
        raise ArchiveError(
            f"{archive}: cannot be unpacked: {str(error) or type(error).__name__}"
        ) from error
    finally:
        unpacking.close()
    part.replace(folder)


def _unpack_zip(archive: Path, unpacking: Unpacking) -> None:
    with zipfile.ZipFile(archive) as opened:
        wanted: list[tuple[zipfile.ZipInfo, Path]] = []
        for member in opened.infolist():
            kind = member.external_attr >> 28  # of a Unix mode; nothing where it was made elsewhere
            if target := unpacking.target(member.filename, link=kind not in (0, 0o4, 0o10)):
                wanted.append((member, target))
        unpacking.expect(sum(member.file_size for member, _ in wanted))
        for member, target in wanted:
            unpacking.begin(target)
            with opened.open(member) as file:
                while block := file.read(_BLOCK):
                    unpacking.write(block)


def _unpack_tar(archive: Path, unpacking: Unpacking) -> None:
    # As a stream: to list the members of a compressed tar is to read all of it.
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
            while block := file.read(_BLOCK):
                unpacking.write(block)
        while stream.read(_BLOCK):  # to its end, where the checksum of all is compared
            pass
