"""Splits captions into words, and turns words into numbers and back."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from unicodedata import category, normalize

from auricle.checkpoint.fingerprints import fingerprint_of
from auricle.errors import AuricleError
from auricle.storage.files import written_whole

WORD = re.compile(r"[^\s'-]+(?:[-'][^\s'-]+)*")  # for text of letters, digits, - ' and blanks
NOT_IN_WORDS = re.compile(r"[^a-z0-9'-]+")  # for ASCII text in lower case
# Chinese, Japanese, Thai, Lao, Burmese and Khmer have no blanks between words.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
EAST_ASIAN = re.compile("[\u3005-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
PAD, SOS, EOS, UNKNOWN = range(4)
SPECIAL = ("<pad>", "<sos>", "<eos>", "<unk>")
TASK = "<task {}>"  # replaces <sos> before the captions of each further data set
# BART's special tokens in the order of their numbers, with our numbers.
BART_SPECIAL = {"<s>": SOS, "<pad>": PAD, "</s>": EOS, "<unk>": UNKNOWN}
# BART's tokenizer, which is GPT-2's, divides text of `words` like this before it looks for pieces.
PRE_TOKEN = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?[^\W\d_]+| ?\d+| ?[^\s\w]+")
# Words that a good caption may use twice.
STOP_WORDS = frozenset(
    "a an the and or but then while as with without of in on at by to into onto from for over "
    "under near is are was were be "
    "being it its their his her that this which who there some several another other each one two "
    "up down out off through".split()
)


def words(caption: str) -> list[str]:
    """Returns the words of a caption: lower case, composed (NFC), without punctuation.

    A word holds letters and digits of any script, and hyphens and apostrophes between them. In
    scripts without blanks, every character is a word.
    """
    if caption.isascii():  # nothing to compose; thousands of texts are split at a cold start
        return WORD.findall(NOT_IN_WORDS.sub(" ", caption.lower()))
    text = normalize("NFC", normalize("NFC", caption).lower())
    text = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return WORD.findall(NOT_IN_WORDS.sub(" ", text) if text.isascii() else _spaced(text))


def _spaced(text: str) -> str:
    """Replaces characters outside of words by blanks, and puts blanks around unspaced ones."""
    parts: list[str] = []
    unspaced = False
    for letter in text:
        kind = category(letter)[0]
        if kind == "M":  # an accent or a vowel sign of the letter before it
            parts.append(letter)
            continue
        in_word = kind in "LN"
        parts.append(" " if unspaced else "")
        unspaced = in_word and UNSPACED.match(letter) is not None
        parts.append(" " if unspaced else "")
        parts.append(letter if in_word or letter in "-'" else " ")
    return "".join(parts)


def sentence(caption_words: Sequence[str]) -> str:
    """Returns words as a sentence: with a capital at the start and a full stop at the end.

    Puts no blanks between characters of scripts without blanks.
    """
    if not caption_words:
        return ""
    text = caption_words[0]
    for before, word in pairwise(caption_words):
        unspaced = UNSPACED.match(before) and UNSPACED.match(word)
        text += word if unspaced else f" {word}"
    stop = "\N{IDEOGRAPHIC FULL STOP}" if EAST_ASIAN.match(caption_words[-1]) else "."
    return f"{text[:1].upper()}{text[1:]}{stop}"


class Vocabulary:
    """The words that a model knows, each with its number; the first four numbers are `SPECIAL`.

    Args:
        known: the words, in the order of their numbers, without the special ones.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self.words = (*SPECIAL, *known)
        self._numbers = {word: number for number, word in enumerate(self.words)}
        if len(self._numbers) != len(self.words):
            raise AuricleError("the vocabulary holds a word twice: expected each word once")

    @classmethod
    def build(cls, captions: Iterable[str], minimum_count: int = 1) -> "Vocabulary":
        """Returns the words that occur at least `minimum_count` times, the most frequent first."""
        counts = Counter(word for caption in captions for word in words(caption))
        ordered = sorted(counts, key=lambda word: (-counts[word], word))
        return cls(word for word in ordered if counts[word] >= minimum_count)

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Reads `vocabulary.txt`, one word per line, special ones first.

        If `merges.txt` is next to it, the words are pieces of words.

        Raises:
            AuricleError: the file is not a vocabulary.
        """
        lines = path.read_text("utf-8").split("\n")[:-1]
        if tuple(lines[: len(SPECIAL)]) != SPECIAL:
            raise AuricleError(
                f"{path}: not a vocabulary: expected the first lines {' '.join(SPECIAL)}"
            )
        known, merges = lines[len(SPECIAL) :], path.with_name("merges.txt")
        return Subwords(known, _read_merges(merges)) if merges.exists() else cls(known)

    def with_tasks(self, count: int) -> "Vocabulary":
        """Returns a copy with tokens that replace `<sos>` before captions of further data sets."""
        return Vocabulary(
            [*self.words[len(SPECIAL) :], *(TASK.format(task) for task in range(1, count + 1))]
        )

    def with_words(self, more: Iterable[str]) -> "Vocabulary":
        """Returns a copy with the unknown ones of some words at its end."""
        return Vocabulary(
            [*self.words[len(SPECIAL) :], *(word for word in more if word not in self)]
        )

    def save(self, path: Path) -> None:
        """Writes `vocabulary.txt`."""
        with written_whole(path) as part:
            part.write_text("".join(f"{word}\n" for word in self.words), "utf-8")

    def fingerprint(self) -> str:
        """Returns a digest of the words in the order of their numbers."""
        return fingerprint_of(self.words)

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._numbers

    @cached_property
    def repeatable_numbers(self) -> list[int]:
        """The numbers of words that a good caption may hold twice.

        These are stop words, and the characters of scripts without blanks.
        """
        characters = [number for number, word in enumerate(self.words) if UNSPACED.match(word)]
        return [*self.numbers(STOP_WORDS), *characters]

    def encode(self, caption: str, task: int = 0) -> list[int]:
        """Returns the numbers of a caption: `<sos>` or the task's token, the words, `<eos>`.

        Unknown words become `<unk>`.
        """
        beginning = self._numbers[TASK.format(task)] if task else SOS
        return [beginning, *(self._numbers.get(word, UNKNOWN) for word in words(caption)), EOS]

    def numbers(self, some: Iterable[str]) -> list[int]:
        """Returns the numbers of the known words."""
        return [self._numbers[word] for word in some if word in self._numbers]

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """Returns the words of the numbers, up to `<eos>`, without the special ones."""
        caption: list[str] = []
        for number in numbers:
            if number == EOS:
                break
            if number >= len(SPECIAL):
                caption.append(self.words[number])
        return caption


class Subwords(Vocabulary):
    """Byte-pair encoding of bytes (Sennrich et al. 2016), as in BART's tokenizer.

    Args:
        known: the pieces, in the order of their numbers, without the special ones; a piece that
            begins a word begins with "Ġ".
        merges: pairs of pieces that become one piece, the first rule first.
    """

    def __init__(self, known: Iterable[str], merges: Sequence[tuple[str, str]]) -> None:
        super().__init__(known)
        self.merges = merges
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._pieces: dict[str, list[int]] = {}  # the results of `_divide`

    @classmethod
    def read_published(cls, folder: Path) -> "Subwords":
        """Reads `vocab.json` and `merges.txt`, the files of `auricle data weights bart-tokenizer`.

        Raises:
            AuricleError: the files are missing or invalid.
        """
        try:
            numbers = json.loads((folder / "vocab.json").read_text("utf-8"))
            merges = _read_merges(folder / "merges.txt")
        except (OSError, ValueError) as error:
            raise AuricleError(
                f"{folder}: no tokenizer ({error}): download it with `auricle data weights "
                "bart-tokenizer`"
            ) from None
        ordered = sorted(numbers, key=lambda piece: numbers[piece])
        if [*ordered[: len(SPECIAL)]] != [*BART_SPECIAL] or [*map(numbers.get, ordered)] != [
            *range(len(ordered))
        ]:
            raise AuricleError(
                f"{folder / 'vocab.json'}: not BART's vocabulary: expected the first pieces "
                f"{' '.join(BART_SPECIAL)}"
            )
        return cls(ordered[len(SPECIAL) :], merges)

    def save(self, path: Path) -> None:
        """Writes `vocabulary.txt`, and `merges.txt` next to it."""
        super().save(path)
        with written_whole(path.with_name("merges.txt")) as part:
            part.write_text("".join(f"{a} {b}\n" for a, b in self.merges), "utf-8")

    def fingerprint(self) -> str:
        """Returns a digest of the pieces in the order of their numbers, and of the rules."""
        return fingerprint_of([self.words, self.merges])

    def with_words(self, more: Iterable[str]) -> "Vocabulary":  # noqa: ARG002
        """Returns this vocabulary: pieces can make up every word."""
        return self

    def __contains__(self, word: str) -> bool:
        return UNKNOWN not in self._divide(f" {word}")

    def encode(self, caption: str, task: int = 0) -> list[int]:
        """Returns `<sos>`, the numbers of the pieces, and `<eos>`; there are no tasks."""
        assert not task
        parts = PRE_TOKEN.findall(" ".join(words(caption)))
        return [SOS, *(number for part in parts for number in self._divide(part)), EOS]

    def numbers(self, some: Iterable[str]) -> list[int]:
        """Returns the numbers of words that are a single piece, at a caption's start or later."""
        divided = [self._divide(text) for word in some for text in (word, f" {word}")]
        return [pieces[0] for pieces in divided if len(pieces) == 1 and pieces[0] != UNKNOWN]

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """Returns the words of the numbers, up to `<eos>`, without the special tokens."""
        letters = "".join(super().decode(numbers))
        text = bytes(BYTES[letter] for letter in letters if letter in BYTES).decode(
            "utf-8", "replace"
        )
        return "".join(letter if letter.isprintable() else " " for letter in text).split()

    def _divide(self, text: str) -> list[int]:
        """Returns the numbers of the pieces of a word or a part of a word."""
        if text not in self._pieces:
            pieces = [LETTERS[byte] for byte in text.encode("utf-8")]
            while len(pieces) > 1:
                best = min(
                    pairwise(pieces), key=lambda pair: self._ranks.get(pair, len(self._ranks))
                )
                if best not in self._ranks:
                    break
                merged: list[str] = []
                for piece in pieces:
                    if merged and (merged[-1], piece) == best:
                        merged[-1] += piece
                    else:
                        merged.append(piece)
                pieces = merged
            self._pieces[text] = [self._numbers.get(piece, UNKNOWN) for piece in pieces]
        return self._pieces[text]


def _byte_letters() -> dict[str, int]:
    """Returns the byte that each letter of a piece means.

    A printable byte has its own letter. The other bytes have the letters from 256 on.
    """
    themselves = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in themselves]
    return {chr(byte): byte for byte in themselves} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }


BYTES = _byte_letters()
LETTERS = {byte: letter for letter, byte in BYTES.items()}


def _read_merges(path: Path) -> list[tuple[str, str]]:
    lines = path.read_text("utf-8").split("\n")
    pairs = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    if not all(len(pair) == 2 for pair in pairs):
        raise AuricleError(f"{path}: expected two pieces per line")
    return [(first, second) for first, second in pairs]
