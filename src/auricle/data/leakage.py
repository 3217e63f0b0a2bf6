"""Finds recordings on both sides of a split: by their groups, their bytes, and their sound.

Data sets cut from the same archive share recordings, as Clotho, ESC-50 and UrbanSound8K do, which
are cut from Freesound. Archives hold recordings twice. A score on training data is worthless.

A sound's fingerprint is that of Haitsma and Kalker (A Highly Robust Audio Fingerprinting System,
ISMIR 2002): a 32-bit number for each 13 ms that says between which neighbouring bands the energy
grows. Two copies of a moment of sound, in other formats, at other levels, with a little noise,
differ in few bits; other moments, however alike they sound to people, differ in half of them.

    file -> 5 kHz mono -> spectra of .41 s -> 33 bands, 300-2000 Hz -> signs of differences
         -> numbers
    numbers of a sound to score on -> equal ones of sounds to learn from, at one offset
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

VERSION = 1  # of the fingerprint: another is another cache
RATE = 5_000
WINDOW = 2_048
HOP = 64
EDGES = np.geomspace(300, 2_000, 34)  # Hz, of the bands
FLOOR = 1e-9  # power of a frame, of full scale, below which there is nothing to tell apart
BLOCK = 2_048  # frames at a time
COMMON = 1_000  # a number that stands in more frames than that says nothing
HITS = 3  # equal numbers at one offset before two sounds are compared there
CANDIDATES = 20  # offsets compared for one sound
SHORTEST = 64  # frames that two sounds must share: .8 s
VARIED = 32  # different numbers among those
LEAST_EQUAL = 0.65  # share of equal bits of two copies, as there; unrelated sounds have .5

_BITS = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


@dataclass(frozen=True)
class Leak:
    """A sound to learn from and a sound to score on, of one recording."""

    train: Item
    test: Item
    recording: str = ""  # the group that both have
    copy: bool = False  # whether the files are equal, byte for byte
    seconds: float = 0.0  # of sound that both have
    similarity: float = 0.0  # share of equal bits in it


@dataclass(frozen=True)
class Heard:
    """The digest and the fingerprint of a file."""

    digest: str
    fingerprint: np.ndarray  # (frames,) uint32


def hear(
    files: Sequence[Path], *, jobs: int | None = None, folder: Path | None = None
) -> Iterator[Heard | AudioError]:
    """Digest and fingerprint of each file, in their order, or why it has none.

    Fingerprints are computed once and kept in the user's cache.

    Args:
        files: the sound files.
        jobs: sounds at a time; one per processor if None.
        folder: where to keep fingerprints; in the user's cache if None.
    """
    store = ArrayStore(folder or cache_folder(f"fingerprints-{VERSION}"), np.uint32, 1)

    def heard(file: Path) -> Heard | AudioError:
        key = content_key(file)
        if isinstance(key, AudioError):
            return key
        try:
            if store.missing([key]):
                store.add({key: fingerprint(load_audio(file, RATE))})
            return Heard(key, store.load([key])[0][:, 0].copy())
        except AudioError as error:
            return error

    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        yield from pool.map(heard, files)


def fingerprint(samples: np.ndarray) -> np.ndarray:
    """(samples,) mono at 5 kHz -> (frames,) uint32, one for each 12.8 ms; 0 where it is silent."""
    if len(samples) < WINDOW + HOP:
        samples = np.pad(samples, (0, WINDOW + HOP - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    window = np.hanning(WINDOW)
    edges = np.round(EDGES * WINDOW / RATE).astype(int)
    blocks = []
    for start in range(0, len(frames), BLOCK):
        power = np.abs(np.fft.rfft(frames[start : start + BLOCK] * window, axis=1)) ** 2
        blocks.append(np.add.reduceat(power, edges, axis=1)[:, :-1])
    bands = np.concatenate(blocks) / (window**2).sum() / WINDOW  # (frames, 33)
    slope = np.diff(bands, axis=1)
    growing = np.diff(slope, axis=0, prepend=slope[:1]) > 0  # (frames, 32)
    numbers = np.packbits(growing, axis=1).view(">u4")[:, 0].astype(np.uint32)
    return np.where(bands.sum(axis=1) > FLOOR, numbers, 0)


class Index:
    """Fingerprints, and where each number stands in them."""

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
        """Finds the sounds that share a stretch with this one.

        Returns:
            number of a sound -> (shared seconds, share of equal bits)
        """
        first, last = (np.searchsorted(self._numbers, numbers, side) for side in ("left", "right"))
        counts = np.where((numbers != 0) & (last - first <= COMMON), last - first, 0)
        places = (
            np.repeat(first, counts)
            + np.arange(counts.sum())
            - np.repeat(np.cumsum(counts) - counts, counts)
        )
        frames = np.repeat(np.arange(len(numbers)), counts)
        reach = len(numbers)
        # One number for sound and offset; an offset may be as low as -reach.
        longest = max((len(each) for each in self.fingerprints), default=0) + reach
        keys = self._sound[places] * (longest + 1) + self._frame[places] - frames + reach
        pairs, hits = np.unique(keys, return_counts=True)
        found: dict[int, tuple[float, float]] = {}
        for key in pairs[np.argsort(-hits, kind="stable")][:CANDIDATES][
            : int((hits >= HITS).sum())
        ]:
            sound, offset = int(key) // (longest + 1), int(key) % (longest + 1) - reach
            shared = compare(self.fingerprints[sound], numbers, offset)
            if shared is not None and shared > found.get(sound, (0.0, 0.0)):
                found[sound] = shared
        return found


def compare(one: np.ndarray, other: np.ndarray, offset: int) -> tuple[float, float] | None:
    """Compares two sounds where the other begins `offset` frames into the one.

    Returns:
        The shared seconds and the share of equal bits; None where the shared stretch is too short,
        too uniform, or not the same.
    """
    start, end = max(offset, 0), min(len(one), len(other) + offset)
    if end - start < SHORTEST:
        return None
    a, b = one[start:end], other[start - offset : end - offset]
    both = (a != 0) & (b != 0)
    if both.sum() < SHORTEST or len(np.unique(b[both])) < VARIED:
        return None
    different = _BITS[(a[both] ^ b[both]).view(np.uint8)].sum()
    equal = 1 - float(different) / (32 * int(both.sum()))
    return (int(both.sum()) * HOP / RATE, equal) if equal >= LEAST_EQUAL else None


def find_leaks(
    items: Sequence[Item], test: Collection[str], heard: Mapping[Path, Heard]
) -> list[Leak]:
    """Finds all pairs of a sound to learn from and a sound to score on, of one recording.

    Args:
        items: of all splits.
        test: the splits to score on; the others are learnt from.
        heard: the fingerprints by file; sounds without one are compared by their group alone.
    """
    learnt = [item for item in items if item.split not in test]
    scored = [item for item in items if item.split in test]
    groups: dict[str, list[int]] = defaultdict(list)
    digests: dict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(learnt):
        if item.group:
            groups[item.group].append(number)
        if item.file in heard:
            digests[heard[item.file].digest].append(number)
    silent = np.zeros(0, np.uint32)
    index = Index(
        [heard[item.file].fingerprint if item.file in heard else silent for item in learnt]
    )
    leaks = []
    for item in scored:
        known = heard.get(item.file)
        recording = set(groups.get(item.group, ()))
        copies = set(digests.get(known.digest, ())) if known else set()
        alike = index.search(known.fingerprint) if known else {}
        for number in sorted({*recording, *copies, *alike}):
            seconds, similarity = alike.get(number, (0.0, 0.0))
            group = item.group if number in recording else ""
            leaks.append(
                Leak(
                    learnt[number],
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
            heard = (
                [f"{leak.seconds:.2f}", f"{leak.similarity:.3f}"] if leak.similarity else ["", ""]
            )
            writer.writerow([*sides, leak.recording, "yes" if leak.copy else "", *heard])
