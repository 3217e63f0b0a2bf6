r"""Scores how well captions name sounds, alone, one after another and together.

    python scripts/selection_scores.py ../shared data/heldout/sounds.csv \
        --checkpoint runs/heldout/captioner --checkpoint runs/heldout-1/captioner \
        --today before/embedded

Prints the tables of docs/embedded.md:

    outside     sounds from elsewhere, each of which a list of words names
    labels      recordings of `label_select` and `label_score`, by their label
    sequences   pairs of recordings one after the other, looped recordings, and an event in a bed
    mixtures    pairs of recordings at 0 dB, and single recordings

Each table has controls: the two likeliest tags of the initial weights, our own two likeliest tags,
and the plan in a template. Several checkpoints are seeds of one recipe: the value is their mean,
and intervals (95 %) draw recordings and seeds together.
"""

import csv
import random
import runpy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from auricle import Captioner, load
from auricle.captioning.results import Caption
from auricle.checkpoint.vocabulary import words
from auricle.data.manifest import Item, read_manifest
from auricle.errors import AuricleError
from auricle.planning.grammar import template
from auricle.sound.decode import load_audio
from embedded_scores import named, read_label_words

SETS = ("label_select", "label_score")
PART_SECONDS = 5.0
EVENT_SECONDS = 3.0
BED_DECIBELS = -15.0
COUNT = 100  # pairs, loops, events in a bed, mixtures
SEED = 1
RESAMPLES = 2000
QUIET = 0.01  # a recording whose peak is lower is not joined with others
# Labels whose sounds can last in the background.
BEDS = frozenset(
    "rain wind sea_waves airplane helicopter engine vacuum_cleaner crackling_fire train "
    "air_conditioner crickets insects washing_machine pouring_water chirping_birds".split()
)

Speaker = Callable[[Captioner, np.ndarray], str]


@dataclass(frozen=True)
class Scene:
    """A made sound and the labels that its caption should name, in their order."""

    kind: str  # pair, loop, bed or mixture
    labels: tuple[str, ...]
    samples: np.ndarray


def by_caption(captioner: Captioner, samples: np.ndarray) -> str:
    """What the captioner says."""
    return captioner.caption_samples(samples).text


def by_template(captioner: Captioner, samples: np.ndarray) -> str:
    """The plan in a template."""
    assert captioner.planner is not None
    selection = captioner.planner.select(captioner.hear(samples), len(samples) / captioner.rate)
    return template(selection.plan, captioner.planner.classes)


def by_tags(captioner: Captioner, samples: np.ndarray) -> str:
    """The names of the two likeliest tags."""
    tags = captioner.caption_samples(samples).tags
    return ", ".join(tag.name.lower() for tag in tags[:2])


def loop(samples: np.ndarray, seconds: float, rate: int) -> np.ndarray:
    """The first seconds of a sound; a shorter one is repeated."""
    count = round(seconds * rate)
    return np.tile(samples, -(-count // len(samples)))[:count]


def rms(samples: np.ndarray) -> float:
    """The root mean square."""
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2))) + 1e-9


def make_scenes(items: Sequence[Item], label_words: dict[str, set[str]], rate: int) -> list[Scene]:
    """Joins, loops, beds and mixes recordings, a hundred scenes of each kind; SEED draws them."""
    rng = random.Random(SEED)
    sounds = [(item.label, load_audio(item.file, rate)) for item in items]
    sounds = [(label, samples) for label, samples in sounds if np.abs(samples).max() > QUIET]

    def draw_pair() -> list[tuple[str, np.ndarray]]:
        while True:
            pair = rng.sample(sounds, 2)
            if label_words[pair[0][0]].isdisjoint(label_words[pair[1][0]]):
                return pair

    def part(samples: np.ndarray) -> np.ndarray:
        return loop(samples, PART_SECONDS, rate)

    scenes = []
    for _ in range(COUNT):
        (first, one), (second, other) = draw_pair()
        joined = np.concatenate([part(one), part(other)])
        scenes.append(Scene("pair", (first, second), joined))
    for label, samples in rng.sample(sounds, min(COUNT, len(sounds))):
        scenes.append(Scene("loop", (label,), np.tile(part(samples), 2)))
    beds = [sound for sound in sounds if sound[0] in BEDS]
    events = [sound for sound in sounds if sound[0] not in BEDS]
    for _ in range(COUNT):
        (label, event), (bed_label, bed) = rng.choice(events), rng.choice(beds)
        event, bed = loop(event, EVENT_SECONDS, rate), np.tile(part(bed), 2)
        scene = bed * (rms(event) / rms(bed) * 10 ** (BED_DECIBELS / 20))
        start = round(rng.uniform(0, 2 * PART_SECONDS - EVENT_SECONDS) * rate)
        scene[start : start + len(event)] += event
        scenes.append(
            Scene("bed", (label, bed_label), scene / max(1.0, float(np.abs(scene).max())))
        )
    for _ in range(COUNT):
        (first, one), (second, other) = draw_pair()
        mixed = part(one) / rms(part(one)) + part(other) / rms(part(other))
        scenes.append(Scene("mixture", (first, second), 0.5 * mixed / np.abs(mixed).max()))
    return [Scene(scene.kind, scene.labels, scene.samples.astype(np.float32)) for scene in scenes]


def says_order(text: str) -> bool:
    """Whether a caption says that one sound follows another."""
    said = f" {' '.join(words(text))} "
    return any(phrase in said for phrase in (" then ", " followed by ", " before ", " after "))


def place_of(text: str, label_words: set[str]) -> int:
    """The place of the first word that names a label; beyond the caption if there is none."""
    said = words(text)
    return next((place for place, word in enumerate(said) if word in label_words), len(said))


def score_scenes(
    texts: Sequence[str],
    captions: Sequence[Caption],
    scenes: Sequence[Scene],
    label_words: dict[str, set[str]],
) -> dict[str, float]:
    """The shares of scenes that are told as they should be."""
    shares: dict[str, list[bool]] = {}

    def note(name: str, value: bool) -> None:
        shares.setdefault(name, []).append(value)

    for text, caption, scene in zip(texts, captions, scenes, strict=True):
        found = [named(text, label_words[label]) for label in scene.labels]
        if scene.kind == "pair":
            note("pairs: both named", all(found))
            note("pairs: told as a sequence", says_order(text))
            if all(found) and says_order(text):
                places = [place_of(text, label_words[label]) for label in scene.labels]
                note("pairs: order right", places == sorted(places))
        elif scene.kind == "loop":
            note("loops: false sequence", says_order(text))
            others = [
                event
                for event in caption.events
                if not named(event.label, label_words[scene.labels[0]])
            ]
            note("loops: false second source", len(caption.events) > 1 and len(others) > 0)
        elif scene.kind == "bed":
            note("beds: false sequence", says_order(text))
            note("beds: event named", found[0])
        else:
            note("mixtures: both named", all(found))
            note("mixtures: at least one named", any(found))
    return {name: float(np.mean(values)) for name, values in shares.items()}


def resampled(
    hits: np.ndarray, groups: Sequence[str], baseline: np.ndarray | None = None
) -> tuple[float, float]:
    """A 95 % interval that draws recordings and seeds together.

    Args:
        hits: (seeds, sounds).
        groups: the recording of each sound.
        baseline: (sounds,), subtracted from the hits.
    """
    rng = np.random.default_rng(SEED)
    by_group = [np.flatnonzero(np.array(groups) == group) for group in sorted(set(groups))]
    values = hits if baseline is None else hits - baseline
    draws = []
    for _ in range(RESAMPLES):
        seeds = rng.integers(len(values), size=len(values))
        places = np.concatenate(
            [by_group[number] for number in rng.integers(len(by_group), size=len(by_group))]
        )
        draws.append(values[np.ix_(seeds, places)].mean())
    return float(np.quantile(draws, 0.025)), float(np.quantile(draws, 0.975))


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table in Markdown."""
    typer.echo(f"\n| {' | '.join(header)} |")
    typer.echo(f"|{' --- |' * len(header)}")
    for row in rows:
        cells = (f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row)
        typer.echo(f"| {' | '.join(cells)} |")


class Outside:
    """The sounds from elsewhere and the scorer that stands next to them.

    Args:
        shared: the folder that holds `reference/outside`.
    """

    def __init__(self, shared: Path) -> None:
        folder = shared / "reference/outside"
        scorer = folder / "score.py"
        if not scorer.is_file():
            raise AuricleError(f"{scorer} is missing: the sounds from elsewhere are not here")
        self._scorer: dict[str, Any] = runpy.run_path(str(scorer))
        with (folder / "words.csv").open(encoding="utf-8", newline="") as file:
            self.rows = list(csv.DictReader(file))
        self.files = [folder / row["file"] for row in self.rows]
        self._labels = self._scorer["read_labels"](folder.parent / "label_words.csv")

    def names(self, number: int, text: str) -> bool:
        """Whether a caption names the sound of a row."""
        return bool(self._scorer["named"](self.rows[number], self._scorer["tokens"](text)))

    def score(self, texts: Sequence[str]) -> dict[str, float]:
        """The scorer's figures for a caption of each sound."""
        captions = {file.name: text for file, text in zip(self.files, texts, strict=True)}
        return self._scorer["score"](self.rows, captions, self._labels)


def read_sets(
    shared: Path, manifest: Path, label_words: dict[str, set[str]]
) -> dict[str, list[Item]]:
    """The recordings of `label_select` and `label_score`."""
    with (shared / "reference/label_split.csv").open(encoding="utf-8", newline="") as file:
        split = {Path(row["file"]).name: row["set"] for row in csv.DictReader(file)}
    items = [item for item in read_manifest(manifest, ["label_valid"]) if item.label in label_words]
    return {which: [item for item in items if split.get(item.file.name) == which] for which in SETS}


def print_outside(outside: Outside, systems: dict[str, list[list[str]]]) -> None:
    """Prints the table of the sounds from elsewhere."""
    names = ("named", "low", "high", "wrong_label", "shuffled", "words", "distinct")
    rows = []
    for system, seeds in systems.items():
        found = [outside.score(texts) for texts in seeds]
        means = [float(np.mean([one[name] for one in found])) for name in names]
        single = " ".join(f"{one['named']:.3f}" for one in found)
        rows.append((system, *means, single))
    print_table((f"outside, {len(outside.rows)} sounds", *names, "named by seed"), rows)


def print_labels(
    items: Sequence[Item],
    label_words: dict[str, set[str]],
    systems: dict[str, list[list[str]]],
    which: str,
) -> None:
    """Prints the table of recordings with a label; differences are to the first system."""
    groups = [item.group or str(item.file) for item in items]
    rng = random.Random(SEED)
    order = rng.sample(range(len(items)), len(items))
    baseline: np.ndarray | None = None
    rows = []
    for system, seeds in systems.items():
        hits = np.array(
            [
                [
                    named(text, label_words[item.label])
                    for text, item in zip(texts, items, strict=True)
                ]
                for texts in seeds
            ],
            float,
        )
        shuffled = np.mean(
            [
                named(texts[place], label_words[item.label])
                for texts in seeds
                for place, item in zip(order, items, strict=True)
            ]
        )
        low, high = resampled(hits, groups)
        row = [system, float(hits.mean()), f"{low:.3f} to {high:.3f}", float(shuffled)]
        if baseline is None:
            baseline = hits.mean(0)
            row.append("")
        else:
            low, high = resampled(hits, groups, baseline)
            row.append(f"{(hits - baseline).mean():+.3f} ({low:+.3f} to {high:+.3f})")
        rows.append(row)
    header = (f"{which}, {len(items)} sounds", "named", "95 %", "shuffled", "minus the first row")
    print_table(header, rows)


def main(
    shared: Annotated[Path, typer.Argument(help="The folder with reference/.")],
    manifest: Annotated[Path, typer.Argument(help="The sounds held out.")],
    checkpoint: Annotated[
        list[Path] | None, typer.Option(help="A seed of the captioner; the embedded model if none.")
    ] = None,
    today: Annotated[
        Path | None, typer.Option(help="The captioner to compare with, in the first row.")
    ] = None,
) -> None:
    """Prints the tables of outside sounds, labels, sequences and mixtures."""
    outside = Outside(shared)
    label_words = read_label_words(shared / "reference/label_words.csv")
    sets = read_sets(shared, manifest, label_words)
    captioners = [load(folder) for folder in checkpoint or [None]]
    systems: list[tuple[str, list[Captioner], Speaker]] = []
    if today is not None:
        systems.append(("today", [load(today)], by_caption))
    systems += [
        ("captions", captioners, by_caption),
        ("plan in a template", captioners, by_template),
        ("two likeliest tags", captioners, by_tags),
    ]
    rate = captioners[0].rate
    sounds = {file: load_audio(file, rate, max_seconds=30) for file in outside.files}
    sounds |= {
        item.file: load_audio(item.file, rate, max_seconds=30)
        for items in sets.values()
        for item in items
    }

    def say(files: Sequence[Path]) -> dict[str, list[list[str]]]:
        return {
            name: [[speak(one, sounds[file]) for file in files] for one in ours]
            for name, ours, speak in systems
        }

    print_outside(outside, say(outside.files))
    for which, chosen in sets.items():
        print_labels(chosen, label_words, say([item.file for item in chosen]), which)
    for which, chosen in sets.items():
        scenes = make_scenes(chosen, label_words, rate)
        columns: dict[str, dict[str, float]] = {}
        for name, ours, speak in systems[: 2 if today is None else 3]:
            found = []
            for one in ours:
                captions = [one.caption_samples(scene.samples) for scene in scenes]
                texts = [
                    caption.text if speak is by_caption else speak(one, scene.samples)
                    for caption, scene in zip(captions, scenes, strict=True)
                ]
                found.append(score_scenes(texts, captions, scenes, label_words))
            columns[name] = {
                key: float(np.nanmean([one.get(key, np.nan) for one in found]))
                for key in dict.fromkeys(name for one in found for name in one)
            }
        keys = list(dict.fromkeys(key for column in columns.values() for key in column))
        rows = [
            (key, *(column.get(key, float("nan")) for column in columns.values())) for key in keys
        ]
        print_table((f"scenes of {which}", *columns), rows)


if __name__ == "__main__":
    typer.run(main)
