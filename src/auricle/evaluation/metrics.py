"""The metrics as a table: the name of each, its requirements, and its computation.

`score_all` goes through the table once. A metric whose requirement fails is missing, with the
reason; no metric is approximated.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from auricle.evaluation.bootstrap import Statistic, mean
from auricle.evaluation.cider import CiderD
from auricle.evaluation.java import OLDEST, OLDEST_FOR_SPICE, JavaError, MissingJavaError, find_java
from auricle.evaluation.meteor import meteor, score_of_statistics
from auricle.evaluation.overlap import BleuScores, bleu, rouge_l
from auricle.evaluation.sentences import PUBLISHED_MODEL, THRESHOLD, SentenceModels, penalised
from auricle.evaluation.spice import missing_spice, spice

OPTIONAL = ("meteor", "spice")  # the metrics that a user may leave out, because they take long


@dataclass(frozen=True)
class Result:
    """The scores of one metric."""

    corpus: float
    captions: Sequence[float] | None = None  # in the candidates' order; None: corpus only
    statistic: Statistic | None = None  # for the bootstrap
    notes: tuple[str, ...] = ()  # a reader of the scores must know these


@dataclass
class Task:
    """A set of tokenized captions to score, and the results so far."""

    candidates: Sequence[str]
    references: Sequence[Sequence[str]]
    uncertain: str | None  # why the words may differ from those of the PTB tokenizer
    models: SentenceModels
    left_out: Collection[str] = ()
    results: dict[str, Result] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @cached_property
    def bleu(self) -> BleuScores:
        """BLEU-1 to BLEU-4, which one pass computes."""
        return bleu(self.candidates, self.references)

    @cached_property
    def error_probabilities(self) -> NDArray[np.float64]:
        """The probability of an error of fluency, (captions,)."""
        assert self.models.error_detector is not None
        return self.models.error_detector.probabilities(self.candidates)

    def scores_of(self, name: str) -> Sequence[float]:
        """The scores of each caption by a metric that is computed already."""
        captions = self.results[name].captions
        assert captions is not None
        return captions


Requirement = Callable[[Task], str | None]  # the reason why a metric cannot be computed, or None


@dataclass(frozen=True)
class Metric:
    """One row of the table."""

    name: str  # the key of its score, as the field writes it
    title: str
    requires: tuple[Requirement, ...]  # the first that fails is reported
    compute: Callable[[Task], Result]
    is_score: bool = True  # False: a figure about the captions, such as their length

    def lacks(self, task: Task) -> str | None:
        """The reason why this metric cannot be computed here, or None."""
        if self.name in task.left_out:
            return "left out"
        reasons = (requirement(task) for requirement in self.requires)
        return next((reason for reason in reasons if reason is not None), None)


def score_all(task: Task) -> None:
    """Computes every metric that can be computed; names the others as missing."""
    for metric in TABLE:
        reason = metric.lacks(task)
        if reason is None:
            try:
                task.results[metric.name] = metric.compute(task)
            except JavaError as error:
                reason = str(error)
        if reason is not None:
            task.missing[metric.name] = reason


# Requirements.


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
    """The models of these names in `SentenceModels`, which are options of the command too."""

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
    """Other metrics, from which this one is computed."""

    def lacks(task: Task) -> str | None:
        absent = next((name for name in names if name in task.missing), None)
        return f"{title}; {TITLES[absent]}: {task.missing[absent]}" if absent else None

    return lacks


# Computations.


def _mean(captions: Sequence[float], *notes: str) -> Result:
    """The result of a metric whose corpus score is the mean over the captions."""
    values = np.array(captions, dtype=np.float64)
    return Result(float(np.mean(values)), captions, mean(values), notes)


def _bleu(n: int) -> Callable[[Task], Result]:
    def compute(task: Task) -> Result:
        found = task.bleu
        captions = [float(score) for score in found.captions[n - 1]]
        return Result(found.corpus[n - 1], captions, found.statistics[n - 1])

    return compute


def _rouge_l(task: Task) -> Result:
    return _mean(rouge_l(task.candidates, task.references).tolist())


def _meteor(task: Task) -> Result:
    found = meteor().score(task.candidates, task.references)
    return Result(found.corpus, found.captions, Statistic(found.statistics, score_of_statistics))


def _cider_d(task: Task) -> Result:
    files = [str(number) for number in range(len(task.candidates))]
    scorer = CiderD(dict(zip(files, task.references, strict=True)))
    return _mean(scorer.scores(zip(files, task.candidates, strict=True)))


def _spice(task: Task) -> Result:
    return _mean(spice(task.candidates, task.references))


def _spider(task: Task) -> Result:
    pairs = zip(task.scores_of("cider_d"), task.scores_of("spice"), strict=True)
    return _mean([(its_cider_d + its_spice) / 2 for its_cider_d, its_spice in pairs])


def _spider_fl(task: Task) -> Result:
    scores = penalised(task.scores_of("spider"), task.error_probabilities)
    return _mean(scores, _note_on_errors(task))


def _fense(task: Task) -> Result:
    model = task.models.fense
    assert model is not None
    note = f"FENSE's similarity is by {model.name}"
    if model.name != PUBLISHED_MODEL:
        note += f"; published scores use {PUBLISHED_MODEL}"
    similar = model.similarity(task.candidates, task.references)
    scores = penalised(similar, task.error_probabilities)
    return _mean(scores, _note_on_errors(task), note, *_notes_on_empty(task))


def _sentence_similarity(task: Task) -> Result:
    model = task.models.similarity
    assert model is not None
    similar = model.similarity(task.candidates, task.references)
    return _mean(similar, f"sentence similarity is by {model.name}", *_notes_on_empty(task))


def _note_on_errors(task: Task) -> str:
    assert task.models.error_detector is not None
    count = int(np.sum(task.error_probabilities > THRESHOLD))
    name = task.models.error_detector.name
    return f"captions penalised for an error of fluency, by {name}: {count}"


def _notes_on_empty(task: Task) -> list[str]:
    if "" not in task.candidates:
        return []
    return ["to a sentence model an empty caption is like any other: there it does not score 0"]


def _vocabulary_size(task: Task) -> Result:
    words = {word for candidate in task.candidates for word in candidate.split()}
    return Result(float(len(words)))


def _caption_length(task: Task) -> Result:
    return _mean([float(len(candidate.split())) for candidate in task.candidates])


# In the order of the field's tables. A metric stands below those from which it is computed.
TABLE = (
    Metric("bleu_1", "BLEU-1", (_certain_words,), _bleu(1)),
    Metric("bleu_2", "BLEU-2", (_certain_words,), _bleu(2)),
    Metric("bleu_3", "BLEU-3", (_certain_words,), _bleu(3)),
    Metric("bleu_4", "BLEU-4", (_certain_words,), _bleu(4)),
    Metric("rouge_l", "ROUGE-L", (_certain_words,), _rouge_l),
    Metric("meteor", "METEOR", (_java(OLDEST), _certain_words), _meteor),
    Metric("cider_d", "CIDEr-D", (_certain_words,), _cider_d),
    Metric("spice", "SPICE", (_certain_words, _java(OLDEST_FOR_SPICE), _installed_spice), _spice),
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
