import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from auricle.evaluation.captions import read_candidates, read_references
from auricle.evaluation.chunks import Unscored, is_long_text
from auricle.evaluation.scores import evaluate
from auricle.evaluation.spice import MissingSpiceError, spice
from auricle.evaluation.tokenizer import ptb_tokenize
from conftest import System


def score(candidates: list[str], references: list[tuple[str, ...]]) -> list[float | Unscored]:
    tokens, flat = ptb_tokenize(candidates, [text for texts in references for text in texts])
    remaining = iter(flat)
    return spice(tokens, [[next(remaining) for _ in texts] for texts in references])


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_captions_equal_the_published_scores(system: System, count: int) -> None:
    files = list(system.candidates)[:count]
    scores = score(
        [system.candidates[file] for file in files], [system.references[file] for file in files]
    )
    assert scores == [system.published[file]["spice"] for file in files]


def test_unusual_captions_are_scored_and_what_was_parsed_is_kept(installed: Path) -> None:
    too_long_to_keep = "a very " + "extraordinarily complicated electromechanical " * 11 + "machine"
    assert len(too_long_to_keep) > 511
    of_many_clauses = "a dog barks while rain falls on a roof and " * 5 + "birds sing near a road"
    assert is_long_text(of_many_clauses)
    candidates = ["a dog barks", "", "a café", "a machine hums", "a dog", of_many_clauses, "a dog"]
    references = [
        ["a dog barks while rain falls", "a cat meows"],
        ["a dog"],
        ["a café", "a naïve ¿"],
        [too_long_to_keep],
        [""],
        ["a dog barks while rain falls on a roof"],
        ["a dog"],
    ]
    scores = spice(candidates, references, caption_seconds=900)  # on a busy machine
    assert scores[1] == scores[4] == 0
    assert all(isinstance(score, float) and 0 < score < 1 for score in (scores[0], *scores[2:4]))
    assert isinstance(scores[5], float)
    assert 0 < scores[5] < 1
    assert scores[6] == 1
    kept = installed / "metrics" / "parsed-captions" / "data.mdb"
    assert kept.stat().st_size > 0
    assert spice(candidates[:1], references[:1]) == scores[:1]


@pytest.mark.usefixtures("installed")
def test_a_looping_caption_has_no_score_and_the_others_do(shared: Callable[[str], Path]) -> None:
    candidates = read_candidates(shared("faults/research/loop_c.csv"))
    references = read_references(shared("faults/research/loop_r.csv"))
    reports: list[tuple[int, int]] = []
    looping, other = spice(
        list(candidates.values()),
        [references[file] for file in candidates],
        caption_seconds=3,
        progress=lambda done, total: reports.append((done, total)),
    )
    assert looping == Unscored("SPICE took more than 3 s")
    assert other == 0
    # A second report of the same count: on a busy machine, the other caption takes two tries.
    assert list(dict.fromkeys(reports)) == [(0, 2), (1, 2), (2, 2)]


def test_not_installed_is_said() -> None:
    with pytest.raises(MissingSpiceError, match="auricle metrics install"):
        spice(["a dog"], [["a dog"]])


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
def test_all_captions_equal_the_published_scores(system: System) -> None:
    scores = evaluate(system.candidates, system.references)
    assert not {"spice", "spider"} & set(scores.missing)
    # One of the captions scored by the publisher had lost its hyphens on the way into the published
    # CSV.
    published = {
        caption.file: system.published[caption.file]["spice"] for caption in scores.captions
    }
    other = [
        caption.file
        for caption in scores.captions
        if caption.scores["spice"] != published[caption.file]
    ]
    assert len(other) <= 1
    for caption in scores.captions:
        if caption.file not in other:
            spider = system.published[caption.file]["spider"]
            assert caption.scores["spider"] == pytest.approx(spider, rel=0, abs=1e-15)
    assert scores.corpus["spice"] == pytest.approx(
        system.corpus["spice"], rel=0, abs=1 / len(scores.captions)
    )


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
def test_leave_one_out_spice(
    clotho: dict[str, tuple[str, ...]], shared: Callable[[str], Path]
) -> None:
    with shared("reference/spice/clotho_leave_one_out.csv").open(
        encoding="utf-8", newline=""
    ) as file:
        expected = {row["file_name"]: float(row["spice_1"]) for row in csv.DictReader(file)}
    scores = evaluate(
        {file: captions[0] for file, captions in clotho.items()},
        {file: captions[1:] for file, captions in clotho.items()},
        leave_out=["meteor"],
    )
    assert {caption.file: caption.scores["spice"] for caption in scores.captions} == expected
    assert round(scores.corpus["spice"], 4) == 0.2158
    assert round(scores.corpus["spider"], 4) == 0.5083
