"""All metrics of a set of captions, and the difference of two sets."""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from auricle.evaluation.bootstrap import Interval, Statistic, interval, resample
from auricle.evaluation.captions import CaptionsError, Matched, match
from auricle.evaluation.java import MissingJavaError
from auricle.evaluation.meteor import meteor
from auricle.evaluation.metrics import OPTIONAL, TITLES, Task, score_all
from auricle.evaluation.sentences import SentenceModels
from auricle.evaluation.tokenizer import is_plain, ptb_tokenize, regex_tokenize

RESAMPLES = 1000


@dataclass(frozen=True)
class CaptionScores:
    """One candidate and what it scored; `caption_length` among them."""

    file: str
    candidate: str
    references: tuple[str, ...]
    scores: dict[str, float]


@dataclass(frozen=True)
class Scores:
    """What a set of captions scored."""

    corpus: dict[str, float]  # by the keys of METRICS and FIGURES, in their order, less the missing
    intervals: dict[str, Interval]  # 95 %, of all but vocabulary_size
    captions: tuple[CaptionScores, ...]
    missing: dict[str, str]  # the metrics that could not be had, and why
    notes: tuple[str, ...]  # what a reader of the numbers must know
    tokenizer: str  # "ptb", or "regex", which gives the same on every caption that it was used for
    resamples: int
    seed: int
    statistics: dict[str, Statistic]  # what the corpus scores are made of, for resampling


@dataclass(frozen=True)
class Difference:
    """How much the second system scored above the first."""

    first: float
    second: float
    difference: float
    interval: Interval  # 95 %, of the difference, from paired draws
    share_above: float  # of the draws in which the second scored higher


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same sounds."""

    first: Scores
    second: Scores
    differences: dict[str, Difference]  # by metric


def evaluate(
    candidates: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    leave_out: Collection[str] = (),
    models: SentenceModels | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Scores:
    """Score `{file: caption}` against `{file: captions}`; files are matched as `captions.match`
    says.

    Args:
        candidates: one caption a file, as written; they are tokenized here. An empty one scores 0.
        references: one or more captions a file; files without a candidate are left aside, and
            noted.
        leave_out: of OPTIONAL, what is not wanted for its cost; SPIDEr goes with SPICE.
        models: for SPIDEr-FL, FENSE and sentence similarity, from `SentenceModels.load`.
        resamples: draws of the bootstrap; 0 for no intervals.
        seed: of the draws.

    Raises:
        CaptionsError: candidates without references, or nothing to score.
        MissingToolkitError: the extra `metrics` is not installed. What lacks Java or SPICE is no
            error: it is `missing`.
    """
    return _evaluate(
        match(candidates, references), leave_out, models or SentenceModels(), resamples, seed
    )


def compare(
    first: Mapping[str, str],
    second: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    leave_out: Collection[str] = (),
    models: SentenceModels | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Score two systems' captions of the same sounds, with paired bootstrap intervals of the
    differences.

    Arguments and errors as in `evaluate`; CaptionsError also if the two do not caption the same
    files.
    """
    ours, theirs = match(first, references), match(second, references)
    for left, right, name in ((ours, theirs, "first"), (theirs, ours, "second")):
        alone = sorted(set(left.reference_files) - set(right.reference_files))
        if alone:
            raise CaptionsError(
                f"only the {name} system captions {alone[0]} ({len(alone)} such files): give both the same"
            )
    theirs = theirs.in_order_of(ours)
    models = models or SentenceModels()
    a, b = (_evaluate(matched, leave_out, models, resamples, seed) for matched in (ours, theirs))
    differences = {}
    if resamples and len(ours.files) > 1:
        drawn_a, drawn_b = (
            resample(a.statistics, resamples, seed),
            resample(b.statistics, resamples, seed),
        )
        for name in drawn_a.keys() & drawn_b.keys():
            gained = drawn_b[name] - drawn_a[name]
            differences[name] = Difference(
                first=a.corpus[name],
                second=b.corpus[name],
                difference=b.corpus[name] - a.corpus[name],
                interval=interval(gained),
                share_above=float(np.mean(gained > 0)),
            )
    return Comparison(a, b, {name: differences[name] for name in TITLES if name in differences})


def _evaluate(
    matched: Matched, leave_out: Collection[str], models: SentenceModels, resamples: int, seed: int
) -> Scores:
    if not matched.files:
        raise CaptionsError("no candidates to score")
    unknown = sorted(set(leave_out) - set(OPTIONAL))
    if unknown:
        raise CaptionsError(f"{unknown[0]!r} cannot be left out; {' and '.join(OPTIONAL)} can")
    if "meteor" not in leave_out:
        # METEOR loads its tables while the other metrics are computed.
        with contextlib.suppress(MissingJavaError):
            meteor()
    tokenized = _tokenize(matched)
    task = Task(
        candidates=tokenized.candidates,
        references=tokenized.references,
        uncertain=tokenized.uncertain,
        models=models,
        left_out=leave_out,
    )
    score_all(task)
    statistics = {
        name: result.statistic
        for name, result in task.results.items()
        if result.statistic is not None
    }
    drawn = resample(statistics, resamples, seed) if len(matched.files) > 1 else {}
    notes = [*_notes(matched, tokenized)]
    for result in task.results.values():
        notes += result.notes
    return Scores(
        corpus={name: result.corpus for name, result in task.results.items()},
        intervals={name: interval(drawn[name]) for name in TITLES if name in drawn},
        captions=_caption_scores(matched, task),
        missing=task.missing,
        notes=tuple(dict.fromkeys(notes)),
        tokenizer=tokenized.tokenizer,
        resamples=resamples if drawn else 0,
        seed=seed,
        statistics=statistics,
    )


def _caption_scores(matched: Matched, task: Task) -> tuple[CaptionScores, ...]:
    by_name = {
        name: result.captions
        for name, result in task.results.items()
        if result.captions is not None
    }
    return tuple(
        CaptionScores(
            file=file,
            candidate=matched.candidates[number],
            references=matched.references[number],
            scores={name: float(captions[number]) for name, captions in by_name.items()},
        )
        for number, file in enumerate(matched.files)
    )


@dataclass(frozen=True)
class _Tokenized:
    candidates: list[str]
    references: list[list[str]]
    tokenizer: str
    uncertain: str | None  # why scores of words would not be the field's


def _tokenize(matched: Matched) -> _Tokenized:
    """PTB where there is Java, else the regular expression, on captions that are known to come out
    the same.
    """
    flat = [reference for references in matched.references for reference in references]
    uncertain = None
    try:
        candidates, tokens = ptb_tokenize(matched.candidates, flat)
        tokenizer = "ptb"
    except MissingJavaError as error:
        candidates, tokens = (
            [regex_tokenize(text) for text in texts] for texts in (matched.candidates, flat)
        )
        tokenizer = "regex"
        doubtful = [text for text in (*matched.candidates, *flat) if not is_plain(text)]
        if doubtful:
            uncertain = (
                f"{len(doubtful)} captions, as {doubtful[0][:60]!r}, may fall into other words "
                f"without the PTB tokenizer; {error}"
            )
    remaining = iter(tokens)
    references = [[next(remaining) for _ in its] for its in matched.references]
    return _Tokenized(candidates, references, tokenizer, uncertain)


def _notes(matched: Matched, tokenized: _Tokenized) -> list[str]:
    notes = []
    if matched.unused:
        total = len(matched.files) + matched.unused
        notes.append(
            f"{matched.unused} of {total} files with references have no candidate and are not in the scores"
        )
    empty = sum(not candidate for candidate in tokenized.candidates)
    if empty:
        notes.append(f"{empty} empty captions, which score 0")
    if tokenized.tokenizer == "regex" and tokenized.uncertain is None:
        notes.append(
            "without Java, captions were split by a regular expression, the same on these as the PTB tokenizer"
        )
    numbers = {len(references) for references in matched.references}
    if len(numbers) > 1:
        notes.append(
            f"files have {min(numbers)} to {max(numbers)} references: more of them score higher"
        )
    return notes
