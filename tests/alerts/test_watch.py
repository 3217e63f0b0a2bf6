"""When a sentence is heard."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from auricle.alerts.watch import (
    TEMPERATURE,
    USUAL_PROBABILITY,
    WATCH_HOP_SECONDS,
    WATCH_WINDOW_SECONDS,
    Alert,
    StreamComparison,
    Watch,
    WatchedSound,
    alternatives,
)
from auricle.captioning.captioner import Captioner
from ears import RATE, Ear, ear, pieces, played

MOST = -0.46  # the score of a pitch that is heard for a little more than half of a window
WATCHED = [
    WatchedSound("high", threshold=MOST, hold_off=3.0),
    WatchedSound("low", threshold=MOST, hold_off=100.0),
]
SOUND = played(
    ("low", 4), (None, 3), ("middle", 3.3), ("high", 1.2), ("middle", 8), ("high", 10), ("low", 2.7)
)


def told(samples: list[np.ndarray]) -> list[Alert]:
    watch = Watch(ear(), WATCHED)
    return [alert for piece in samples for alert in watch.feed(piece)] + watch.finish()


@pytest.mark.parametrize("seed", range(5))
def test_what_is_heard_does_not_depend_on_the_pieces(seed: int) -> None:
    cut = pieces(SOUND, np.random.default_rng(seed))
    assert told(cut) == told([SOUND])
    whole, parts = StreamComparison(ear(), ["high"]), StreamComparison(ear(), ["high"])
    looks = whole.feed(SOUND) + whole.finish()
    others = [look for piece in cut for look in parts.feed(piece)] + parts.finish()
    assert [(a.start, a.end) for a in looks] == [(a.start, a.end) for a in others]
    np.testing.assert_array_equal([a.scores for a in looks], [a.scores for a in others])


def test_alerts_come_where_the_sound_is() -> None:
    alerts = [alert for alert in told([SOUND]) if alert.sentence == "high"]
    short, *long = alerts
    # From 10.3 to 11.5 s: heard as soon as it is most of a window.
    assert 11.3 <= short.end <= 11.3 + WATCH_HOP_SECONDS
    assert short.end - short.start == WATCH_WINDOW_SECONDS
    # From 19.5 to 29.5 s.
    assert 20.5 <= long[0].end <= 20.5 + WATCH_HOP_SECONDS
    assert all(alert.start < 29.5 for alert in long)


def test_there_is_no_second_alert_while_it_is_held_off() -> None:
    alerts = told([SOUND])
    ends = [alert.end for alert in alerts if alert.sentence == "high"]
    assert min(np.diff(ends)) >= 3.0
    assert len(ends) == 1 + 4
    assert [alert.sentence for alert in alerts].count("low") == 1, "100 s have not passed"


def test_a_sound_at_the_very_end_is_heard() -> None:
    ended = Watch(ear(), WATCHED[:1])
    assert ended.feed(played(("high", 0.4))) == []
    assert [alert.end for alert in ended.finish()] == [0.4]
    assert Watch(ear(), WATCHED).finish() == []


def test_silence_is_like_nothing() -> None:
    comparison = StreamComparison(ear(), ["high"])
    assert comparison.feed(played((None, 10))) == []
    assert comparison.finish() == []


def test_alternatives_fit_as_well_as_the_better() -> None:
    assert alternatives("gunshot or explosion") == ["gunshot", "explosion"]
    assert alternatives("thunder, a gunshot, or an explosion") == [
        "thunder",
        "a gunshot",
        "an explosion",
    ]
    assert alternatives("a dog, barking") == ["a dog, barking"]
    assert alternatives("wind in an orchard") == ["wind in an orchard"]
    either, each = (
        StreamComparison(ear(), ["low or high"]),
        StreamComparison(ear(), ["low", "high"]),
    )
    for one, two in zip(either.feed(SOUND), each.feed(SOUND), strict=True):
        assert one.scores[0] == two.scores.max()


def test_the_score_is_how_far_a_sentence_stands_out_from_the_classes() -> None:
    (look,) = StreamComparison(ear(), ["high"]).feed(played(("high", 1.0)))
    # Of four classes at right angles the sound is one: log mean exp is 1 - T log 4; so is the
    # sentence.
    of_sentence = np.array([1, 0, 0, 0])
    expected = (1 - (1 - TEMPERATURE * np.log(4)) - of_sentence.mean()) / of_sentence.std()
    assert look.scores[0] == pytest.approx(expected, abs=1e-3)


def test_the_probability_of_a_class_that_is_asked_for_raises_the_score() -> None:
    class Selecting(Ear):
        """Names classes too: "high" and "low" by one word each, and "middle" by none."""

        planner = SimpleNamespace(
            classes=SimpleNamespace(classes_meant={"high": [0, 2], "low": [1], "middle": []}.get)
        )

        def hear(self, samples: np.ndarray) -> SimpleNamespace:
            heard = super().hear(samples)
            return SimpleNamespace(embedding=heard.embedding, tags=np.array([0.2, 0.1, 0.9]))

    sentences, sound = ["high", "low", "middle"], played(("high", 1.0))
    (plain,) = StreamComparison(ear(), sentences).feed(sound)
    (look,) = StreamComparison(cast("Captioner", Selecting()), sentences).feed(sound)
    raised = [0.9 - USUAL_PROBABILITY, 0.1 - USUAL_PROBABILITY, 0]
    np.testing.assert_allclose(look.scores - plain.scores, raised, atol=1e-6)


def test_a_gap_is_not_heard_over_and_times_go_on() -> None:
    watch = Watch(ear(), [WatchedSound("high", MOST, hold_off=30.0)])
    assert len(watch.feed(played(("high", 5)))) == 1
    assert watch.interrupt(20.0) == []
    assert watch.feed(played(("high", 4))) == [], "28 s: it is still held off"
    ((again),) = watch.feed(played(("high", 5)))
    assert (again.end - WATCH_WINDOW_SECONDS, again.end) == (again.start, 31.0)


def test_memory_is_constant() -> None:
    comparison = StreamComparison(ear(), ["high"])
    for _ in range(100):
        comparison.feed(played(("high", 0.73)))
        assert len(comparison._held) <= (WATCH_WINDOW_SECONDS + WATCH_HOP_SECONDS) * RATE
