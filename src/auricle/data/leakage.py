"""Finds recordings on both sides of a split: by their groups, their bytes, and their sound.

Data sets from the same archive share recordings. Clotho, ESC-50 and UrbanSound8K, for example, all
come from Freesound. Archives also hold copies of recordings. A score on training data is worthless.

A sound's fingerprint is that of Haitsma and Kalker (A Highly Robust Audio Fingerprinting System,
ISMIR 2002): a 32-bit number for each 13 ms, which tells between which neighbouring bands the energy
grows. Two copies of a moment of sound, with other formats, levels or a little noise, differ in few
bits. Other moments differ in half of the bits, even if they sound similar to people.

    file -> 5 kHz mono -> spectra of .41 s -> 33 bands, 300-2000 Hz -> signs of differences
         -> numbers
    numbers of a test sound -> equal numbers of training sounds, at one offset
         -> share of equal bits
"""

import csv
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from auricle.data.cache import content_key
from auricle.data.manifest import Item
from auricle.errors import AudioError
from auricle.sound.decode import load_audio
from auricle.storage.arrays import ArrayStore
from auricle.storage.files import cache_folder, written_whole

FINGERPRINT_VERSION = 1  # of the fingerprint; each version has its own cache
RATE = 5_000  # Hz
WINDOW_SAMPLES = 2_048
HOP_SAMPLES = 64
BAND_EDGES = np.geomspace(300, 2_000, 34)  # Hz
SILENCE_POWER = 1e-9  # frames of a lower power, relative to full scale, count as silent
SEARCHED_FRAMES_AT_A_TIME = 2_048
MOST_OCCURRENCES = 1_000  # numbers of more frames are ignored, because they match everywhere
FEWEST_HITS = 3  # equal numbers at one offset that are needed to compare two sounds
MOST_OFFSETS = 20  # compared for one sound
FEWEST_FRAMES = 64  # that two sounds must share: 0.8 s
FEWEST_NUMBERS = 32  # different numbers among these frames
LEAST_EQUAL_BITS = 0.65  # the share for copies, as in the paper; unrelated sounds have 0.5

_BITS = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


@dataclass(frozen=True)
class Leak:
    """A training sound and a test sound of the same recording."""

    train: Item
    test: Item
    recording: str = ""  # the group of both
    copy: bool = False  # whether the files are equal, byte for byte
    seconds: float = 0.0  # of the shared sound
    similarity: float = 0.0  # the share of equal bits in the shared sound


@dataclass(frozen=True)
class FileFingerprint:
    """The digest and the fingerprint of a file."""

    digest: str
    fingerprint: np.ndarray  # (frames,) uint32


def fingerprint_files(
    files: Sequence[Path], *, jobs: int | None = None, folder: Path | None = None
) -> Iterator[FileFingerprint | AudioError]:
    """Yields the digest and fingerprint of each file, in their order, or its error.

    Computes each fingerprint once and keeps it in the user's cache.

    Args:
        files: the sound files.
        jobs: sounds at a time; one per processor if None.
        folder: holds the fingerprints; in the user's cache if None.
    """
    store = ArrayStore(folder or cache_folder(f"fingerprints-{FINGERPRINT_VERSION}"), np.uint32, 1)

    def fingerprinted(file: Path) -> FileFingerprint | AudioError:
        key = content_key(file)
        if isinstance(key, AudioError):
            return key
        try:
            if store.missing([key]):
                store.add({key: fingerprint(load_audio(file, RATE))})
            return FileFingerprint(key, store.load([key])[0][:, 0].copy())
        except AudioError as error:
            return error

    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        yield from pool.map(fingerprinted, files)


def fingerprint(samples: np.ndarray) -> np.ndarray:
    """Returns a number for each 12.8 ms of a sound, 0 for silent frames.

    (samples,) mono at 5 kHz -> (frames,) uint32.
    """
    if len(samples) < WINDOW_SAMPLES + HOP_SAMPLES:
        samples = np.pad(samples, (0, WINDOW_SAMPLES + HOP_SAMPLES - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW_SAMPLES)[::HOP_SAMPLES]
    window = np.hanning(WINDOW_SAMPLES)
    edges = np.round(BAND_EDGES * WINDOW_SAMPLES / RATE).astype(int)
    blocks = []
    for start in range(0, len(frames), SEARCHED_FRAMES_AT_A_TIME):
        power = (
            np.abs(np.fft.rfft(frames[start : start + SEARCHED_FRAMES_AT_A_TIME] * window, axis=1))
            ** 2
        )
        blocks.append(np.add.reduceat(power, edges, axis=1)[:, :-1])
    bands = np.concatenate(blocks) / (window**2).sum() / WINDOW_SAMPLES  # (frames, 33)
    slope = np.diff(bands, axis=1)
    growing = np.diff(slope, axis=0, prepend=slope[:1]) > 0  # (frames, 32)
    numbers = np.packbits(growing, axis=1).view(">u4")[:, 0].astype(np.uint32)
    return np.where(bands.sum(axis=1) > SILENCE_POWER, numbers, 0)


class Index:
    """An index of the numbers in fingerprints."""

    def __init__(self, fingerprints: Sequence[np.ndarray]) -> None:
        self.fingerprints = fingerprints
        lengths = [len(each) for each in fingerprints]
        numbers = np.concatenate([*fingerprints, np.zeros(0, np.uint32)])
        order = np.argsort(numbers, kind="stable")
        self._numbers = numbers[order]
        self._sound = np.repeat(np.arange(len(lengths)), lengths)[order]
        self._frame = np.concatenate(
            [np.arange(length) for length in lengths] or [np.zeros(0, int)]
        )[order]

    def search(self, numbers: np.ndarray) -> dict[int, tuple[float, float]]:
        """Finds the sounds that share a stretch with the sound of a fingerprint.

        Returns:
            number of a sound -> (shared seconds, share of equal bits)
        """
        first, last = (np.searchsorted(self._numbers, numbers, side) for side in ("left", "right"))
        counts = np.where((numbers != 0) & (last - first <= MOST_OCCURRENCES), last - first, 0)
        places = (
            np.repeat(first, counts)
            + np.arange(counts.sum())
            - np.repeat(np.cumsum(counts) - counts, counts)
        )
        frames = np.repeat(np.arange(len(numbers)), counts)
        reach = len(numbers)
        # Encodes sound and offset in one number. An offset is at least -reach.
        longest = max((len(each) for each in self.fingerprints), default=0) + reach
        keys = self._sound[places] * (longest + 1) + self._frame[places] - frames + reach
        pairs, hits = np.unique(keys, return_counts=True)
        matches: dict[int, tuple[float, float]] = {}
        for key in pairs[np.argsort(-hits, kind="stable")][:MOST_OFFSETS][
            : int((hits >= FEWEST_HITS).sum())
        ]:
            sound, offset = int(key) // (longest + 1), int(key) % (longest + 1) - reach
            shared = compare(self.fingerprints[sound], numbers, offset)
            if shared is not None and shared > matches.get(sound, (0.0, 0.0)):
                matches[sound] = shared
        return matches


def compare(one: np.ndarray, other: np.ndarray, offset: int) -> tuple[float, float] | None:
    """Compares two sounds; the other one begins `offset` frames after the one.

    Returns:
        The shared seconds and the share of equal bits; None if the common stretch is too short, too
        uniform, or different.
    """
    start, end = max(offset, 0), min(len(one), len(other) + offset)
    if end - start < FEWEST_FRAMES:
        return None
    a, b = one[start:end], other[start - offset : end - offset]
    both = (a != 0) & (b != 0)
    if both.sum() < FEWEST_FRAMES or len(np.unique(b[both])) < FEWEST_NUMBERS:
        return None
    different = _BITS[(a[both] ^ b[both]).view(np.uint8)].sum()
    equal = 1 - float(different) / (32 * int(both.sum()))
    return (int(both.sum()) * HOP_SAMPLES / RATE, equal) if equal >= LEAST_EQUAL_BITS else None


def find_leaks(
    items: Sequence[Item], test: Collection[str], fingerprints: Mapping[Path, FileFingerprint]
) -> list[Leak]:
    """Finds all pairs of a training sound and a test sound of the same recording.

    Args:
        items: the sounds of all splits.
        test: the splits of the test sounds; the others hold training sounds.
        fingerprints: by file; sounds without a fingerprint are compared by their group only.
    """
    train_items = [item for item in items if item.split not in test]
    test_items = [item for item in items if item.split in test]
    groups: dict[str, list[int]] = defaultdict(list)
    digests: dict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(train_items):
        if item.group:
            groups[item.group].append(number)
        if item.file in fingerprints:
            digests[fingerprints[item.file].digest].append(number)
    silent = np.zeros(0, np.uint32)
    index = Index(
        [
            fingerprints[item.file].fingerprint if item.file in fingerprints else silent
            for item in train_items
        ]
    )
    leaks = []
    for item in test_items:
        known = fingerprints.get(item.file)
        recording = set(groups.get(item.group, ()))
        copies = set(digests.get(known.digest, ())) if known else set()
        alike = index.search(known.fingerprint) if known else {}
        for number in sorted({*recording, *copies, *alike}):
            seconds, similarity = alike.get(number, (0.0, 0.0))
            group = item.group if number in recording else ""
            leaks.append(
                Leak(
                    train_items[number],
                    item,
                    group,
                    number in copies,
                    round(seconds, 2),
                    round(similarity, 3),
                )
            )
    return leaks


def write_leaks(path: Path, leaks: Sequence[Leak], base: Path) -> None:
    """Writes a CSV with a row for each pair; files are named relative to `base`."""
    with written_whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                *("train_file", "train_split", "test_file", "test_split"),
                *("recording", "equal_files", "equal_seconds", "equal_bits"),
            ]
        )
        for leak in leaks:
            sides = [
                value
                for item in (leak.train, leak.test)
                for value in (Path(os.path.relpath(item.file, base)).as_posix(), item.split)
            ]
            shared = (
                [f"{leak.seconds:.2f}", f"{leak.similarity:.3f}"] if leak.similarity else ["", ""]
            )
            writer.writerow([*sides, leak.recording, "yes" if leak.copy else "", *shared])
