"""Log-mel spectrograms on disk, computed once and memory-mapped."""

import hashlib
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from rich.progress import track

from auricle.errors import AudioError, AuricleError
from auricle.sound.decode import load_audio
from auricle.sound.features import VERSION, FrontEnd, log_mel
from auricle.storage.files import cache_folder

OLD = 86_400.0  # seconds after which an unfinished entry is what a killed process left


class FeatureCache:
    """The log-mel spectrograms of some files, as read-only memory maps.

    Entries are keyed by the front end's parameters and the file's content, so a changed file or
    front end is a new entry.

    Args:
        front_end: which spectrogram.
        maximum_seconds: longer sounds are cut.
        folder: where to keep them; in the user's cache if None.
    """

    def __init__(
        self, front_end: FrontEnd, maximum_seconds: float, folder: Path | None = None
    ) -> None:
        self.front_end = front_end
        self.maximum_seconds = maximum_seconds
        parameters = hashlib.sha256(
            repr((VERSION, front_end, maximum_seconds)).encode()
        ).hexdigest()[:12]
        self.folder = (folder or cache_folder("features")) / f"{front_end.name}-{parameters}"

    def load(
        self, files: Sequence[Path], *, jobs: int | None = None, progress: bool = True
    ) -> list[np.ndarray]:
        """The spectrograms of the files, (frames, mels) float32 each; those that are missing are
        computed, in parallel.

        Raises:
            AuricleError: with every file that cannot be read, a line each.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_old_parts(self.folder)
        problems: list[str] = []
        spectrograms: list[np.ndarray] = []
        with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
            results = pool.map(partial(self._entry), files)
            for result in track(
                results, "Features", len(files), disable=not progress, transient=True
            ):
                if isinstance(result, AudioError):
                    problems.append(str(result))
                else:
                    spectrograms.append(np.load(result, mmap_mode="r"))
        if problems:
            raise AuricleError(
                "\n  ".join([f"{len(problems)} of {len(files)} sounds cannot be used:", *problems])
            )
        return spectrograms

    def _entry(self, file: Path) -> Path | AudioError:
        try:
            with file.open("rb") as opened:
                digest = hashlib.file_digest(opened, "blake2b").hexdigest()[:32]
        except OSError as error:
            return AudioError(f"{file}: cannot be read: {error.strerror}")
        try:
            entry = self.folder / f"{digest}.npy"
            if not entry.exists():
                samples = load_audio(file, self.front_end.rate, max_seconds=self.maximum_seconds)
                write_whole(entry, log_mel(samples, self.front_end))
            return entry
        except AudioError as error:
            return error


def remove_old_parts(folder: Path) -> None:
    """Removes what processes that were killed began to write."""
    for part in folder.glob("*.part"):
        with suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > OLD:
                part.unlink()


def write_whole(path: Path, array: np.ndarray) -> None:
    """Writes an .npy that is there whole or not at all, also when two processes write it at once.

    Raises:
        AuricleError: the disk is full, or the folder cannot be written.
    """
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            np.save(file, array)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary:
            os.unlink(temporary)
        if isinstance(error, OSError):  # numpy's own says how many bytes there is no room for
            raise AuricleError(
                f"{path.parent} cannot be written ({error.strerror or error}): is its disk full?"
            ) from None
        raise
