import os

import numpy as np
import pytest

from auricle.evaluation import meteor as module
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


def test_a_dead_process_is_an_error_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = Meteor()
    dead._process.kill()
    with pytest.raises(JavaError, match="METEOR stopped"):
        dead.score(CANDIDATES, REFERENCES)
    monkeypatch.setattr(module, "_running", {os.getpid(): dead})
    fresh = meteor()
    assert fresh is not dead
    assert fresh.alive
    fresh.close()


def test_statistics_give_the_programs_scores() -> None:
    scores = meteor().score(CANDIDATES, REFERENCES)
    np.testing.assert_allclose(
        score_of_statistics(scores.statistics), scores.captions, rtol=0, atol=1e-15
    )
    assert score_of_statistics(scores.statistics.sum(axis=0)) == pytest.approx(
        scores.corpus, rel=0, abs=1e-15
    )
    assert scores.corpus != pytest.approx(np.mean(scores.captions), abs=1e-3)


def test_equals_pycocoevalcap_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from pycocoevalcap.meteor.meteor import Meteor as Theirs

    ours = meteor()
    # pycocoevalcap's own code, talking to our process in place of a second one that takes as long
    # to start.
    monkeypatch.delattr(Theirs, "__del__")
    theirs = Theirs.__new__(Theirs)
    theirs.meteor_p = ours._process
    theirs.lock = ours._lock
    references = [[text.replace("|||", "") for text in texts] for texts in REFERENCES]
    corpus, scores = theirs.compute_score(
        dict(enumerate(references)), {n: [text] for n, text in enumerate(CANDIDATES)}
    )
    del theirs
    found = ours.score(CANDIDATES, REFERENCES)
    assert (found.corpus, found.captions) == (corpus, scores)
