"""Keeps log-mel spectrograms on disk; computes each once and reads it by a memory map."""

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
from auricle.sound.features import LOG_MEL_VERSION, FrontEnd, log_mel
from auricle.storage.arrays import ArrayStore
from auricle.storage.files import cache_folder

SOUNDS_PER_COMMIT = 64  # their spectrograms are stored together; a crash loses at most these


@dataclass(frozen=True)
class Features:
    """The spectrograms of sound files."""

    files: list[Path]  # the readable files, in their order
    spectrograms: list[np.ndarray]  # (frames, mels) float32 of each file, read-only
    fingerprint: str  # of the content of the files


def front_end_fingerprint(front_end: FrontEnd) -> str:
    """Returns a digest of the computation of a spectrogram from samples."""
    return fingerprint_of(repr((LOG_MEL_VERSION, front_end)))


class FeatureCache:
    """A cache of the log-mel spectrograms of sound files.

    The keys are made from the front end's parameters and the file's content, so a changed file or
    front end gets a new entry.

    Args:
        front_end: the parameters of the spectrogram.
        maximum_seconds: longer sounds are cut.
        folder: holds the spectrograms; in the user's cache if None.
    """

    def __init__(
        self, front_end: FrontEnd, maximum_seconds: float, folder: Path | None = None
    ) -> None:
        self.front_end = front_end
        self.maximum_seconds = maximum_seconds
        parameters = repr((LOG_MEL_VERSION, front_end, maximum_seconds)).encode()
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
        """Returns the spectrograms of the files; computes and stores missing ones.

        Args:
            files: the sound files.
            jobs: sounds at a time; one per processor if None.
            bad_clips: if given, unreadable files are left out, and their errors are added here.
            report: receives the progress.

        Raises:
            AuricleError: a file cannot be read, without `bad_clips`; or no file can be read. The
                message lists the unreadable files, one per line.
        """
        store = ArrayStore(self.folder, np.float32, self.front_end.mels)
        keys: dict[Path, str] = {}
        problems: dict[Path, AudioError] = {}
        with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
            keyed = zip(files, pool.map(content_key, files), strict=True)
            for number, (file, key) in enumerate(keyed, start=1):
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
    """Returns a hash of the file's content, in hexadecimal, or the error of reading it."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "blake2b").hexdigest()[:32]
    except OSError as error:
        return AudioError(f"{file}: cannot be read: {error.strerror}")
