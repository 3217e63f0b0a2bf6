"""Captioning: whole, in windows, live and side by side; what a sound gets depends on nothing but
the sound."""

import io
import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.captioning.captioner import Captioner, load
from auricle.captioning.confidence import confidence_features
from auricle.captioning.results import Caption
from auricle.captioning.similarity import compare_sound
from auricle.checkpoint.config import BeamOptions, Confidence, SecondEvent
from auricle.checkpoint.folder import Checkpoint
from auricle.checkpoint.vocabulary import STOP_WORDS, words
from auricle.errors import AudioError, AuricleError
from auricle.sound.decode import load_audio
from auricle.sound.silence import SILENCE_DBFS, silence
from sounds import chirp, stereo, tone, write_wav

RATE = 32_000


def sound(seconds: float, seed: int) -> np.ndarray:
    """Something else for each seed: a chirp, noise, a tone, silence."""
    if seed % 4 == 0:
        return chirp(seconds, 100 + 50 * seed, 6_000, RATE)
    if seed % 4 == 1:
        return (
            np.random.default_rng(seed)
            .normal(0, 0.05 * seed, round(seconds * RATE))
            .clip(-1, 1)
            .astype(np.float32)
        )
    return (
        tone(seconds, 300 * seed, RATE)
        if seed % 4 == 2
        else np.zeros(round(seconds * RATE), np.float32)
    )


def scene(seconds: float, part: float = 5.0) -> np.ndarray:
    """Changes every `part` seconds."""
    return np.concatenate([sound(part, seed) for seed in range(int(np.ceil(seconds / part)))])[
        : round(seconds * RATE)
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sounds")
    lengths = (1.5, 4.0, 0.4, 2.0, 5.5, 3.0)
    return [write_wav(folder / f"{i}.wav", sound(s, i), RATE) for i, s in enumerate(lengths)]


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("long") / "long.wav", scene(35, 7), RATE)


def test_the_model_says_other_things_of_other_sounds(captioner: Captioner, files: list[Path]):
    """Else nothing below would show anything."""
    assert len({caption.text for caption in captioner.caption(files)}) > 2


def test_path_bytes_stream_and_array_are_the_same_sound(captioner: Captioner, files: list[Path]):
    for path in files:
        expected = captioner.caption(path)
        assert captioner.caption(str(path)) == expected
        assert captioner.caption(path.read_bytes()) == expected
        assert captioner.caption(io.BytesIO(path.read_bytes())) == expected
        samples = load_audio(path, RATE)
        assert captioner.caption(samples) == captioner.caption(samples, RATE) == expected
        assert captioner.caption(stereo(samples), RATE) == expected


def test_an_array_at_another_rate_is_resampled_as_its_file_is(captioner: Captioner, tmp_path: Path):
    path = write_wav(tmp_path / "a.wav", chirp(2, 200, 3_000, 22_050), 22_050)
    assert captioner.caption(load_audio(path, 22_050), 22_050) == captioner.caption(path)


def test_a_list_is_its_elements(captioner: Captioner, files: list[Path]):
    alone = [captioner.caption(path) for path in files]
    assert captioner.caption(files) == alone
    assert captioner.caption(tuple(reversed(files))) == alone[::-1]
    assert captioner.caption([path.read_bytes() for path in files]) == alone
    assert captioner.caption([]) == []


def test_one_caption_is_of_the_whole_sound(captioner: Captioner, files: list[Path]):
    for path in files:
        caption = captioner.caption(path)
        assert caption.whole
        assert (caption.start, caption.end) == (0, len(load_audio(path, RATE)) / RATE)
        assert caption.text == caption.alternatives[0].text
        assert caption.score == caption.alternatives[0].score <= 0
        assert list(captioner.captions(path)) == [caption]


def test_alternatives_are_the_beam_the_best_first(tiny_checkpoint: Path, files: list[Path]):
    caption = load(tiny_checkpoint, BeamOptions(5, max_length=8)).caption(files[0])
    assert len(caption.alternatives) == 5
    scores = [alternative.score for alternative in caption.alternatives]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("what", ["path", "bytes", "array"])
def test_a_sound_that_is_too_long_is_refused(captioner: Captioner, long_file: Path, what: str):
    source = {
        "path": long_file,
        "bytes": long_file.read_bytes(),
        "array": load_audio(long_file, RATE),
    }[what]
    with pytest.raises(AudioError, match="longer than 30 s, the most"):
        captioner.caption(source)


def test_exactly_the_longest_is_one_caption(captioner: Captioner, tmp_path: Path):
    path = write_wav(tmp_path / "30.wav", scene(30), RATE)
    assert list(captioner.captions(path)) == [captioner.caption(path)]
    longer = write_wav(tmp_path / "more.wav", scene(31.1), RATE)
    assert not any(caption.whole for caption in captioner.captions(longer))


def test_up_to_a_second_more_is_cut_as_in_training(captioner: Captioner, tmp_path: Path):
    path = write_wav(tmp_path / "31.wav", scene(31), RATE)
    beginning = captioner.caption(load_audio(path, RATE)[: 30 * RATE])
    assert list(captioner.captions(path)) == [captioner.caption(path)] == [beginning]


@pytest.mark.parametrize(("seconds", "compared"), [(30, [30]), (31, [30]), (32, [10, 10, 10, 2])])
def test_sounds_are_compared_as_they_are_captioned(seconds: int, compared: list[int]):
    heard: list[int] = []

    def embed(samples: np.ndarray) -> np.ndarray:
        heard.append(len(samples) // 100)
        return np.ones(1)

    compare_sound(embed, iter([np.zeros(100 * seconds, np.float32)]), np.ones((1, 1)), 100, 30.0)
    assert heard == compared


def test_long_sounds_go_through_windows(captioner: Captioner, long_file: Path):
    samples = load_audio(long_file, RATE)
    captions = list(captioner.captions(long_file, 7.0))
    assert len(captions) > 2
    assert captions == list(captioner.caption_stream([samples], 7.0))
    assert_tiles(captions, len(samples) / RATE)


def assert_tiles(captions: list[Caption], seconds: float) -> None:
    """One after another, without gaps, from the beginning to the end; no two neighbours alike."""
    assert captions[0].start == 0
    assert captions[-1].end == seconds
    for before, after in itertools.pairwise(captions):
        assert before.end == after.start
        assert before.text != after.text
    assert not any(caption.whole for caption in captions)


@settings(max_examples=8, deadline=None)
@given(data=st.data(), seconds=st.floats(0.5, 9), window=st.sampled_from([1.0, 1.7, 4.0]))
def test_chunked_equals_whole(
    captioner: Captioner, data: st.DataObject, seconds: float, window: float
):
    samples = scene(seconds, 2)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples)), max_size=10)))
    chunks = [samples[a:b] for a, b in itertools.pairwise([0, *cuts, len(samples)])]
    captions = list(captioner.caption_stream(iter(chunks), window))
    assert captions == list(captioner.caption_stream([samples], window))
    assert_tiles(captions, len(samples) / RATE)


def test_each_window_is_captioned_as_if_alone_and_equal_neighbours_are_one(captioner: Captioner):
    samples = np.concatenate(
        [sound(2, 0), sound(2, 2), sound(2, 2), sound(2, 2), sound(2, 3), sound(1.5, 0)]
    )
    windows = [
        captioner.caption(samples[at : at + 2 * RATE]) for at in range(0, len(samples), 2 * RATE)
    ]
    merged = [
        list(group) for _, group in itertools.groupby(windows, key=lambda caption: caption.text)
    ]
    assert len(merged) < len(windows)  # else nothing is shown
    captions = list(captioner.caption_stream([samples], 2.0))
    assert [c.text for c in captions] == [group[0].text for group in merged]
    assert [c.score for c in captions] == [max(c.score for c in group) for group in merged]
    assert_tiles(captions, 11.5)


@pytest.mark.parametrize("tail", [0.0001, 0.5, 0.99])
def test_an_end_shorter_than_a_second_joins_the_window_before(captioner: Captioner, tail: float):
    samples = np.concatenate([sound(2, 0), sound(2, 1), sound(1, 3)[: round(tail * RATE)]])
    whole = list(captioner.caption_stream([samples[: 4 * RATE]], 2.0))
    captions = list(captioner.caption_stream([samples], 2.0))
    assert captions == [*whole[:-1], replace(whole[-1], end=len(samples) / RATE)]


def test_captions_come_while_the_sound_does(captioner: Captioner):
    fed = 0

    def seconds() -> Iterator[np.ndarray]:
        nonlocal fed
        for second in itertools.count():
            fed += 1
            yield sound(1, second % 4)

    for caption in itertools.islice(captioner.caption_stream(seconds(), 2.0), 5):
        assert fed <= caption.end + 3  # the next window, and the chunk that ends it


def test_a_stream_without_samples_has_no_captions(captioner: Captioner):
    assert list(captioner.caption_stream([])) == []
    assert list(captioner.caption_stream([np.zeros(0, np.float32)])) == []


def test_a_window_under_a_second_is_refused(captioner: Captioner):
    with pytest.raises(ValueError, match="at least 1"):
        list(captioner.caption_stream([sound(3, 0)], 0.5))


@pytest.mark.parametrize("jobs", [1, 2, 7, None])
def test_files_keep_their_order_whatever_the_jobs(
    captioner: Captioner, files: list[Path], jobs: int | None
):
    many = [files[i] for i in (1, 0, 4, 2, 0, 3, 5, 1, 1, 2)]
    rows = list(captioner.caption_files(((str(f), f) for f in many), jobs=jobs))
    assert [row.file for row in rows] == [str(f) for f in many]
    alone = {f: captioner.caption(f) for f in files}
    assert [row.caption for row in rows] == [alone[f] for f in many]


def test_a_bad_file_is_a_row_and_stops_nothing(
    captioner: Captioner, files: list[Path], tmp_path: Path
):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no sound at all\n")
    paths = [
        files[0],
        tmp_path / "empty.wav",
        files[1],
        tmp_path / "gone.wav",
        tmp_path / "text.wav",
        files[2],
    ]
    rows = list(captioner.caption_files((f"name of {p.name}", p) for p in paths))
    assert [row.file for row in rows] == [f"name of {p.name}" for p in paths]
    assert [row.error is None for row in rows] == [True, False, True, False, False, True]
    for row in rows:
        assert (row.caption is None) == (row.error is not None)
        assert row.error is None or str(row.error).startswith(f"{row.file}: ")


def test_windows_before_the_damage_are_captioned(captioner: Captioner, long_file: Path):
    class Broken(io.RawIOBase):
        """A pipe that fails after 34 s."""

        def __init__(self) -> None:
            self.data = io.BytesIO(long_file.read_bytes()[: 34 * RATE * 2])

        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:
            count = self.data.readinto(memoryview(buffer)[:4096])
            if not count:
                raise OSError("the cable is out")
            return count

    rows = list(captioner.caption_files([("live", Broken())], window=7.0))  # type: ignore[list-item]
    assert len(rows) > 1
    assert all(row.caption is not None for row in rows[:-1])
    assert rows[-1].error is not None


def test_a_short_sound_is_captioned_up_to_its_damage(
    captioner: Captioner, files: list[Path], tmp_path: Path
):
    data = files[0].read_bytes()
    path = tmp_path / "cut.wav"
    path.write_bytes(data[: len(data) * 3 // 4])
    for max_duration in (None, 60.0):
        first, last = captioner.caption_files([("cut", path)], max_duration=max_duration)
        assert first.caption is not None
        assert "is truncated" in str(last.error)
    with pytest.raises(AudioError, match="is truncated"):
        captioner.caption(path)


@pytest.mark.parametrize("bad", [np.nan, 1e25])
def test_samples_that_are_no_sound_are_blamed_themselves(captioner: Captioner, bad: float):
    samples = sound(1, 0)
    samples[99] = bad
    with pytest.raises(AudioError, match="array: has samples"):
        list(captioner.caption_stream([samples]))


def test_no_caption_of_a_sound_that_is_longer_than_allowed(captioner: Captioner, long_file: Path):
    (row,) = captioner.caption_files([("long", long_file)], max_duration=31)
    assert "longer than the 31 s" in str(row.error)


@pytest.mark.parametrize("jobs", [2, 5])
@pytest.mark.parametrize("share", [1.0, 0.9], ids=["whole", "cut"])
def test_windows_side_by_side_are_the_windows_in_turn(
    captioner: Captioner, long_file: Path, tmp_path: Path, share: float, jobs: int
):
    """Bit by bit, and up to the damage."""
    path = tmp_path / "sound.wav"
    path.write_bytes(long_file.read_bytes()[: round(share * long_file.stat().st_size)])
    in_turn, side_by_side = (
        list(captioner.caption_files([("sound", path)], window=3.3, jobs=some))
        for some in (1, jobs)
    )
    assert [row.caption for row in side_by_side] == [row.caption for row in in_turn]
    assert len(in_turn) > 1
    assert (side_by_side[-1].error is None) == (in_turn[-1].error is None) == (share == 1)


def test_sources_are_taken_as_they_are_needed(captioner: Captioner, files: list[Path]):
    taken = 0

    def endless() -> Iterator[tuple[str, Path]]:
        nonlocal taken
        while True:
            taken += 1
            yield str(taken), files[2]

    rows = captioner.caption_files(endless(), jobs=2)
    for given_back, row in enumerate(itertools.islice(rows, 30), 1):
        assert row.file == str(given_back)
        assert taken <= given_back + 8
    rows.close()  # type: ignore[attr-defined]


def test_a_mistake_of_ours_is_not_taken_for_a_bad_file(captioner: Captioner):
    with pytest.raises(AttributeError):
        list(captioner.caption_files([("x", object())]))  # type: ignore[list-item]


def test_a_model_that_can_say_nothing_is_an_error(tiny_checkpoint: Path, files: list[Path]):
    """No word twice, and more words expected than it knows: told as the model's fault, not the
    sound's."""
    strict = load(tiny_checkpoint, BeamOptions(2, min_length=30, max_length=31, no_repeat_ngram=1))
    with pytest.raises(AuricleError, match="finds no sentence") as refusal:
        list(strict.caption_files([("a", files[0])]))
    assert not isinstance(refusal.value, AudioError)


SILENT = {
    "digital silence": np.zeros(3 * RATE, np.float32),
    "a moment": np.zeros(500, np.float32),
    "a constant": np.full(3 * RATE, 0.4, np.float32),
    "one step of 16 bits": np.random.default_rng(0).integers(-1, 2, 3 * RATE).astype(np.int16),
    "a step next to a constant": np.random.default_rng(0).choice(
        np.array([-301, -299], np.int16), (2, 3 * RATE)
    ),
}


@pytest.mark.parametrize("name", SILENT)
@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_silence_is_called_so_whatever_the_model(
    request: pytest.FixtureRequest, name: str, rate: int
):
    for model in ("captioner", "guided"):
        caption = request.getfixturevalue(model).caption(SILENT[name], rate)
        assert caption.text == caption.alternatives[0].text == "Silence."
        assert caption.confidence is not None
        assert caption.confidence > 0.9


def test_silence_asks_no_network(captioner: Captioner, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(captioner, "model", None)
    assert captioner.caption(np.zeros(RATE, np.float32)).confidence == 1


def noise(decibels: float, seconds: float = 1.0) -> np.ndarray:
    """White noise of a level in dBFS, the same in every tenth of a second."""
    block = np.random.default_rng(1).normal(0, 1, RATE // 10)
    block = (block - block.mean()) / block.std() * 10 ** (decibels / 20)
    return np.tile(block, round(10 * seconds)).astype(np.float32)


def test_silence_is_sure_far_below_the_threshold_and_even_at_it():
    levels = [-np.inf, *range(-110, 1, 10)]
    sure = [silence(noise(level), RATE) for level in levels]
    assert sure == sorted(sure, reverse=True)
    assert sure[0] == 1
    assert silence(noise(SILENCE_DBFS), RATE) == pytest.approx(0.5, abs=1e-3)
    assert sure[-1] < 1e-7
    for level in (0.1, 1, 10, 20):  # a logistic function is symmetric
        above, below = (silence(noise(SILENCE_DBFS + side), RATE) for side in (level, -level))
        assert above + below == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("at", [0, 0.33, 0.95, 1.99])
def test_a_moment_of_sound_is_no_silence(captioner: Captioner, at: float):
    samples = np.zeros(2 * RATE, np.float32)
    samples[round(at * RATE) :][:320] = tone(0.01, 1000, RATE, amplitude=0.002)
    assert captioner.caption(samples).text != "Silence."


def test_the_quietest_real_sounds_are_heard(shared: Path):
    for number in (0, 2, 4):
        path = shared / "corpus" / "audio" / "us8k_part" / f"159742-8-0-{number}.ogg"
        assert silence(load_audio(path, RATE), RATE) < 0.1


def test_silent_windows_of_a_long_sound_are_one(captioner: Captioner):
    samples = np.concatenate(
        [sound(2, 0), np.zeros(4 * RATE, np.float32), noise(-90, 2), sound(2, 1)]
    )
    captions = list(captioner.caption_stream([samples], 2.0))
    assert [(c.start, c.end) for c in captions if c.text == "Silence."] == [(2, 8)]
    assert captions[1].confidence == 1
    assert_tiles(captions, 10)


def changed(captioner: Captioner, **fields: object) -> Captioner:
    """The same model with another config."""
    checkpoint = captioner.checkpoint
    config = replace(checkpoint.config, **fields)  # type: ignore[arg-type]
    return Captioner(Checkpoint(checkpoint.folder, config, checkpoint.vocabulary, checkpoint.tags))


def test_tags_are_the_likeliest_the_encoder_hears(
    guided: Captioner, captioner: Captioner, files: list[Path]
):
    for path in files[:3]:
        heard = guided.model.hear(guided.spectrogram(load_audio(path, RATE))).tags
        assert heard is not None
        tags = guided.caption(path).tags
        assert [tag.probability for tag in tags] == sorted(heard.tolist(), reverse=True)[:10]
        assert all(heard[int(tag.name.removeprefix("class "))] == tag.probability for tag in tags)
        assert captioner.caption(path).tags == ()


def test_reranking_by_much_says_what_is_most_similar(guided: Captioner, files: list[Path]):
    reranked = changed(guided, rerank=1000)
    guided, reranked = (
        Captioner(one.checkpoint, BeamOptions(8, max_length=8)) for one in (guided, reranked)
    )
    orders = []
    for path in files[:3]:
        plain, caption = guided.caption(path), reranked.caption(path)
        assert {a.similarity for a in plain.alternatives} == {None}
        assert {(a.text, a.score) for a in caption.alternatives} == {
            (a.text, a.score) for a in plain.alternatives
        }
        assert (caption.text, caption.score) == (
            caption.alternatives[0].text,
            caption.alternatives[0].score,
        )
        similar = [a.similarity or 0.0 for a in caption.alternatives]
        assert similar == sorted(similar, reverse=True)
        texts = [a.text for a in caption.alternatives]
        np.testing.assert_allclose(guided.similarity([path], texts)[0], similar, atol=1e-5)
        orders.append(texts == [a.text for a in plain.alternatives])
    assert not all(orders)  # else nothing is shown


def test_a_second_event_is_told_where_that_is_more_similar(guided: Captioner, files: list[Path]):
    """Without the words of the first, as similar as it says, and never where it gains too little or
    one event says enough."""
    never = changed(guided, second_event=SecondEvent(below=1.0, gain=2.0))
    always = changed(guided, second_event=SecondEvent(below=1.0, gain=-2.0))
    sure = changed(guided, second_event=SecondEvent(below=-1.0, gain=-2.0))
    for path in files[:3]:
        one, both = never.caption(path), always.caption(path)
        assert sure.caption(path) == one
        first, second = (part.split() for part in both.text.rstrip(".").lower().split(" while ", 1))
        assert first == words(one.text)
        assert set(first).isdisjoint(set(second) - STOP_WORDS)
        assert (both.text, both.score) == (both.alternatives[0].text, both.alternatives[0].score)
        assert both.alternatives[1:] == one.alternatives[: len(both.alternatives) - 1]
        gained = [a.similarity or 0.0 for a in (both.alternatives[0], one.alternatives[0])]
        np.testing.assert_allclose(
            guided.similarity([path], [both.text, one.text])[0], gained, atol=1e-5
        )
        between = changed(
            guided, second_event=SecondEvent(below=1.0, gain=gained[0] - gained[1] - 1e-4)
        )
        beyond = changed(
            guided, second_event=SecondEvent(below=1.0, gain=gained[0] - gained[1] + 1e-4)
        )
        assert between.caption(path) == both
        assert beyond.caption(path) == one


def test_the_text_tower_is_read_when_it_is_needed(
    tiny_guided_checkpoint: Path, tmp_path: Path, files: list[Path]
):
    for path in tiny_guided_checkpoint.iterdir():
        if path.name != "text.onnx":
            shutil.copy(path, tmp_path)
    incomplete = load(tmp_path)
    assert incomplete.caption(files[0]).text
    for use in (
        lambda: incomplete.similarity(files, ["rain"]),
        lambda: changed(incomplete, rerank=1).caption(files[0]),
    ):
        with pytest.raises(AuricleError, match=r"text\.onnx cannot be run: it is missing"):
            use()


def test_confidence_is_logistic_in_what_it_goes_by(
    guided: Captioner, captioner: Captioner, files: list[Path]
):
    weights = Confidence(bias=0.3, score=0.7, tag=-2.0, similarity=1.5)
    for path in files[:3]:
        caption = changed(guided, rerank=1.0, confidence=weights).caption(path)
        features = confidence_features(caption)
        assert features == (
            caption.score,
            caption.tags[0].probability,
            caption.alternatives[0].similarity,
            0,
        )
        logit = 0.3 + np.dot([0.7, -2.0, 1.5, 0], features)
        assert caption.confidence == pytest.approx(1 / (1 + np.exp(-logit)))
        assert changed(guided, confidence=Confidence(-1e9, 0, 0, 0)).caption(path).confidence == 0
        plain = captioner.caption(path)
        assert plain.confidence is None
        assert confidence_features(plain) == (plain.score, 0, 0, 0)


def test_similarity_is_the_cosine_of_the_embeddings(guided: Captioner, files: list[Path]):
    sentences = ["a dog barks", "rain", "the wind blows in the rain and a bell rings"]
    similarity = guided.similarity(files, sentences)
    assert similarity.shape == (len(files), len(sentences))
    assert similarity.dtype == np.float32
    for row, path in zip(similarity, files, strict=True):
        heard = guided.model.hear(guided.spectrogram(load_audio(path, RATE))).embedding
        assert heard is not None
        for value, text in zip(row, sentences, strict=True):
            said = guided.model.embed_sentences(
                [guided.checkpoint.vocabulary.numbers(words(text))]
            )[0]
            assert (
                np.linalg.norm(said)
                == pytest.approx(np.linalg.norm(heard))
                == pytest.approx(1, abs=1e-5)
            )
            assert value == pytest.approx(said @ heard, abs=1e-5)
            assert guided.similarity([path], [text])[0, 0] == pytest.approx(
                value, abs=1e-6
            )  # whatever else is in the batch
    assert guided.similarity([], sentences).shape == (0, 3)
    assert guided.similarity(files[:2], []).shape == (2, 0)


def test_unknown_words_are_passed_over_unless_all_are(guided: Captioner, files: list[Path]):
    similarity = guided.similarity(files[:2], ["A dog barks!", "a xylophonist dog barks"])
    np.testing.assert_array_equal(similarity[:, 0], similarity[:, 1])
    for text in ("xylophonist", "...", ""):
        with pytest.raises(AuricleError, match=f"no word of '{text}'"):
            guided.similarity(files[:1], ["rain", text])


def test_a_long_sound_is_as_similar_as_its_most_similar_window(guided: Captioner, long_file: Path):
    samples = load_audio(long_file, RATE)
    windows = [samples[at : at + 10 * RATE] for at in range(0, len(samples), 10 * RATE)]
    sentences = ["a dog barks", "rain", "the engine idles"]
    expected = guided.similarity(windows, sentences).max(0)
    np.testing.assert_allclose(
        guided.similarity([long_file, samples], sentences), [expected] * 2, atol=1e-6
    )


def test_files_are_compared_in_order_and_bad_ones_stop_nothing(
    guided: Captioner, files: list[Path]
):
    paths = [files[0], Path("gone.wav"), *files[1:]]
    matches = list(guided.similarity_files("rain", ((str(path), path) for path in paths), jobs=2))
    assert [match.file for match in matches] == [str(path) for path in paths]
    assert [match.error is None for match in matches] == [path.exists() for path in paths]
    expected = guided.similarity(files, ["rain"])[:, 0]
    np.testing.assert_allclose(
        [m.similarity for m in matches if m.similarity is not None], expected, atol=1e-6
    )


def test_a_model_without_a_text_tower_says_so(captioner: Captioner, files: list[Path]):
    for use in (
        lambda: captioner.similarity(files, ["rain"]),
        lambda: captioner.similarity_files("rain", []),
    ):
        # The server hands the message on, so it names no path.
        with pytest.raises(AuricleError, match=r"^the model cannot compare .*no text tower$"):
            use()


@pytest.mark.parametrize("model", ["captioner", "guided"])
def test_attention_has_a_row_for_each_word(
    request: pytest.FixtureRequest, model: str, files: list[Path]
):
    captioner: Captioner = request.getfixturevalue(model)
    samples = load_audio(files[4], RATE)
    text = captioner.caption(samples).text
    attention = captioner.attention(samples, text)
    frames = len(captioner.spectrogram(samples)) // 16
    assert attention.shape == (len(words(text)), frames + captioner.checkpoint.config.decoder.tags)
    np.testing.assert_allclose(attention.sum(1), 1, atol=1e-5)
    # Later words do not change the attention of earlier ones.
    np.testing.assert_allclose(
        captioner.attention(samples, " ".join(words(text)[:3])), attention[:3], atol=1e-6
    )
    for wrong in ("xylophonist", "a xylophonist", ""):
        with pytest.raises(AuricleError, match="the model cannot say"):
            captioner.attention(samples, wrong)


@pytest.mark.parametrize(
    "missing", ["config.json", "vocabulary.txt", "encoder.onnx", "decoder.onnx"]
)
def test_a_checkpoint_that_lacks_a_file_says_which(
    tiny_checkpoint: Path, tmp_path: Path, missing: str
):
    for path in tiny_checkpoint.iterdir():
        if path.name != missing:
            shutil.copy(path, tmp_path)
    with pytest.raises(AuricleError, match=missing) as refusal:
        load(tmp_path)
    assert str(tmp_path) in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": 3}, "format is 3"),
        ({"front_end": "pann"}, "choose one of paper"),
        ({"maximum_secs": 10}, "did you mean maximum_seconds"),
        ({"decoding": {"beam": 0}}, "beam is 0"),
        ({"encoder": {"architecture": "resnet"}}, "choose one of 'cnn10'"),
        ({"confidence": {"bias": 1.0}}, "'confidence.score' is missing"),
    ],
)
def test_a_config_that_is_wrong_says_where(
    tiny_checkpoint: Path, tmp_path: Path, change: dict, complaint: str
):
    for path in tiny_checkpoint.iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "config.json").unlink()
    config = json.loads((tiny_checkpoint / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}), "utf-8")
    with pytest.raises(AuricleError, match=complaint):
        load(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "\x00"])
def test_a_config_that_is_no_object_is_refused(tiny_checkpoint: Path, tmp_path: Path, text: str):
    shutil.copy(tiny_checkpoint / "vocabulary.txt", tmp_path)
    (tmp_path / "config.json").write_text(text, "utf-8")
    with pytest.raises(AuricleError):
        load(tmp_path)
