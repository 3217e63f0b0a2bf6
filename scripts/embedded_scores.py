r"""Scores of the embedded model on held-out recordings: the tables of its card.

    python scripts/embedded_scores.py labels data/heldout/sounds.csv \
        ../shared/reference/label_words.csv
    python scripts/embedded_scores.py human data/heldout/sounds.csv
    python scripts/embedded_scores.py mixtures ../shared/corpus data/heldout/sounds.csv \
        ../shared/reference/label_words.csv
    python scripts/embedded_scores.py examples data/heldout/sounds.csv

`scripts/mixtures.csv` was drawn once by `draw-mixtures`. Sounds cut from one recording are alike:
intervals (95 %) draw whole recordings, and as a control captions are dealt out to sounds of other
recordings.
"""

import csv
import itertools
import os
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from auricle import Caption, load
from auricle.checkpoint.vocabulary import STOP_WORDS, words
from auricle.data.manifest import Item, read_manifest
from auricle.errors import AuricleError
from auricle.evaluation.bootstrap import Statistic, grouped, interval, mean, resample
from auricle.sound.decode import load_audio

FIRST = 15  # words of a caption among which one must name the label
LABELLED = "label_valid"
HUMAN = ("human_train", "human_valid")
REFERENCES = 5  # human captions of a sound
SENTENCES = "all-MiniLM-L6-v2"
RESAMPLES = 1000
SEED = 0
DEALS, SCORED_DEALS = 100, 20  # of the control; those that METEOR is to score are fewer
WORST = 10
MIXTURES = Path(__file__).parent / "mixtures.csv"
MOST_MIXED = 2  # times that a sound stands in a mixture
MEASURES = {
    "cider_d": "CIDEr-D",
    "rouge_l": "ROUGE-L",
    "meteor": "METEOR",
    "sentence_similarity": "similarity",
    "precision": "precision",
    "recall": "recall",
    "caption_length": "words",
}

app = typer.Typer(
    help="What the embedded model is worth: the tables of its card.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
Manifest = Annotated[Path, typer.Argument(help="The sounds held out.")]
LabelWords = Annotated[
    Path, typer.Argument(help="CSV of each label's words, any of which names it.")
]
Corpus = Annotated[
    Path, typer.Argument(help="The folder that the list's file names are relative to.")
]
Checkpoint = Annotated[Path | None, typer.Option(help="The embedded model if left out.")]
Texts = Sequence[str]


@dataclass(frozen=True)
class Estimate:
    """A figure, and what it was in each draw of the bootstrap."""

    value: float
    draws: NDArray[np.float64]

    def __sub__(self, other: "Estimate") -> "Estimate":
        """The difference, which is paired: the same seed draws the same recordings."""
        return Estimate(self.value - other.value, self.draws - other.draws)

    def cells(self, form: str) -> tuple[str, str]:
        """The figure and its interval."""
        found = interval(self.draws)
        return form.format(self.value), f"{form.format(found.low)} to {form.format(found.high)}"


def estimates(statistics: dict[str, Statistic], groups: Sequence[str]) -> dict[str, Estimate]:
    """Each statistic's score, resampled by group."""
    drawn = resample({name: grouped(s, groups) for name, s in statistics.items()}, RESAMPLES, SEED)
    return {
        name: Estimate(float(s.score(s.values.sum(axis=0))), drawn[name])
        for name, s in statistics.items()
    }


def deal(groups: Sequence[str], rng: random.Random) -> list[int]:
    """For every place, the place whose caption it gets at random: always one of another group."""
    largest = max(Counter(groups).values())
    if 2 * largest > len(groups):
        raise AuricleError(
            f"{largest} of {len(groups)} sounds are of one recording: no captions of others for all"
        )
    dealt = rng.sample(range(len(groups)), len(groups))
    for place, group in enumerate(groups):
        # Who got a caption of its own group changes with somebody, which at most half in one group
        # leaves possible.
        while groups[dealt[place]] == group:
            other = rng.randrange(len(groups))
            if group not in (groups[other], groups[dealt[other]]):
                dealt[place], dealt[other] = dealt[other], dealt[place]
    return dealt


def recordings(items: Iterable[Item]) -> list[str]:
    """The recording of each sound."""
    return [item.group or str(item.file) for item in items]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, aligned to be read as it is."""
    cells = [list(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
        for row in cells
    )


# Labels


def read_label_words(path: Path) -> dict[str, set[str]]:
    """The words that name each label."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row["label"]: set(row["words"].split()) for row in csv.DictReader(file)}


def read_labelled(manifest: Path, split: str, expected: dict[str, set[str]]) -> list[Item]:
    """The sounds of a split whose label has words."""
    return [item for item in read_manifest(manifest, [split]) if item.label in expected]


def named(caption: str, label_words: set[str]) -> bool:
    """Whether the caption's first words hold one of the label's, exactly."""
    return not label_words.isdisjoint(words(caption)[:FIRST])


@dataclass(frozen=True)
class Labelled:
    """Sounds of one label each, their captions, and whether these name the label."""

    items: list[Item]
    captions: list[Caption]
    right: NDArray[np.float64]  # (sounds,), 0 or 1

    def by_label(self) -> dict[str, NDArray[np.float64]]:
        """The sounds' `right`, label by label."""
        labels = np.array([item.label for item in self.items])
        return {label: self.right[labels == label] for label in sorted(set(labels.tolist()))}


def caption_labelled(
    manifest: Path, expected: dict[str, set[str]], checkpoint: Path | None, split: str = LABELLED
) -> Labelled:
    """Captions the sounds of a split whose label has words."""
    items = read_labelled(manifest, split, expected)
    captions = load(checkpoint).caption([item.file for item in items])
    right = [
        named(caption.text, expected[item.label])
        for caption, item in zip(captions, items, strict=True)
    ]
    return Labelled(items, captions, np.array(right, float))


@app.command("labels")
def print_labels(
    manifest: Manifest,
    label_words: LabelWords,
    checkpoint: Checkpoint = None,
    split: str = LABELLED,
    show: Annotated[int, typer.Option(help="Captions to print.")] = 0,
) -> None:
    """The share of captions that name the label of their sound within the first fifteen words."""
    expected = read_label_words(label_words)
    labelled = caption_labelled(manifest, expected, checkpoint, split)
    items, hits, by_label = labelled.items, labelled.right, labelled.by_label()
    texts = [caption.text for caption in labelled.captions]
    groups, labels = recordings(items), [item.label for item in items]

    for number in random.Random(SEED).sample(range(len(items)), min(show, len(items))):
        typer.echo(f"{'+' if hits[number] else '-'} {labels[number]:18} {texts[number]}")
    rng = random.Random(SEED)
    by_chance = np.zeros(len(items))
    for _ in range(DEALS):
        pairs = zip(deal(groups, rng), labels, strict=True)
        by_chance += [named(texts[other], expected[label]) for other, label in pairs]
    found = estimates(
        {
            "label named": mean(hits),
            "shuffled": mean(by_chance / DEALS),
            "words": mean(np.array([len(words(text)) for text in texts], float)),
        },
        groups,
    )
    rows = [
        ("sounds, of recordings", f"{len(items)}, {len(set(groups))}", ""),
        ("label named", *found["label named"].cells("{:.1%}")),
        (
            f"mean over {len(by_label)} labels",
            f"{np.mean([hits.mean() for hits in by_label.values()]):.1%}",
            "",
        ),
        (f"shuffled captions, {DEALS} deals", *found["shuffled"].cells("{:.1%}")),
        ("distinct captions", str(len(set(texts))), ""),
        ("words in a caption", *found["words"].cells("{:.1f}")),
    ]
    typer.echo(table(("measure", "value", "95 %"), rows))
    worst = sorted(by_label.items(), key=lambda pair: (pair[1].mean(), -len(pair[1])))[:WORST]
    rows = [(label, f"{hits.mean():.0%}", str(len(hits))) for label, hits in worst]
    typer.echo("\n" + table((f"worst {WORST} labels", "named", "sounds"), rows))


# Human captions


def content_words(text: str) -> set[str]:
    """The distinct content words of a caption, as written: "barks" differs from "barking"."""
    return set(words(text)) - STOP_WORDS


def content_overlap(text: str, references: Texts) -> tuple[float, float]:
    """Precision and recall of a caption's content words against those of all references."""
    ours, theirs = content_words(text), set().union(*map(content_words, references))
    shared = len(ours & theirs)
    return shared / max(1, len(ours)), shared / max(1, len(theirs))


class HumanScores:
    """Scores captions of the same sounds by every measure; loads the sentence model once."""

    def __init__(self, groups: Sequence[str]) -> None:
        from auricle.evaluation.sentences import SentenceModel, SentenceModels

        self._groups = groups
        self._models = SentenceModels(SentenceModel(Path(SENTENCES)))

    def __call__(self, runs: Sequence[tuple[Texts, Sequence[Texts]]]) -> dict[str, Estimate]:
        """Estimates by measure: the mean over runs of (captions, references)."""
        scored = [estimates(self._statistics(*run), self._groups) for run in runs]
        return {
            name: Estimate(
                float(np.mean([found[name].value for found in scored])),
                np.mean([found[name].draws for found in scored], axis=0),
            )
            for name in MEASURES
        }

    def _statistics(self, texts: Texts, references: Sequence[Texts]) -> dict[str, Statistic]:
        from auricle.evaluation.scores import evaluate

        files = [str(number) for number in range(len(texts))]
        candidates, captions = (
            dict(zip(files, texts, strict=True)),
            dict(zip(files, references, strict=True)),
        )
        scores = evaluate(
            candidates, captions, leave_out=["spice"], models=self._models, resamples=0
        )
        for name in MEASURES.keys() & scores.missing.keys():
            raise AuricleError(f"{MEASURES[name]} is missing: {scores.missing[name]}")
        overlaps = [content_overlap(*pair) for pair in zip(texts, references, strict=True)]
        precision, recall = np.array(overlaps).T
        return scores.statistics | {"precision": mean(precision), "recall": mean(recall)}


@app.command("human")
def print_human(manifest: Manifest, checkpoint: Checkpoint = None) -> None:
    """Scores captions against five by people, with two controls and people's own agreement."""
    items = [item for item in read_manifest(manifest, HUMAN) if len(item.captions) == REFERENCES]
    captions = load(checkpoint).caption([item.file for item in items])
    texts, groups = [caption.text for caption in captions], recordings(items)
    references = [item.captions for item in items]
    others = [[of[:left] + of[left + 1 :] for of in references] for left in range(REFERENCES)]
    rng = random.Random(SEED)
    dealt = [deal(groups, rng) for _ in range(SCORED_DEALS)]
    shuffled, tagged = f"ours shuffled, {SCORED_DEALS} deals", "our top 3 tags"
    runs: dict[str, list[tuple[Texts, Sequence[Texts]]]] = {
        "ours": [(texts, references)],
        shuffled: [([texts[number] for number in deal], references) for deal in dealt],
    }
    if any(caption.tags for caption in captions):
        tags = [", ".join(tag.name.lower() for tag in caption.tags[:3]) for caption in captions]
        runs[tagged] = [(tags, references)]
    runs["ours, against four"] = [(texts, four) for four in others]
    runs["one human, against the other four"] = [
        ([of[left] for of in references], four) for left, four in enumerate(others)
    ]
    score = HumanScores(groups)
    found = {name: score(captions_of_run) for name, captions_of_run in runs.items()}

    typer.echo(
        f"{len(items)} sounds of {len(set(groups))} recordings, {REFERENCES} human captions each.\n"
    )
    rows = [
        (
            name,
            *(
                "{} ({})".format(
                    *scores[key].cells("{:.1f}" if key == "caption_length" else "{:.3f}")
                )
                for key in scores
            ),
        )
        for name, scores in found.items()
    ]
    typer.echo(table(("captions (95 %)", *MEASURES.values()), rows))
    typer.echo(
        f"\nSimilarity: mean cosine to the references by {SENTENCES}. CIDEr-D: document "
        f"frequencies of the references scored.\n"
        "Precision: the share of a caption's different content words that any reference has; "
        "recall: the share of all the"
        " references' that it has.\nMore references score higher: people's captions compare with "
        "ours against four, each of"
        " the five left out in turn.\n"
    )
    rows = [
        (
            f"{MEASURES[key]}, ours - {control}",
            *(found["ours"][key] - found[control][key]).cells("{:+.3f}"),
        )
        for control in (shuffled, tagged)
        if control in found
        for key in ("sentence_similarity", "cider_d")
    ]
    typer.echo(table(("paired difference", "value", "95 %"), rows))


# Two sounds at once


def draw_pairs(
    items: Sequence[Item], expected: dict[str, set[str]], count: int, seed: int
) -> list[tuple[Item, Item]]:
    """Pairs of sounds whose labels share no word; labels come evenly, and no pair of them twice."""
    rng = random.Random(seed)
    used: Counter[str] = Counter()  # labels, and files
    pairs: dict[frozenset[str], tuple[Item, Item]] = {}

    def allowed(pair: tuple[Item, Item]) -> bool:
        first, second = (item.label for item in pair)
        fresh = frozenset((first, second)) not in pairs and all(
            used[str(item.file)] < MOST_MIXED for item in pair
        )
        return fresh and expected[first].isdisjoint(expected[second])

    def cost(pair: tuple[Item, Item]) -> tuple[int, int, int]:
        labels, files = [used[item.label] for item in pair], [used[str(item.file)] for item in pair]
        return max(labels), sum(labels), sum(files)

    while len(pairs) < count:
        # Ties fall to the first pair of a new order.
        candidates = filter(allowed, itertools.combinations(rng.sample(items, len(items)), 2))
        pair = min(candidates, key=cost)
        pairs[frozenset(item.label for item in pair)] = pair
        used.update(name for item in pair for name in (item.label, str(item.file)))
    return list(pairs.values())


def mix(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mixes two sounds, cut to the shorter, at equal RMS; turned down if the sum would clip."""
    length = min(len(first), len(second))
    both = np.stack([first[:length], second[:length]]).astype(np.float64)
    level = np.sqrt(np.mean(both**2, axis=1, keepdims=True))
    if not level.all():
        raise AuricleError("silence cannot be mixed at 0 dB")
    mixed = (both * level.max() / level).sum(axis=0)
    return (mixed / max(1.0, np.abs(mixed).max())).astype(np.float32)


def read_mixtures(path: Path, corpus: Path, items: Iterable[Item]) -> list[tuple[Item, Item]]:
    """The pairs of a list, which names files relative to `corpus`; all must be among `items`."""
    by_file = {item.file.resolve(): item for item in items}
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            [(corpus / row[column]).resolve() for column in ("first", "second")]
            for row in csv.DictReader(file)
        ]
    for name in itertools.chain(*rows):
        if name not in by_file:
            raise AuricleError(f"{name}: mixed, but not among the sounds held out")
    return [(by_file[first], by_file[second]) for first, second in rows]


@app.command("mixtures")
def print_mixtures(
    corpus: Corpus,
    manifest: Manifest,
    label_words: LabelWords,
    checkpoint: Checkpoint = None,
    pairs_list: Annotated[Path, typer.Option("--list")] = MIXTURES,
) -> None:
    """How often a caption of two sounds at once, equally loud, names both."""
    expected = read_label_words(label_words)
    pairs = read_mixtures(pairs_list, corpus, read_labelled(manifest, LABELLED, expected))
    captioner = load(checkpoint)
    sounds = [mix(*(load_audio(item.file, captioner.rate) for item in pair)) for pair in pairs]
    texts = [caption.text for caption in captioner.caption(sounds)]

    places = [str(number) for number in range(len(pairs))]
    rng = random.Random(SEED)
    dealt = [deal(places, rng) for _ in range(DEALS)]

    def hits(given: Texts) -> NDArray[np.float64]:
        """(pairs, 2): whether the first and the second are named."""
        return np.array(
            [
                [named(text, expected[i.label]) for i in pair]
                for text, pair in zip(given, pairs, strict=True)
            ]
        )

    ours = hits(texts)
    by_chance = np.stack([hits([texts[number] for number in deal]) for deal in dealt])
    shares = {
        "both named": ours.all(axis=1),
        "at least one": ours.any(axis=1),
        "the first": ours[:, 0],
        "the second": ours[:, 1],
        f"shuffled captions, {DEALS} deals: both": by_chance.all(axis=2).mean(axis=0),
        f"shuffled captions, {DEALS} deals: at least one": by_chance.any(axis=2).mean(axis=0),
    }
    found = estimates({name: mean(values.astype(float)) for name, values in shares.items()}, places)
    rows = [(name, *estimate.cells("{:.1%}")) for name, estimate in found.items()]
    length = float(np.mean([len(words(text)) for text in texts]))
    rows += [
        ("distinct captions", str(len(set(texts))), ""),
        ("words in a caption", f"{length:.1f}", ""),
    ]
    typer.echo(table((f"of {len(pairs)} pairs at 0 dB", "value", "95 %"), rows))


@app.command("draw-mixtures")
def draw_mixtures(
    corpus: Corpus,
    manifest: Manifest,
    label_words: LabelWords,
    output: Path = MIXTURES,
    count: int = 100,
) -> None:
    """Draws the pairs of sounds and writes their list."""
    expected = read_label_words(label_words)
    items = sorted(
        read_labelled(manifest, LABELLED, expected), key=lambda item: item.file.resolve()
    )
    pairs = draw_pairs(items, expected, count, SEED)
    with output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("first", "second"))
        writer.writerows(
            [Path(os.path.relpath(i.file, corpus)).as_posix() for i in pair] for pair in pairs
        )


# Examples


@app.command("examples")
def print_examples(
    manifest: Manifest, checkpoint: Checkpoint = None, seed: int = SEED, count: int = 30
) -> None:
    """Captions of sounds drawn at random, none chosen."""
    items = read_manifest(manifest, [LABELLED, *HUMAN])
    drawn = random.Random(seed).sample(items, min(count, len(items)))
    captions: list[Caption] = load(checkpoint).caption([item.file for item in drawn])
    rows = []
    for item, caption in zip(drawn, captions, strict=True):
        tags = ", ".join(f"{tag.name} {tag.probability:.2f}" for tag in caption.tags[:3])
        rows.append(
            (
                item.file.name,
                caption.text,
                tags,
                "" if caption.confidence is None else f"{caption.confidence:.2f}",
            )
        )
    typer.echo(table(("sound", "caption", "tags", "confidence"), rows))


if __name__ == "__main__":
    app()
