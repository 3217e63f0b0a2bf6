"""Finds sound files by path, folder and glob."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

# What a folder is searched for; files that are named are always tried.
MEDIA = frozenset(
    ".wav .flac .ogg .oga .opus .mp3 .m4a .aac .aif .aiff .wma .au .amr .ac3 .caf .wv .mka .mp4 .m4v .mov .mkv .webm .avi "
    ".mpg .mpeg .ts .3gp .flv .wmv".split()
)


def find_sounds(paths: Iterable[str]) -> Iterator[str]:
    """Files as they are named; what a folder holds, at any depth, and what a glob matches, in the order of names."""
    for path in paths:
        if path == "-" or os.path.isfile(path):
            yield path
        elif os.path.isdir(path):
            for folder, folders, files in os.walk(path):
                folders.sort()
                yield from (
                    os.path.join(folder, f)
                    for f in sorted(files)
                    if Path(f).suffix.lower() in MEDIA
                )
        elif matches := sorted(glob.glob(path, recursive=True)):
            yield from find_sounds(matches)
        else:
            yield path  # reading it says what is wrong
