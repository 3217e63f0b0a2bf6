r"""How well alerts do that are worded before anything is heard: the table of docs/alerts.md.

    python scripts/alerts.py data/heldout/sounds.csv \
        ../shared/reference/label_words.csv ../shared/corpus

Twenty sentences, over the sounds of one split. A threshold is chosen on one half of the recordings,
by the best F1, and tried on the other, and the other way round. An alert in a sequence is false
unless a sound that the sentence names is heard in its window.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import track

from auricle import load
from auricle.alerts.trial import THRESHOLD_STEP, Compared, Trial
from auricle.alerts.watch import ALERT_THRESHOLD, Look, StreamComparison
from auricle.captioning.captioner import Captioner
from auricle.data.manifest import Item, read_manifest
from auricle.evaluation.bootstrap import Statistic, grouped, interval, resample
from auricle.sound.decode import load_audio
from embedded_scores import table
from sequences import Scene, read_scenes

RESAMPLES = 1000
SEED = 0
# The sentences, and the labels of the sounds that they name.
SENTENCES = {
    "a dog barking": "dog dog_bark",
    "glass breaking": "glass_breaking",
    "gunshot or explosion": "gun_shot fireworks",
    "a siren": "siren",
    "a baby crying": "crying_baby",
    "a car horn": "car_horn",
    "a chainsaw": "chainsaw",
    "a helicopter": "helicopter",
    "jackhammer or drill": "jackhammer drilling",
    "somebody coughs or sneezes": "coughing sneezing",
    "a rooster crowing": "rooster",
    "thunder": "thunderstorm",
    "rain falling": "rain",
    "knocking on a door": "door_wood_knock",
    "an alarm clock beeping": "clock_alarm",
    "a crackling fire": "crackling_fire",
    "a toilet flushing": "toilet_flush",
    "a cat meowing": "cat",
    "children playing": "children_playing",
    "water dripping or pouring": "water_drops pouring_water",
}
LABELS = {sentence: frozenset(labels.split()) for sentence, labels in SENTENCES.items()}


@dataclass(frozen=True)
class Tried:
    """Sounds, and how well each sentence fits each."""

    items: Sequence[Item]
    halves: NDArray[np.int64]  # (sounds,), 0 or 1
    compared: dict[str, list[Compared]]  # by sentence, sound by sound

    def trial(self, sentence: str, half: int) -> Trial:
        """An alert tried on one half."""
        kept: tuple[list[Compared], list[Compared]] = [], []
        for item, half_of_sound, compared in zip(
            self.items, self.halves, self.compared[sentence], strict=True
        ):
            if half_of_sound == half:
                kept[item.label not in LABELS[sentence]].append(compared)
        return Trial(sentence, *map(tuple, kept))


def looks_of(comparison: StreamComparison, samples: NDArray[np.float32]) -> list[Look]:
    """How well all sentences fit a sound as it passes."""
    comparison.restart()
    return comparison.feed(samples) + comparison.finish()


def listen(captioner: Captioner, items: Sequence[Item]) -> Tried:
    """Compares the sounds with the sentences."""
    comparison = StreamComparison(captioner, list(SENTENCES))
    compared: dict[str, list[Compared]] = {sentence: [] for sentence in SENTENCES}
    for item in track(items, "Listening", transient=True):
        samples = load_audio(item.file, captioner.rate)
        looks = looks_of(comparison, samples)
        ends = np.array([look.end for look in looks])
        scores = np.array([look.scores for look in looks]).reshape(len(looks), len(SENTENCES))
        for sentence, scores_of_sentence in zip(SENTENCES, scores.T, strict=True):
            compared[sentence].append(
                Compared(str(item.file), len(samples) / captioner.rate, ends, scores_of_sentence)
            )
    return Tried(items, halve(items), compared)


def halve(items: Sequence[Item]) -> NDArray[np.int64]:
    """Deals out the recordings of each label to two halves."""
    recordings: dict[str, set[str]] = defaultdict(set)
    for item in items:
        recordings[item.label].add(item.group)
    rng, half, turn = random.Random(SEED), dict[str, int](), 0
    for label in sorted(recordings):
        undealt = sorted(recordings[label] - half.keys())
        rng.shuffle(undealt)
        for recording in undealt:
            half[recording], turn = turn, 1 - turn
    return np.array([half[item.group] for item in items])


def common_threshold(trials: Sequence[Trial]) -> float:
    """The one threshold for all sentences whose mean F1 is best."""
    return max(
        np.arange(-1, 3, THRESHOLD_STEP / 5).tolist(),
        key=lambda t: float(np.mean([trial.at(t).f1 for trial in trials])),
    )


def outcomes(tried: Tried, thresholds: dict[str, tuple[float, float]]) -> NDArray[np.float64]:
    """(sounds, sentences, 3) hits, false alarms, misses; thresholds come from the other half."""
    found = np.zeros((len(tried.items), len(SENTENCES), 3))
    for column, sentence in enumerate(SENTENCES):
        for row, (item, half, compared) in enumerate(
            zip(tried.items, tried.halves, tried.compared[sentence], strict=True)
        ):
            heard = compared.peak >= thresholds[sentence][1 - half]
            named = item.label in LABELS[sentence]
            found[row, column] = heard and named, heard and not named, named and not heard
    return found


def shares(sums: NDArray[np.float64], missed: bool) -> NDArray[np.float64]:
    """(..., sentences * 3) sums -> mean precision of the sentences, or recall if `missed`."""
    cells = sums.reshape(*sums.shape[:-1], len(SENTENCES), 3)
    of = cells[..., 0] + cells[..., 2 if missed else 1]
    with np.errstate(invalid="ignore"):
        return np.nanmean(cells[..., 0] / of, axis=-1)


def hear_scenes(captioner: Captioner, scenes: Sequence[Scene]) -> list[list[Look]]:
    """How well all sentences fit each sequence as it passes."""
    comparison = StreamComparison(captioner, list(SENTENCES))
    return [
        looks_of(comparison, scene.samples) for scene in track(scenes, "Listening", transient=True)
    ]


def false_alarms(
    scenes: Sequence[Scene], heard: Sequence[Sequence[Look]], thresholds: dict[str, float]
) -> dict[str, int]:
    """Alerts in sequences where nothing sounds that the sentence names, by sentence."""
    false: dict[str, int] = dict.fromkeys(SENTENCES, 0)
    for scene, looks in zip(scenes, heard, strict=True):
        for column, sentence in enumerate(SENTENCES):
            right = [(s.start, s.end) for s in scene.stretches if s.item.label in LABELS[sentence]]
            # An alert for a present sound is no false alarm, and must not hold one off.
            wrong = [
                look for look in looks if not any(a < look.end and look.start < b for a, b in right)
            ]
            ends, scores = (
                np.array([k.end for k in wrong]),
                np.array([k.scores[column] for k in wrong]),
            )
            false[sentence] += Compared("", 0.0, ends, scores).alerts(thresholds[sentence])
    return false


def main(
    manifest: Annotated[Path, typer.Argument(help="The sounds held out.")],
    label_words: Annotated[
        Path, typer.Argument(help="CSV of each label's words, any of which names it.")
    ],
    corpus: Annotated[Path, typer.Argument(help="The folder of the corpus, for ambiences.")],
    checkpoint: Annotated[Path | None, typer.Option(help="The embedded model if left out.")] = None,
    split: Annotated[str, typer.Option(help="The split of the manifest.")] = "label_valid",
    count: Annotated[int, typer.Option(help="Sequences.")] = 60,
    limit: Annotated[
        int | None, typer.Option(help="Use only this number of sounds, to try the script.")
    ] = None,
) -> None:
    """Prints precision and recall over two halves, and false alarms per hour of sequences."""
    captioner = load(checkpoint)
    tried = listen(captioner, read_manifest(manifest, [split])[:limit])
    trials = {
        sentence: (tried.trial(sentence, 0), tried.trial(sentence, 1)) for sentence in SENTENCES
    }
    # Where a half holds no sound that a sentence names, the other's threshold stands for both.
    chosen = {
        s: [trial.proposed if trial.positives else None for trial in pair]
        for s, pair in trials.items()
    }
    thresholds_by_sentence = {
        s: (a if a is not None else b, b if b is not None else a) for s, (a, b) in chosen.items()
    }
    thresholds_by_sentence = {
        s: (ALERT_THRESHOLD if a is None else a, ALERT_THRESHOLD if b is None else b)
        for s, (a, b) in thresholds_by_sentence.items()
    }
    both = [
        common_threshold([pair[half] for pair in trials.values() if pair[half].positives])
        for half in (0, 1)
    ]
    common = dict.fromkeys(SENTENCES, (both[0], both[1]))
    default = dict.fromkeys(SENTENCES, (ALERT_THRESHOLD, ALERT_THRESHOLD))

    scenes = read_scenes(
        manifest, label_words, corpus, split=split, count=count, rate=captioner.rate
    )
    heard, hours = (
        hear_scenes(captioner, scenes),
        sum(len(s.samples) for s in scenes) / captioner.rate / 3600,
    )
    by_default = f"default: {ALERT_THRESHOLD:g}"
    ways = {
        "own thresholds": thresholds_by_sentence,
        f"one for all: {both[0]:.2f}, {both[1]:.2f}": common,
        by_default: default,
    }
    found = {name: outcomes(tried, thresholds) for name, thresholds in ways.items()}
    # A sequence holds sounds of both halves: of a sentence's two thresholds, the higher.
    alarms = {
        n: false_alarms(scenes, heard, {s: max(t) for s, t in way.items()})
        for n, way in ways.items()
    }

    rows = []
    for column, sentence in enumerate(SENTENCES):
        positives = sum(item.label in LABELS[sentence] for item in tried.items)
        row = [
            sentence,
            f"{positives}",
            f"{thresholds_by_sentence[sentence][0]:.2f}, {thresholds_by_sentence[sentence][1]:.2f}",
        ]
        for name in ("own thresholds", by_default):
            right, wrong, missed = found[name][:, column].sum(0)
            precision = f"{right / (right + wrong):.2f}" if right + wrong else "-"
            recall = f"{right / (right + missed):.2f}" if right + missed else "-"
            row += [precision, recall, f"{alarms[name][sentence] / hours:.1f}"]
        rows.append(row)
    header = [
        "sentence",
        "sounds",
        "own thresholds",
        "precision",
        "recall",
        "false/h",
        "default: precision",
        "recall",
        "false/h",
    ]
    typer.echo(table(header, rows))

    groups = [item.group for item in tried.items]
    rows = []
    for name, cells in found.items():
        flat = cells.reshape(len(cells), -1)
        statistics = {
            "precision": Statistic(flat, lambda sums: shares(sums, missed=False)),
            "recall": Statistic(flat, lambda sums: shares(sums, missed=True)),
        }
        drawn = resample({n: grouped(s, groups) for n, s in statistics.items()}, RESAMPLES, SEED)
        row = [name]
        for measure, statistic in statistics.items():
            within = interval(drawn[measure])
            row += [f"{statistic.score(flat.sum(0)):.3f}", f"{within.low:.3f} to {within.high:.3f}"]
        rows.append([*row, f"{sum(alarms[name].values()) / hours / len(SENTENCES):.1f}"])
    header = [
        "mean of the sentences",
        "precision",
        "95 %",
        "recall",
        "95 %",
        "false alarms an hour and sentence",
    ]
    typer.echo(f"\n{table(header, rows)}\n\n{len(scenes)} sequences, {hours * 60:.1f} minutes")


if __name__ == "__main__":
    typer.run(main)
