import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.evaluation.cider import CiderD
from auricle.evaluation.tokenizer import regex_tokenize
from conftest import System

captions = st.lists(
    st.sampled_from("a dog cat barks meows and while rain falls".split()), max_size=9
).map(" ".join)
sets = st.lists(
    st.tuples(captions, st.lists(captions, min_size=1, max_size=4)), min_size=1, max_size=6
)


def reference_scores(
    candidates: dict[str, str], references: dict[str, list[str]]
) -> tuple[float, list[float]]:
    from pycocoevalcap.cider.cider import Cider

    corpus, scores = Cider().compute_score(
        references, {file: [text] for file, text in candidates.items()}
    )
    return float(corpus), scores.tolist()


def tokenized(system: System) -> tuple[dict[str, str], dict[str, list[str]]]:
    candidates = {file: regex_tokenize(text) for file, text in system.candidates.items()}
    return candidates, {
        file: [regex_tokenize(text) for text in texts] for file, texts in system.references.items()
    }


@settings(deadline=None, max_examples=200)
@given(sets)
def test_equals_pycocoevalcap_on_made_captions(pairs: list[tuple[str, list[str]]]) -> None:
    if not any(reference.split() for _, references in pairs for reference in references):
        return  # the reference implementation has no document frequencies then, and stops
    candidates = {str(number): candidate for number, (candidate, _) in enumerate(pairs)}
    references = {str(number): references for number, (_, references) in enumerate(pairs)}
    scorer = CiderD(references)
    assert scorer.scores(candidates.items()) == reference_scores(candidates, references)[1]


def test_equals_pycocoevalcap_on_a_real_system(system: System) -> None:
    candidates, references = tokenized(system)
    scores = CiderD(references).scores(candidates.items())
    corpus, expected = reference_scores(candidates, references)
    assert scores == expected
    assert float(np.mean(scores)) == corpus == system.corpus["cider_d"]


def test_frequencies_stay_those_of_the_references() -> None:
    references = {"a": ["a dog barks", "a dog is barking"], "b": ["rain falls", "it rains"]}
    scorer = CiderD(references)
    before = scorer("a", "a dog barks")
    scorer("b", "a dog barks")
    assert scorer("a", "a dog barks") == before > scorer("b", "a dog barks") == 0
    assert scorer("a", "") == 0


def test_an_unknown_file_is_an_error() -> None:
    with pytest.raises(KeyError):
        CiderD({"a": ["a dog"]})("b", "a dog")
