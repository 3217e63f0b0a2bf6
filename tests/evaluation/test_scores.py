"""Scores equal pycocoevalcap and the published ones; what could not be computed is named."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.evaluation.bootstrap import interval, mean, resample
from auricle.evaluation.captions import CaptionsError
from auricle.evaluation.overlap import bleu, rouge_l
from auricle.evaluation.scores import Scores, compare, evaluate
from conftest import System

captions = st.lists(
    st.sampled_from("a dog cat barks meows and while rain falls".split()), max_size=9
).map(" ".join)
sets = st.lists(
    st.tuples(captions, st.lists(captions, min_size=1, max_size=4)), min_size=1, max_size=6
)
SMALL = {
    "a.wav": "A dog barks.",
    "b.wav": "Rain falls on a roof",
    "c.wav": "Birds sing, and people talk",
}
SMALL_REFERENCES = {
    "a.wav": ["A dog is barking", "A dog barks loudly"],
    "b.wav": ["Rain is falling", "Heavy rain falls on a tin roof"],
    "c.wav": ["Birds chirp while people talk", "People talk near singing birds"],
}


@settings(deadline=None, max_examples=150)
@given(sets)
def test_bleu_and_rouge_equal_pycocoevalcap(pairs: list[tuple[str, list[str]]]) -> None:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.rouge.rouge import Rouge

    candidates = [candidate for candidate, _ in pairs]
    references = [texts for _, texts in pairs]
    keyed = dict(enumerate(references)), {number: [text] for number, text in enumerate(candidates)}
    found = bleu(candidates, references)
    corpus, scores = Bleu(4).compute_score(*keyed, verbose=0)
    assert found.corpus == corpus
    assert found.captions.tolist() == scores
    assert rouge_l(candidates, references).tolist() == Rouge().compute_score(*keyed)[1].tolist()
    for n, statistic in enumerate(found.statistics):
        assert statistic.score(statistic.values.sum(axis=0)) == pytest.approx(corpus[n], rel=1e-12)


@pytest.fixture(scope="module")
def scored(java: str, system: System) -> Scores:
    del java
    return evaluate(system.candidates, system.references, leave_out=["spice"])


def test_a_system_scores_as_published(scored: Scores, system: System) -> None:
    for name in ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor", "cider_d"):
        assert scored.corpus[name] == system.corpus[name], name
    assert scored.corpus["rouge_l"] == pytest.approx(system.corpus["rouge_l"], rel=0, abs=1e-15)
    assert scored.corpus["vocabulary_size"] == system.corpus["vocab_len.cands"]
    assert scored.corpus["caption_length"] == pytest.approx(
        system.corpus["sent_len.cands"], rel=0, abs=1e-12
    )
    for caption in scored.captions:
        published = system.published[caption.file]
        assert caption.scores["meteor"] == published["meteor"], caption.file
        # Published by a package that sums in another order; other tests compare with pycocoevalcap,
        # to the last digit.
        for name in ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider_d"):
            assert caption.scores[name] == pytest.approx(published[name], rel=0, abs=1e-14), (
                caption.file,
                name,
            )


def test_leave_one_out(java: str, clotho: dict[str, tuple[str, ...]]) -> None:
    del java
    scores = evaluate(
        {file: captions[0] for file, captions in clotho.items()},
        {file: captions[1:] for file, captions in clotho.items()},
        leave_out=["spice"],
        resamples=0,
    )
    expected = {"bleu_1": 0.6224, "bleu_2": 0.4556, "bleu_3": 0.3498, "bleu_4": 0.2765}
    expected |= {"rouge_l": 0.4740, "meteor": 0.2830, "cider_d": 0.8008}
    assert {name: round(scores.corpus[name], 4) for name in expected} == expected


def test_intervals_hold_the_score_and_bootstrap_what_the_corpus_is_made_of(scored: Scores) -> None:
    assert scored.intervals.keys() == scored.corpus.keys() - {"vocabulary_size"}
    for name, found in scored.intervals.items():
        assert found.low < scored.corpus[name] < found.high, name
    for name, statistic in scored.statistics.items():
        assert statistic.score(statistic.values.sum(axis=0)) == pytest.approx(
            scored.corpus[name], rel=1e-12
        ), name


def test_the_bootstrap_of_a_mean_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(1).normal(size=400)
    found = interval(resample({"mean": mean(values)}, 4000, 0)["mean"])
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)


def test_the_same_system_differs_from_itself_by_nothing(scored: Scores, system: System) -> None:
    comparison = compare(
        system.candidates, system.candidates, system.references, leave_out=["spice", "meteor"]
    )
    assert set(comparison.differences) == set(scored.corpus) - {"vocabulary_size", "meteor"}
    for difference in comparison.differences.values():
        assert (
            difference.difference
            == difference.interval.low
            == difference.interval.high
            == difference.share_above
            == 0
        )


def test_pairing_sees_a_small_difference_that_intervals_apart_do_not(system: System) -> None:
    files = list(system.candidates)
    # One caption in ten becomes one of its references: a gain of a tenth, on captions that differ
    # far more.
    better = {
        f: system.references[f][0] if n % 10 == 0 else system.candidates[f]
        for n, f in enumerate(files)
    }
    shuffled = dict(sorted(better.items()))
    comparison = compare(
        system.candidates, shuffled, system.references, leave_out=["spice", "meteor"]
    )
    found = comparison.differences["bleu_1"]
    first, second = comparison.first, comparison.second
    alone = first.intervals["bleu_1"]
    assert alone.high - alone.low > 1.2 * (found.interval.high - found.interval.low)
    assert 0 < found.interval.low < found.difference < found.interval.high
    assert found.difference == second.corpus["bleu_1"] - first.corpus["bleu_1"]
    assert found.share_above == 1


def test_systems_of_other_files_are_not_compared() -> None:
    with pytest.raises(
        CaptionsError, match=r"only the first system captions a.wav \(2 such files\)"
    ):
        compare(SMALL, {"c.wav": "Birds"}, SMALL_REFERENCES)


def test_without_java_what_needs_it_is_missing_and_the_rest_the_same(
    without_java: Callable[[pytest.MonkeyPatch], None], java: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del java
    with_java = evaluate(SMALL, SMALL_REFERENCES, leave_out=["meteor", "spice"])
    without_java(monkeypatch)
    scores = evaluate(SMALL, SMALL_REFERENCES)
    assert scores.corpus == with_java.corpus
    assert with_java.tokenizer == "ptb"
    assert scores.tokenizer == "regex"
    assert set(scores.missing) == {
        "meteor",
        "spice",
        "spider",
        "spider_fl",
        "fense",
        "sentence_similarity",
    }
    assert all(
        "Java is not installed" in scores.missing[name] for name in ("meteor", "spice", "spider")
    )
    assert any("regular expression" in note for note in scores.notes)


def test_without_java_no_score_is_given_that_could_differ(
    without_java: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_java(monkeypatch)
    scores = evaluate(SMALL | {"a.wav": "A dog's bark"}, SMALL_REFERENCES)
    assert set(scores.corpus) == {"vocabulary_size", "caption_length"}
    for name in ("bleu_1", "cider_d", "spice", "spider"):
        assert "A dog's bark" in scores.missing[name], name


def test_missing_spice_is_named_with_its_reason(java: str) -> None:
    del java
    scores = evaluate(SMALL, SMALL_REFERENCES, leave_out=["meteor"])
    assert scores.missing["meteor"] == "left out"
    assert "auricle metrics install" in scores.missing["spice"]
    assert scores.missing["spider"].endswith(scores.missing["spice"])


def test_empty_captions_score_nothing_and_are_noted(java: str) -> None:
    del java
    scores = evaluate(SMALL | {"b.wav": "", "c.wav": "..."}, SMALL_REFERENCES, leave_out=["spice"])
    assert "2 empty captions, which score 0" in scores.notes
    for caption in scores.captions[1:]:
        assert all((score or 0) < 1e-3 for score in caption.scores.values()), caption


@pytest.mark.parametrize(
    ("candidates", "references", "note"),
    [
        (
            {"a.wav": "A dog barks."},
            SMALL_REFERENCES,
            "2 of 3 files with references have no candidate",
        ),
        (SMALL, SMALL_REFERENCES | {"a.wav": ["A dog"]}, "1 to 2 references"),
    ],
)
def test_what_a_reader_must_know_is_noted(
    candidates: dict[str, str], references: dict[str, Sequence[str]], note: str
) -> None:
    scores = evaluate(candidates, references, leave_out=["spice", "meteor"])
    assert any(note in text for text in scores.notes)


def test_nothing_to_score_and_unknown_names_are_refused() -> None:
    with pytest.raises(CaptionsError, match="no candidates"):
        evaluate({}, SMALL_REFERENCES)
    with pytest.raises(CaptionsError, match="'cider' cannot be left out"):
        evaluate(SMALL, SMALL_REFERENCES, leave_out=["cider"])
    with pytest.raises(CaptionsError, match=r"no references of x.wav"):
        evaluate({"x.wav": "a dog"}, SMALL_REFERENCES)
