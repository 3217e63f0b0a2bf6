import os

import numpy as np
import pytest

from auricle.evaluation import meteor as module
from auricle.evaluation.chunks import Unscored
from auricle.evaluation.java import JavaError
from auricle.evaluation.meteor import Meteor, meteor, score_of_statistics

CANDIDATES = [
    "a dog barks loudly while rain falls",
    "birds sing",
    "",
    "a man speaks ||| then  laughs",
]
REFERENCES = [
    ["a dog is barking in the rain", "rain falls and a dog barks"],
    ["birds sing"],
    ["a machine hums", "humming of a machine"],
    ["a man speaks and laughs", "someone talks", "a person ||| speaks"],
]

pytestmark = pytest.mark.usefixtures("java")


def test_one_process_is_kept() -> None:
    process = meteor()
    scores = process.score(CANDIDATES, REFERENCES)
    assert meteor() is process
    assert process.score(CANDIDATES, REFERENCES).captions == scores.captions
    assert scores.captions[1] == 1.0
    assert scores.captions[2] == 0.0


def test_a_dead_process_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = Meteor()
    dead.close()
    monkeypatch.setattr(module, "_running", {os.getpid(): dead})
    fresh = meteor()
    assert fresh is not dead
    assert fresh.alive
    fresh.close()


def test_a_program_that_does_not_run_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ARGUMENTS", ("-jar", "none.jar"))
    with pytest.raises(JavaError, match="METEOR stopped"):
        Meteor().score(CANDIDATES, REFERENCES)


def test_a_caption_that_takes_too_long_has_no_score_and_the_others_do() -> None:
    """METEOR's search grows with the square of a repeated word, until its memory is full."""
    loop = "the " * 1500
    process = meteor()
    scores = process.score(
        [*CANDIDATES, loop], [*REFERENCES, [loop]], caption_seconds=2, progress=None
    )
    expected = process.score(CANDIDATES, REFERENCES)
    *others, last = scores.captions
    assert others == expected.captions
    assert isinstance(last, Unscored)
    assert last.reason.startswith("METEOR ")
    assert scores.corpus == expected.corpus
    assert not scores.statistics[-1].any()


def test_statistics_give_the_programs_scores() -> None:
    scores = meteor().score(CANDIDATES, REFERENCES)
    captions = [score for score in scores.captions if isinstance(score, float)]
    np.testing.assert_allclose(score_of_statistics(scores.statistics), captions, rtol=0, atol=1e-15)
    assert score_of_statistics(scores.statistics.sum(axis=0)) == pytest.approx(
        scores.corpus, rel=0, abs=1e-15
    )
    assert scores.corpus != pytest.approx(np.mean(captions), abs=1e-3)


def test_equals_pycocoevalcap_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from pycocoevalcap.meteor.meteor import Meteor as Theirs

    ours = meteor()
    # pycocoevalcap's own code, talking to our process in place of a second one that takes as long
    # to start.
    monkeypatch.delattr(Theirs, "__del__")
    theirs = Theirs.__new__(Theirs)
    theirs.meteor_p = ours._program._process._process
    theirs.lock = ours._lock
    references = [[text.replace("|||", "") for text in texts] for texts in REFERENCES]
    corpus, scores = theirs.compute_score(
        dict(enumerate(references)), {n: [text] for n, text in enumerate(CANDIDATES)}
    )
    del theirs
    found = ours.score(CANDIDATES, REFERENCES)
    assert (found.corpus, found.captions) == (corpus, scores)
