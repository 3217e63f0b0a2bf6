"""The limits of the plan decoder's language, learnt from the captions that it was trained on.

A small decoder adds words that often stand in captions ("in the background"), and now and then
leaves the path of its language ("a saw is being used to a board"). Its search may only use words
that captions of the plan's classes use, and sequences of three words that somebody wrote.
"""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from auricle.checkpoint.vocabulary import Vocabulary
from auricle.errors import AuricleError
from auricle.planning.classes import SoundClasses
from auricle.planning.plans import Plan, forbidden_words, plan_words
from auricle.storage.files import written_whole

# The authors of captions: our grammar, and the people who wrote AudioCaps and Clotho.
SOURCES = ("ours", "audiocaps", "clotho")
OURS, AUDIOCAPS = SOURCES.index("ours"), SOURCES.index("audiocaps")
# The most words of a caption of each length.
LENGTHS = (7, 9, 12, 16)
MANNERS = len(SOURCES) * len(LENGTHS)
MOST_VOCABULARY_WORDS = 1 << 16  # of a vocabulary; `Followers` stores indices of words as uint16
MOST_LANGUAGE_BYTES = 1 << 26  # of the arrays in a file, unpacked


def manner_index(source: int, word_count: int) -> int:
    """Returns the index of a manner of wording: the author of a caption, and its length.

    Args:
        source: an index of `SOURCES`.
        word_count: the number of words.
    """
    length = sum(word_count > most for most in LENGTHS[:-1])
    return source * len(LENGTHS) + length


@dataclass(frozen=True)
class Followers:
    """The words that may follow a word, or two words; `<sos>` and `<eos>` are included."""

    starts: np.ndarray  # (words + 1,) int32, where the followers of each word begin
    followers: np.ndarray  # (pairs,) uint16, indices of words, ascending for each word
    pair_starts: np.ndarray  # (pairs + 1,) int32, where the followers of each pair begin
    pair_followers: np.ndarray  # (triples,) uint16, indices of words

    def of(self, word_index: int) -> np.ndarray:
        """Returns the indices of the words that may follow a word."""
        return self.followers[self.starts[word_index] : self.starts[word_index + 1]]

    def of_pair(self, first_index: int, second_index: int) -> np.ndarray:
        """Returns the indices of the words that may follow two words; none if no pair is known."""
        seconds = self.of(first_index)
        place = int(np.searchsorted(seconds, second_index))
        if place == len(seconds) or seconds[place] != second_index:
            return seconds[:0]
        pair = self.starts[first_index] + place
        return self.pair_followers[self.pair_starts[pair] : self.pair_starts[pair + 1]]


@dataclass(frozen=True)
class Language:
    """What the search for a caption of a plan may use."""

    class_words: np.ndarray  # (classes, words) bool, true where captions of the class use the word
    followers: Followers
    # (classes,) bool, true where people wrote enough captions of the class
    written_by_people: np.ndarray

    def usual_words(self, plan: Plan, vocabulary: Vocabulary) -> set[str]:
        """Returns the words that captions of the plan's classes use."""
        return {vocabulary.words[index] for index in np.flatnonzero(self._used(plan))}

    def forbidden_tokens(
        self, plan: Plan, classes: SoundClasses, vocabulary: Vocabulary
    ) -> list[int]:
        """Returns the tokens that a caption of this plan must not hold."""
        used = self._used(plan)
        used[vocabulary.numbers(plan_words(plan))] = True
        used[vocabulary.numbers(forbidden_words(plan, classes))] = False
        return np.flatnonzero(~used).tolist()

    def _used(self, plan: Plan) -> np.ndarray:
        """Returns (words,) bool, true for the words that captions of the plan's classes use."""
        return np.asarray(self.class_words[plan.class_indices].any(axis=0))

    def manner(self, plan: Plan) -> int:
        """Returns the index of the manner that words a plan best.

        Several events are worded as people do. So is a single event if people wrote enough captions
        of it; others are worded as our sentences.
        """
        indices = plan.class_indices
        if len(indices) > 1:
            return manner_index(AUDIOCAPS, LENGTHS[min(len(indices), len(LENGTHS) - 1)])
        by_people = self.written_by_people[indices[0]]
        return manner_index(AUDIOCAPS if by_people else OURS, LENGTHS[1])

    def save(self, path: Path) -> None:
        """Writes `language.npz`."""
        with written_whole(path) as part, part.open("wb") as file:
            np.savez_compressed(
                file,
                class_words=np.packbits(self.class_words, axis=1),
                starts=self.followers.starts,
                followers=self.followers.followers,
                pair_starts=self.followers.pair_starts,
                pair_followers=self.followers.pair_followers,
                written_by_people=self.written_by_people,
            )

    @classmethod
    def load(cls, path: Path, classes: int, words: int) -> "Language":
        """Reads `language.npz`.

        Args:
            path: the file.
            classes: the number of classes.
            words: the number of words in the vocabulary.

        Raises:
            AuricleError: the file cannot be read, or its arrays do not fit the numbers of classes
                and words.
        """
        try:
            arrays = _read_arrays(path)
        except (
            OSError,
            ValueError,
            EOFError,
            MemoryError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise AuricleError(f"{path}: cannot read the language: {error}") from None
        pairs = arrays["followers"].size if "followers" in arrays else 0
        triples = arrays["pair_followers"].size if "pair_followers" in arrays else 0
        expected: dict[str, tuple[tuple[int, ...], type]] = {
            "class_words": ((classes, (words + 7) // 8), np.uint8),
            "starts": ((words + 1,), np.int32),
            "followers": ((pairs,), np.uint16),
            "pair_starts": ((pairs + 1,), np.int32),
            "pair_followers": ((triples,), np.uint16),
            "written_by_people": ((classes,), np.bool_),
        }
        for name, (shape, dtype) in expected.items():
            array = arrays.get(name)
            if array is None or array.shape != shape or array.dtype != dtype:
                raise AuricleError(
                    f"{path}: {name} does not fit {classes} classes and {words} words"
                )
        followers = Followers(
            *(arrays[name] for name in ("starts", "followers", "pair_starts", "pair_followers"))
        )
        if not (
            _are_lists(followers.starts, followers.followers, words)
            and _are_lists(followers.pair_starts, followers.pair_followers, words)
        ):
            raise AuricleError(f"{path}: its sequences of words do not fit {words} words")
        class_words = np.unpackbits(arrays["class_words"], axis=1, count=words).astype(bool)
        return cls(class_words, followers, arrays["written_by_people"])


def _are_lists(starts: np.ndarray, entries: np.ndarray, words: int) -> bool:
    """Returns whether entries are words, and starts divide them into lists."""
    ordered = starts[0] == 0 and (np.diff(starts) >= 0).all() and starts[-1] == len(entries)
    return bool(ordered and (entries < words).all())


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a file, if they are small."""
    with zipfile.ZipFile(path) as archive:
        unpacked_bytes = sum(member.file_size for member in archive.infolist())
    if unpacked_bytes > MOST_LANGUAGE_BYTES:
        raise ValueError(
            f"{unpacked_bytes} bytes when unpacked, but the limit is {MOST_LANGUAGE_BYTES}"
        )
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
