"""Sound events: the same however the stream comes in, one after the other, where the sound
changes."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle import load
from auricle.captioning.captioner import Captioner
from auricle.captioning.changes import Change
from auricle.captioning.segmenter import NAMING_SECONDS, Event, Segmenter, events_of
from auricle.sound.decode import load_audio
from sounds import chirp, tone

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def embedded() -> Captioner:
    return load()


@pytest.fixture(scope="module")
def scene(embedded: Captioner) -> np.ndarray:
    """A siren, rain, silence, a bell: changes at 4, 8 and 10 s; ends at 14.1 s."""
    siren, rain, bell = (
        load_audio(EXAMPLES / f"{name}.wav", embedded.rate) for name in ("siren", "rain", "bell")
    )
    four = 4 * embedded.rate
    silence = np.zeros(2 * embedded.rate, np.float32)
    return np.concatenate([siren[:four], rain[:four], silence, bell[: four + embedded.rate // 10]])


def rows_of(
    captioner: Captioner,
    samples: np.ndarray,
    cuts: Sequence[int] = (),
    naming_seconds: Sequence[float] = NAMING_SECONDS,
) -> list[Event]:
    segmenter = Segmenter(captioner, naming_seconds=naming_seconds)
    rows = [row for piece in np.split(samples, sorted(cuts)) for row in segmenter.feed(piece)]
    return rows + segmenter.finish()


def noise(seconds: float, rate: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * rate)).astype(np.float32)


@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_rows_do_not_depend_on_how_the_stream_comes_in(
    guided: Captioner, data: st.DataObject
) -> None:
    rate = guided.rate
    samples = np.concatenate(
        [tone(2.6, 500, rate), noise(3.3, rate), np.zeros(rate, np.float32), tone(1.2, 2_000, rate)]
    )
    cuts = data.draw(st.lists(st.integers(0, len(samples)), max_size=40))
    assert rows_of(guided, samples, cuts) == rows_of(guided, samples)


def test_rows_of_a_real_scene_do_not_depend_on_it_either(
    embedded: Captioner, scene: np.ndarray
) -> None:
    whole = rows_of(embedded, scene)
    assert rows_of(embedded, scene, range(0, len(scene), 3_217)) == whole
    for first, second in zip(whole, rows_of(embedded, scene, [5]), strict=True):
        np.testing.assert_array_equal(first.embedding, second.embedding)


def test_events_are_where_the_sound_changes(embedded: Captioner, scene: np.ndarray) -> None:
    events = [row for row in rows_of(embedded, scene) if row.state == "end"]
    assert [(round(e.start), round(e.end)) for e in events] == [(0, 4), (4, 8), (10, 14)]
    siren, rain, bell = events
    assert "siren" in siren.caption.lower()
    assert "rain" in rain.caption.lower()
    assert "bell" in bell.caption.lower()
    assert abs(siren.end - 4) < 0.1
    assert bell.end == pytest.approx(14.1)  # the stream's end, be it on no hop
    assert all(e.tags and e.confidence and e.embedding is not None for e in events)


def test_every_event_begins_once_and_ends_once(embedded: Captioner, scene: np.ndarray) -> None:
    rows = rows_of(embedded, scene)
    for number in {row.id for row in rows}:
        states = [row.state for row in rows if row.id == number]
        assert states[0] == "begin"
        assert states[-1] == "end"
        assert set(states[1:-1]) <= {"revise"}
        assert len({row.start for row in rows if row.id == number}) == 1
    ends = [row for row in rows if row.state == "end"]
    assert [row.id for row in ends] == list(range(1, len(ends) + 1))
    assert all(before.end <= after.start for before, after in pairwise(ends))
    for before, after in pairwise(rows):
        assert after.state != "revise" or after.caption != before.caption


def test_a_row_comes_within_a_second_of_what_it_tells(
    embedded: Captioner, scene: np.ndarray
) -> None:
    segmenter, told, hop = Segmenter(embedded), dict[tuple[int, str], float](), embedded.rate // 10
    for at in range(0, len(scene), hop):
        for row in segmenter.feed(scene[at : at + hop]):
            told.setdefault((row.id, row.state), (at + hop) / embedded.rate)
    starts = {row.id: row.start for row in rows_of(embedded, scene)}
    for number, start in starts.items():
        assert told[number, "begin"] - start < 1.4
    assert told[1, "end"] - 4 <= 1.1


def test_without_early_captions_the_final_ones_are_the_same(
    embedded: Captioner, scene: np.ndarray
) -> None:
    rows = rows_of(embedded, scene, naming_seconds=())
    ends = [row for row in rows if row.state == "end"]
    assert ends == [row for row in rows_of(embedded, scene) if row.state == "end"]
    assert [row.state for row in rows] == ["begin", "end"] * len(ends)


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_threads_give_the_same_rows_in_the_same_order(
    embedded: Captioner, scene: np.ndarray, jobs: int
) -> None:
    long = np.concatenate([scene, noise(23, embedded.rate)])  # with an event of several parts
    found = list(events_of(embedded, np.array_split(long, 7), jobs))
    expected = rows_of(embedded, long, naming_seconds=())
    assert found == expected
    assert any(row.end - row.start > 20 for row in found)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.embedding, other.embedding)


def test_silence_is_no_event(guided: Captioner) -> None:
    assert rows_of(guided, np.zeros(5 * guided.rate, np.float32)) == []
    assert rows_of(guided, np.zeros(0, np.float32)) == []


def test_a_pause_divides_and_a_breath_does_not(guided: Captioner) -> None:
    rate = guided.rate
    never = Change(threshold=np.inf)

    def ends(pause: float) -> list[tuple[float, float]]:
        beep = tone(1.5, 800, rate)
        segmenter = Segmenter(guided, never)
        rows = (
            segmenter.feed(np.concatenate([beep, np.zeros(round(pause * rate), np.float32), beep]))
            + segmenter.finish()
        )
        return [(row.start, row.end) for row in rows if row.state == "end"]

    assert ends(0.25) == [(0.0, 3.25)]
    assert ends(2.0) == [(0.0, 1.5), (3.5, 5.0)]


def test_a_very_short_sound_is_an_event(guided: Captioner) -> None:
    rows = rows_of(guided, tone(0.1, 800, guided.rate))
    assert [row.state for row in rows] == ["begin", "end"]
    assert (rows[-1].start, rows[-1].end) == (0.0, 0.1)


def test_what_lasts_for_minutes_is_one_event_in_constant_memory(guided: Captioner) -> None:
    rate, segmenter = guided.rate, Segmenter(guided, naming_seconds=())
    rows, piece, most = list[Event](), tone(1, 1_000, rate), 0
    for _ in range(75):
        rows += segmenter.feed(piece)
        most = max(most, segmenter._finder._held.nbytes)
    rows += segmenter.finish()
    assert [(row.state, row.start) for row in rows] == [("begin", 0.0), ("end", 0.0)]
    assert rows[-1].end == 75.0
    assert most < 16 * rate * 4


def test_other_front_ends_and_checkpoints_without_tags_do_too(captioner: Captioner) -> None:
    samples = np.concatenate([chirp(3, 100, 5_000, captioner.rate), noise(3, captioner.rate)])
    rows = rows_of(captioner, samples)
    assert rows[0].state == "begin"
    assert rows[-1].end == 6.0
    assert all(row.embedding is None and row.confidence is None and not row.tags for row in rows)
