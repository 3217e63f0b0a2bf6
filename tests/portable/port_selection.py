"""The port's selection: probabilities and evidence -> the events of a sound."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Clip:
    """The rows of a log-mel, their power, the probabilities of classes, and the length."""

    log_mel: np.ndarray
    power: np.ndarray
    probabilities: np.ndarray
    seconds: float


@dataclass(frozen=True)
class Event:
    """One source of sound."""

    index: int
    probability: float
    repetition: str = "none"
    trend: str = "none"


@dataclass(frozen=True)
class Chosen:
    """The events of a sound."""

    events: list[Event]
    relation: str
    margin: float


def select(
    model: Any, classes: Any, clip: Clip, hear_tags: Callable[[np.ndarray], np.ndarray]
) -> Chosen:
    """Chooses the events of a clip."""
    rule, thresholds = model["selection"], model["evidence"]
    frames_per_second = model["front_end"]["frames_per_second"]
    weights = np.array([entry["weight"] for entry in classes], np.float32)
    scores = clip.probabilities * weights
    order = np.argsort(-scores, kind="stable")
    first = int(order[0])
    rivals = np.delete(scores, classes[first]["incompatible"])
    margin = max(1.0, float(scores[first]) / max(float(rivals.max(initial=0)), 1e-6))
    levels = band_levels(clip.power, thresholds, frames_per_second)
    step = change_step(levels, thresholds)
    if (
        step is not None
        and level_difference(levels, step, thresholds) <= thresholds["silent_part_decibels"]
        and returning_share(levels, step, thresholds) < rule["return_share"]
    ):
        frame = round(step * thresholds["step_seconds"] * frames_per_second)
        tags = hear_tags(clip.log_mel[:frame]), hear_tags(clip.log_mel[frame:])
        before, after = tags[0] * weights, tags[1] * weights
        one, two = int(before.argmax()), int(after.argmax())
        if (
            min(before[one], after[two]) >= rule["part_score"]
            and after[one] <= rule["other_part_share"] * before[one]
            and before[two] <= rule["other_part_share"] * after[two]
            and two not in classes[one]["incompatible"]
        ):
            events = [Event(one, float(tags[0][one])), Event(two, float(tags[1][two]))]
            return Chosen(events, "then", margin)
    for second in map(int, order[1 : rule["considered_classes"]]):
        if scores[second] < rule["second_share"] * scores[first]:
            break
        likely = clip.probabilities[second] >= rule["second_probability"]
        noises = classes[first]["noise"] and classes[second]["noise"]
        if likely and second not in classes[first]["incompatible"] and not noises:
            pair = [Event(index, float(clip.probabilities[index])) for index in (first, second)]
            return Chosen(pair, "while", margin)
    repetition = trend = "none"
    if classes[first]["repeats"]:
        repetition = find_repetition(clip.power, thresholds, frames_per_second)
    if classes[first]["moves"]:
        trend = find_trend(levels, thresholds)
    event = Event(first, float(clip.probabilities[first]), repetition, trend)
    return Chosen([event], "single", margin)


def band_levels(power: np.ndarray, thresholds: Any, frames_per_second: float) -> np.ndarray:
    """Returns (steps, bands) in decibels."""
    size = round(thresholds["step_seconds"] * frames_per_second)
    steps, bands = len(power) // size, thresholds["bands"]
    whole = power[: steps * size].astype(np.float64)
    means = whole.reshape(steps, size, bands, power.shape[1] // bands).mean(axis=(1, 3))
    return 10 * np.log10(means + thresholds["floor_power"])


def change_step(levels: np.ndarray, thresholds: Any) -> int | None:
    """Returns where two means describe the levels best."""
    shortest = round(thresholds["shortest_part_seconds"] / thresholds["step_seconds"])
    steps = len(levels)
    best, best_gain = None, -math.inf
    for step in range(shortest, steps - shortest + 1):
        difference = levels[:step].mean(0) - levels[step:].mean(0)
        gain = float((difference**2).sum()) * step * (steps - step)
        if gain > best_gain:
            best, best_gain = step, gain
    return best


def loudness(part: np.ndarray, thresholds: Any) -> float:
    """Returns the level of a part in decibels."""
    return float(np.percentile(total(part), thresholds["loud_percentile"]))


def level_difference(levels: np.ndarray, step: int, thresholds: Any) -> float:
    """Returns how much fainter the fainter part is, in decibels."""
    return abs(loudness(levels[:step], thresholds) - loudness(levels[step:], thresholds))


def returning_share(levels: np.ndarray, step: int, thresholds: Any) -> float:
    """Returns the share of the louder part that sounds like the fainter one."""
    fainter, louder = levels[:step], levels[step:]
    if loudness(louder, thresholds) < loudness(fainter, thresholds):
        fainter, louder = louder, fainter
    distance = np.abs(louder - np.median(fainter, axis=0)).mean(axis=1)
    return float((distance < thresholds["same_sound_decibels"]).mean())


def find_repetition(power: np.ndarray, thresholds: Any, frames_per_second: float) -> str:
    """Returns how often a short sound is heard."""
    width = max(1, round(thresholds["smoothing_seconds"] * frames_per_second))
    frames = power.sum(axis=1, dtype=np.float64)
    padded = np.concatenate([np.zeros(width // 2), frames, np.zeros(width)])
    energy = [padded[i : i + width].sum() / width for i in range(len(frames))]
    level = 10 * np.log10(np.array(energy) + thresholds["floor_power"])
    loud = level > level.max() - thresholds["burst_decibels"]
    if loud.mean() >= thresholds["continuous_share"]:
        return "continuous"
    quiet = np.percentile(level, thresholds["quiet_percentile"])
    if quiet > level.max() - thresholds["clear_decibels"]:
        return "none"
    bursts: list[list[int]] = []  # first frame, frame after the last
    for frame in np.flatnonzero(loud).tolist():
        gap = thresholds["shortest_gap_seconds"] * frames_per_second
        if bursts and frame - bursts[-1][1] < gap:
            bursts[-1][1] = frame + 1
        else:
            bursts.append([frame, frame + 1])
    longest = thresholds["longest_burst_seconds"] * frames_per_second
    if max(end - start for start, end in bursts) > longest:
        return "none"
    return {1: "once", 2: "twice"}.get(len(bursts), "several")


def find_trend(levels: np.ndarray, thresholds: Any) -> str:
    """Returns whether a sound approaches or fades."""
    if len(levels) < thresholds["shortest_trend_seconds"] / thresholds["step_seconds"]:
        return "none"
    loudness = total(levels)
    fifth = len(loudness) // 5
    rise = loudness[-fifth:].mean() - loudness[:fifth].mean()
    if abs(rise) < thresholds["trend_decibels"]:
        return "none"
    correlation = np.corrcoef(loudness, np.arange(len(loudness)))[0, 1]
    if abs(correlation) < thresholds["trend_correlation"]:
        return "none"
    return "approaching" if rise > 0 else "fading"


def total(levels: np.ndarray) -> np.ndarray:
    """Returns the level of all bands together, in decibels."""
    return 10 * np.log10((10 ** (levels / 10)).sum(axis=1))
