"""Defines the metrics in a table: the name of each, its requirements, and its computation.

`score_all` goes through the table once. A metric whose requirement fails is reported as missing,
with the reason. No metric is approximated.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from auricle.errors import AuricleError
from auricle.evaluation import chunks
from auricle.evaluation.bootstrap import Statistic, mean
from auricle.evaluation.chunks import CAPTION_SECONDS, Unscored
from auricle.evaluation.cider import CiderD
from auricle.evaluation.java import OLDEST, OLDEST_FOR_SPICE, JavaError, MissingJavaError, find_java
from auricle.evaluation.meteor import meteor, score_of_statistics
from auricle.evaluation.overlap import BleuScores, bleu, rouge_l
from auricle.evaluation.sentences import ERROR_THRESHOLD, PUBLISHED_MODEL, SentenceModels, penalised
from auricle.evaluation.spice import missing_spice, spice

MetricProgress = Callable[
    [str, int, int], None
]  # receives a metric's title, captions done, all captions
MOST_FOREIGN_SHARE = 0.05  # of English references with a letter that is not ASCII
OPTIONAL = ("meteor", "spice")  # slow metrics, which a user may skip


class NothingScoredError(AuricleError):
    """Raised if a metric could score none of the captions."""


@dataclass(frozen=True)
class MetricResult:
    """The scores of one metric."""

    corpus: float
    # In the candidates' order; None for a candidate without a score. None if there is only a corpus
    # score.
    captions: Sequence[float | None] | None = None
    unscored: Mapping[int, str] = field(default_factory=dict)  # candidate -> reason for no score
    statistic: Statistic | None = None  # for the bootstrap
    notes: tuple[str, ...] = ()  # facts that readers of the scores must know


@dataclass
class Task:
    """A set of tokenized captions to score, and the results so far."""

    candidates: Sequence[str]
    references: Sequence[Sequence[str]]
    uncertain: str | None  # the reason if the words may differ from those of the PTB tokenizer
    models: SentenceModels
    left_out: Collection[str] = ()
    caption_seconds: float = CAPTION_SECONDS  # the limit of METEOR and SPICE for one caption
    progress: MetricProgress | None = None
    results: dict[str, MetricResult] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @cached_property
    def bleu(self) -> BleuScores:
        """BLEU-1 to BLEU-4, computed in one pass."""
        return bleu(self.candidates, self.references)

    @cached_property
    def error_probabilities(self) -> NDArray[np.float64]:
        """The probability of an error of fluency, (captions,)."""
        assert self.models.error_detector is not None
        return self.models.error_detector.probabilities(self.candidates)

    def captions_by(self, name: str) -> list[float | Unscored]:
        """Returns each caption's score by a metric that has been computed, or `Unscored`."""
        result = self.results[name]
        assert result.captions is not None
        return [
            Unscored(result.unscored[number]) if score is None else score
            for number, score in enumerate(result.captions)
        ]

    def progress_of(self, title: str) -> chunks.ChunkProgress | None:
        """Returns the progress function of one metric."""
        progress = self.progress
        if progress is None:
            return None
        return lambda done, total: progress(title, done, total)


# Returns None if a metric can be computed, else the reason.
Requirement = Callable[[Task], str | None]


@dataclass(frozen=True)
class Metric:
    """One row of the table."""

    name: str  # the key of its score, as usual in the field
    title: str
    requires: tuple[Requirement, ...]  # the first that fails is reported
    compute: Callable[[Task], MetricResult]
    is_score: bool = True  # False for a figure about the captions, such as their length

    def lacks(self, task: Task) -> str | None:
        """Returns None if this metric can be computed here, else the reason."""
        if self.name in task.left_out:
            return "left out"
        reasons = (requirement(task) for requirement in self.requires)
        return next((reason for reason in reasons if reason is not None), None)


def score_all(task: Task) -> None:
    """Computes every possible metric; stores the reasons for the others in `task.missing`."""
    for metric in TABLE:
        reason = metric.lacks(task)
        if reason is None:
            try:
                task.results[metric.name] = metric.compute(task)
            except (JavaError, NothingScoredError) as error:
                reason = str(error)
        if reason is not None:
            task.missing[metric.name] = reason


# Requirements.


def _english(task: Task) -> str | None:
    """Detects another language by its letters: English captions hold few that are not ASCII."""
    references = [text for texts in task.references for text in texts]
    foreign = [text for text in references if any(c.isalpha() and c > "\x7f" for c in text)]
    if len(foreign) <= MOST_FOREIGN_SHARE * len(references):
        return None
    return (
        f"it supports English only, and {len(foreign)} of {len(references)} references "
        f"hold other letters, such as {foreign[0][:60]!r}"
    )


def _certain_words(task: Task) -> str | None:
    return task.uncertain


def _java(oldest: int) -> Requirement:
    def lacks(task: Task) -> str | None:
        del task
        try:
            find_java(oldest)
        except MissingJavaError as error:
            return str(error)
        return None

    return lacks


def _installed_spice(task: Task) -> str | None:
    del task
    return missing_spice()


def _models(*names: str) -> Requirement:
    """Requires models, by their names in `SentenceModels`; each is an option of the command."""

    def lacks(task: Task) -> str | None:
        absent = [name for name in names if getattr(task.models, name) is None]
        return f"no model given ({', '.join(map(_option, absent))})" if absent else None

    return lacks


def _option(model: str) -> str:
    return {
        "similarity": "--sentence-model",
        "fense": "--fense-model",
        "error_detector": "--error-detector",
    }[model]


def _computed(title: str, *names: str) -> Requirement:
    """Requires other metrics, from which this one is computed."""

    def lacks(task: Task) -> str | None:
        absent = next((name for name in names if name in task.missing), None)
        return f"{title}; {TITLES[absent]}: {task.missing[absent]}" if absent else None

    return lacks


# Computations.


def _mean(captions: Sequence[float | Unscored], *notes: str) -> MetricResult:
    """Returns the result of a metric whose corpus score is the mean of the captions' scores."""
    scores, unscored = _apart(captions)
    values = np.array(scores, dtype=np.float64)  # None becomes NaN
    corpus = float(np.mean(values[~np.isnan(values)]))
    return MetricResult(corpus, scores, unscored, mean(values), notes)


def _apart(captions: Sequence[float | Unscored]) -> tuple[list[float | None], dict[int, str]]:
    """Separates scores from the reasons why captions have none."""
    scores = [None if isinstance(score, Unscored) else float(score) for score in captions]
    unscored = {
        number: score.reason for number, score in enumerate(captions) if isinstance(score, Unscored)
    }
    if len(unscored) == len(captions):
        raise NothingScoredError(f"it could score no caption ({unscored[0]})")
    return scores, unscored


def _bleu(n: int) -> Callable[[Task], MetricResult]:
    def compute(task: Task) -> MetricResult:
        scores = task.bleu
        captions = [float(score) for score in scores.captions[n - 1]]
        return MetricResult(scores.corpus[n - 1], captions, statistic=scores.statistics[n - 1])

    return compute


def _rouge_l(task: Task) -> MetricResult:
    return _mean(rouge_l(task.candidates, task.references).tolist())


def _meteor(task: Task) -> MetricResult:
    result = meteor().score(
        task.candidates,
        task.references,
        caption_seconds=task.caption_seconds,
        progress=task.progress_of("METEOR"),
    )
    scores, unscored = _apart(result.captions)
    statistic = Statistic(result.statistics, score_of_statistics)
    return MetricResult(result.corpus, scores, unscored, statistic)


def _cider_d(task: Task) -> MetricResult:
    files = [str(number) for number in range(len(task.candidates))]
    scorer = CiderD(dict(zip(files, task.references, strict=True)))
    scores = scorer.scores(zip(files, task.candidates, strict=True))
    return _mean(scores, *_notes_on_cider_d(task))


def _notes_on_cider_d(task: Task) -> list[str]:
    if len(task.candidates) > 1:
        return []
    return [
        "CIDEr-D of a single sound is always 0, because it weights words by the share of sounds "
        "whose references lack them: score several sounds together"
    ]


def _spice(task: Task) -> MetricResult:
    return _mean(
        spice(
            task.candidates,
            task.references,
            caption_seconds=task.caption_seconds,
            progress=task.progress_of("SPICE"),
        )
    )


def _spider(task: Task) -> MetricResult:
    pairs = zip(task.captions_by("cider_d"), task.captions_by("spice"), strict=True)
    return _mean([_half_sum(cider_d, spice_f) for cider_d, spice_f in pairs])


def _half_sum(one: float | Unscored, other: float | Unscored) -> float | Unscored:
    if isinstance(one, Unscored):
        return one
    if isinstance(other, Unscored):
        return other
    return (one + other) / 2


def _spider_fl(task: Task) -> MetricResult:
    pairs = zip(task.captions_by("spider"), task.error_probabilities, strict=True)
    scores = [
        score if isinstance(score, Unscored) else penalised([score], [probability])[0]
        for score, probability in pairs
    ]
    return _mean(scores, _note_on_errors(task))


def _fense(task: Task) -> MetricResult:
    model = task.models.fense
    assert model is not None
    note = f"FENSE used the sentence model {model.name}"
    if model.name != PUBLISHED_MODEL:
        note += f"; published scores use {PUBLISHED_MODEL}"
    similar = model.similarity(task.candidates, task.references)
    scores = penalised(similar, task.error_probabilities)
    return _mean(scores, _note_on_errors(task), note, *_notes_on_empty(task))


def _sentence_similarity(task: Task) -> MetricResult:
    model = task.models.similarity
    assert model is not None
    similar = model.similarity(task.candidates, task.references)
    note = f"sentence similarity used the sentence model {model.name}"
    return _mean(similar, note, *_notes_on_empty(task))


def _note_on_errors(task: Task) -> str:
    assert task.models.error_detector is not None
    count = int(np.sum(task.error_probabilities > ERROR_THRESHOLD))
    name = task.models.error_detector.name
    return f"{name} found errors of fluency in {count} of {len(task.candidates)} captions"


def _notes_on_empty(task: Task) -> list[str]:
    if "" not in task.candidates:
        return []
    return ["a sentence model treats an empty caption like any other, so it does not score 0"]


def _vocabulary_size(task: Task) -> MetricResult:
    words = {word for candidate in task.candidates for word in candidate.split()}
    return MetricResult(float(len(words)))


def _caption_length(task: Task) -> MetricResult:
    return _mean([float(len(candidate.split())) for candidate in task.candidates])


# In the usual order of the field. A metric follows those from which it is computed.
TABLE = (
    Metric("bleu_1", "BLEU-1", (_certain_words,), _bleu(1)),
    Metric("bleu_2", "BLEU-2", (_certain_words,), _bleu(2)),
    Metric("bleu_3", "BLEU-3", (_certain_words,), _bleu(3)),
    Metric("bleu_4", "BLEU-4", (_certain_words,), _bleu(4)),
    Metric("rouge_l", "ROUGE-L", (_certain_words,), _rouge_l),
    Metric("meteor", "METEOR", (_english, _java(OLDEST), _certain_words), _meteor),
    Metric("cider_d", "CIDEr-D", (_certain_words,), _cider_d),
    Metric(
        "spice",
        "SPICE",
        (_english, _certain_words, _java(OLDEST_FOR_SPICE), _installed_spice),
        _spice,
    ),
    Metric(
        "spider",
        "SPIDEr",
        (_computed("the mean of CIDEr-D and SPICE", "spice", "cider_d"),),
        _spider,
    ),
    Metric(
        "spider_fl",
        "SPIDEr-FL",
        (
            _models("error_detector"),
            _computed("SPIDEr with a penalty", "spice", "cider_d"),
        ),
        _spider_fl,
    ),
    Metric("fense", "FENSE", (_models("fense", "error_detector"), _certain_words), _fense),
    Metric(
        "sentence_similarity",
        "Sentence similarity",
        (_models("similarity"), _certain_words),
        _sentence_similarity,
    ),
    Metric("vocabulary_size", "Vocabulary, words", (), _vocabulary_size, is_score=False),
    Metric("caption_length", "Length, words", (), _caption_length, is_score=False),
)
METRICS = tuple(metric.name for metric in TABLE if metric.is_score)
FIGURES = tuple(metric.name for metric in TABLE if not metric.is_score)
TITLES: Mapping[str, str] = {metric.name: metric.title for metric in TABLE}
