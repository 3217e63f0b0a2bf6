"""What the commands that prepare public data sets have in common."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from auricle.data.manifest import Item
from auricle.storage.download import Progress

# A context for one step of the work, which gives what is told of its bytes.
Monitor = Callable[[str], AbstractContextManager[Progress | None]]


@dataclass(frozen=True)
class Prepared:
    """A data set whose manifest is written."""

    name: str
    manifest: Path
    items: Sequence[Item]
    missing: Mapping[str, Sequence[str]]  # split -> the names of sounds that are not there
    licence: str

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """For each split: sounds, captions, and sounds that are missing."""
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
