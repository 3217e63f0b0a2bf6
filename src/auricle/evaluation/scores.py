"""All metrics of a set of captions, and the difference of two sets."""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from auricle.evaluation.bootstrap import Interval, Statistic, interval, mean, resample
from auricle.evaluation.captions import CaptionsError, Matched, match
from auricle.evaluation.cider import CiderD
from auricle.evaluation.java import OLDEST_FOR_SPICE, JavaError, MissingJavaError, find_java
from auricle.evaluation.meteor import MeteorScores, meteor, score_of_statistics
from auricle.evaluation.overlap import bleu, rouge_l
from auricle.evaluation.sentences import PUBLISHED_MODEL, THRESHOLD, SentenceModels, penalised
from auricle.evaluation.spice import MissingSpiceError, spice
from auricle.evaluation.tokenizer import is_plain, ptb_tokenize, regex_tokenize

# The keys of corpus scores, as the field writes them, in the order of its tables.
METRICS = (
    *("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "meteor", "cider_d", "spice", "spider"),
    *("spider_fl", "fense", "sentence_similarity"),
)
FIGURES = ("vocabulary_size", "caption_length")
TITLES = {
    "bleu_1": "BLEU-1",
    "bleu_2": "BLEU-2",
    "bleu_3": "BLEU-3",
    "bleu_4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "meteor": "METEOR",
    "cider_d": "CIDEr-D",
    "spice": "SPICE",
    "spider": "SPIDEr",
    "spider_fl": "SPIDEr-FL",
    "fense": "FENSE",
    "sentence_similarity": "Sentence similarity",
    "vocabulary_size": "Vocabulary, words",
    "caption_length": "Length, words",
}
OPTIONAL = ("meteor", "spice")  # what may be left out for its cost
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
    missing = models.lacking() | dict.fromkeys(leave_out, "left out")
    if "meteor" not in missing:
        try:
            meteor()  # loads its tables while the rest is at work
        except MissingJavaError as error:
            missing["meteor"] = str(error)
    tokenized = _tokenize(matched)
    if tokenized.uncertain:
        missing |= dict.fromkeys(
            set(METRICS) - {"spider", "spider_fl"} - set(missing), tokenized.uncertain
        )
    notes = _notes(matched, tokenized)
    corpus: dict[str, float] = {}
    captions: dict[str, Sequence[float]] = {}
    statistics: dict[str, Statistic] = {}

    def add_mean(name: str, values: Sequence[float]) -> None:
        captions[name] = values
        statistics[name] = mean(np.array(values, dtype=np.float64))
        corpus[name] = float(np.mean(np.array(values)))

    with ThreadPoolExecutor(1) as pool:
        waiting: Future[MeteorScores] | None = None
        if "meteor" not in missing:
            waiting = pool.submit(meteor().score, tokenized.candidates, tokenized.references)
        if not tokenized.uncertain:
            bleus = bleu(tokenized.candidates, tokenized.references)
            for n, name in enumerate(METRICS[:4]):
                corpus[name] = bleus.corpus[n]
                captions[name] = [float(score) for score in bleus.captions[n]]
                statistics[name] = bleus.statistics[n]
            add_mean("rouge_l", rouge_l(tokenized.candidates, tokenized.references).tolist())
            files = [str(number) for number in range(len(matched.files))]
            cider = CiderD(dict(zip(files, tokenized.references, strict=True)))
            add_mean("cider_d", cider.scores(zip(files, tokenized.candidates, strict=True)))
        if "spice" not in missing:
            try:
                find_java(OLDEST_FOR_SPICE)
                add_mean("spice", spice(tokenized.candidates, tokenized.references))
            except (MissingJavaError, MissingSpiceError, JavaError) as error:
                missing["spice"] = str(error)
        if waiting is not None:
            try:
                meteors = waiting.result()
            except JavaError as error:
                missing["meteor"] = str(error)
            else:
                corpus["meteor"] = meteors.corpus
                captions["meteor"] = meteors.captions
                statistics["meteor"] = Statistic(meteors.statistics, score_of_statistics)
    if "spice" in captions and "cider_d" in captions:
        pairs = zip(captions["cider_d"], captions["spice"], strict=True)
        add_mean("spider", [(cider_d + its_spice) / 2 for cider_d, its_spice in pairs])
    else:
        lacking = "spice" if "spice" in missing else "cider_d"
        missing["spider"] = f"the mean of CIDEr-D and SPICE; {TITLES[lacking]}: {missing[lacking]}"
        missing.setdefault(
            "spider_fl", f"SPIDEr with a penalty; {TITLES[lacking]}: {missing[lacking]}"
        )
    detector = models.error_detector
    if detector and not ("spider_fl" in missing and "fense" in missing):
        errors = detector.probabilities(tokenized.candidates)
        found = int(np.sum(errors > THRESHOLD))
        notes.append(f"captions penalised for an error of fluency, by {detector.name}: {found}")
        if "spider_fl" not in missing:
            add_mean("spider_fl", penalised(captions["spider"], errors))
        if models.fense and "fense" not in missing:
            similar = models.fense.similarity(tokenized.candidates, tokenized.references)
            add_mean("fense", penalised(similar, errors))
            published = (
                ""
                if models.fense.name == PUBLISHED_MODEL
                else f"; published scores use {PUBLISHED_MODEL}"
            )
            notes.append(f"FENSE's similarity is by {models.fense.name}{published}")
    if models.similarity and "sentence_similarity" not in missing:
        similar = models.similarity.similarity(tokenized.candidates, tokenized.references)
        add_mean("sentence_similarity", similar)
        notes.append(f"sentence similarity is by {models.similarity.name}")
    if "" in tokenized.candidates and ("fense" in captions or "sentence_similarity" in captions):
        notes.append(
            "to a sentence model an empty caption is like any other: there it does not score 0"
        )
    words = [candidate.split() for candidate in tokenized.candidates]
    add_mean("caption_length", [float(len(its_words)) for its_words in words])
    corpus["vocabulary_size"] = float(len({word for its_words in words for word in its_words}))

    drawn = resample(statistics, resamples, seed) if len(matched.files) > 1 else {}
    return Scores(
        corpus={name: corpus[name] for name in TITLES if name in corpus},
        intervals={name: interval(drawn[name]) for name in TITLES if name in drawn},
        captions=tuple(
            CaptionScores(
                file=file,
                candidate=matched.candidates[number],
                references=matched.references[number],
                scores={name: float(captions[name][number]) for name in TITLES if name in captions},
            )
            for number, file in enumerate(matched.files)
        ),
        missing={name: missing[name] for name in TITLES if name in missing},
        notes=tuple(notes),
        tokenizer=tokenized.tokenizer,
        resamples=resamples if drawn else 0,
        seed=seed,
        statistics=statistics,
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
