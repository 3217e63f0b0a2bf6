"""The result of preparing a public data set, and the monitor of its progress."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from auricle.data.manifest import Item
from auricle.storage.download import Progress

# Takes the title of a step; its context yields the function to call with the bytes done.
Monitor = Callable[[str], AbstractContextManager[Progress | None]]


@dataclass(frozen=True)
class Prepared:
    """A data set with its manifest."""

    name: str
    manifest: Path
    items: Sequence[Item]
    missing: Mapping[str, Sequence[str]]  # split -> names of the missing sounds
    licence: str

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """Returns for each split the numbers of sounds, captions, and missing sounds."""
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
    """A monitor that shows nothing."""
    yield None
