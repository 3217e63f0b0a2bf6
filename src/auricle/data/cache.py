"""Log-mel spectrograms on disk, computed once and memory-mapped."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from auricle.checkpoint.fingerprints import fingerprint_of
from auricle.data.progress import SILENT, Report
from auricle.errors import AudioError, AuricleError
from auricle.sound.decode import load_audio
from auricle.sound.features import VERSION, FrontEnd, log_mel
from auricle.storage.arrays import ArrayStore
from auricle.storage.files import cache_folder

SOUNDS_PER_COMMIT = 64  # sounds whose spectrograms are stored together; a stop loses at most these


@dataclass(frozen=True)
class Features:
    """The spectrograms of sound files."""

    files: list[Path]  # those that could be read, in their order
    spectrograms: list[np.ndarray]  # (frames, mels) float32 of each file, read-only
    fingerprint: str  # of the content of the files


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
        self,
        files: Sequence[Path],
        *,
        jobs: int | None = None,
        bad_clips: list[str] | None = None,
        report: Report = SILENT,
    ) -> Features:
        """Returns the spectrograms of the files.

        Missing ones are computed, several at a time, and stored.

        Args:
            files: the sound files.
            jobs: sounds at a time; one per processor if None.
            bad_clips: if given, files that cannot be read are left out, and their errors added
                here.
            report: takes the progress.

        Raises:
            AuricleError: lists every file that cannot be read, one per line, or none can be read.
        """
        store = ArrayStore(self.folder, np.float32, self.front_end.mels)
        keys: dict[Path, str] = {}
        problems: dict[Path, AudioError] = {}
        with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
            read = zip(files, pool.map(content_key, files), strict=True)
            for number, (file, key) in enumerate(read, start=1):
                report("Reading sounds", number, len(files))
                if isinstance(key, AudioError):
                    problems[file] = key
                else:
                    keys[file] = key
            missing = store.missing(list(keys.values()))
            # Files with equal content share an entry.
            new = list({key: file for file, key in keys.items() if key in missing}.values())
            computed = zip(new, pool.map(self._spectrogram, new), strict=True)
            pending: dict[str, np.ndarray] = {}
            for number, (file, spectrogram) in enumerate(computed, start=1):
                report("Computing spectrograms", number, len(new))
                if isinstance(spectrogram, AudioError):
                    failed = keys[file]
                    like = {other for other, key in keys.items() if key == failed} - {file}
                    problems |= {file: spectrogram}
                    problems |= {
                        other: AudioError(f"{other}: like {spectrogram}") for other in like
                    }
                    continue
                pending[keys[file]] = spectrogram
                if len(pending) == SOUNDS_PER_COMMIT:
                    store.add(pending)
                    pending = {}
            store.add(pending)
        unreadable = [str(problems[file]) for file in files if file in problems]
        good = [file for file in files if file not in problems]
        if unreadable and (bad_clips is None or not good):
            listed = "\n  ".join(unreadable)
            raise AuricleError(
                f"{len(problems)} of {len(files)} sounds cannot be used:\n  {listed}"
            )
        if bad_clips is not None:
            bad_clips += unreadable
        ordered = [keys[file] for file in good]
        return Features(good, store.load(ordered), fingerprint_of(ordered))

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
