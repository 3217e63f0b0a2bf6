"""Cues can be read in their time, never overlap, and keep out of taken times."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.captioning.results import Tag
from auricle.captioning.segmenter import Event
from auricle.subtitles.cues import (
    GAP_SECONDS,
    MAX_CHARACTERS_PER_SECOND,
    MAX_LINE_CHARACTERS,
    MAX_SECONDS,
    MIN_SECONDS,
    MIN_SECONDS_LEFT,
    Cue,
    CueOptions,
    cues,
)

CAPTIONS = (
    "A dog barks.",
    "Rain is falling down onto a body of water.",
    "A man is speaking while a vehicle engine runs and birds chirp in the background followed by "
    "a siren wailing.",
    "Music plays.",
    "A woman talks.",
)


def event(
    start: float, end: float, caption: str = "A dog barks.", confidence: float | None = 0.9
) -> Event:
    return Event(1, "end", start, end, caption, (Tag("Bark", 0.9),), confidence)


def shown(
    *events: Event, options: CueOptions | None = None, taken: tuple[tuple[float, float], ...] = ()
) -> list[Cue]:
    return list(cues(events, options or CueOptions(), taken))


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    now, found = 0.0, []
    for _ in range(draw(st.integers(0, 12))):
        start = now + draw(st.floats(0, 5))
        now = start + draw(st.floats(0.05, 40))
        found.append(event(start, now, draw(st.sampled_from(CAPTIONS)), draw(st.floats(0, 1))))
    return found


@given(
    events=streams(),
    taken=st.lists(st.tuples(st.floats(0, 200), st.floats(0.1, 9)), max_size=12),
    sentence=st.booleans(),
    speech=st.booleans(),
)
def test_conventions_hold(
    events: list[Event], taken: list[tuple[float, float]], sentence: bool, speech: bool
) -> None:
    stretches = tuple((start, start + length) for start, length in taken)
    options = CueOptions("sentence" if sentence else "label", speech=speech)
    found = shown(*events, options=options, taken=stretches)
    for cue in found:
        seconds, lines = cue.end - cue.start, cue.text.split("\n")
        assert MIN_SECONDS - 1e-6 <= seconds <= MAX_SECONDS + 1e-6
        assert len(cue.text) / seconds <= MAX_CHARACTERS_PER_SECOND + 1e-6
        assert len(lines) <= 2
        assert all(0 < len(line) <= MAX_LINE_CHARACTERS for line in lines)
        assert all(
            cue.end <= start - GAP_SECONDS + 1e-6 or cue.start >= end + GAP_SECONDS - 1e-6
            for start, end in stretches
        )
        # It is shown while it is heard, or begins to be.
        assert any(
            e.start - 1e-6 <= cue.start <= max(e.start, e.end - MIN_SECONDS_LEFT) + 1e-6
            for e in events
        )
    assert all(before.end + GAP_SECONDS <= after.start + 1e-6 for before, after in pairwise(found))


def test_a_label_is_in_brackets_and_a_sentence_is_not() -> None:
    caption = "A dog barks while rain falls."
    assert [cue.text for cue in shown(event(1, 5, caption))] == ["[dog barking, rain falling]"]
    assert [cue.text for cue in shown(event(1, 5, caption), options=CueOptions("sentence"))] == [
        caption
    ]


def test_a_cue_lasts_as_long_as_its_sound_up_to_seven_seconds() -> None:
    assert shown(event(1, 4)) == [Cue(1, 4, "[dog barking]")]
    assert shown(event(1, 300)) == [Cue(1, 8, "[dog barking]")]
    assert shown(event(1, 1.2)) == [Cue(1, 2, "[dog barking]")]


def test_fewer_words_where_there_is_less_time() -> None:
    caption = "A dog barks while rain falls and a siren wails."
    assert shown(event(0, 1, caption), event(1, 9, "A bell rings."))[0].text == "[dog barking]"
    assert (
        shown(event(0, 9, caption))[0].text.replace("\n", " ")
        == "[dog barking, rain falling, siren wailing]"
    )


def test_what_goes_on_is_not_said_again() -> None:
    assert shown(event(0, 2), event(3, 5)) == [Cue(0, 5, "[dog barking]")]
    assert shown(event(0, 2), event(6, 8)) == [Cue(0, 2, "[dog barking]")]
    assert len(shown(event(0, 2), event(20, 22))) == 2


def test_what_is_taken_comes_first() -> None:
    (cue,) = shown(event(1, 9), taken=((0, 2), (3, 4), (8, 12)))
    assert (cue.start, cue.end) == pytest.approx((4 + GAP_SECONDS, 8 - GAP_SECONDS))
    assert shown(event(1, 9), taken=((0, 20),)) == []


def test_speech_and_music_can_be_left_out() -> None:
    both = event(0, 5, "A man speaks while a dog barks."), event(5, 9, "Music plays.")
    assert [c.text for c in shown(*both)] == ["[man speaking, dog barking]", "[music playing]"]
    assert [c.text for c in shown(*both, options=CueOptions(speech=False, music=False))] == [
        "[dog barking]"
    ]
    alone = event(0, 5, "A woman talks.")
    assert shown(alone, options=CueOptions("sentence", speech=False)) == []


def test_doubtful_events_are_not_shown_and_those_without_confidence_are() -> None:
    assert shown(event(0, 5, confidence=0.1)) == []
    assert len(shown(event(0, 5, confidence=0.1), options=CueOptions(confidence=0.05))) == 1
    assert len(shown(event(0, 5, confidence=None))) == 1


def test_rows_that_are_not_final_are_passed_over() -> None:
    assert shown(Event(1, "begin", 0, 1, "A cat meows.", (), 0.9), event(0, 5)) == [
        Cue(0, 5, "[dog barking]")
    ]
    assert math.isfinite(shown(event(0, 5))[0].end)


def test_cues_stay_clear_of_cues_without_an_end_or_before_zero() -> None:
    rows = [event(0, 8), event(8, 20, "Music plays."), event(20, 40, "A woman talks.")]
    found = shown(*rows, taken=((-5, -1), (-1, 4), (16, math.inf)))
    assert len(found) == 2
    assert found[0].start >= 4
    assert found[-1].end <= 16
