"""Captions as words, and words as numbers."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from auricle.errors import AuricleError

WORD = re.compile(r"[a-z0-9]+(?:[-'][a-z0-9]+)*")
PAD, SOS, EOS, UNKNOWN = range(4)
SPECIAL = ("<pad>", "<sos>", "<eos>", "<unk>")
# Words that a good caption may well use twice.
STOP_WORDS = frozenset(
    "a an the and or but then while as with without of in on at by to into onto from for over under near is are was were be "
    "being it its their his her that this which who there some several another other each one two up down out off through".split()
)


def words(caption: str) -> list[str]:
    """The words of a caption: lower case, without punctuation."""
    return WORD.findall(caption.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def sentence(caption_words: Sequence[str]) -> str:
    """Words as people write them: a capital first, a full stop at the end."""
    text = " ".join(caption_words)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


class Vocabulary:
    """The words that a model knows, each with its number; the first four numbers are `SPECIAL`.

    Args:
        known: the words, in the order of their numbers, without the special ones.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self.words = (*SPECIAL, *known)
        self._numbers = {word: number for number, word in enumerate(self.words)}
        if len(self._numbers) != len(self.words):
            raise AuricleError("a vocabulary holds a word twice")

    @classmethod
    def build(cls, captions: Iterable[str], minimum_count: int = 1) -> "Vocabulary":
        """The words that occur at least `minimum_count` times, the most frequent first."""
        counts = Counter(word for caption in captions for word in words(caption))
        ordered = sorted(counts, key=lambda word: (-counts[word], word))
        return cls(word for word in ordered if counts[word] >= minimum_count)

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Reads `vocabulary.txt`, one word a line, the special ones first."""
        lines = path.read_text("utf-8").split("\n")[:-1]
        if tuple(lines[: len(SPECIAL)]) != SPECIAL:
            raise AuricleError(f"{path}: not a vocabulary: the first lines are not {' '.join(SPECIAL)}")
        return cls(lines[len(SPECIAL) :])

    def save(self, path: Path) -> None:
        """Writes `vocabulary.txt`."""
        path.write_text("".join(f"{word}\n" for word in self.words), "utf-8")

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._numbers

    def encode(self, caption: str) -> list[int]:
        """`<sos>`, the numbers of the words (`<unk>` for those not known), `<eos>`."""
        return [SOS, *(self._numbers.get(word, UNKNOWN) for word in words(caption)), EOS]

    def numbers(self, some: Iterable[str]) -> list[int]:
        """The numbers of those of the words that are known."""
        return [self._numbers[word] for word in some if word in self._numbers]

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """The words behind the numbers, up to `<eos>`, without the special ones."""
        caption: list[str] = []
        for number in numbers:
            if number == EOS:
                break
            if number >= len(SPECIAL):
                caption.append(self.words[number])
        return caption
