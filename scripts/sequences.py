r"""Measures the segmenter on sequences with known changes, and fits its weights.

    python scripts/sequences.py table data/heldout/sounds.csv \
        ../shared/reference/label_words.csv ../shared/corpus
    python scripts/sequences.py tune data/heldout/sounds.csv \
        ../shared/reference/label_words.csv ../shared/corpus

`table` joins sounds of recordings that the model never learnt from. `tune` joins sounds that it
learnt from and prints the weights for `auricle.captioning.changes.Change`. Both also test a bed
of ambience, which does not change where the sounds do and hides faint sounds.
"""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import track

from auricle import Captioner, load
from auricle.captioning.changes import (
    HOP_SECONDS,
    HOPS_PER_LOOK,
    MEMORY_HOPS,
    Change,
    differences,
    look,
    moment,
)
from auricle.captioning.segmenter import events_of
from auricle.data.manifest import Item
from auricle.evaluation.bootstrap import Statistic
from auricle.sound.decode import load_audio
from auricle.sound.features import log_mel
from embedded_scores import LABELLED, SEED, estimates, named, read_label_words, read_labelled, table

LENGTHS = (3, 6)  # sounds in a sequence, at least and at most
JOINS = ("butted", "crossfaded", "filled")
CROSSFADE = 1.0  # seconds
FILLING = (1.0, 3.0)  # seconds of quiet ambience, at least and at most
AMBIENCE_LEVEL = -50.0  # dBFS
# dBFS; sounds that hold so much silence are left out: it is a change itself
SILENT, SILENT_SECONDS = -60.0, 0.5
MOST_OF_A_LABEL = 9  # sounds; as many as `label_valid` has
SHORTEST = 3.0  # seconds of a sound, which crossfades may take from at both ends
BED = (-60.0, -45.0)  # dBFS of ambience under a whole sequence, at least and at most
NEAR = 1.0  # seconds that a change may be found from where it is
MOST_FALSE = 1.0  # changes a minute that are none, where the threshold is tuned
CONTROL = np.arange(-60.0, -14.0, 1.0)  # dBFS, thresholds of the control
Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Stretch:
    """Where one sound is heard in a sequence, in seconds; crossfades are halved."""

    item: Item
    start: float
    end: float


@dataclass(frozen=True)
class Scene:
    """Several sounds, one after the other."""

    samples: Samples
    stretches: list[Stretch]
    joins: list[str]  # between them

    @property
    def changes(self) -> list[tuple[float, str]]:
        """The times, in seconds, and kinds of changes; ambience in between makes two."""
        found = []
        for (before, after), join in zip(
            itertools.pairwise(self.stretches), self.joins, strict=True
        ):
            found += (
                [(before.end, join)]
                if join != "filled"
                else [(before.end, join), (after.start, join)]
            )
        return found


def level(samples: Samples) -> float:
    """RMS in dBFS."""
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-12))


def holds_silence(samples: Samples, rate: int) -> bool:
    """Whether half a second of it is below -60 dBFS."""
    size, step = round(SILENT_SECONDS * rate), rate // 20
    return any(
        level(samples[at : at + size]) < SILENT
        for at in range(0, max(1, len(samples) - size + 1), step)
    )


def draw_scenes(
    sounds: Sequence[tuple[Item, Samples]],
    ambiences: Sequence[Samples],
    expected: dict[str, set[str]],
    count: int,
    seed: int,
    rate: int,
) -> list[Scene]:
    """Sequences of sounds whose labels share no word; sounds and joins come evenly."""
    rng = random.Random(seed)
    deck: list[int] = []
    plans: list[list[int]] = []
    for _ in range(count):
        plan: list[int] = []
        length = rng.randint(*LENGTHS)
        while len(plan) < length:
            used = set[str]().union(*(expected[sounds[number][0].label] for number in plan))
            place = next(
                (
                    n
                    for n in deck
                    if n not in plan and used.isdisjoint(expected[sounds[n][0].label])
                ),
                None,
            )
            if place is None:
                deck += rng.sample(range(len(sounds)), len(sounds))
                continue
            deck.remove(place)
            plan.append(place)
        plans.append(plan)
    total = sum(len(plan) - 1 for plan in plans)
    joins = iter(rng.sample((JOINS * total)[:total], total))
    return [
        join_sounds(
            [sounds[n] for n in plan],
            list(itertools.islice(joins, len(plan) - 1)),
            ambiences,
            rate,
            rng,
        )
        for plan in plans
    ]


def join_sounds(
    sounds: Sequence[tuple[Item, Samples]],
    joins: list[str],
    ambiences: Sequence[Samples],
    rate: int,
    rng: random.Random,
) -> Scene:
    """One sound after the other."""
    samples = sounds[0][1].copy()
    stretches = [Stretch(sounds[0][0], 0.0, len(samples) / rate)]
    for join, (item, more) in zip(joins, sounds[1:], strict=True):
        start = len(samples)
        if join == "crossfaded":
            overlap = round(CROSSFADE * rate)
            rising = np.linspace(0, 1, overlap, dtype=np.float32)
            mixed = samples[-overlap:] * np.sqrt(1 - rising) + more[:overlap] * np.sqrt(rising)
            samples = np.concatenate([samples[:-overlap], mixed, more[overlap:]])
            start -= overlap // 2
            stretches[-1] = Stretch(stretches[-1].item, stretches[-1].start, start / rate)
        elif join == "filled":
            ambience = rng.choice(ambiences)
            length = round(rng.uniform(*FILLING) * rate)
            at = rng.randrange(len(ambience) - length)
            piece = ambience[at : at + length]
            piece = piece * np.float32(10 ** ((AMBIENCE_LEVEL - level(piece)) / 20))
            samples = np.concatenate([samples, piece, more])
            start += length
        else:
            samples = np.concatenate([samples, more])
        stretches.append(Stretch(item, start / rate, len(samples) / rate))
    return Scene(samples, stretches, joins)


def read_scenes(
    manifest: Path,
    label_words: Path,
    corpus: Path,
    *,
    split: str,
    count: int,
    rate: int,
    seed: int = SEED,
) -> list[Scene]:
    """Sequences of a split's sounds: long enough, without silence, labels balanced."""
    expected = read_label_words(label_words)
    folder = corpus / "audio" / "blanket"
    items = [
        item
        for item in read_labelled(manifest, split, expected)
        if item.file.parent.name != folder.name
    ]
    sounds: list[tuple[Item, Samples]] = []
    taken = Counter[str]()
    for item in random.Random(SEED).sample(items, len(items)):
        if taken[item.label] < MOST_OF_A_LABEL:
            samples = load_audio(item.file, rate)
            if len(samples) >= SHORTEST * rate and not holds_silence(samples, rate):
                sounds.append((item, samples))
                taken[item.label] += 1
    ambiences = [load_audio(file, rate) for file in sorted(folder.iterdir())]
    return draw_scenes(sounds, ambiences, expected, count, seed, rate)


def over_ambience(scenes: Sequence[Scene], corpus: Path, rate: int) -> list[Scene]:
    """The same sequences, each over a bed of one ambience from its beginning to its end."""
    rng = random.Random(SEED)
    files = sorted((corpus / "audio" / "blanket").iterdir())
    beds = []
    for scene in scenes:
        bed = load_audio(rng.choice(files), rate)
        bed = np.tile(bed, -(-len(scene.samples) // len(bed)))[: len(scene.samples)]
        louder = np.float32(10 ** ((rng.uniform(*BED) - level(bed)) / 20))
        beds.append(replace(scene, samples=scene.samples + louder * bed))
    return beds


# Finding changes


def matched(found: Sequence[float], true: Sequence[float]) -> list[int | None]:
    """For every true change the index of the change that was found, or None; each used once."""
    pairs = sorted(
        (abs(f - t), i, j)
        for i, f in enumerate(found)
        for j, t in enumerate(true)
        if abs(f - t) <= NEAR
    )
    partners: list[int | None] = [None] * len(true)
    for _, i, j in pairs:
        if partners[j] is None and i not in partners:
            partners[j] = i
    return partners


@dataclass(frozen=True)
class Said:
    """What a system makes of a sequence."""

    stretches: list[tuple[float, float, str]]  # start, end, caption

    @property
    def changes(self) -> list[float]:
        """Where something begins or ends, in seconds, but for the sequence's own ends."""
        edges = sorted({edge for start, end, _ in self.stretches for edge in (start, end)})
        return edges[1:-1]

    def caption(self, start: float, end: float) -> str:
        """Of what lies longest in a stretch."""
        return max(
            self.stretches, key=lambda s: min(end, s[1]) - max(start, s[0]), default=(0, 0, "")
        )[2]


def segmented(captioner: Captioner, scene: Scene) -> Said:
    """Our events."""
    rows = events_of(captioner, [scene.samples], jobs=1)
    return Said([(row.start, row.end, row.caption) for row in rows if row.state == "end"])


def loud(scene: Scene, rate: int, threshold: float) -> list[float]:
    """The control: changes where the level between two hops crosses a threshold."""
    hop = round(HOP_SECONDS * rate)
    above = [
        level(scene.samples[at : at + 2 * hop]) > threshold
        for at in range(0, len(scene.samples) - 2 * hop, hop)
    ]
    return [(at + 1) * HOP_SECONDS for at in range(1, len(above)) if above[at] != above[at - 1]]


def captioned(captioner: Captioner, scene: Scene, changes: Sequence[float]) -> Said:
    """Captions the stretches between changes."""
    edges = [0.0, *changes, len(scene.samples) / captioner.rate]
    pairs = [(a, b) for a, b in itertools.pairwise(edges) if b > a]
    parts = [scene.samples[round(a * captioner.rate) : round(b * captioner.rate)] for a, b in pairs]
    longest = round(captioner.longest * captioner.rate)
    return Said(
        [
            (a, b, captioner.caption(part[:longest]).text)
            for (a, b), part in zip(pairs, parts, strict=True)
        ]
    )


def recall_and_false(
    scenes: Sequence[Scene], found: Sequence[Sequence[float]], rate: int
) -> tuple[float, float]:
    """The share of true changes that were found, and how many a minute are none."""
    partners = [
        matched(f, [t for t, _ in scene.changes]) for scene, f in zip(scenes, found, strict=True)
    ]
    hits = sum(partner is not None for of_scene in partners for partner in of_scene)
    minutes = sum(len(scene.samples) for scene in scenes) / rate / 60
    return hits / sum(map(len, partners)), (sum(map(len, found)) - hits) / minutes


def row(
    scenes: Sequence[Scene], said: Sequence[Said], expected: dict[str, set[str]], rate: int
) -> tuple[str, ...]:
    """A system's figures; intervals draw whole sequences."""
    groups, minutes = (
        [str(number) for number in range(len(scenes))],
        [len(s.samples) / rate / 60 for s in scenes],
    )
    kinds, hits, errors, false, names = [], [], [], [], []
    for number, (scene, said_of_scene) in enumerate(zip(scenes, said, strict=True)):
        changes = scene.changes
        partners = matched(said_of_scene.changes, [at for at, _ in changes])
        kinds += [(number, kind) for _, kind in changes]
        hits += [partner is not None for partner in partners]
        errors += [
            abs(said_of_scene.changes[p] - at)
            for p, (at, _) in zip(partners, changes, strict=True)
            if p is not None
        ]
        false.append(len(said_of_scene.changes) - sum(partner is not None for partner in partners))
        right = [
            named(said_of_scene.caption(s.start, s.end), expected[s.item.label])
            for s in scene.stretches
        ]
        names += [(number, is_right) for is_right in right]

    def share(values: Sequence[tuple[int, bool]]) -> Statistic:
        summed = np.zeros((len(scenes), 2))
        for number, value in values:
            summed[number] += value, 1
        return Statistic(summed, lambda sums: sums[..., 0] / sums[..., 1])

    counted = [(number, hit) for (number, _), hit in zip(kinds, hits, strict=True)]
    statistics = {"found": share(counted), "named": share(names)}
    statistics["false"] = Statistic(
        np.array([false, minutes], float).T, lambda sums: sums[..., 0] / sums[..., 1]
    )
    figures = estimates(statistics, groups)
    of_kind = [
        [hit for (_, k), hit in zip(kinds, hits, strict=True) if k == kind] for kind in JOINS
    ]
    return (
        "{} ({})".format(*figures["found"].cells("{:.1%}")),
        *(f"{np.mean(values):.0%}" for values in of_kind),
        "{} ({})".format(*figures["false"].cells("{:.2f}")),
        f"{np.median(errors):.2f} s" if errors else "",
        "{} ({})".format(*figures["named"].cells("{:.1%}")),
    )


app = typer.Typer(
    help="Sequences whose changes are known.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
Manifest = Annotated[
    Path, typer.Argument(help="The sounds, and which of them the model learnt from.")
]
LabelWords = Annotated[
    Path, typer.Argument(help="CSV of each label's words, any of which names it.")
]
Corpus = Annotated[Path, typer.Argument(help="The folder of the corpus, for ambiences.")]
Checkpoint = Annotated[Path | None, typer.Option(help="The embedded model if left out.")]


@app.command("table")
def print_table(
    manifest: Manifest,
    label_words: LabelWords,
    corpus: Corpus,
    checkpoint: Checkpoint = None,
    count: int = 60,
) -> None:
    """Prints the share of changes found and of stretches named, with controls."""
    captioner, expected = load(checkpoint), read_label_words(label_words)
    rate = captioner.rate
    scenes = read_scenes(manifest, label_words, corpus, split=LABELLED, count=count, rate=rate)
    learnt = read_scenes(manifest, label_words, corpus, split="train", count=count, rate=rate)

    def f1(threshold: float) -> float:
        found = [loud(scene, rate, threshold) for scene in learnt]
        recall, _ = recall_and_false(learnt, found, rate)
        precision = (
            recall * sum(len(scene.changes) for scene in learnt) / max(1, sum(map(len, found)))
        )
        return 2 * precision * recall / max(1e-9, precision + recall)

    threshold = float(max(CONTROL, key=f1))
    systems: dict[str, Callable[[Scene], Said]] = {
        "segmenter": lambda scene: segmented(captioner, scene),
        f"level over {threshold:.0f} dBFS": lambda scene: captioned(
            captioner, scene, loud(scene, rate, threshold)
        ),
        "true changes": lambda scene: captioned(captioner, scene, [at for at, _ in scene.changes]),
    }
    rows = []
    for name, system in systems.items():
        said = [system(scene) for scene in track(scenes, name, transient=True)]
        rows.append((name, *row(scenes, said, expected, rate)))
    beds = over_ambience(scenes, corpus, rate)
    said = [segmented(captioner, scene) for scene in track(beds, "over ambience", transient=True)]
    rows.append(("segmenter, over a bed of ambience", *row(beds, said, expected, rate)))
    header = (
        "system",
        "changes found (95 %)",
        *JOINS,
        "false a minute (95 %)",
        "off by, median",
        "label named (95 %)",
    )
    minutes = sum(len(scene.samples) for scene in scenes) / rate / 60
    changes, stretches = sum(len(s.changes) for s in scenes), sum(len(s.stretches) for s in scenes)
    typer.echo(
        f"{count} sequences, {minutes:.1f} minutes, {stretches} sounds, {changes} changes; seed "
        f"{SEED}.\n"
    )
    typer.echo(table(header, rows))


# Tuning


@dataclass(frozen=True)
class Looks:
    """A sequence as it is compared, hop by hop."""

    scene: Scene
    frames: list[NDArray[np.float32]]
    levels: list[NDArray[np.float32]]

    def differences(self, start: int, now: int) -> NDArray[np.float64] | None:
        """The features of the second before `now`, or None where the event is too short."""
        frames = self.frames[
            max(start + HOPS_PER_LOOK - 1, now - MEMORY_HOPS - HOPS_PER_LOOK) : now
        ]
        levels = self.levels[max(start, now - MEMORY_HOPS - HOPS_PER_LOOK) : now]
        return differences(frames, levels) if len(frames) > HOPS_PER_LOOK else None


def heard(captioner: Captioner, scene: Scene) -> Looks:
    """The looks at a sequence."""
    hop = round(HOP_SECONDS * captioner.rate)
    ends = range(hop, len(scene.samples) + 1, hop)
    seconds = [scene.samples[max(0, end - HOPS_PER_LOOK * hop) : end] for end in ends]
    looks = [
        look(captioner, log_mel(second, captioner.front_end), len(second)) for second in seconds
    ]
    return Looks(scene, [frames for frames, _ in looks], [levels for _, levels in looks])


def examples(looks: Looks) -> tuple[list[NDArray[np.float64]], list[bool]]:
    """Features and targets: whether a second belongs to another event than the one before it."""
    changes = [at for at, _ in looks.scene.changes]
    found, labels = [], []
    for now in range(2 * HOPS_PER_LOOK, len(looks.frames) + 1):
        begins = (now - HOPS_PER_LOOK) * HOP_SECONDS  # of the second
        off = min((abs(at - begins) for at in changes), default=np.inf)
        if HOP_SECONDS < off < 1.0:
            continue
        start = max([0.0, *(at for at in changes if at <= begins - HOPS_PER_LOOK * HOP_SECONDS)])
        differences = looks.differences(int(np.ceil(start / HOP_SECONDS)), now)
        if differences is not None:
            found.append(differences)
            labels.append(off <= HOP_SECONDS)
    return found, labels


def fit(examples: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logistic regression by Newton's method: weights, and the bias at the end."""
    design = np.column_stack([examples, np.ones(len(examples))])
    weights = np.zeros(design.shape[1])
    for _ in range(25):
        p = 1 / (1 + np.exp(-design @ weights))
        curvature = (design * (p * (1 - p))[:, None]).T @ design + 1e-6 * np.eye(len(weights))
        weights -= np.linalg.solve(curvature, design.T @ (p - labels))
    return weights


def changes_of(captioner: Captioner, looks: Looks, change: Change) -> list[float]:
    """The changes that the segmenter would find."""
    hop, start, found = round(HOP_SECONDS * captioner.rate), 0, list[float]()
    begins = 0  # samples
    for now in range(1, len(looks.frames) + 1):
        differences = looks.differences(-(-begins // hop), now)
        if differences is not None and change.logit(differences) >= change.threshold:
            start = max(begins, (now - 2 * HOPS_PER_LOOK) * hop)
            begins = start + moment(captioner, looks.scene.samples[start : now * hop])
            found.append(begins / captioner.rate)
    return found


@app.command()
def tune(
    manifest: Manifest,
    label_words: LabelWords,
    corpus: Corpus,
    checkpoint: Checkpoint = None,
    count: int = 60,
) -> None:
    """Fits the weights of `Change` and prints recall by threshold."""
    captioner = load(checkpoint)
    scenes = read_scenes(
        manifest, label_words, corpus, split="train", count=count, rate=captioner.rate
    )
    beds = over_ambience(scenes, corpus, captioner.rate)
    looks = [heard(captioner, scene) for scene in track(scenes + beds, "Listening", transient=True)]
    found = [examples(of_scene) for of_scene in looks[:count]]
    weights = fit(
        np.concatenate([f for f, _ in found]),
        np.concatenate([np.array(right, float) for _, right in found]),
    )
    change = Change(*(float(f"{weight:.3g}") for weight in weights))
    for threshold in np.arange(0.0, 4.0, 0.2).round(1).tolist():
        change = replace(change, threshold=threshold)
        changes = [changes_of(captioner, of_scene, change) for of_scene in looks]
        recall, false = recall_and_false(scenes, changes[:count], captioner.rate)
        masked = recall_and_false(beds, changes[count:], captioner.rate)
        typer.echo(
            f"{threshold:4.1f}: {recall:.1%}, {false:.2f} false a minute; over a bed "
            f"{masked[0]:.1%}, {masked[1]:.2f}"
        )
        if false <= MOST_FALSE:
            break
    typer.echo(change)


if __name__ == "__main__":
    app()
