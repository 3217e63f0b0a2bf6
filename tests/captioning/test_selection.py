"""Selection: which events a caption mentions, and how they lie in time."""

from dataclasses import replace

import numpy as np
import pytest

from auricle.captioning.selection import HeardClip, Selector, pick_classes
from auricle.checkpoint.config import SelectionConfig
from auricle.planning.plans import Relation, Repetition, Trend
from small_classes import small_classes

RATE = 100.0
MELS = 128
CONFIG = SelectionConfig()
CLASSES = small_classes()
DOG, HOWL, CAR, HORN, RAIN, ANIMAL = (
    CLASSES.indices[name] for name in ("Dog", "Howl", "Car", "Car horn", "Rain", "Animal")
)


def tags(**probabilities: float) -> np.ndarray:
    """Probabilities of the classes, by name; other classes are nearly excluded."""
    values = np.full(len(CLASSES), 0.001, np.float32)
    for name, probability in probabilities.items():
        values[CLASSES.indices[name.replace("_", " ")]] = probability
    return values


def clip(power: np.ndarray, heard: np.ndarray) -> HeardClip:
    return HeardClip(np.log(power), power, heard, RATE, len(power) / RATE)


def noise(seconds: float, band: int, level: float = 1.0) -> np.ndarray:
    power = np.full((round(seconds * RATE), MELS), 1e-4, np.float32)
    power[:, band : band + 8] = level
    return power


def never(log_mel: np.ndarray) -> np.ndarray:  # noqa: ARG001
    raise AssertionError("a steady sound was heard in parts")


def by_band(log_mel: np.ndarray) -> np.ndarray:
    """An encoder that hears a dog in low bands and rain in high ones."""
    low, high = log_mel[:, :64].mean(), log_mel[:, 64:].mean()
    return tags(Dog=0.9, Rain=0.05) if low > high else tags(Rain=0.8, Dog=0.05)


def test_the_likeliest_class_is_picked_and_no_relative_beside_it():
    assert pick_classes(tags(Dog=0.9, Animal=0.85, Howl=0.6), CLASSES, CONFIG) == [DOG]
    assert pick_classes(tags(Dog=0.9, Rain=0.5), CLASSES, CONFIG) == [DOG, RAIN]
    assert pick_classes(tags(Dog=0.9, Rain=0.4), CLASSES, CONFIG) == [DOG]
    assert pick_classes(tags(Car=0.9, Car_horn=0.8, Rain=0.5), CLASSES, CONFIG) == [CAR, RAIN]


def test_a_second_class_is_likely_and_no_noise_in_another_noise():
    assert pick_classes(tags(Dog=0.11, Rain=0.1), CLASSES, CONFIG) == [DOG, RAIN]
    assert pick_classes(tags(Dog=0.11, Rain=0.09), CLASSES, CONFIG) == [DOG]
    noises = replace(
        CLASSES,
        classes=tuple(replace(one, noise=one.name in ("Car", "Rain")) for one in CLASSES.classes),
    )
    assert pick_classes(tags(Car=0.9, Rain=0.8, Dog=0.5), noises, CONFIG) == [CAR, DOG]
    assert noises.compatible[CAR, RAIN]  # one after the other


def test_generic_classes_count_for_less():
    classes = replace(
        CLASSES,
        classes=tuple(
            replace(one, specific=0.3) if one.name == "Animal" else one for one in CLASSES.classes
        ),
    )
    selector = Selector(classes, CONFIG, never)
    selected = selector.select(clip(noise(3, 8), tags(Animal=0.9, Dog=0.5)))
    assert [event.class_index for event in selected.events] == [DOG]
    assert selected.events[0].probability == pytest.approx(0.5)


def test_one_sound_and_then_another():
    power = np.concatenate([noise(4, 8), noise(3, 80)])
    selected = Selector(CLASSES, CONFIG, by_band).select(clip(power, tags(Dog=0.5, Rain=0.5)))
    assert selected.relation is Relation.THEN
    assert [event.class_index for event in selected.events] == [DOG, RAIN]
    first, second = selected.events
    assert first.start == 0
    assert first.end == second.start == pytest.approx(4, abs=0.1)
    assert second.end == pytest.approx(7)
    assert selected.plan.class_indices == [DOG, RAIN]


def test_no_order_where_the_parts_are_the_same_sound():
    power = np.concatenate([noise(4, 8), noise(3, 24)])
    selected = Selector(CLASSES, CONFIG, lambda _: tags(Dog=0.9)).select(clip(power, tags(Dog=0.9)))
    assert selected.relation is Relation.SINGLE


@pytest.mark.parametrize("silence_first", [False, True])
def test_no_order_where_one_part_is_silent(silence_first: bool):
    parts = [noise(4, 8), noise(3, 80, 1e-5)]
    power = np.concatenate(parts[::-1] if silence_first else parts)
    selected = Selector(CLASSES, CONFIG, by_band).select(clip(power, tags(Dog=0.9)))
    assert selected.relation is Relation.SINGLE


def test_no_order_where_the_background_returns():
    power = noise(10, 80, 0.01)
    power[300:500, 8:16] = 1.0
    selected = Selector(CLASSES, CONFIG, by_band).select(clip(power, tags(Dog=0.9, Rain=0.5)))
    assert selected.relation is Relation.WHILE


def test_count_and_trend_only_for_classes_that_have_them_and_single_events():
    power = noise(5, 8, 1e-4)
    for start in (50, 150):
        power[start : start + 20, 8:16] = 1.0
    steady = Selector(CLASSES, CONFIG, lambda _: tags(Dog=0.9))
    assert steady.select(clip(power, tags(Dog=0.9))).events[0].repetition is Repetition.TWICE
    assert steady.select(clip(power, tags(Rain=0.9))).events[0].repetition is Repetition.NONE
    both = steady.select(clip(power, tags(Dog=0.9, Rain=0.8)))
    assert {event.repetition for event in both.events} == {Repetition.NONE}
    ramp = 10 ** np.linspace(-2, 0.5, 600)
    rising = (noise(6, 8) * ramp[:, None]).astype(np.float32)
    assert steady.select(clip(rising, tags(Car=0.9))).events[0].trend is Trend.APPROACHING
    assert steady.select(clip(rising, tags(Rain=0.9))).events[0].trend is Trend.NONE


def test_margin_compares_with_the_next_unrelated_class():
    selector = Selector(CLASSES, CONFIG, never)
    selected = selector.select(clip(noise(3, 8), tags(Dog=0.9, Animal=0.8, Rain=0.3)))
    assert selected.margin == pytest.approx(3)
