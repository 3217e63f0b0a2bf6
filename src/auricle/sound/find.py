"""Finds sound files by path, folder and glob."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

# Suffixes of the files that are found in folders. FFmpeg opens all of them.
# Files that the user names are always tried, with any suffix.
MEDIA_SUFFIXES = frozenset(
    ".wav .wave .w64 .rf64 .bwf .flac .ogg .oga .ogv .ogx .opus .spx .mp3 .mp2 .mpa .m4a .m4b "
    ".m4r .aac .aif .aiff .aifc .wma .au .snd .amr .ac3 .eac3 .dts .caf .wv .ape .tta .tak .mpc "
    ".mka .mp4 .m4v .mov .qt .mkv .webm .weba .avi .mpg .mpeg .vob .ts .mts .m2ts .m2t .3gp .3g2 "
    ".flv .f4v .wmv .asf .mxf".split()
)


def find_sounds(paths: Iterable[str], skipped: list[str] | None = None) -> Iterator[str]:
    """Yields the sound files that paths, folders and globs name.

    Searches a folder at any depth, in the order of names, and follows links to folders; searches
    each real folder once. Yields a path that does not exist as it is, so that reading it raises an
    error with the reason.

    Args:
        paths: files, folders, globs, or "-" for standard input. A pipe or a device counts as a
            file.
        skipped: receives the files of folders that are not sounds: files with another suffix, and
            AppleDouble files (`._dog.wav`).
    """
    for path in paths:
        if os.path.isdir(path):
            yield from _in_folder(path, skipped)
        elif path == "-" or os.path.lexists(path):
            yield path
        elif matches := sorted(glob.glob(path, recursive=True)):
            # Each match exists, so it is not read as a glob again.
            yield from find_sounds(matches, skipped)
        else:
            yield path


def _in_folder(top: str, skipped: list[str] | None) -> Iterator[str]:
    """Yields the sound files below a folder."""
    searched = set()
    for folder, folders, files in os.walk(top, followlinks=True):
        real = os.path.realpath(folder)
        if real in searched:  # a link to a parent, or a second link to a folder
            folders.clear()
            continue
        searched.add(real)
        folders.sort()
        for file in sorted(files):
            path = os.path.join(folder, file)
            if is_sound_name(file):
                yield path
            elif skipped is not None:
                skipped.append(path)


def is_sound_name(path: str) -> bool:
    """Returns whether a file in a folder or an archive has the name of a sound."""
    name = Path(path)
    return name.suffix.lower() in MEDIA_SUFFIXES and not is_apple_double(name.name)


def is_apple_double(name: str) -> bool:
    """Returns whether a file only holds metadata of macOS about another file."""
    return name.startswith("._")
