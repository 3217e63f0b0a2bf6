"""Computes BLEU and ROUGE-L with pycocoevalcap, and the parts of their corpus scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auricle.evaluation.bootstrap import Statistic
from auricle.evaluation.toolkit import toolkit_folder

LONGEST_BLEU_NGRAM = 4
# The constants with which BleuScorer avoids a division by zero.
_SMALL, _TINY = 1e-9, 1e-15


@dataclass(frozen=True)
class BleuScores:
    """BLEU-1 to BLEU-4."""

    corpus: list[float]  # (4,)
    captions: NDArray[np.float64]  # (4, captions)
    statistics: list[Statistic]  # the parts of the corpus scores


def bleu(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> BleuScores:
    """Computes BLEU (Papineni et al., 2002) of tokenized captions.

    The reference length is that of the closest reference, as is usual in the field.
    """
    toolkit_folder("bleu")
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    scorer = BleuScorer(n=LONGEST_BLEU_NGRAM)
    for candidate, texts in zip(candidates, references, strict=True):
        scorer += (candidate, list(texts))
    corpus, captions = scorer.compute_score(option="closest")
    rows = []
    for counts in scorer.ctest:
        closest = min((abs(length - counts["testlen"]), length) for length in counts["reflen"])[1]
        rows.append([*counts["correct"], *counts["guess"], counts["testlen"], closest])
    values = np.array(rows, dtype=np.float64)
    statistics = [
        Statistic(values, lambda sums, n=n: _bleu_of_sums(sums, n))
        for n in range(1, LONGEST_BLEU_NGRAM + 1)
    ]
    return BleuScores(corpus, np.array(captions), statistics)


def _bleu_of_sums(sums: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Computes BLEU-n of (..., 10) sums.

    The columns are matched n-grams for n = 1 to 4, all n-grams for n = 1 to 4, words, and words of
    the closest reference.
    """
    matched, possible = sums[..., :n], sums[..., LONGEST_BLEU_NGRAM : LONGEST_BLEU_NGRAM + n]
    words, reference_words = sums[..., -2], sums[..., -1]
    precision = np.prod((matched + _TINY) / (possible + _SMALL), axis=-1) ** (1 / n)
    ratio = (words + _TINY) / (reference_words + _SMALL)
    return precision * np.exp(np.minimum(0.0, 1 - 1 / ratio))


def rouge_l(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Computes ROUGE-L (Lin, 2004) with beta 1.2 of each tokenized caption.

    The corpus score is the mean.
    """
    toolkit_folder("rouge")
    from pycocoevalcap.rouge.rouge import Rouge

    scorer = Rouge()
    pairs = zip(candidates, references, strict=True)
    return np.array([scorer.calc_score([candidate], texts) for candidate, texts in pairs])
