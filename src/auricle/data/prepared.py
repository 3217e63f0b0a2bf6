"""Describes a prepared public data set, and monitors of the progress."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from auricle.data.manifest import Item
from auricle.storage.download import DownloadProgress

# Receives the title of a step; its context yields a function that receives the bytes done.
Monitor = Callable[[str], AbstractContextManager[DownloadProgress | None]]


@dataclass(frozen=True)
class Prepared:
    """A data set with its manifest."""

    name: str
    manifest: Path
    items: Sequence[Item]
    missing: Mapping[str, Sequence[str]]  # split -> names of the missing sounds
    licence: str

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """Returns the numbers of sounds, captions and missing sounds by split."""
        sounds = Counter(item.split for item in self.items)
        captions = Counter[str]()
        for item in self.items:
            captions[item.split] += len(item.captions)
        splits = dict.fromkeys([*(item.split for item in self.items), *self.missing])
        return {
            split: (sounds[split], captions[split], len(self.missing.get(split, ())))
            for split in splits
        }


@contextmanager
def silent(title: str) -> Iterator[None]:  # noqa: ARG001 - shows nothing
    """Monitors a step without showing its progress."""
    yield None
