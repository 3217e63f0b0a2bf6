"""Tries an alert on sounds with and without its target, over thresholds."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from auricle.alerts.watch import HOLD_OFF_SECONDS, Look, StreamComparison
from auricle.captioning.captioner import Captioner
from auricle.errors import AudioError, AuricleError
from auricle.sound.container import Source
from auricle.sound.decode import stream_audio
from auricle.storage.files import written_whole

THRESHOLD_STEP = 0.1  # of the table
NORMAL_QUANTILE = 1.96  # standard deviations within which 95 % of a normal distribution lie


@dataclass(frozen=True)
class Compared:
    """The scores of a sentence over a sound, or the reason why there are none."""

    file: str
    seconds: float = 0.0
    ends: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (windows,), seconds
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (windows,)
    error: AudioError | None = None

    @property
    def peak(self) -> float:
        """The best score; minus infinity for silence."""
        return float(self.scores.max(initial=-np.inf))

    def alerts(self, threshold: float, hold_off: float = HOLD_OFF_SECONDS) -> int:
        """Returns the number of alerts."""
        count, until = 0, 0.0
        for end in self.ends[self.scores >= threshold].tolist():
            if end >= until:
                count, until = count + 1, end + hold_off
        return count


@dataclass(frozen=True)
class Point:
    """The outcome of a threshold."""

    threshold: float
    heard: int  # positives with an alert
    false: int  # alerts in negatives
    precision: float  # heard / (heard + false); NaN without an alert
    recall: float
    false_per_hour: float

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return (
            2 * self.precision * self.recall / (self.precision + self.recall) if self.heard else 0.0
        )


@dataclass(frozen=True)
class Trial:
    """An alert tried on sounds."""

    sentence: str
    positives: tuple[Compared, ...]
    negatives: tuple[Compared, ...]

    @property
    def hours(self) -> float:
        """The length of all negatives."""
        return sum(sound.seconds for sound in self.negatives) / 3600

    def at(self, threshold: float) -> Point:
        """Returns the outcome of a threshold."""
        heard = sum(sound.peak >= threshold for sound in self.positives)
        false = sum(sound.alerts(threshold) for sound in self.negatives)
        precision = heard / (heard + false) if heard + false else math.nan
        return Point(
            threshold, heard, false, precision, heard / len(self.positives), false / self.hours
        )

    @cached_property
    def proposed(self) -> float:
        """The threshold of the best F1, midway between two scores; of several, the highest."""
        peaks = np.unique(
            [sound.peak for sound in (*self.positives, *self.negatives) if np.isfinite(sound.peak)]
        )
        if not len(peaks):
            raise AuricleError("all of these sounds are silent: there is nothing to tell apart")
        thresholds = np.concatenate([peaks[:1] - THRESHOLD_STEP, (peaks[:-1] + peaks[1:]) / 2])
        return max(map(float, thresholds), key=lambda threshold: (self.at(threshold).f1, threshold))

    def table(self) -> list[Point]:
        """Returns points in steps of a tenth.

        The first threshold finds all positives, and the last one none.
        """
        peaks = [sound.peak for sound in self.positives if np.isfinite(sound.peak)] or [
            self.proposed
        ]
        low, high = math.floor(min(peaks) / THRESHOLD_STEP), math.ceil(max(peaks) / THRESHOLD_STEP)
        return [self.at(round(step * THRESHOLD_STEP, 1)) for step in range(low, high + 1)]


def compare(
    captioner: Captioner, sentence: str, sources: Iterable[tuple[str, Source]]
) -> Iterator[Compared]:
    """Compares a sentence with many sounds, of any length.

    Args:
        captioner: embeds the sounds.
        sentence: in plain words.
        sources: names and sounds.

    Raises:
        AuricleError: the checkpoint cannot compare, or knows no word of the sentence.
    """
    comparison = StreamComparison(captioner, [sentence])
    for name, source in sources:
        comparison.restart()
        samples = 0
        looks: list[Look] = []
        try:
            for chunk in stream_audio(source, captioner.rate, name=name):
                samples += len(chunk)
                looks += comparison.feed(chunk)
        except AudioError as error:
            yield Compared(name, error=error)
            continue
        looks += comparison.finish()
        ends, scores = (
            np.array([look.end for look in looks]),
            np.array([look.scores[0] for look in looks]),
        )
        yield Compared(name, samples / captioner.rate, ends, scores)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Returns the 95 % interval of a proportion (Wilson 1927).

    It is not empty if all trials succeed, or none.
    """
    if not trials:
        return 0.0, 1.0
    share, square = successes / trials, NORMAL_QUANTILE**2
    centre = (share + square / (2 * trials)) / (1 + square / trials)
    half = (
        NORMAL_QUANTILE
        / (1 + square / trials)
        * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    )
    return max(0.0, centre - half), min(1.0, centre + half)


def draw(trial: Trial, picture: Path) -> None:
    """Draws precision, recall and false alarms per hour over thresholds as a PNG.

    The file is written whole or not at all. Needs matplotlib.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = trial.table()
    thresholds = np.linspace(shown[0].threshold, shown[-1].threshold, 200)
    points = [trial.at(float(threshold)) for threshold in thresholds]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    shares = figure.add_subplot()
    shares.plot(thresholds, [point.precision for point in points], color="C0", label="precision")
    shares.plot(thresholds, [point.recall for point in points], color="C2", label="recall")
    shares.axvline(
        trial.proposed, color="0.4", linestyle="--", label=f"proposed: {trial.proposed:.2f}"
    )
    shares.set(xlabel="threshold", ylabel="share", ylim=(0, 1.03), title=trial.sentence)
    alarms = shares.twinx()
    alarms.plot(
        thresholds,
        [point.false_per_hour for point in points],
        color="C3",
        label="false alarms per hour",
    )
    alarms.set_ylabel("false alarms per hour", color="C3")
    alarms.set_yscale("symlog", linthresh=1)
    alarms.set_ylim(bottom=0)
    lines = [*shares.get_lines(), *alarms.get_lines()]
    figure.legend(
        lines,
        [str(line.get_label()) for line in lines],
        loc="outside lower center",
        ncols=len(lines),
    )
    with written_whole(picture) as part:
        figure.savefig(part, format="png", dpi=150)
