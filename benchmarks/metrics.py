"""Compares our scores with pycocoevalcap's on the same captions: equality and speed.

    python benchmarks/metrics.py --candidates FILE --references FILE

Without files, 1,045 candidates with 5 references each are made of a small vocabulary (seed 0).
SPICE is left out: it is the same program in both. METEOR's start is the time in which its program
loads its tables and answers a first caption.
"""

import argparse
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from auricle.evaluation.captions import match, read_candidates, read_references
from auricle.evaluation.cider import CiderD
from auricle.evaluation.meteor import Meteor, meteor
from auricle.evaluation.overlap import bleu, rouge_l
from auricle.evaluation.scores import evaluate
from auricle.evaluation.tokenizer import ptb_tokenize, regex_tokenize

if TYPE_CHECKING:
    from pycocoevalcap.meteor.meteor import Meteor as TheirMeteor

T = TypeVar("T")


def timed(function: Callable[[], T], repeats: int = 1) -> tuple[float, T]:
    """The shortest wall time of `repeats` calls, in seconds, and the last result."""
    times, results = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        results.append(function())
        times.append(time.perf_counter() - start)
    return min(times), results[-1]


def made() -> tuple[dict[str, str], dict[str, list[str]]]:
    """1,045 candidates and 5 references each, 8 to 14 words of 110."""
    draw = random.Random(0)
    beginnings = ("ba", "do", "ki", "lu", "me", "no", "ra", "su", "ti", "vo")
    endings = ("bark", "dog", "rain", "hum", "car", "bird", "fall", "sing", "wind", "door")
    words = [beginning + ending for beginning in ("", *beginnings) for ending in endings]

    def caption() -> str:
        return " ".join(draw.choices(words, k=draw.randint(8, 14)))

    files = [f"{number}.wav" for number in range(1045)]
    references = {file: [caption() for _ in range(5)] for file in files}
    # Half a reference, half chance: something for every metric to find.
    candidates = {
        file: " ".join(references[file][0].split()[:6] + caption().split()[:5]) for file in files
    }
    return candidates, references


def row(name: str, ours: float, theirs: float, same: bool | None = None) -> None:
    """Print a line of the table."""
    equal = {True: "equal", False: "DIFFERENT", None: ""}[same]
    print(f"{name:<44}{ours:>10.3f} s{theirs:>14.3f} s{theirs / ours:>9.1f} x  {equal}", flush=True)


def main() -> None:
    """Time both, a line a metric."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--candidates", type=Path)
    parser.add_argument("--references", type=Path)
    options = parser.parse_args()
    # pycocoevalcap leaves METEOR to the user's locale, by which numbers may have commas.
    os.environ["JAVA_TOOL_OPTIONS"] = "-Duser.country=US -Duser.language=en"
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor as StartTheirs
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    if options.candidates and options.references:
        candidates, references = (
            read_candidates(options.candidates),
            read_references(options.references),
        )
    else:
        candidates, references = made()
    matched = match(candidates, references)
    flat = [text for texts in matched.references for text in texts]
    print(
        f"{len(matched.files):,} candidates, {len(flat):,} references; load "
        f"{os.getloadavg()[0]:.1f}"
    )
    print(f"{'':<44}{'auricle':>12}{'pycocoevalcap':>16}{'ratio':>11}")

    def their_tokens() -> tuple[dict[int, list[str]], dict[int, list[str]]]:
        by_number = {
            n: [{"caption": text} for text in texts] for n, texts in enumerate(matched.references)
        }
        ones = {n: [{"caption": text}] for n, text in enumerate(matched.candidates)}
        return PTBTokenizer().tokenize(by_number), PTBTokenizer().tokenize(ones)

    ours, (tokens, flat_tokens) = timed(lambda: ptb_tokenize(matched.candidates, flat))
    theirs, (gts, res) = timed(their_tokens)
    same = [text for texts in gts.values() for text in texts] == flat_tokens
    row("PTB tokenizer", ours, theirs, same and [texts[0] for texts in res.values()] == tokens)
    ours, _ = timed(lambda: [regex_tokenize(text) for text in (*matched.candidates, *flat)])
    row("  regular expression, for loops", ours, theirs)
    token_references = list(gts.values())

    ours, our_bleu = timed(lambda: bleu(tokens, token_references))
    theirs, their_bleu = timed(lambda: Bleu(4).compute_score(gts, res, verbose=0))
    row("BLEU (its own code)", ours, theirs, our_bleu.corpus == their_bleu[0])
    ours, our_rouge = timed(lambda: rouge_l(tokens, token_references))
    theirs, their_rouge = timed(lambda: Rouge().compute_score(gts, res))
    row("ROUGE-L (its own code)", ours, theirs, our_rouge.tolist() == their_rouge[1].tolist())

    keyed = {str(number): texts for number, texts in gts.items()}
    pairs = [(str(number), texts[0]) for number, texts in res.items()]
    ours, our_cider = timed(lambda: CiderD(keyed).scores(pairs))
    theirs, their_cider = timed(lambda: Cider().compute_score(gts, res))
    row("CIDEr-D", ours, theirs, our_cider == their_cider[1].tolist())
    scorer = CiderD(keyed)
    ours, _ = timed(lambda: scorer.scores(pairs), repeats=5)
    row(f"  references known: {ours / len(pairs) * 1e6:.0f} microseconds each", ours, theirs)

    their_start, their_meteor = timed(lambda: _start(StartTheirs()))
    theirs_cold, their_scores = timed(lambda: their_meteor.compute_score(gts, res))
    theirs_warm, _ = timed(lambda: their_meteor.compute_score(gts, res), repeats=2)
    their_meteor.meteor_p.kill()
    our_start, our_meteor = timed(_start_ours)
    ours_cold, our_scores = timed(lambda: our_meteor.score(tokens, token_references))
    ours_warm, _ = timed(lambda: our_meteor.score(tokens, token_references), repeats=2)
    our_meteor.close()
    row("METEOR's start", our_start, their_start)
    same = (our_scores.corpus, our_scores.captions) == their_scores
    row("METEOR, first time", ours_cold, theirs_cold, same)
    row("METEOR, warm", ours_warm, theirs_warm, same)

    cold, _ = timed(lambda: evaluate(candidates, references, leave_out=["spice"]))
    warm, _ = timed(lambda: evaluate(candidates, references, leave_out=["spice"]), repeats=3)
    meteor().close()
    print(
        f"all less SPICE, with intervals, cold: {cold:.1f} s (METEOR's start + "
        f"{cold - our_start:.1f} s)"
    )
    print(f"all less SPICE, with intervals, warm: {warm:.1f} s")
    print(f"load {os.getloadavg()[0]:.1f}")


def _start(process: "TheirMeteor") -> "TheirMeteor":
    process._stat("a dog", ["a dog"])
    return process


def _start_ours() -> Meteor:
    process = Meteor()
    process.score(["a dog"], [["a dog"]])
    return process


if __name__ == "__main__":
    main()
