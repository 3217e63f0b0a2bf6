"""Log-mel spectrograms on disk, computed once and memory-mapped."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

from auricle.checkpoint.fingerprints import fingerprint_of
from auricle.errors import AudioError, AuricleError
from auricle.sound.decode import load_audio
from auricle.sound.features import VERSION, FrontEnd, log_mel
from auricle.storage.arrays import ArrayStore
from auricle.storage.files import cache_folder

SOUNDS_PER_COMMIT = 64  # sounds whose spectrograms are stored together; a stop loses at most these


@dataclass(frozen=True)
class Features:
    """The spectrograms of sound files."""

    spectrograms: list[np.ndarray]  # (frames, mels) float32 each, read-only, in the files' order
    fingerprint: str  # of the content of the files in their order


def front_end_fingerprint(front_end: FrontEnd) -> str:
    """Returns a digest of all that turns samples into a spectrogram."""
    return fingerprint_of(repr((VERSION, front_end)))


class FeatureCache:
    """The log-mel spectrograms of sound files.

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
        parameters = repr((VERSION, front_end, maximum_seconds)).encode()
        name = f"{front_end.name}-{hashlib.sha256(parameters).hexdigest()[:12]}"
        self.folder = (folder or cache_folder("features")) / name

    def load(
        self, files: Sequence[Path], *, jobs: int | None = None, progress: bool = True
    ) -> Features:
        """Returns the spectrograms of the files.

        Missing ones are computed, several at a time, and stored.

        Args:
            files: the sound files.
            jobs: sounds at a time; one per processor if None.
            progress: whether to show a progress bar.

        Raises:
            AuricleError: lists every file that cannot be read, one per line.
        """
        store = ArrayStore(self.folder, np.float32, self.front_end.mels)
        keys: dict[Path, str] = {}
        problems: dict[Path, AudioError] = {}
        with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
            for file, key in zip(files, pool.map(content_key, files), strict=True):
                if isinstance(key, AudioError):
                    problems[file] = key
                else:
                    keys[file] = key
            missing = store.missing(list(keys.values()))
            # Files with equal content share an entry.
            new = list({key: file for file, key in keys.items() if key in missing}.values())
            computed = zip(new, pool.map(self._spectrogram, new), strict=True)
            pending: dict[str, np.ndarray] = {}
            for file, spectrogram in track(
                computed, "Features", len(new), disable=not progress, transient=True
            ):
                if isinstance(spectrogram, AudioError):
                    problems[file] = spectrogram
                    continue
                pending[keys[file]] = spectrogram
                if len(pending) == SOUNDS_PER_COMMIT:
                    store.add(pending)
                    pending = {}
            store.add(pending)
        if problems:
            listed = "\n  ".join(str(problems[file]) for file in files if file in problems)
            raise AuricleError(
                f"{len(problems)} of {len(files)} sounds cannot be used:\n  {listed}"
            )
        ordered = [keys[file] for file in files]
        return Features(store.load(ordered), fingerprint_of(ordered))

    def _spectrogram(self, file: Path) -> np.ndarray | AudioError:
        try:
            samples = load_audio(file, self.front_end.rate, max_seconds=self.maximum_seconds)
            return log_mel(samples, self.front_end)
        except AudioError as error:
            return error


def content_key(file: Path) -> str | AudioError:
    """A hash of the file's content, in hexadecimal."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "blake2b").hexdigest()[:32]
    except OSError as error:
        return AudioError(f"{file}: cannot be read: {error.strerror}")
