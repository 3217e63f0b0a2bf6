import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from auricle.evaluation.captions import read_candidates
from auricle.evaluation.chunks import Unscored, is_long_text
from auricle.evaluation.scores import evaluate
from auricle.evaluation.spice import MissingSpiceError, spice
from auricle.evaluation.tokenizer import ptb_tokenize
from conftest import System


def published(system: System, count: int) -> tuple[list[str], list[list[str]], list[float]]:
    """The first tokenized captions of a system, their references, and their published scores."""
    files = list(system.candidates)[:count]
    candidates, flat = ptb_tokenize(
        [system.candidates[file] for file in files],
        [text for file in files for text in system.references[file]],
    )
    remaining = iter(flat)
    references = [[next(remaining) for _ in system.references[file]] for file in files]
    return candidates, references, [system.published[file]["spice"] for file in files]


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
def test_captions_equal_the_published_scores(system: System) -> None:
    candidates, references, scores = published(system, 200)
    assert spice(candidates, references) == scores


def test_scores_are_the_published_ones_whatever_else_is_scored(
    installed: Path, system: System, shared: Callable[[str], Path]
) -> None:
    """One call, because Java and its models take half a minute of processor time to start."""
    too_long_to_keep = "a machine hums" + " electroencephalographically" * 18
    assert len(too_long_to_keep) > 511
    # Full stops divide it into sentences that are parsed quickly.
    of_many_clauses = "a dog barks while rain falls on a roof . " * 6
    assert is_long_text(of_many_clauses)
    (looping, *_) = read_candidates(shared("faults/research/loop_c.csv")).values()
    candidates = ["a dog barks", "", "a café", "a machine hums", "a dog", of_many_clauses, looping]
    references = [
        ["a dog barks while rain falls", "a cat meows"],
        ["a dog"],
        ["a café", "a naïve ¿"],
        [too_long_to_keep],
        [""],
        ["a dog barks while rain falls on a roof"],
        ["a dog"],
    ]
    usual, their_references, published_scores = published(system, 20)
    reports: list[tuple[int, int]] = []
    scores = spice(
        [*candidates, *usual],
        [*references, *their_references],
        caption_seconds=12,
        progress=lambda done, total: reports.append((done, total)),
    )
    unusual = scores[: len(candidates)]
    assert scores[len(candidates) :] == published_scores
    assert unusual[1] == unusual[4] == 0
    for number in (0, 2):
        found = unusual[number]
        assert isinstance(found, float), candidates[number]
        assert 0 < found < 1, candidates[number]
    assert unusual[3] == unusual[5] == 1  # the same clauses, however long
    assert unusual[6] == Unscored("SPICE took more than 12 s")
    # A second report of the same count: on a busy machine, a caption takes two tries.
    done = [number for number, _ in dict.fromkeys(reports)]
    assert done == sorted(done)
    assert (done[0], reports[-1]) == (0, (len(scores), len(scores)))
    kept = installed / "metrics" / "parsed-captions" / "data.mdb"
    assert kept.stat().st_size > 0
    again = [candidates[0], references[0][0]]
    assert spice(again, [references[0], references[0][:1]]) == [scores[0], 1]


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
def test_captions_after_one_that_stopped_the_program_are_scored() -> None:
    loop, long = ("a dog barks and " * 100, "a dog barks and a cat meows and " * 7)
    scores = spice([loop, f"{long} rain falls"], [["a dog"], ["a dog"]], caption_seconds=20)
    assert scores[0] == Unscored("SPICE took more than 20 s")
    assert isinstance(scores[1], float)


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
