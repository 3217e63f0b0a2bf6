"""The numbers of the embedded model's card: hits, chance, and the intervals of the figures."""

import csv
import random
import sys
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from auricle.data.manifest import Item
from auricle.errors import AuricleError
from auricle.evaluation.bootstrap import grouped, interval, mean, resample
from sounds import tone, write_wav

SCRIPTS = Path(__file__).parents[2] / "scripts"
RATE = 8000


@pytest.fixture(scope="module")
def scores():
    """The script, as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
        return import_module("embedded_scores")


@dataclass(frozen=True)
class Said:
    """As much of a caption as is measured."""

    text: str
    score: float = -0.5
    tags: tuple[SimpleNamespace, ...] = tuple(
        SimpleNamespace(name=n, probability=0.5) for n in ("Dog", "Bark", "Pet|s")
    )
    confidence: float | None = 0.75


class FakeCaptioner:
    """Names what the file's own name begins with; of samples it says that a dog barks."""

    rate = RATE

    def caption(self, sounds: list[Path | np.ndarray]) -> list[Said]:
        return [
            Said(f"A {s.stem.split('_')[0]} is heard." if isinstance(s, Path) else "A dog barks.")
            for s in sounds
        ]


@pytest.fixture
def held_out(scores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A manifest of four labels, three recordings of two sounds each, two of human captions; and
    the labels' words."""
    monkeypatch.setattr(scores, "load", lambda _: FakeCaptioner())
    rows = []
    for number in range(24):
        label = ("dog", "rain", "bell", "cat")[number % 4]
        write_wav(tmp_path / f"{label}_{number}.wav", tone(0.2, 200 + 10 * number, RATE), RATE)
        split = "label_valid" if number < 16 else "human_train" if number < 20 else "human_valid"
        of = [f"a {label} number {n} is here" for n in range(5)]
        rows.append(
            [f"{label}_{number}.wav", split, label, f"recording {label} {number // 8}", *of]
        )
    with (tmp_path / "sounds.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["file", "split", "label", "group", *(f"caption_{n}" for n in range(1, 6))], *rows]
        )
    (tmp_path / "words.csv").write_text(
        "label,words\ndog,dog dogs bark\nrain,rain rains\nbell,bell bark\ncat,meows\n"
    )
    return tmp_path / "sounds.csv", tmp_path / "words.csv"


def run(scores, *arguments: object) -> str:
    result = CliRunner().invoke(
        scores.app, [str(argument) for argument in arguments], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.output


def cells(printed: str, row: str) -> list[str]:
    line = next(line for line in printed.splitlines() if line.startswith(f"| {row}"))
    return [cell.strip() for cell in line.strip("|").split(" | ")][1:]


def test_a_label_is_named_among_the_first_fifteen_words(scores):
    before = "word " * 14
    assert scores.named(before + "Dog.", {"dog", "dogs"})
    assert not scores.named(before + "word dog", {"dog", "dogs"})
    assert not scores.named("A hotdog is eaten.", {"dog", "dogs"})


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcdef"), min_size=2, max_size=30), st.integers(0, 99))
def test_captions_are_dealt_to_other_recordings(scores, groups: list[str], seed: int):
    if 2 * max(Counter(groups).values()) > len(groups):
        with pytest.raises(AuricleError, match="of one recording"):
            scores.deal(groups, random.Random(seed))
        return
    dealt = scores.deal(groups, random.Random(seed))
    assert sorted(dealt) == list(range(len(groups)))
    assert all(groups[place] != groups[other] for place, other in enumerate(dealt))


def test_every_other_recording_can_be_dealt(scores):
    rng = random.Random(0)
    met = Counter(scores.deal("aabbccdd", rng)[2] for _ in range(3000))
    assert set(met) == {0, 1, 4, 5, 6, 7}
    assert all(count == pytest.approx(500, rel=0.15) for count in met.values())


def test_copies_of_a_recording_make_nothing_surer():
    values = np.random.default_rng(0).normal(size=200)
    recordings = [f"{number:03}" for number in range(200)]
    once = resample({"": mean(values)}, 2000, 0)[""]
    copied = mean(np.repeat(values, 4))
    four_times = list(np.repeat(recordings, 4))
    by_recording = resample({"": grouped(copied, four_times)}, 2000, 0)[""]
    singly, whole, of_one = (
        interval(drawn) for drawn in (resample({"": copied}, 2000, 0)[""], by_recording, once)
    )
    assert whole.high - whole.low == pytest.approx(of_one.high - of_one.low)
    assert whole.high - whole.low == pytest.approx(2 * (singly.high - singly.low), rel=0.1)


def test_two_sounds_are_mixed_at_0_db_and_do_not_clip(scores):
    faint, loud = tone(2, 400, RATE, amplitude=0.01), tone(1, 1000, RATE, amplitude=0.9)
    mixed = scores.mix(faint, loud)
    assert mixed.dtype == np.float32
    assert len(mixed) == RATE
    assert np.abs(mixed).max() == pytest.approx(1)
    spectrum = np.abs(np.fft.rfft(mixed))
    assert spectrum[400] == pytest.approx(spectrum[1000], rel=1e-3)
    assert np.abs(scores.mix(0.1 * faint, faint)).max() < 0.03
    with pytest.raises(AuricleError, match="silence"):
        scores.mix(faint, 0 * loud)


def test_pairs_are_of_other_labels_and_even(scores):
    labels = "abcdef"
    items = [
        Item(Path(f"{label}{n}.wav"), "label_valid", ("",), label)
        for label in labels
        for n in range(4)
    ]
    expected = {label: {label} for label in labels} | {"b": {"a", "b"}}
    pairs = scores.draw_pairs(items, expected, 12, 0)
    assert ("a", "b") not in {tuple(sorted((x.label, y.label))) for x, y in pairs}
    assert len({frozenset((x.label, y.label)) for x, y in pairs}) == 12
    assert set(Counter(item.label for pair in pairs for item in pair).values()) <= {3, 4, 5}
    assert max(Counter(item.file for pair in pairs for item in pair).values()) <= 2
    assert pairs == scores.draw_pairs(items, expected, 12, 0)


def test_the_committed_pairs(scores, shared: Path):
    corpus = shared / "corpus"
    with (corpus / "metadata.csv").open(encoding="utf-8", newline="") as file:
        items = [
            Item(corpus / row["file"], row["split"], ("",), row["label"], row["fsid"])
            for row in csv.DictReader(file)
            if row["split"] == "label_valid"
        ]
    expected = scores.read_label_words(shared / "reference/label_words.csv")
    pairs = scores.read_mixtures(scores.MIXTURES, corpus, items)
    assert len(pairs) == len({frozenset((x.label, y.label)) for x, y in pairs}) == 100
    for first, second in pairs:
        assert first.label != second.label
        assert first.group != second.group
        assert expected[first.label].isdisjoint(expected[second.label])
    assert max(Counter(item.file for pair in pairs for item in pair).values()) <= 2
    assert max(Counter(item.label for pair in pairs for item in pair).values()) <= 6


def test_a_mixed_sound_must_be_held_out(scores, held_out: tuple[Path, Path], tmp_path: Path):
    (tmp_path / "mixtures.csv").write_text("first,second\ndog_0.wav,bell_22.wav\n")
    with pytest.raises(
        AuricleError, match=r"bell_22.wav: mixed, but not among the sounds held out"
    ):
        run(scores, "mixtures", tmp_path, *held_out, "--list", tmp_path / "mixtures.csv")


def test_content_words_are_shared_exactly(scores):
    precision, recall = scores.content_overlap(
        "A dog barks in the rain.", ["The dog is barking", "Rain and a dog"]
    )
    assert (precision, recall) == (2 / 3, 2 / 3)
    assert scores.content_overlap("It is.", ["A dog"]) == (0, 0)


def test_labels(scores, held_out: tuple[Path, Path]):
    printed = run(scores, "labels", *held_out, "--show", 2)
    assert cells(printed, "sounds") == ["16, 8", ""]
    # "A cat is heard." has no word of the cat's.
    assert cells(printed, "label named")[0] == "75.0%"
    assert cells(printed, "mean over 4 labels")[0] == "75.0%"
    assert float(cells(printed, "shuffled")[0].rstrip("%")) < 25
    assert cells(printed, "cat ") == ["0%", "4"]


def test_mixtures(scores, held_out: tuple[Path, Path], tmp_path: Path):
    pairs = tmp_path / "mixtures.csv"
    run(scores, "draw-mixtures", tmp_path, *held_out, "--output", pairs, "--count", 4)
    assert len(pairs.read_text().splitlines()) == 5
    (tmp_path / "mixtures.csv").write_text(
        "first,second\ndog_0.wav,rain_1.wav\nrain_5.wav,cat_3.wav\n"
    )
    printed = run(scores, "mixtures", tmp_path, *held_out, "--list", pairs)
    shares = {
        row: cells(printed, row)[0]
        for row in ("both named", "at least one", "the first", "the second")
    }
    assert shares == {
        "both named": "0.0%",
        "at least one": "50.0%",
        "the first": "50.0%",
        "the second": "0.0%",
    }


def test_examples(scores, held_out: tuple[Path, Path]):
    printed = run(scores, "examples", held_out[0], "--count", 30).splitlines()
    assert len(printed) == 2 + 24
    assert any("Dog 0.50, Bark 0.50, Pet\\|s 0.50 | 0.75" in line for line in printed)
    assert not any("is here" in line for line in printed)


def test_human(scores, held_out: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
    def statistics(_: object, texts: list[str], references: list[list[str]]) -> dict[str, object]:
        """Every measure is the share of words in a reference; Java and language models have tests
        of their own."""
        shares = [scores.content_overlap(*pair)[0] for pair in zip(texts, references, strict=True)]
        return dict.fromkeys(scores.MEASURES, mean(np.array(shares)))

    monkeypatch.setattr("auricle.evaluation.sentences.SentenceModel", lambda _: None)
    monkeypatch.setattr(scores.HumanScores, "_statistics", statistics)
    printed = run(scores, "human", held_out[0])
    assert printed.startswith("8 sounds of 4 recordings")
    ours, shuffled, tags, four, human = (
        float(cells(printed, row)[0].split()[0])
        for row in ("ours  ", "ours shuffled", "our top 3 tags", "ours, against four", "one human")
    )
    assert ours == four == 0.5
    assert shuffled == 0
    assert tags == pytest.approx(1 / 16, abs=1e-3)
    assert human == pytest.approx(0.75, abs=1e-3)
    assert cells(printed, "CIDEr-D, ours - ours shuffled") == ["+0.500", "+0.500 to +0.500"]
