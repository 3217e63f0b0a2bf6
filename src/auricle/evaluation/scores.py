"""Scores a set of captions by all metrics, and compares two sets."""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auricle.evaluation.bootstrap import Interval, Statistic, interval, resample
from auricle.evaluation.captions import CaptionsError, Matched, match
from auricle.evaluation.chunks import CAPTION_SECONDS
from auricle.evaluation.java import MissingJavaError
from auricle.evaluation.meteor import meteor
from auricle.evaluation.metrics import OPTIONAL, TITLES, MetricProgress, Task, score_all
from auricle.evaluation.sentences import SentenceModels
from auricle.evaluation.tokenizer import is_plain, ptb_tokenize, regex_tokenize

RESAMPLES = 1000
MOST_NAMES = 3  # captions that a note names


@dataclass(frozen=True)
class CaptionScores:
    """One candidate and its scores by metric; None for a metric that could not score it."""

    file: str
    candidate: str
    references: tuple[str, ...]
    scores: dict[str, float | None]


@dataclass(frozen=True)
class UnscoredCaption:
    """One candidate that one metric could not score."""

    file: str
    metric: str
    reason: str


@dataclass(frozen=True)
class Scores:
    """The scores of a set of captions."""

    corpus: dict[str, float]  # by metric, in the table's order; without missing metrics
    intervals: dict[str, Interval]  # 95 %, of all but vocabulary_size
    captions: tuple[CaptionScores, ...]
    missing: dict[str, str]  # metrics that could not be computed, with the reason
    notes: tuple[str, ...]  # facts that readers of the scores must know
    tokenizer: str  # "ptb", or "regex", which gives the same words for these captions
    resamples: int
    seed: int
    statistics: dict[str, Statistic]  # the parts of the corpus scores, for resampling
    unscored: tuple[UnscoredCaption, ...] = ()  # the corpus score is of the other captions


@dataclass(frozen=True)
class Difference:
    """The second system's score minus the first system's."""

    first: float
    second: float
    difference: float
    interval: Interval  # 95 %, of the difference, from paired draws
    share_above: float  # of the draws in which the second scored higher


@dataclass(frozen=True)
class Comparison:
    """The scores of two systems on the same sounds."""

    first: Scores
    second: Scores
    differences: dict[str, Difference]  # by metric
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Settings:
    """The arguments that `evaluate` and `compare` share; `evaluate` describes them."""

    leave_out: Collection[str]
    models: SentenceModels
    resamples: int
    seed: int
    caption_seconds: float
    progress: MetricProgress | None


def evaluate(
    candidates: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    leave_out: Collection[str] = (),
    models: SentenceModels | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    caption_seconds: float = CAPTION_SECONDS,
    progress: MetricProgress | None = None,
) -> Scores:
    """Scores `{file: caption}` against `{file: captions}`; `captions.match` pairs the files.

    Args:
        candidates: one caption per file, not tokenized. An empty caption scores 0.
        references: one or more captions per file. A note counts the files without a candidate.
        leave_out: slow metrics to skip, of `metrics.OPTIONAL`; without SPICE there is no SPIDEr.
        models: for SPIDEr-FL, FENSE and sentence similarity, from `SentenceModels.load`.
        resamples: draws of the bootstrap; 0 for no intervals.
        seed: of the draws.
        caption_seconds: the limit of METEOR and of SPICE for one caption. A caption that takes
            longer gets None, and its reason is in `Scores.unscored`.
        progress: receives the title of a slow metric, the captions done, and all captions.

    Raises:
        CaptionsError: a candidate has no references, or there are no candidates.
        MissingToolkitError: the extra `metrics` is not installed. Missing Java or SPICE is no
            error: `Scores.missing` names the metrics that need them.
    """
    settings = _Settings(
        leave_out, models or SentenceModels(), resamples, seed, caption_seconds, progress
    )
    return _evaluate(match(candidates, references), settings)


def compare(
    first: Mapping[str, str],
    second: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    leave_out: Collection[str] = (),
    models: SentenceModels | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    caption_seconds: float = CAPTION_SECONDS,
    progress: MetricProgress | None = None,
) -> Comparison:
    """Scores two systems' captions of the same sounds, with paired intervals of the differences.

    The other arguments are those of `evaluate`.

    Raises:
        CaptionsError: as in `evaluate`, or the systems caption different files.
        MissingToolkitError: as in `evaluate`.
    """
    ours, theirs = match(first, references), match(second, references)
    for left, right, name in ((ours, theirs, "first"), (theirs, ours, "second")):
        alone = sorted(set(left.reference_files) - set(right.reference_files))
        if alone:
            raise CaptionsError(
                f"only the {name} system captions {alone[0]} ({len(alone)} such files): "
                "give captions of the same files for both"
            )
    settings = _Settings(
        leave_out, models or SentenceModels(), resamples, seed, caption_seconds, progress
    )
    a = _evaluate(ours, settings)
    b = _evaluate(theirs.in_order_of(ours), settings)
    if not resamples or len(ours.files) < 2:
        return Comparison(a, b, {})
    pairs, notes = _paired_statistics(a, b)
    drawn_a = resample({name: pair[0] for name, pair in pairs.items()}, resamples, seed)
    drawn_b = resample({name: pair[1] for name, pair in pairs.items()}, resamples, seed)
    differences = {}
    for name, (statistic_a, statistic_b) in pairs.items():
        paired = statistic_a is not a.statistics[name]
        score_a = _corpus_score(statistic_a) if paired else a.corpus[name]
        score_b = _corpus_score(statistic_b) if paired else b.corpus[name]
        drawn_differences = drawn_b[name] - drawn_a[name]
        differences[name] = Difference(
            first=score_a,
            second=score_b,
            difference=score_b - score_a,
            interval=interval(drawn_differences),
            share_above=float(np.mean(drawn_differences > 0)),
        )
    return Comparison(a, b, differences, tuple(notes))


def _paired_statistics(
    a: Scores, b: Scores
) -> tuple[dict[str, tuple[Statistic, Statistic]], list[str]]:
    """Returns both systems' statistics by metric, on the captions that have a score in both."""
    pairs = {}
    notes = []
    for name in TITLES:
        if name not in a.statistics or name not in b.statistics:
            continue
        both = np.array(
            [
                one.scores[name] is not None and other.scores[name] is not None
                for one, other in zip(a.captions, b.captions, strict=True)
            ]
        )
        pairs[name] = (a.statistics[name], b.statistics[name])
        if not both.any():
            del pairs[name]
        elif not both.all():
            pairs[name] = (_only(a.statistics[name], both), _only(b.statistics[name], both))
        if not both.all():
            notes.append(
                f"the difference of {TITLES[name]} is computed on the {both.sum():,} of "
                f"{len(both):,} sounds that have a score in both"
            )
    return pairs, notes


def _only(statistic: Statistic, kept: NDArray[np.bool_]) -> Statistic:
    """Returns the statistic with zeros for the captions that are not kept."""
    return Statistic(np.where(kept[:, None], statistic.values, 0.0), statistic.score)


def _corpus_score(statistic: Statistic) -> float:
    return float(statistic.score(statistic.values.sum(axis=0)))


def _evaluate(matched: Matched, settings: _Settings) -> Scores:
    if not matched.files:
        raise CaptionsError("no candidates to score: expected at least one")
    unknown = sorted(set(settings.leave_out) - set(OPTIONAL))
    if unknown:
        raise CaptionsError(f"{unknown[0]!r} cannot be left out: only {' and '.join(OPTIONAL)} can")
    if "meteor" not in settings.leave_out:
        # Starts METEOR now: it loads its tables while the other metrics are computed.
        with contextlib.suppress(MissingJavaError):
            meteor()
    tokenized = _tokenize(matched)
    task = Task(
        candidates=tokenized.candidates,
        references=tokenized.references,
        uncertain=tokenized.uncertain,
        models=settings.models,
        left_out=settings.leave_out,
        caption_seconds=settings.caption_seconds,
        progress=settings.progress,
    )
    score_all(task)
    statistics = {
        name: result.statistic
        for name, result in task.results.items()
        if result.statistic is not None
    }
    several = len(matched.files) > 1
    drawn = resample(statistics, settings.resamples, settings.seed) if several else {}
    return Scores(
        corpus={name: result.corpus for name, result in task.results.items()},
        intervals={name: interval(scores) for name, scores in drawn.items()},
        captions=_caption_scores(matched, task),
        missing=task.missing,
        notes=tuple(dict.fromkeys(_notes(matched, tokenized, task))),
        tokenizer=tokenized.tokenizer,
        resamples=settings.resamples if drawn else 0,
        seed=settings.seed,
        statistics=statistics,
        unscored=tuple(
            UnscoredCaption(matched.files[number], name, reason)
            for name, result in task.results.items()
            for number, reason in result.unscored.items()
        ),
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
            scores={name: captions[number] for name, captions in by_name.items()},
        )
        for number, file in enumerate(matched.files)
    )


@dataclass(frozen=True)
class _Tokenized:
    candidates: list[str]
    references: list[list[str]]
    tokenizer: str
    uncertain: str | None  # the reason if the words may differ from those of the PTB tokenizer


def _tokenize(matched: Matched) -> _Tokenized:
    """Splits captions into words by PTB if there is Java, else by the regular expression.

    If the two may differ, `uncertain` gives the reason.
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
                f"without the PTB tokenizer, {len(doubtful)} captions may be split differently, "
                f"such as {doubtful[0][:60]!r}; {error}"
            )
    remaining = iter(tokens)
    references = [[next(remaining) for _ in texts] for texts in matched.references]
    return _Tokenized(candidates, references, tokenizer, uncertain)


def _notes(matched: Matched, tokenized: _Tokenized, task: Task) -> list[str]:
    notes = []
    total = len(matched.files) + matched.unused
    if matched.unused:
        notes.append(
            f"{matched.unused} of {total} files with references have no candidate "
            "and are not in the scores"
        )
    empty = sum(not candidate for candidate in tokenized.candidates)
    if empty:
        notes.append(f"{empty} empty captions, which score 0")
    if tokenized.tokenizer == "regex" and tokenized.uncertain is None:
        notes.append(
            "without Java, a regular expression split the captions; on these it gives the same "
            "words as the PTB tokenizer"
        )
    numbers = {len(references) for references in matched.references}
    if len(numbers) > 1:
        notes.append(
            f"files have {min(numbers)} to {max(numbers)} references: more references give higher "
            "scores"
        )
    for name, result in task.results.items():
        notes += result.notes
        if result.unscored:
            notes.append(_note_on_unscored(TITLES[name], matched.files, result.unscored))
    return notes


def _note_on_unscored(title: str, files: Sequence[str], unscored: Mapping[int, str]) -> str:
    named = [f"{files[number]} ({reason})" for number, reason in unscored.items()]
    more = f" and {len(named) - MOST_NAMES} more" if len(named) > MOST_NAMES else ""
    others = len(files) - len(named)
    counted = "1 other caption" if others == 1 else f"{others:,} other captions"
    return (
        f"{title} has no score for {', '.join(named[:MOST_NAMES])}{more}; "
        f"its corpus score is that of {counted}"
    )
